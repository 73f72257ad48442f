"""Processes that bench/run starts and measures, and the machine that they run on."""
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import threading
import time
import venv
from pathlib import Path

BENCH = Path(__file__).resolve().parent
PACKAGES = ["numpy", "pillow", "safetensors", "tensorflow", "keras", "torch", "torchvision", "onnx",
            "onnxruntime", "openvino", "MNN", "ncnn", "pnnx"]
LIMIT_SECONDS = 1800  # of any process
# What steers arithmetic libraries and Python; a child gets none of the caller's.
STEERING = ("OPENBLAS", "OMP_", "GOMP_", "KMP_", "MKL_", "BLIS_", "DNNL_", "ONEDNN_", "TF_", "XLA_",
            "TORCH", "PYTORCH", "KERAS_", "PYTHON", "MNN_", "OV_", "FOVEA_", "LD_PRELOAD")


class ProgramFailed(Exception):
    pass


def run(command, environment):
    """(standard output, wall seconds, peak bytes) of one process. A peak counts from the size of
    the process that starts it, which is why bench/run itself imports nothing large."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(STEERING)}
    clean.update(environment)
    with tempfile.TemporaryFile("w+", errors="replace") as errors:
        begin = time.perf_counter()
        process = subprocess.Popen([str(word) for word in command], env=clean, text=True,
                                   stdout=subprocess.PIPE, stderr=errors, start_new_session=True)
        timer = threading.Timer(LIMIT_SECONDS, os.killpg, (process.pid, signal.SIGKILL))
        timer.start()
        try:
            with process.stdout:
                output = process.stdout.read()
            _, status, usage = os.wait4(process.pid, 0)
        finally:
            timer.cancel()
            end_group(process.pid)
        seconds = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            raise ProgramFailed(describe_failure(command, process.returncode, errors.read()))
    return output, seconds, usage.ru_maxrss * 1024


def end_group(leader):
    """Ends what a process has left running, such as torch.compile's workers."""
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        pass


def describe_failure(command, code, errors):
    if code == -signal.SIGALRM:
        return "gave up compiling"
    lines = errors.strip().splitlines() or ["no message"]
    return f"{Path(str(command[0])).name} ended with {code}: " + " / ".join(lines[-2:])[:300]


def describe_machine():
    cpuinfo = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":", 1)[1].strip() for line in cpuinfo if line.startswith("model name")]
    return {"cpu": names[0] if names else platform.machine(),
            "cores": len(os.sched_getaffinity(0)),
            "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            "system": platform.platform()}


def find_commit():
    command = ["git", "-C", BENCH, "describe", "--always", "--dirty", "--exclude", "*"]
    try:
        return run(command, {})[0].strip()
    except (OSError, ProgramFailed):
        return "unknown"


class Host:
    """This machine with the programs that are measured on it."""

    def __init__(self, options):
        self.fovea_path, self.threads = options.fovea, options.threads
        self.rounds, self.seconds = options.rounds, options.seconds
        self.venv = options.venv.absolute()
        self.python = self.venv / "bin" / "python"
        self.machine, self.commit = describe_machine(), find_commit()
        self.versions = self.prepare_peers()
        version = self.fovea("version")[0]
        self.fovea_version = version.splitlines()[0]
        self.instruction_set = next(line.split(":")[1].strip() for line in version.splitlines()
                                    if line.startswith("instruction set:"))
        print(f"{self.machine['cpu']}, {self.machine['cores']} cores, load {os.getloadavg()[0]:.1f}, "
              f"{self.machine['system']}\n{version.strip()}\n" +
              ", ".join(f"{name} {number}" for name, number in self.versions.items()), flush=True)

    def prepare_peers(self):
        """Versions of the peers' packages, which are installed if need be."""
        look = [self.python, "-c",
                "import importlib.metadata as m, json\n"
                f"print(json.dumps({{p: m.version(p) for p in {PACKAGES}}}))"]
        try:
            return json.loads(run(look, {})[0])
        except (OSError, ProgramFailed):
            print(f"Installing {', '.join(PACKAGES)} into {self.venv} (several gigabytes)", flush=True)
        if not self.python.exists():
            venv.create(self.venv, with_pip=True)
        subprocess.run([self.python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
        return json.loads(run(look, {})[0])

    def fovea(self, *words):
        return run([self.fovea_path, *words], {})

    def peer(self, script, *words, environment=()):
        """Runs a script of this folder in the peers' Python."""
        steering = {"OMP_NUM_THREADS": str(self.threads), "CUDA_VISIBLE_DEVICES": "",
                    "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3",
                    "TORCHINDUCTOR_CACHE_DIR": str(self.venv / "inductor-cache"),
                    **dict(environment)}
        return run([self.python, BENCH / script, *words], steering)

    def worker(self, script, function, job, environment=()):
        """What a function of one of the workers' scripts answers, and the process' peak bytes."""
        output, _, peak = self.peer(script, function, json.dumps(job), environment=environment)
        return json.loads(output), peak
