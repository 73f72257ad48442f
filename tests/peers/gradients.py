#!/usr/bin/env python3
"""Gradients of one training step of ResNet-18 and GoogLeNet, by fovea and by PyTorch.

Any Python with torch, torchvision, numpy and safetensors. Run by hand, after a build with tests:
  tests/peers/gradients.py [--exact] [--seeds N] [NET...]
For every tensor the distance |g - g64| / |g64| from PyTorch's gradient in float64 must be at most
three times that of PyTorch's own float32 (or 1e-6, whichever is more), as root mean squares over the
seeds: of millions of values before a relu some are so near 0 that rounding decides on which side they
are, and one that changes sides moves a gradient by 1e-3 and more, in either framework. So with few seeds the ratio is
chance. resnet18-smooth has no such places (tanh for relu, averages for the maxima): there every tensor
of every seed is held to the bound by itself. Without --exact Winograd's rounding exceeds it."""
import argparse
import os
import re
import subprocess
import sys
import tempfile

import numpy
import torch
import torchvision
from safetensors.torch import load_file, save_file

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MEAN, DEVIATION = numpy.array([.485, .456, .406]), numpy.array([.229, .224, .225])
NETS = {"resnet18": ("resnet18", lambda: torchvision.models.resnet18()),
        "googlenet": ("googlenet-torchvision", lambda: torchvision.models.googlenet(
            aux_logits=True, init_weights=False, transform_input=False, dropout=0.0, dropout_aux=0.0)),
        "resnet18-smooth": ("resnet18", lambda: smooth(torchvision.models.resnet18()))}
SAMPLES = 4


def smooth(net):
    for name, child in net.named_children():
        if isinstance(child, torch.nn.ReLU):
            setattr(net, name, torch.nn.Tanh())
        elif isinstance(child, torch.nn.MaxPool2d):
            setattr(net, name, torch.nn.AvgPool2d(child.kernel_size, child.stride, child.padding))
        else:
            smooth(child)
    return net


def own_net(name, folder):
    """The .net file that `fovea convert` takes: its path in the folder, or the name of an installed net."""
    if not name.endswith("-smooth"):
        return NETS[name][0]
    with open(os.path.join(ROOT, "nets", NETS[name][0] + ".net")) as file:
        text = re.sub(r"\brelu\b", "tanh", file.read())
    path = os.path.join(folder, name + ".net")
    with open(path, "w") as file:
        file.write(re.sub(r" maxpool +(\S+)", r" avgpool \1 count_include_pad=true", text))
    return path


def gradients(net, x, y):
    net.zero_grad()
    out = net(x)
    loss = torch.nn.functional.cross_entropy(out if torch.is_tensor(out) else out.logits, y)
    if not torch.is_tensor(out):
        loss = loss + sum(0.3 * torch.nn.functional.cross_entropy(o, y) for o in (out.aux_logits1, out.aux_logits2))
    loss.backward()
    return loss.item(), {name: p.grad.double() for name, p in net.named_parameters()}


def distances(name, seed, how):
    make = NETS[name][1]
    torch.manual_seed(seed)
    rng = numpy.random.default_rng(seed)
    net = make().train()
    state = {k: v.clone() for k, v in net.state_dict().items()}
    pixels = rng.integers(0, 256, (SAMPLES, 224, 224, 3)).astype("float32")
    labels = rng.integers(0, 1000, SAMPLES)
    y = torch.from_numpy(labels)
    with tempfile.TemporaryDirectory() as work:
        def path(file):
            return os.path.join(work, file)
        save_file(state, path("weights.safetensors"))
        numpy.save(path("x.npy"), pixels)
        numpy.save(path("y.npy"), labels.astype("float32"))
        subprocess.run([os.path.join(ROOT, "build", "fovea"), "convert", own_net(name, work), path("weights.safetensors"),
                        path("model.safetensors")], check=True)
        resolved = subprocess.run([os.path.join(ROOT, "build", "fovea"), "info", path("model.safetensors"), "--resolved"],
                                  check=True, capture_output=True, text=True).stdout
        line = next(w for w in resolved.split("\n") if " input " in w)
        words = dict(w.split("=", 1) for w in line.split() if "=" in w)
        mean, deviation = (numpy.array([float(v) for v in words[k].split(",")]) for k in ("mean", "deviation"))
        dropouts = [w.split(":")[0] for w in resolved.split("\n") if ": " in w and " dropout " in w]
        settings = ["train.optimizer=sgd", "train.lr=1e-30", "train.momentum=0", "train.weight_decay=0",
                    "train.accumulate=1", "train.schedule=constant", "train.warmup=0"]
        settings += [f"{layer}.rate=0" for layer in dropouts]
        made = subprocess.run([os.path.join(ROOT, "build", "tests", "gradients"), path("model.safetensors"), path("x.npy"),
                               path("y.npy"), path("g.safetensors"), how, *settings], check=True, capture_output=True, text=True)
        own_loss = float(made.stdout.split()[1])
        own = {k: v.double() for k, v in load_file(path("g.safetensors")).items()}
    x = torch.from_numpy(((pixels / 255 - mean) / deviation).transpose(0, 3, 1, 2).copy())
    loss64, exact = gradients(net.double(), x.double(), y)
    net = make().train()
    net.load_state_dict(state)
    loss32, single = gradients(net, x.float(), y)
    print(f"{name}, seed {seed}: loss {own_loss:.7f}, PyTorch float32 {loss32:.7f}, float64 {loss64:.7f}", flush=True)

    def distance(g, tensor):
        return (g.reshape(exact[tensor].shape) - exact[tensor]).norm().item() / exact[tensor].norm().item()
    return {t: (distance(own[t], t), distance(single[t], t)) for t in exact}


def compare(name, seeds, how):
    runs = [distances(name, seed + 1, how) for seed in range(seeds)]
    if name.endswith("-smooth"):
        ratios = [mine / max(theirs, 1e-6 / 3) for run in runs for mine, theirs in run.values()]
        wrong = sum(not r <= 3 for r in ratios)
        print(f"{name}: {len(ratios)} tensors of {seeds} seeds, {wrong} beyond three times PyTorch's float32; "
              f"ratios: median {numpy.median(ratios):.2f}, worst {max(ratios):.2f}; "
              f"largest distance {max(mine for run in runs for mine, _ in run.values()):.1e}")
        return wrong
    rms = {t: numpy.sqrt(numpy.mean(numpy.square([run[t] for run in runs]), 0)) for t in runs[0]}
    ratios = {t: mine / max(theirs, 1e-6 / 3) for t, (mine, theirs) in rms.items()}
    wrong = {t: r for t, r in ratios.items() if not r <= 3}
    values = list(ratios.values())
    print(f"{name}: {len(ratios)} tensors, {len(wrong)} beyond three times PyTorch's float32; ratios: "
          f"median {numpy.median(values):.2f}, worst {max(values):.2f}")
    for tensor in sorted(wrong, key=lambda t: -wrong[t])[:10]:
        print(f"  {tensor}: {rms[tensor][0]:.2e}, PyTorch float32 {rms[tensor][1]:.2e}")
    return len(wrong)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("nets", nargs="*", metavar="NET", default=list(NETS))
    parser.add_argument("--exact", action="store_true")
    parser.add_argument("--seeds", type=int, default=12)
    options = parser.parse_args()
    how = "exact" if options.exact else "default"
    return 1 if sum([compare(name, options.seeds, how) for name in options.nets]) else 0


if __name__ == "__main__":
    sys.exit(main())
