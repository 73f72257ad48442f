#!/usr/bin/env python3
"""torchvision's nets with random weights, and ours with the same: do they give the same outputs?

Run by hand, with any Python that has torch, torchvision, safetensors and numpy:

    python tests/peers/torchvision_nets.py build/fovea [NET ...]

For each net: torchvision's model with weights drawn from a seed, and batch norms whose statistics
are about those of its activations (others would let them vanish); saved as safetensors; `fovea
convert` makes a model of them and of our net of that name; both run on the same random pictures.
What comes before the last softmax may differ by 1e-4 of its largest value. Exits with 1 where one
differs by more.
"""
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
import torchvision
from safetensors.torch import save_file

BOUND = 1e-4
SAMPLES = 2
IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])

# Our name: torchvision's, our layer whose output is compared, and what the input line subtracts
# and divides by after scaling bytes to 0 ... 1.
NETS = {
    "alexnet-torchvision": ("alexnet", "classifier.6.pre", IMAGENET),
    "vgg16": ("vgg16", "fc8.pre", IMAGENET),
    "googlenet-torchvision": ("googlenet", "fc.pre", ([0.5] * 3, [0.5] * 3)),
    "resnet18": ("resnet18", "fc.pre", IMAGENET),
    "resnet50": ("resnet50", "fc.pre", IMAGENET),
    "resnet152": ("resnet152", "fc.pre", IMAGENET),
    "squeezenet1.1": ("squeezenet1_1", "classifier.3", IMAGENET),
    "mobilenet_v2": ("mobilenet_v2", "classifier.1.pre", IMAGENET),
    "densenet121": ("densenet121", "classifier.pre", IMAGENET),
}


def random_pictures(count):
    """Coarse squares with noise, of bytes."""
    draw = np.random.default_rng(7)
    squares = draw.uniform(0, 255, (count, 8, 8, 3)).repeat(28, 1).repeat(28, 2)
    return (0.7 * squares + draw.uniform(0, 76, (count, 224, 224, 3))).astype(np.float32)


def as_inputs(pictures, mean, deviation):
    inputs = (pictures / 255 - np.float32(mean)) / np.float32(deviation)
    return torch.from_numpy(inputs).permute(0, 3, 1, 2).contiguous()


def random_model(name, inputs):
    torch.manual_seed(5)
    options = {"init_weights": True} if name == "googlenet" else {}
    model = torchvision.models.get_model(name, weights=None, **options).train()
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
        torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
        torch.nn.init.normal_(norm.bias, 0, 0.1)
    if norms:
        with torch.no_grad():
            model(inputs)
    for norm in norms:
        norm.running_mean += 0.1 * torch.randn_like(norm.running_mean) * norm.running_var.sqrt()
        norm.running_var *= torch.empty_like(norm.running_var).uniform_(0.5, 1.5)
    return model.eval()


def convert(fovea, net, weights, model):
    subprocess.run([fovea, "convert", net, weights, model], check=True)


def run(fovea, model, pictures, layer, folder):
    np.save(folder / "pictures.npy", pictures)
    command = [fovea, "run", model, "--input", folder / "pictures.npy", "--output", layer]
    subprocess.run(command + ["--output-dir", folder], check=True, stdout=subprocess.DEVNULL)
    return np.load(folder / (layer + ".npy"))


def compare(fovea, net, folder):
    name, layer, (mean, deviation) = NETS[net]
    pictures = random_pictures(SAMPLES)
    inputs = as_inputs(pictures, mean, deviation)
    model = random_model(name, inputs)
    tensors = {k: v.contiguous() for k, v in model.state_dict().items()}
    save_file(tensors, folder / "weights.safetensors")
    with torch.no_grad():
        wanted = model(inputs).numpy()
    convert(fovea, net, folder / "weights.safetensors", folder / "model.safetensors")
    got = run(fovea, folder / "model.safetensors", pictures, layer, folder)
    largest = np.abs(wanted).max()
    difference = np.abs(got.reshape(wanted.shape) - wanted).max() / largest
    spread = np.abs(wanted - wanted.mean(0)).max() / largest  # of samples: 0 would show nothing
    agrees = bool(difference <= BOUND)
    print(f"{net:24}{largest:12.4g}{spread:12.4g}{difference:12.2g}  {'ok' if agrees else 'FAIL'}",
          flush=True)
    return agrees


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    names = sys.argv[2:] or list(NETS)
    print(f"{'net':24}{'largest':>12}{'spread':>12}{'difference':>12}")
    results = []
    for net in names:
        with tempfile.TemporaryDirectory() as folder:
            results.append(compare(sys.argv[1], net, Path(folder)))
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
