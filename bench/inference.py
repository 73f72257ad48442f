#!/usr/bin/env python3
"""Measures fovea's inference beside ONNX Runtime and OpenVINO (those that are installed) in
one run: the same net with the same weights, one picture (or --batch), the same threads, fp32; each
program in a process of its own, in turn, round by round. Started by hand; needs a release build of
fovea and a quiet machine:

    bench/inference.py build/fovea [--net NAME]... [--batch N] [--threads N] [--rounds N] [--seconds S]

fovea writes the net as ONNX (`fovea export`), which the peers read. Prints milliseconds a picture,
minimum and median over the rounds of each round's median, and the ratio to the fastest peer.
"""
import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile

NETS = ["alexnet-torchvision", "vgg16", "googlenet-torchvision", "resnet50", "mobilenet_v2",
        "squeezenet1.1"]

PEERS = {
    "ONNX Runtime": ("onnxruntime", """
import onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = threads
session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
feed = {session.get_inputs()[0].name: x}
run = lambda: session.run(None, feed)
"""),
    "OpenVINO": ("openvino", """
import openvino
core = openvino.Core()
model = core.compile_model(path, "CPU", {"INFERENCE_NUM_THREADS": threads,
                                         "INFERENCE_PRECISION_HINT": "f32",
                                         "PERFORMANCE_HINT": "LATENCY"})
request = model.create_infer_request()
run = lambda: request.infer([x])
"""),
}
# Reads path, threads, seconds and the input's shape; prints the median milliseconds of a run.
PROGRAM = """
import json, sys, time
import numpy
path, threads, seconds, shape = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), json.loads(sys.argv[4])
x = numpy.random.default_rng(1).uniform(0, 255, shape).astype("float32")
%s
for _ in range(3):
    run()
times, begin = [], time.perf_counter()
while len(times) < 5 or time.perf_counter() - begin < seconds:
    before = time.perf_counter()
    run()
    times.append(time.perf_counter() - before)
print(1e3 * sorted(times)[len(times) // 2])
"""


def own(fovea, model, options):
    out = subprocess.run([fovea, "bench", model, "--json", "--batch", str(options.batch), "--threads",
                          str(options.threads), "--seconds", str(options.seconds)],
                         check=True, capture_output=True, text=True).stdout
    return json.loads(out)["median_ms"] * options.batch


def peer(program, model, shape, options):
    out = subprocess.run([sys.executable, "-c", PROGRAM % program, model, str(options.threads),
                          str(options.seconds), json.dumps(shape)],
                         check=True, capture_output=True, text=True).stdout
    return float(out.split()[-1])


def input_shape(fovea, net, batch):
    layers = json.loads(subprocess.run([fovea, "info", net, "--json"], check=True, capture_output=True,
                                       text=True).stdout)["layers"]
    *sizes, channels = layers[0]["output"]
    return [batch, channels, *sizes]


def compare(net, peers, options):
    with tempfile.TemporaryDirectory() as folder:
        model, onnx = os.path.join(folder, "net.safetensors"), os.path.join(folder, "net.onnx")
        for path in (model, onnx):
            subprocess.run([options.fovea, "export", net, path], check=True)
        shape = input_shape(options.fovea, net, options.batch)
        times = {name: [] for name in ["fovea", *peers]}
        for _ in range(options.rounds):
            times["fovea"].append(own(options.fovea, model, options))
            for name in peers:
                times[name].append(peer(PEERS[name][1], onnx, shape, options))
    best = min(statistics.median(times[name]) for name in peers) if peers else float("nan")
    for name, list_ in times.items():
        print(f"{net:22} {name:14} {min(list_):9.2f} {statistics.median(list_):9.2f}"
              + (f"   {best / statistics.median(list_):.2f} times the fastest peer" if name == "fovea" else ""),
              flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("fovea")
    parser.add_argument("--net", action="append")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3)
    options = parser.parse_args()
    peers = [name for name, (module, _) in PEERS.items() if importlib.util.find_spec(module)]
    print(subprocess.run([options.fovea, "version"], check=True, capture_output=True, text=True).stdout.strip())
    for name in peers:
        module = __import__(PEERS[name][0])
        print(name, module.__version__)
    print(f"batch {options.batch}, {options.threads} threads, fp32; milliseconds, minimum and median of "
          f"{options.rounds} rounds")
    for net in options.net or NETS:
        compare(net, peers, options)


if __name__ == "__main__":
    main()
