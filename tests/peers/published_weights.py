#!/usr/bin/env python3
"""Weights under the names of torchvision and timm, where our net has others: the same outputs?

Run by hand, with any Python that has torch, torchvision, timm, safetensors and numpy:

    python tests/peers/published_weights.py build/fovea [NET ...]

Each model with weights drawn from a seed is saved as safetensors and as an .npz archive; `fovea
convert` makes models of them and of our net, which then run on the same pictures. What comes before
the last softmax may differ by 1e-4 of its largest value. Exits with 1 where one differs by more.
"""
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import timm
import torch
import torchvision
from safetensors.torch import save_file

BOUND = 1e-4
MEAN, DEVIATION = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])

# The model: who makes it, our net, our layer whose output is compared.
MODELS = {
    "torchvision/vgg11": (torchvision.models.vgg11, "vgg11", "fc8.pre"),
    "torchvision/vgg13": (torchvision.models.vgg13, "vgg13", "fc8.pre"),
    "torchvision/vgg16": (torchvision.models.vgg16, "vgg16", "fc8.pre"),
    "torchvision/vgg19": (torchvision.models.vgg19, "vgg19", "fc8.pre"),
    "timm/vgg11": (lambda: timm.create_model("vgg11"), "vgg11", "fc8.pre"),
    "timm/vgg13": (lambda: timm.create_model("vgg13"), "vgg13", "fc8.pre"),
    "timm/vgg16": (lambda: timm.create_model("vgg16"), "vgg16", "fc8.pre"),
    "timm/vgg19": (lambda: timm.create_model("vgg19"), "vgg19", "fc8.pre"),
    "timm/mobilenetv2_100": (lambda: timm.create_model("mobilenetv2_100"), "mobilenet_v2",
                             "classifier.1.pre"),
    "timm/resnet18": (lambda: timm.create_model("resnet18"), "resnet18", "fc.pre"),
}


def run(fovea, net, weights, pictures, layer, folder):
    model = folder / "model.safetensors"
    subprocess.run([fovea, "convert", net, weights, model], check=True)
    np.save(folder / "pictures.npy", pictures)
    command = [fovea, "run", model, "--input", folder / "pictures.npy", "--output", layer]
    subprocess.run(command + ["--output-dir", folder], check=True, stdout=subprocess.DEVNULL)
    return np.load(folder / (layer + ".npy"))


def compare(fovea, name, folder):
    make, net, layer = MODELS[name]
    torch.manual_seed(5)
    model = make().eval()
    draw = np.random.default_rng(7)
    pictures = draw.uniform(0, 255, (2, 224, 224, 3)).astype(np.float32)
    inputs = torch.from_numpy((pictures / 255 - MEAN) / DEVIATION).permute(0, 3, 1, 2)
    with torch.no_grad():
        wanted = model(inputs.contiguous()).numpy()
    tensors = {k: v.contiguous() for k, v in model.state_dict().items()}
    del model
    save_file(tensors, folder / "weights.safetensors")
    np.savez_compressed(folder / "weights.npz", **{k: v.numpy() for k, v in tensors.items()})
    del tensors
    good = True
    for suffix in ("safetensors", "npz"):
        weights = folder / ("weights." + suffix)
        got = run(fovea, net, weights, pictures, layer, folder).reshape(wanted.shape)
        difference = np.abs(got - wanted).max() / np.abs(wanted).max()
        print(f"{name:24}{suffix:14}{difference:12.2g}", flush=True)
        good = good and bool(difference <= BOUND)
    return good


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    good = True
    for name in sys.argv[2:] or MODELS:
        with tempfile.TemporaryDirectory() as folder:
            good = compare(sys.argv[1], name, Path(folder)) and good
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
