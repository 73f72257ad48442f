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
PICTURES, WARM_UP_STEPS = 12800, 10

# The lecture's two programs, as in nets/*.net; the last layer's softmax is in the peers' losses.
NETS = {
    "lecture-keras": {
        "layers": [["conv", 32, 3, "valid"], ["conv", 64, 3, "valid"], ["maxpool"],
                   ["dropout", 0.25], ["flatten"], ["dense", 128], ["dropout", 0.5],
                   ["logits", 10]],
        "normal": False,  # glorot uniform, biases 0
        "optimizer": "adadelta",
    },
    "lecture-tensorflow": {
        "layers": [["conv", 32, 5, "same"], ["maxpool"], ["conv", 64, 5, "same"], ["maxpool"],
                   ["flatten"], ["dense", 1024], ["dropout", 0.25], ["logits", 10]],
        "normal": True,  # every weight and bias from a normal distribution with sigma 1
        "optimizer": "adam",
    },
}

# Each peer in the configurations worth trying. Whether XLA or oneDNN's kernels are faster
# depends on the processor, and so does the order of the channels; the environment is set for
# the process.
PEERS = [
    {"name": "Keras on TensorFlow", "worker": "keras", "jit": False,
     "environment": {"TF_ENABLE_ONEDNN_OPTS": "0"}},
    {"name": "Keras on TensorFlow, oneDNN", "worker": "keras", "jit": False,
     "environment": {"TF_ENABLE_ONEDNN_OPTS": "1"}},
    {"name": "Keras on TensorFlow, XLA", "worker": "keras", "jit": True, "environment": {}},
    {"name": "PyTorch", "worker": "torch", "last": False, "compile": False, "environment": {}},
    {"name": "PyTorch, channels_last", "worker": "torch", "last": True, "compile": False,
     "environment": {}},
]
COMPILED_PEERS = [
    {"name": "PyTorch, compiled", "worker": "torch", "last": False, "compile": True,
     "environment": {}},
    {"name": "PyTorch, compiled, channels_last", "worker": "torch", "last": True, "compile": True,
     "environment": {}},
]


# ---- The peers' training, in processes of their own ---------------------------------------------

def make_samples():
    """Noise and labels in turn, as `fovea bench` has them, but scaled already."""
    import numpy
    pictures = numpy.random.default_rng(1).random((PICTURES, 28, 28, 1), dtype=numpy.float32)
    return pictures, numpy.arange(PICTURES) % 10


def keras_layer(layer, normal):
    import keras
    start = {}
    if normal:
        start = {"kernel_initializer": keras.initializers.RandomNormal(stddev=1.0),
                 "bias_initializer": keras.initializers.RandomNormal(stddev=1.0)}
    kind, *values = layer
    if kind == "conv":
        return keras.layers.Conv2D(values[0], values[1], padding=values[2], activation="relu",
                                   **start)
    if kind == "dense":
        return keras.layers.Dense(values[0], activation="relu", **start)
    if kind == "logits":
        return keras.layers.Dense(values[0], **start)
    if kind == "dropout":
        return keras.layers.Dropout(values[0])
    return {"maxpool": keras.layers.MaxPooling2D, "flatten": keras.layers.Flatten}[kind]()


def keras_model(net, jit):
    import keras
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((28, 28, 1))] +
                             [keras_layer(layer, net["normal"]) for layer in net["layers"]])
    if net["optimizer"] == "adadelta":
        optimizer = keras.optimizers.Adadelta(learning_rate=1.0, rho=0.95, epsilon=1e-7)
    else:
        optimizer = keras.optimizers.Adam(learning_rate=0.001, epsilon=1e-8)
    model.compile(optimizer=optimizer, jit_compile=jit,
                  loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def train_keras(job):
    """model.fit, with no metrics and no shuffling, until the time is up."""
    import tensorflow
    tensorflow.config.threading.set_intra_op_parallelism_threads(job["threads"])
    tensorflow.config.threading.set_inter_op_parallelism_threads(job["threads"])
    import keras

    class Clock(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.ends = []

        def on_train_batch_end(self, batch, logs=None):
            self.ends.append(time.perf_counter())
            measured = self.ends[WARM_UP_STEPS:]
            if measured and measured[-1] - measured[0] > job["seconds"]:
                self.model.stop_training = True

    pictures, labels = make_samples()
    model = keras_model(NETS[job["net"]], job["jit"])
    clock = Clock()
    model.fit(pictures, labels, batch_size=job["batch"], epochs=1000000, shuffle=False, verbose=0,
              callbacks=[clock])
    ends = clock.ends[WARM_UP_STEPS:]
    return [end - begin for begin, end in zip(ends, ends[1:])], model.count_params()


def torch_layer(layer):
    """One layer; its input size is found out when the first batch comes through."""
    from torch import nn
    kind, *values = layer
    if kind == "conv":
        padding = values[1] // 2 if values[2] == "same" else 0
        return [nn.LazyConv2d(values[0], values[1], padding=padding), nn.ReLU(inplace=True)]
    if kind == "dense":
        return [nn.LazyLinear(values[0]), nn.ReLU(inplace=True)]
    if kind == "logits":
        return [nn.LazyLinear(values[0])]
    if kind == "dropout":
        return [nn.Dropout(values[0])]
    return [{"maxpool": lambda: nn.MaxPool2d(2), "flatten": nn.Flatten}[kind]()]


def torch_model(net, memory_format):
    import torch
    torch.manual_seed(1)
    model = torch.nn.Sequential(*[part for layer in net["layers"] for part in torch_layer(layer)])
    model(torch.zeros(1, 1, 28, 28))
    for parameter in model.parameters():
        if net["normal"]:
            torch.nn.init.normal_(parameter)
        elif parameter.dim() > 1:
            torch.nn.init.xavier_uniform_(parameter)
        else:
            torch.nn.init.zeros_(parameter)
    model = model.to(memory_format=memory_format)
    if net["optimizer"] == "adadelta":
        optimizer = torch.optim.Adadelta(model.parameters(), lr=1.0, rho=0.95, eps=1e-7)
    else:
        optimizer = torch.optim.Adam(model.parameters(), lr=0.001, eps=1e-8, fused=True)
    return model, optimizer


def train_torch(job):
    """The usual loop over views of one tensor."""
    import torch
    torch.set_num_threads(job["threads"])
    torch.set_num_interop_threads(job["threads"])
    torch.set_flush_denormal(True)  # TensorFlow does so by default
    memory_format = torch.channels_last if job["last"] else torch.contiguous_format
    pictures, labels = (torch.from_numpy(array) for array in make_samples())
    pictures = pictures.permute(0, 3, 1, 2).contiguous(memory_format=memory_format)
    model, optimizer = torch_model(NETS[job["net"]], memory_format)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    cross_entropy = torch.nn.CrossEntropyLoss()

    def loss_of(batch, batch_labels):
        return cross_entropy(model(batch), batch_labels)

    update = optimizer.step
    if job["compile"]:
        loss_of, update = torch.compile(loss_of), torch.compile(update)
    batches = [(batch, batch_labels) for batch, batch_labels in
               zip(pictures.split(job["batch"]), labels.split(job["batch"]))
               if len(batch) == job["batch"]]
    model.train()
    times = []
    while sum(times[WARM_UP_STEPS:]) < job["seconds"] or len(times) <= WARM_UP_STEPS:
        batch, batch_labels = batches[len(times) % len(batches)]
        begin = time.perf_counter()
        optimizer.zero_grad()
        loss_of(batch, batch_labels).backward()
        update()
        times.append(time.perf_counter() - begin)
    return times[WARM_UP_STEPS:], parameters


def work(job):
    """Runs one peer and prints what it found as the last line of standard output."""
    times, parameters = {"keras": train_keras, "torch": train_torch}[job["worker"]](job)
    print(json.dumps({"samples_per_second": job["batch"] / statistics.median(times),
                      "parameters": parameters}))


# ---- Running and measuring processes -------------------------------------------------------------

def environment_for(threads, more=()):
    """This environment without what steers arithmetic libraries, and with the thread count."""
    steering = ("OPENBLAS", "OMP_", "GOMP_", "KMP_", "MKL_", "BLIS_", "DNNL_", "ONEDNN_", "TF_",
                "XLA_", "TORCH", "PYTORCH", "KERAS_", "PYTHON", "LD_PRELOAD")
    result = {name: value for name, value in os.environ.items() if not name.startswith(steering)}
    result.update(OMP_NUM_THREADS=str(threads), CUDA_VISIBLE_DEVICES="", KERAS_BACKEND="tensorflow",
                  TF_CPP_MIN_LOG_LEVEL="3")
    result.update(more)
    return result


class ProgramFailed(Exception):
    pass


def run(command, environment):
    """Standard output, wall seconds and peak memory in bytes of one process. The peak of a child
    starts from this script's own size at the start, a few megabytes: no peer is imported here."""
    with tempfile.TemporaryFile("w+") as errors:
        begin = time.perf_counter()
        process = subprocess.Popen([str(word) for word in command], env=environment, text=True,
                                   stdout=subprocess.PIPE, stderr=errors)
        with process.stdout:
            output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            lines = errors.read().strip().splitlines() or ["no message"]
            raise ProgramFailed(f"{command[0]} ended with {process.returncode}: " +
                                "\n  ".join(lines[-3:]))
    return output, seconds, usage.ru_maxrss * 1024


def prepare_peers(folder):
    """The Python of the virtual environment at `folder`, made and filled if need be."""
    python = folder / "bin" / "python"
    look = ("import importlib.metadata as m, json; "
            f"print(json.dumps({{p: m.version(p) for p in {PACKAGES}}}))")
    try:
        versions = json.loads(run([python, "-c", look], environment_for(1))[0])
    except (OSError, ProgramFailed):
        print(f"Installing {', '.join(PACKAGES)} into {folder} (several gigabytes)", flush=True)
        if not python.exists():
            venv.create(folder, with_pip=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
        versions = json.loads(run([python, "-c", look], environment_for(1))[0])
    return python, versions


def describe_machine(arguments, versions):
    cpu = platform.processor() or platform.machine()
    with open("/proc/cpuinfo") as file:
        names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    fovea = run([arguments.fovea, "--version"], environment_for(arguments.threads))[0]
    return {"cpu": names[0] if names else cpu, "cores": len(os.sched_getaffinity(0)),
            "system": platform.platform(), "load": os.getloadavg()[0],
            "fovea": fovea.strip().splitlines(), "peers": versions}


# ---- Training ------------------------------------------------------------------------------------

def train_fovea(arguments, net):
    path = ROOT / "nets" / f"{net}.net"
    output, _, memory = run([arguments.fovea, "bench", path, "--train", "--batch", arguments.batch,
                             "--threads", arguments.threads, "--seconds", arguments.seconds,
                             "--json"], environment_for(arguments.threads))
    return json.loads(output)["samples_per_second"], memory


def train_peer(arguments, python, net, peer, parameters):
    job = {**peer, "net": net, "batch": arguments.batch, "threads": arguments.threads,
           "seconds": arguments.seconds}
    output, _, memory = run([python, __file__, "--worker", json.dumps(job)],
                            environment_for(arguments.threads, peer["environment"]))
    answer = json.loads(output.strip().splitlines()[-1])
    if answer["parameters"] != parameters:
        sys.exit(f"{peer['name']} trains {answer['parameters']} parameters, fovea {parameters}")
    return answer["samples_per_second"], memory


def measure_training(arguments, python, net):
    """Rows of {name, samples_per_second: [a round], peak_bytes}, fovea's first. A peer that fails
    is told of and left out of the rounds that follow."""
    info = run([arguments.fovea, "info", ROOT / "nets" / f"{net}.net", "--json"],
               environment_for(arguments.threads))[0]
    parameters = json.loads(info)["parameters"]
    rows = [{"name": "fovea"}] + list(PEERS) + (COMPILED_PEERS if arguments.compile else [])
    rows = [{**row, "samples_per_second": [], "peak_bytes": 0} for row in rows]
    for number in range(arguments.rounds):
        for row in [row for row in rows if "error" not in row]:
            print(f"{net}: round {number + 1} of {arguments.rounds}, {row['name']} ...",
                  end=" ", file=sys.stderr, flush=True)
            try:
                if row["name"] == "fovea":
                    speed, memory = train_fovea(arguments, net)
                else:
                    peer = {key: row[key] for key in row if key not in ("samples_per_second",
                                                                        "peak_bytes")}
                    speed, memory = train_peer(arguments, python, net, peer, parameters)
            except ProgramFailed as failure:
                if row["name"] == "fovea":
                    raise
                row["error"] = str(failure)
                print(f"failed: {failure}", file=sys.stderr)
                continue
            row["samples_per_second"].append(speed)
            row["peak_bytes"] = max(row["peak_bytes"], memory)
            print(f"{speed:,.0f} samples a second", file=sys.stderr)
    return [{key: row[key] for key in ("name", "samples_per_second", "peak_bytes", "error")
             if key in row} for row in rows]


def compare(rows):
    """fovea against the fastest peer, by the medians of the rounds and by the best of each."""
    rows = [row for row in rows if "error" not in row]
    if len(rows) < 2:
        sys.exit("no peer could be measured")
    result = {}
    for name, statistic in (("median", statistics.median), ("best", max)):
        fastest = max(rows[1:], key=lambda row: statistic(row["samples_per_second"]))
        result[name] = {"ratio": statistic(rows[0]["samples_per_second"]) /
                                 statistic(fastest["samples_per_second"]),
                        "fastest_peer": fastest["name"]}
    return result


def print_training(arguments, net, rows, ratios):
    print(f"\nTraining {net}: batch {arguments.batch}, threads {arguments.threads}, fp32, "
          f"{arguments.rounds} rounds of {arguments.seconds:g} s, samples a second")
    print(f"{'':34}{'best':>10}{'median':>10}{'lowest':>10}{'peak memory':>15}")
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
    """A 28x28 grey picture of a gradient."""
    def chunk(kind, data):
        return (struct.pack(">I", len(data)) + kind + data +
                struct.pack(">I", zlib.crc32(kind + data)))
    rows = b"".join(b"\0" + bytes(4 * x + 4 * y for x in range(28)) for y in range(28))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 28, 28, 8, 0, 0,
                                                                      0, 0)) +
                     chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def measure_picture(arguments, net):
    """Wall milliseconds of whole `fovea predict` processes: start, model, picture, answer. The
    weights are the net's first, untrained ones: the time does not depend on them."""
    environment = environment_for(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        model, picture = Path(folder) / "model.safetensors", Path(folder) / "picture.png"
        run([arguments.fovea, "export", ROOT / "nets" / f"{net}.net", model], environment)
        write_png(picture)
        command = [arguments.fovea, "predict", model, picture, "--threads", arguments.threads]
        runs = [run(command, environment)[1:] for _ in range(4 * arguments.rounds)]
    times = [1000 * seconds for seconds, _ in runs]
    return {"milliseconds": times, "min_ms": min(times), "median_ms": statistics.median(times),
            "peak_bytes": max(memory for _, memory in runs)}


def print_picture(net, picture):
    print(f"\nOne picture by `fovea predict`, {net}, from process start ({len(picture['milliseconds'])}"
          f" processes, files cached): min {picture['min_ms']:.1f} ms, median "
          f"{picture['median_ms']:.1f} ms, peak memory {picture['peak_bytes'] / 1e6:.0f} MB")


# ---- The command ---------------------------------------------------------------------------------

def parse():
    cores = len(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--net", action="append", choices=NETS, help="default: lecture-keras")
    parser.add_argument("--batch", type=int, default=128, help="default: 128")
    parser.add_argument("--threads", type=int, default=cores, help=f"default: the cores, {cores}")
    parser.add_argument("--rounds", type=int, default=5, help="default: 5")
    parser.add_argument("--seconds", type=float, default=5, help="of a measurement; default: 5")
    parser.add_argument("--compile", action="store_true", help="torch.compile too: takes minutes")
    parser.add_argument("--fovea", type=Path, default=ROOT / "build/fovea",
                        help="the command; default: build/fovea")
    parser.add_argument("--venv", type=Path, default=ROOT / "build-peers",
                        help="the peers' virtual environment; made if missing; default: build-peers")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures here")
    parser.add_argument("--worker", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if min(arguments.batch, arguments.threads, arguments.rounds) < 1 or arguments.seconds <= 0:
        parser.error("--batch, --threads, --rounds and --seconds must be above 0")
    if arguments.batch > PICTURES:
        parser.error(f"--batch must be at most {PICTURES}")
    return arguments


def main():
    arguments = parse()
    if arguments.worker:
        return work(arguments.worker)
    if not arguments.fovea.exists():
        sys.exit(f"{arguments.fovea} is missing: build fovea first (./demo), or give --fovea")
    python, versions = prepare_peers(arguments.venv)
    machine = describe_machine(arguments, versions)
    print(f"{machine['cpu']}, {machine['cores']} cores, load {machine['load']:.1f}, "
          f"{machine['system']}")
    print("; ".join(machine["fovea"]))
    print(", ".join(f"{name} {version}" for name, version in versions.items()), flush=True)
    report = {"machine": machine, "batch": arguments.batch, "threads": arguments.threads,
              "rounds": arguments.rounds, "seconds": arguments.seconds, "nets": {}}
    for net in arguments.net or ["lecture-keras"]:
        rows = measure_training(arguments, python, net)
        ratios = compare(rows)
        picture = measure_picture(arguments, net)
        print_training(arguments, net, rows, ratios)
        print_picture(net, picture)
        report["nets"][net] = {"training": rows, "fovea_to_fastest_peer": ratios,
                               "one_picture": picture}
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    try:
        main()
    except ProgramFailed as failed:
        sys.exit(str(failed))
    except KeyboardInterrupt:
        sys.exit(130)
