#!/usr/bin/env python3
"""ResNet-20 on CIFAR-10 pictures, by fovea and by PyTorch, from the same initial weights.

Any Python with torch, numpy, safetensors and Pillow. Run by hand, after a build:
  tests/peers/cifar_resnet20.py losses FOLDER [--lr X]
        the first 100 losses of the same batches: fovea's and PyTorch's float32 against PyTorch's float64
  tests/peers/cifar_resnet20.py train FOLDER --epochs N [--seeds 1 2 3] [--peer-only | --own-only]
                                                    test accuracy after N epochs
FOLDER holds train/CLASS/*.jpg and test/CLASS/*.jpg (or .png). There is no augmentation."""
import argparse
import ctypes
import json
import os
import subprocess
import sys
import tempfile
import time

import numpy
import torch
from PIL import Image
from safetensors.torch import load_file

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FOVEA = os.path.join(ROOT, "build", "fovea")
SETTINGS = ["train.optimizer=sgd", "train.formula=torch", "train.lr=0.1", "train.momentum=0.9",
            "train.weight_decay=0.0001", "train.batch=128"]
STEPS, BATCH = 100, 128


class Block(torch.nn.Module):
    """He et al. 2016, section 4.2: identity shortcuts; where the size halves, every second cell and
    zeros for the new channels (option A)."""

    def __init__(self, channels, filters, stride):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(channels, filters, 3, stride, 1, bias=False)
        self.bn1 = torch.nn.BatchNorm2d(filters)
        self.conv2 = torch.nn.Conv2d(filters, filters, 3, 1, 1, bias=False)
        self.bn2 = torch.nn.BatchNorm2d(filters)
        self.stride, self.new = stride, filters - channels

    def forward(self, x):
        y = torch.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        x = x[:, :, ::self.stride, ::self.stride]
        return torch.relu(y + torch.nn.functional.pad(x, (0, 0, 0, 0, self.new // 2, self.new // 2)))


class ResNet(torch.nn.Module):
    def __init__(self, depth):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = torch.nn.BatchNorm2d(16)
        blocks = (depth - 2) // 6
        for stage, filters in enumerate((16, 32, 64), 1):
            first = Block(max(16, filters // 2), filters, 1 if stage == 1 else 2)
            rest = [Block(filters, filters, 1) for _ in range(blocks - 1)]
            setattr(self, f"layer{stage}", torch.nn.Sequential(first, *rest))
        self.fc = torch.nn.Linear(64, 10)

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(x.mean((2, 3)))


def read_split(folder, split):
    """Pictures as bytes NHWC and labels, classes in the order of their names."""
    root = os.path.join(folder, split)
    pictures, labels = [], []
    for label, name in enumerate(sorted(os.listdir(root))):
        for file in sorted(os.listdir(os.path.join(root, name))):
            pictures.append(numpy.asarray(Image.open(os.path.join(root, name, file)).convert("RGB")))
            labels.append(label)
    return numpy.stack(pictures), numpy.array(labels)


def own(*words):
    return subprocess.run([FOVEA, *words], check=True, capture_output=True, text=True).stdout


def input_line():
    """scale, mean and deviation that the net's input line says."""
    words = own("info", "resnet20", "--resolved").split("\n")
    line = next(w for w in words if " input " in w or w.startswith("input"))
    values = dict(w.split("=") for w in line.split() if "=" in w)

    def numbers(key, default):
        return numpy.array([float(eval(v)) for v in values.get(key, default).split(",")], "float32")
    return numbers("scale", "1"), numbers("mean", "0"), numbers("deviation", "1")


def tensor(pictures, line):
    scale, mean, deviation = line
    x = (pictures.astype("float32") * scale - mean) / deviation
    return torch.from_numpy(x).permute(0, 3, 1, 2)  # channels last in memory, as the pictures are


def peer_net(folder):
    """PyTorch's net with the weights that fovea drew, and the model file that holds them."""
    path = os.path.join(folder, "initial.safetensors")
    own("export", "resnet20", path)
    net = ResNet(20)
    missing, extra = net.load_state_dict(load_file(path), strict=False)
    if extra or not all(name.endswith("num_batches_tracked") for name in missing):
        sys.exit(f"the nets differ: {missing} {extra}")
    return net, path


class Score(ctypes.Structure):
    _fields_ = [("loss", ctypes.c_double), ("rest", ctypes.c_char * 8192)]


def own_losses(path, batches, lr):
    lib = ctypes.CDLL(os.path.join(ROOT, "build", "libfovea.so"))
    lib.fv_net_load_with.restype = lib.fv_trainer_new.restype = ctypes.c_void_p
    lib.fv_error_message.restype = ctypes.c_char_p
    words = [s.encode() for s in SETTINGS + ["train.schedule=constant", f"train.lr={lr}"]]
    net = lib.fv_net_load_with(path.encode(), (ctypes.c_char_p * len(words))(*words), len(words))
    trainer = net and lib.fv_trainer_new(ctypes.c_void_p(net), None)
    if not trainer:
        sys.exit(lib.fv_error_message().decode())
    losses, score = [], Score()
    for x, y in batches:
        values = numpy.ascontiguousarray(x, "float32")
        labels = numpy.ascontiguousarray(y, "int32")
        if lib.fv_trainer_step(ctypes.c_void_p(trainer), ctypes.c_void_p(values.ctypes.data),
                               ctypes.c_void_p(labels.ctypes.data), len(y), ctypes.byref(score)):
            sys.exit(lib.fv_error_message().decode())
        losses.append(score.loss)
    return losses


def step(net, optimizer, x, y):
    optimizer.zero_grad()
    loss = torch.nn.functional.cross_entropy(net(x), y)
    loss.backward()
    optimizer.step()
    return loss.item()


def compare_losses(folder, lr):
    pictures, labels = read_split(folder, "train")
    order = numpy.random.default_rng(1).permutation(len(labels))[:STEPS * BATCH].reshape(STEPS, BATCH)
    line = input_line()
    losses = {}
    for kind in (torch.float32, torch.float64):
        with tempfile.TemporaryDirectory() as work:
            net, path = peer_net(work)
            if not losses:
                losses["fovea"] = own_losses(path, [(pictures[o], labels[o]) for o in order], lr)
        net = net.to(kind)
        optimizer = torch.optim.SGD(net.parameters(), lr, momentum=0.9, weight_decay=1e-4)
        losses[kind] = [step(net, optimizer, tensor(pictures[o], line).to(kind), torch.from_numpy(labels[o]))
                        for o in order]
    mine, single, exact = numpy.array(list(losses.values()))
    for i in range(0, STEPS, 10):
        print(f"step {i + 1:3d}  float64 {exact[i]:.6f}  fovea {mine[i] - exact[i]:+.1e}  PyTorch {single[i] - exact[i]:+.1e}")

    def worst(a, b, count=STEPS):
        return (abs(a - b) / b)[:count].max()
    for count in (10, 20, 50, 100):
        print(f"first {count:3d} losses, worst relative difference: fovea from PyTorch {worst(mine, single, count):.1e}, fovea "
              f"from float64 {worst(mine, exact, count):.1e}, PyTorch from float64 {worst(single, exact, count):.1e}")
    return 0 if worst(mine, exact) <= max(1e-3, 3 * worst(single, exact)) else 1


def train_peer(folder, seed, epochs):
    torch.manual_seed(seed)
    line = input_line()
    pictures, labels = read_split(folder, "train")
    net = ResNet(20)
    for module in net.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    net = net.to(memory_format=torch.channels_last)  # PyTorch is faster so on CPUs
    steps = epochs * -(-len(labels) // BATCH)
    optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    start = time.time()
    for _ in range(epochs):
        order = numpy.random.default_rng([seed, _]).permutation(len(labels))
        for first in range(0, len(order), BATCH):
            o = order[first:first + BATCH]
            step(net, optimizer, tensor(pictures[o], line), torch.from_numpy(labels[o]))
            schedule.step()
    seconds = time.time() - start
    pictures, labels = read_split(folder, "test")
    net.eval()
    with torch.no_grad():
        right = sum(int((net(tensor(pictures[i:i + 500], line)).argmax(1).numpy() == labels[i:i + 500]).sum())
                    for i in range(0, len(labels), 500))
    return right / len(labels), seconds


def train_own(folder, seed, epochs):
    settings = sum((["--set", s] for s in SETTINGS + ["train.schedule=cosine"]), [])
    with tempfile.TemporaryDirectory() as work:
        start = time.time()
        own("train", "resnet20", "--data", folder, "--out", os.path.join(work, "run"), "--epochs", str(epochs),
            "--seed", str(seed), *settings)
        seconds = time.time() - start
        test = json.loads(own("test", os.path.join(work, "run", "model.safetensors"), "--data", folder + ":test", "--json"))
    return test["accuracy"], seconds


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["losses", "train"])
    parser.add_argument("folder")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--own-only", action="store_true")
    parser.add_argument("--peer-only", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.what == "losses":
        return compare_losses(options.folder, options.lr)
    for seed in options.seeds:
        if not options.peer_only:
            print("seed %d  fovea    accuracy %.4f  %.0f s" % (seed, *train_own(options.folder, seed, options.epochs)), flush=True)
        if not options.own_only:
            print("seed %d  PyTorch  accuracy %.4f  %.0f s" % (seed, *train_peer(options.folder, seed, options.epochs)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
