#!/usr/bin/env python3
"""Measures fovea beside its peers, Keras on TensorFlow and PyTorch, in one run: the same net,
batch, threads and precision (fp32), each program in a process of its own, one after the other,
round by round. Started by hand; needs a release build of fovea and a quiet machine:

    bench/peers.py [--net NAME]... [--rounds N] [--seconds S] [--threads N] [--json FILE]

Every figure is batch / median step time, after a warm-up; each peer runs in every configuration
that may be its fastest, and the fastest of all of them is what fovea is compared with. The
pictures are made up and in memory as floats; nothing is read from files while the clock runs.
"""
import argparse
import itertools
import json
import os
import platform
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import venv
import zlib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ["numpy", "tensorflow", "keras", "torch"]
CORES = len(os.sched_getaffinity(0))
EPOCH_STEPS, WARM_UP_STEPS = 100, 10

# The lecture's two programs, as in nets/*.net. The last layer's softmax is in the peers' losses;
# the peers' first weights are their own, for the time does not depend on them.
NETS = {
    "lecture-keras": {
        "layers": [["conv", 32, 3, "valid"], ["conv", 64, 3, "valid"], ["maxpool", 2],
                   ["dropout", 0.25], ["flatten"], ["dense", 128], ["dropout", 0.5],
                   ["logits", 10]],
        "optimizer": "adadelta"},
    "lecture-tensorflow": {
        "layers": [["conv", 32, 5, "same"], ["maxpool", 2], ["conv", 64, 5, "same"],
                   ["maxpool", 2], ["flatten"], ["dense", 1024], ["dropout", 0.25],
                   ["logits", 10]],
        "optimizer": "adam"},
}

# Which is faster depends on the processor, so all run: TensorFlow's own kernels, oneDNN's or
# XLA's; either order of the channels in PyTorch. (name, program, its options, its environment)
PEERS = [
    ("Keras on TensorFlow", "keras", {}, {"TF_ENABLE_ONEDNN_OPTS": "0"}),
    ("Keras on TensorFlow, oneDNN", "keras", {}, {"TF_ENABLE_ONEDNN_OPTS": "1"}),
    ("Keras on TensorFlow, XLA", "keras", {"xla": True}, {}),
    ("PyTorch", "torch", {}, {}),
    ("PyTorch, channels_last", "torch", {"channels_last": True}, {}),
    ("PyTorch, compiled", "torch", {"compile": True}, {}),
    ("PyTorch, compiled, channels_last", "torch", {"compile": True, "channels_last": True}, {}),
]


# ---- The peers' training, in processes of their own ---------------------------------------------

def make_samples(batch):
    """An epoch of noise, with labels in turn as `fovea bench` has them."""
    import numpy
    count = EPOCH_STEPS * batch
    pictures = numpy.random.default_rng(1).random((count, 28, 28, 1), dtype=numpy.float32)
    return pictures, numpy.arange(count) % 10


def keras_model(net):
    import keras
    from keras import layers
    make = {"conv": lambda filters, size, padding: layers.Conv2D(filters, size, padding=padding,
                                                                 activation="relu"),
            "dense": lambda units: layers.Dense(units, activation="relu"),
            "logits": layers.Dense, "maxpool": layers.MaxPooling2D, "dropout": layers.Dropout,
            "flatten": layers.Flatten}
    return keras.Sequential([keras.Input((28, 28, 1))] +
                            [make[kind](*values) for kind, *values in net["layers"]])


def train_keras(job):
    """model.fit without metrics or shuffling, five steps a call, until the time is up."""
    import tensorflow
    tensorflow.config.threading.set_intra_op_parallelism_threads(job["threads"])
    tensorflow.config.threading.set_inter_op_parallelism_threads(job["threads"])
    import keras
    net, call_steps = NETS[job["net"]], 5

    class Clock(keras.callbacks.Callback):
        ends = []

        def on_train_batch_end(self, batch, logs=None):
            self.ends.append(time.perf_counter())
            measured = self.ends[WARM_UP_STEPS // call_steps:]
            if len(measured) > 1 and measured[-1] - measured[0] > job["seconds"]:
                self.model.stop_training = True

    model = keras_model(net)
    if net["optimizer"] == "adadelta":
        optimizer = keras.optimizers.Adadelta(learning_rate=1.0, rho=0.95, epsilon=1e-7)
    else:
        optimizer = keras.optimizers.Adam(learning_rate=0.001, epsilon=1e-8)
    model.compile(optimizer=optimizer, jit_compile=job.get("xla", False),
                  steps_per_execution=call_steps,
                  loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(*make_samples(job["batch"]), batch_size=job["batch"], epochs=1000000, shuffle=False,
              verbose=0, callbacks=[Clock()])
    ends = Clock.ends[WARM_UP_STEPS // call_steps:]
    return [(end - begin) / call_steps for begin, end in zip(ends, ends[1:])], model.count_params()


def torch_model(net):
    import torch
    from torch import nn
    make = {"conv": lambda filters, size, padding: [
                nn.LazyConv2d(filters, size, padding=size // 2 if padding == "same" else 0),
                nn.ReLU(inplace=True)],
            "dense": lambda units: [nn.LazyLinear(units), nn.ReLU(inplace=True)],
            "logits": lambda units: [nn.LazyLinear(units)],
            "maxpool": lambda size: [nn.MaxPool2d(size)],
            "dropout": lambda rate: [nn.Dropout(rate)],
            "flatten": lambda: [nn.Flatten()]}
    model = nn.Sequential(*[module for kind, *values in net["layers"]
                            for module in make[kind](*values)])
    model(torch.zeros(1, 1, 28, 28))  # tells the lazy modules their input sizes
    return model


def train_torch(job):
    """The usual loop, over views of one tensor."""
    import torch
    torch.set_num_threads(job["threads"])
    torch.set_num_interop_threads(job["threads"])
    torch.set_flush_denormal(True)  # TensorFlow does so by default
    order = torch.channels_last if job.get("channels_last") else torch.contiguous_format
    net, batch = NETS[job["net"]], job["batch"]
    pictures, labels = map(torch.from_numpy, make_samples(batch))
    pictures = pictures.permute(0, 3, 1, 2).contiguous(memory_format=order)
    model = torch_model(net).to(memory_format=order).train()
    parameters = sum(parameter.numel() for parameter in model.parameters())
    if net["optimizer"] == "adadelta":
        optimizer = torch.optim.Adadelta(model.parameters(), lr=1.0, rho=0.95, eps=1e-7)
    else:
        optimizer = torch.optim.Adam(model.parameters(), lr=0.001, eps=1e-8, fused=True)
    cross_entropy = torch.nn.CrossEntropyLoss()

    def loss_of(some_pictures, some_labels):
        return cross_entropy(model(some_pictures), some_labels)

    update = optimizer.step
    if job.get("compile"):
        loss_of, update = torch.compile(loss_of), torch.compile(update)
    samples = itertools.cycle(list(zip(pictures.split(batch), labels.split(batch))))
    times = []
    while len(times) <= WARM_UP_STEPS or sum(times[WARM_UP_STEPS:]) < job["seconds"]:
        some_pictures, some_labels = next(samples)
        begin = time.perf_counter()
        optimizer.zero_grad()
        loss_of(some_pictures, some_labels).backward()
        update()
        times.append(time.perf_counter() - begin)
    return times[WARM_UP_STEPS:], parameters


def work(job):
    """Runs one peer and prints what it found as the last line of standard output."""
    times, parameters = {"keras": train_keras, "torch": train_torch}[job["program"]](job)
    print(json.dumps({"samples_per_second": job["batch"] / statistics.median(times),
                      "parameters": parameters}))


# ---- Running and measuring processes -------------------------------------------------------------

def net_file(net):
    return ROOT / "nets" / f"{net}.net"


class ProgramFailed(Exception):
    pass


def run(arguments, command, environment=()):
    """(standard output, wall seconds, peak bytes) of one process. It gets this environment less
    what steers arithmetic libraries, with the thread count. The peak counts from this script's
    own size, some 20 MB, which is why no peer is imported here."""
    steering = ("OPENBLAS", "OMP_", "GOMP_", "KMP_", "MKL_", "BLIS_", "DNNL_", "ONEDNN_", "TF_",
                "XLA_", "TORCH", "PYTORCH", "KERAS_", "PYTHON", "LD_PRELOAD")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(steering)}
    clean.update(OMP_NUM_THREADS=str(arguments.threads), CUDA_VISIBLE_DEVICES="",
                 KERAS_BACKEND="tensorflow", TF_CPP_MIN_LOG_LEVEL="3")
    clean.update(environment)
    with tempfile.TemporaryFile("w+") as errors:
        begin = time.perf_counter()
        process = subprocess.Popen([str(word) for word in command], env=clean, text=True,
                                   stdout=subprocess.PIPE, stderr=errors)
        with process.stdout:
            output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            lines = errors.read().strip().splitlines() or ["no message"]
            raise ProgramFailed(f"{command[0]} ended with {process.returncode}:\n  " +
                                "\n  ".join(lines[-3:]))
    return output, seconds, usage.ru_maxrss * 1024


def prepare_peers(arguments):
    """The Python of the peers' virtual environment, made and filled if need be; and versions."""
    python = arguments.venv / "bin" / "python"
    look = [python, "-c", "import importlib.metadata as m, json; "
                          f"print(json.dumps({{p: m.version(p) for p in {PACKAGES}}}))"]
    try:
        return python, json.loads(run(arguments, look)[0])
    except (OSError, ProgramFailed):
        print(f"Installing {', '.join(PACKAGES)} into {arguments.venv} (several gigabytes)",
              flush=True)
    if not python.exists():
        venv.create(arguments.venv, with_pip=True)
    subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
    return python, json.loads(run(arguments, look)[0])


def describe_machine(arguments, versions):
    cpuinfo = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":", 1)[1].strip() for line in cpuinfo if line.startswith("model name")]
    fovea = run(arguments, [arguments.fovea, "--version"])[0].strip().splitlines()
    machine = {"cpu": names[0] if names else platform.machine(), "cores": CORES,
               "load": os.getloadavg()[0], "system": platform.platform(), "fovea": fovea,
               "peers": versions}
    print(f"{machine['cpu']}, {CORES} cores, load {machine['load']:.1f}, {machine['system']}")
    print("; ".join(fovea))
    print(", ".join(f"{name} {version}" for name, version in versions.items()), flush=True)
    return machine


# ---- Training ------------------------------------------------------------------------------------

def train_fovea(arguments, net):
    output, _, peak = run(arguments, [
        arguments.fovea, "bench", net_file(net), "--train", "--batch", arguments.batch,
        "--threads", arguments.threads, "--seconds", arguments.seconds, "--json"])
    return json.loads(output)["samples_per_second"], peak


def train_peer(arguments, python, net, peer):
    name, program, options, environment = peer
    job = {"program": program, "net": net, "batch": arguments.batch, "threads": arguments.threads,
           "seconds": arguments.seconds, **options}
    output, _, peak = run(arguments, [python, __file__, "--worker", json.dumps(job)], environment)
    answer = json.loads(output.strip().splitlines()[-1])
    info = json.loads(run(arguments, [arguments.fovea, "info", net_file(net), "--json"])[0])
    if answer["parameters"] != info["parameters"]:
        sys.exit(f"not the same net: {name} trains {answer['parameters']} parameters, "
                 f"fovea {info['parameters']}")
    return answer["samples_per_second"], peak


def measure_training(arguments, python, net):
    """A row for fovea and one a peer: name, samples_per_second (one a round), peak_bytes. A peer
    that fails gets `error` and is left out of the rounds that follow."""
    peers = [peer for peer in PEERS if arguments.compile or "compile" not in peer[2]]
    rows = [{"name": name, "samples_per_second": [], "peak_bytes": 0}
            for name in ["fovea"] + [peer[0] for peer in peers]]
    for number in range(arguments.rounds):
        for row, peer in zip(rows, [None] + peers):
            if "error" in row:
                continue
            print(f"{net}: round {number + 1} of {arguments.rounds}, {row['name']} ...", end=" ",
                  file=sys.stderr, flush=True)
            try:
                speed, peak = (train_peer(arguments, python, net, peer) if peer
                               else train_fovea(arguments, net))
            except ProgramFailed as failure:
                if not peer:
                    raise
                row["error"] = str(failure)
                print(f"failed: {failure}", file=sys.stderr)
                continue
            row["samples_per_second"].append(speed)
            row["peak_bytes"] = max(row["peak_bytes"], peak)
            print(f"{speed:,.0f} samples a second", file=sys.stderr)
    return rows


def compare(rows):
    """fovea to the fastest peer, by the medians of the rounds and by the best of each."""
    peers = [row for row in rows[1:] if "error" not in row]
    if not peers:
        sys.exit("no peer could be measured")
    result = {}
    for name, statistic in (("median", statistics.median), ("best", max)):
        speed, fastest = max((statistic(row["samples_per_second"]), row["name"]) for row in peers)
        result[name] = {"ratio": statistic(rows[0]["samples_per_second"]) / speed,
                        "fastest_peer": fastest}
    return result


def print_training(arguments, net, rows, ratios):
    print(f"\nTraining {net}: batch {arguments.batch}, threads {arguments.threads}, fp32, "
          f"{arguments.rounds} rounds of {arguments.seconds:g} s")
    print("(peak memory: the whole process; the peers hold an epoch of "
          f"{EPOCH_STEPS} batches, fovea one batch)")
    print(f"{'samples a second':34}{'best':>10}{'median':>10}{'lowest':>10}{'peak memory':>15}")
    for row in rows:
        if "error" in row:
            print(f"{row['name']:34}{'failed':>10}")
            continue
        speeds = row["samples_per_second"]
        print(f"{row['name']:34}{max(speeds):10,.0f}{statistics.median(speeds):10,.0f}"
              f"{min(speeds):10,.0f}{row['peak_bytes'] / 1e6:12,.0f} MB")
    for name, ratio in ratios.items():
        print(f"fovea / fastest peer, {name:6}  {ratio['ratio']:.2f}  ({ratio['fastest_peer']})")


# ---- One picture ---------------------------------------------------------------------------------

def write_png(path):
    """A 28x28 picture of a grey gradient."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I",
                                                                        zlib.crc32(kind + data))
    rows = b"".join(b"\0" + bytes(4 * x + 4 * y for x in range(28)) for y in range(28))
    header = struct.pack(">IIBBBBB", 28, 28, 8, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) +
                     chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def measure_picture(arguments, net):
    """Wall milliseconds of whole `fovea predict` processes: start, model, picture, answer. The
    weights are the net's first, untrained ones: the time does not depend on them."""
    with tempfile.TemporaryDirectory() as folder:
        model, picture = Path(folder) / "model.safetensors", Path(folder) / "picture.png"
        run(arguments, [arguments.fovea, "export", net_file(net), model])
        write_png(picture)
        command = [arguments.fovea, "predict", model, picture, "--threads", arguments.threads]
        times = [1000 * run(arguments, command)[1] for _ in range(4 * arguments.rounds)]
    print(f"One picture from process start, `fovea predict` with {net}, {len(times)} runs: "
          f"min {min(times):.1f} ms, median {statistics.median(times):.1f} ms")
    return {"milliseconds": times, "min_ms": min(times), "median_ms": statistics.median(times)}


# ---- The command ---------------------------------------------------------------------------------

def parse():
    parser = argparse.ArgumentParser(description="measures fovea beside Keras and PyTorch")
    parser.add_argument("--net", action="append", choices=NETS, help="default: lecture-keras")
    parser.add_argument("--batch", type=int, default=128, help="default: 128")
    parser.add_argument("--threads", type=int, default=CORES,
                        help=f"default: the processors, {CORES}")
    parser.add_argument("--rounds", type=int, default=5, help="default: 5")
    parser.add_argument("--seconds", type=float, default=5, help="of a measurement; default: 5")
    parser.add_argument("--compile", action="store_true", help="torch.compile too: takes minutes")
    parser.add_argument("--fovea", type=Path, default=ROOT / "build/fovea",
                        help="a release build; default: build/fovea")
    parser.add_argument("--venv", type=Path, default=ROOT / "build-peers",
                        help="the peers', made if missing; default: build-peers")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures here")
    parser.add_argument("--worker", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if min(arguments.batch, arguments.threads, arguments.rounds) < 1 or arguments.seconds <= 0:
        parser.error("--batch, --threads, --rounds and --seconds must be above 0")
    return arguments


def main():
    arguments = parse()
    if arguments.worker:
        return work(arguments.worker)
    arguments.fovea = arguments.fovea.resolve()
    if not arguments.fovea.exists():
        sys.exit(f"{arguments.fovea} is missing: build fovea first (./demo), or give --fovea")
    python, versions = prepare_peers(arguments)
    machine = describe_machine(arguments, versions)
    report = {"machine": machine, "batch": arguments.batch, "threads": arguments.threads,
              "rounds": arguments.rounds, "seconds": arguments.seconds, "nets": {}}
    for net in arguments.net or ["lecture-keras"]:
        rows = measure_training(arguments, python, net)
        ratios = compare(rows)
        print_training(arguments, net, rows, ratios)
        report["nets"][net] = {"training": rows, "fovea_to_fastest_peer": ratios,
                               "one_picture": measure_picture(arguments, net)}
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    try:
        main()
    except ProgramFailed as failed:
        sys.exit(str(failed))
    except KeyboardInterrupt:
        sys.exit(130)
