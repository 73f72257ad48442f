"""Measures one case: round by round, each program in turn; and makes sure that all do the same.

A runner takes seconds and answers (figures of a step or run, peak bytes of its process).
"""
import datetime
import json
import re
import statistics
import sys
import tempfile
from pathlib import Path

import cases
from processes import ProgramFailed

CLOSE = 1.25  # a second program this near to the fastest runs in the later rounds, too
MOST_DIFFERENCE = 1e-3
START_RUNS = 3  # a round


class CaseFailed(Exception):
    pass


def progress(text, end="\n"):
    print(text, end=end, file=sys.stderr, flush=True)


# ---- Rounds --------------------------------------------------------------------------------------

def median_of(row):
    return statistics.median(run["median_ms"] for run in row["runs"])


def choose_finalists(rows):
    """The fastest peer, and the fastest of another program where that is close, else the second."""
    peers = sorted((row for row in rows if row["program"] != "fovea" and row["runs"]), key=median_of)
    if len(peers) < 2:
        return peers
    others = [row for row in peers if row["program"] != peers[0]["program"]
              and median_of(row) <= CLOSE * median_of(peers[0])]
    return [peers[0], others[0] if others else peers[1]]


def run_once(host, label, row, runner, seconds):
    """A peer that fails gets `error`; fovea must not fail."""
    progress(f"{label}, {row['name']} ...", end=" ")
    try:
        figures, peak = runner(seconds)
    except ProgramFailed as failure:
        if row["program"] == "fovea":
            raise
        row["error"] = str(failure)
        progress(f"failed: {failure}")
        return
    row["runs"].append(figures)
    row["peak_bytes"] = max(row["peak_bytes"], peak)
    progress(f"{figures['median_ms']:.2f} ms, {peak / 1e6:.0f} MB")


def run_rounds(host, case, programs, finalists=choose_finalists):
    """Fills the rows of (row, runner) with runs; the rows, and the most multiply-adds that a thread did. The
    short runs of the first round give way to those of later rounds, where there are any."""
    rows, peak = [row for row, _ in programs], 0
    running = programs
    for number in range(host.rounds):
        peak = max(peak, peak_gflops(host))
        if number == 1:
            names = [row["name"] for row in finalists(rows)]
            running = [(row, runner) for row, runner in programs
                       if row["program"] == "fovea" or row["name"] in names]
            for row, _ in running:
                row["first_run"] = row["runs"].pop(0)
        for row, runner in running:
            if "error" not in row:
                run_once(host, f"{case.name}: round {number + 1} of {host.rounds}", row, runner,
                         host.seconds if number else host.seconds / 3)
    return rows, peak


def peak_gflops(host):
    output = host.fovea("bench", "lecture-keras", "--layers", "--seconds", 0.1, "--threads",
                        host.threads, "--json")[0]
    return json.loads(output)["peak_gflops"]


def new_row(name, program):
    return {"name": name, "program": program, "runs": [], "peak_bytes": 0}


# ---- fovea ---------------------------------------------------------------------------------------

def bench_fovea(host, case, net, threads, *options):
    def run(seconds):
        output, _, peak = host.fovea("bench", net, "--batch", case.batch, "--threads", threads,
                                     "--seconds", seconds, "--json", *options)
        figures = json.loads(output)
        return {name: figures[name] * case.batch for name in ("median_ms", "min_ms")}, peak
    return run


def fovea_programs(host, case, net, *options):
    programs = [(new_row("fovea", "fovea"), bench_fovea(host, case, net, host.threads, *options))]
    if host.threads > 1:
        programs.append((new_row("fovea, 1 thread", "fovea"),
                         bench_fovea(host, case, net, 1, *options)))
    return programs


def net_info(host, net):
    return json.loads(host.fovea("info", net, "--json")[0])


# ---- Training ------------------------------------------------------------------------------------

def write_training_net(host, case, path):
    """The net with the optimiser that all use, whose steps are of one batch."""
    sets = []
    if case.optimizer is cases.MOMENTUM:
        for setting in ("optimizer=sgd", "formula=torch", "lr=0.01", "momentum=0.9",
                        "weight_decay=0", "accumulate=1"):
            sets += ["--set", f"train.{setting}"]
    host.fovea("export", case.net, path, *sets)


def train_peer(host, case, peer, row, job, info):
    def run(seconds):
        figures, peak = host.worker("peers_training.py", peer.worker,
                                    {**job, **peer.options, "seconds": seconds}, peer.environment)
        parameters = figures.pop("parameters")
        if parameters == info["training"]["parameters"]:
            pass
        elif parameters == info["parameters"]:
            row["smaller"] = "without the auxiliary outputs, which are lost in Keras' file"
        else:
            raise CaseFailed(f"not the same net: {peer.name} trains {parameters} parameters, fovea "
                             f"{info['training']['parameters']}")
        return figures, peak
    return run


def measure_training(host, case, folder):
    net, model = folder / "net.net", folder / "net.keras"
    write_training_net(host, case, net)
    host.fovea("export", case.net, model)
    info = net_info(host, net)
    job = {"net": case.net, "batch": case.batch, "threads": host.threads, "input": case.input,
           "classes": case.classes, "optimizer": case.optimizer["name"], "model": str(model),
           "steps_a_call": 5 if case.small else 1}
    programs = fovea_programs(host, case, net, "--train")
    for peer in cases.peers_of(case):
        row = new_row(peer.name, peer.program)
        programs.append((row, train_peer(host, case, peer, row, job, info)))
    rows, peak = run_rounds(host, case, programs)
    state = 4 * info["training"]["parameters"] * (2 + case.optimizer["slots"])
    return {"rows": rows, "peak_gflops": peak, "state_bytes": state,
            "optimizer": case.optimizer["name"], "parameters": info["training"]["parameters"],
            "operations": 2 * 3 * info["training"]["macs"] * case.batch}


# ---- Inference -----------------------------------------------------------------------------------

def make_models(host, case, folder):
    """All programs' files of the net, with the same weights; what a peer cannot convert it cannot
    run, which its row says. The errors by worker."""
    job = {"folder": str(folder), "net": case.net, "batch": case.batch, "threads": host.threads}
    host.worker("peers_inference.py", "make_model", job)
    host.fovea("convert", case.net, folder / "weights.safetensors", folder / "model.safetensors")
    host.fovea("export", folder / "model.safetensors", folder / "net.onnx")
    errors = {}
    for peer in cases.peers_of(case):
        if peer is cases.ONNX_RUNTIME:
            continue
        try:
            host.worker("peers_inference.py", f"convert_{peer.worker}", job)
        except ProgramFailed as failure:
            errors[peer.worker] = f"could not be converted: {failure}"
            progress(f"{case.name}: {peer.name} {errors[peer.worker]}")
    return job, errors


def infer_peer(host, peer, job):
    def run(seconds):
        return host.worker("peers_inference.py", peer.worker,
                           {**job, "outputs": peer.worker, "seconds": seconds}, peer.environment)
    return run


def check_outputs(host, case, job, rows):
    """What each program computes, against ONNX Runtime."""
    folder = Path(job["folder"])
    (folder / "fovea").mkdir()
    host.fovea("run", folder / "model.safetensors", "--input", folder / "pictures.npy",
               "--output-dir", folder / "fovea", "--threads", host.threads)
    next((folder / "fovea").iterdir()).rename(folder / "fovea.npy")
    names = {"fovea": "fovea"}
    for row, peer in zip(rows[-len(cases.peers_of(case)):], cases.peers_of(case)):
        if row["runs"]:
            names[peer.worker] = peer.name
    if cases.ONNX_RUNTIME.worker not in names:
        raise CaseFailed("ONNX Runtime did not run: there is nothing to compare outputs with")
    differences = host.worker("peers_inference.py", "compare", {
        **job, "names": list(names), "reference": cases.ONNX_RUNTIME.worker})[0]
    wrong = [f"{names[worker]} (by {difference:.1e})" for worker, difference in differences.items()
             if not difference <= MOST_DIFFERENCE]
    if wrong:
        raise CaseFailed(f"{', '.join(wrong)} computes something else than ONNX Runtime")
    progress(f"{case.name}: outputs differ from ONNX Runtime's by " + ", ".join(
        f"{difference:.0e} ({names[worker]})" for worker, difference in differences.items()))
    return differences


def measure_inference(host, case, folder):
    job, errors = make_models(host, case, folder)
    programs = fovea_programs(host, case, folder / "model.safetensors")
    for peer in cases.peers_of(case):
        row = new_row(peer.name, peer.program)
        if peer.worker in errors:
            row["error"] = errors[peer.worker]
        programs.append((row, infer_peer(host, peer, job)))
    rows, peak = run_rounds(host, case, programs)
    info = net_info(host, folder / "model.safetensors")
    return {"rows": rows, "peak_gflops": peak, "differences": check_outputs(host, case, job, rows),
            "operations": 2 * info["macs"] * case.batch}


# ---- From process start to the answer ------------------------------------------------------------

def find_class(pattern, result):
    output, seconds, peak = result
    found = re.search(pattern, output, re.MULTILINE)
    if not found:
        raise ProgramFailed(f"no class in its output: {output.strip()[-200:]}")
    return int(found[1]), seconds, peak


def start_runner(name, ask, answers):
    """Runs a few processes; `ask` answers (class, seconds, peak bytes)."""
    def run(_):
        results = [ask() for _ in range(START_RUNS)]
        answers[name] = results[0][0]
        times = [1000 * seconds for _, seconds, _ in results]
        return ({"median_ms": statistics.median(times), "min_ms": min(times), "steps": len(times)},
                max(peak for _, _, peak in results))
    return run


def measure_start(host, case, folder):
    make_models(host, case, folder)
    answers = {}

    def ask_fovea():
        return find_class(r'"index": *(\d+)', host.fovea(
            "predict", folder / "model.safetensors", folder / "picture.png", "--top", 1,
            "--threads", host.threads, "--json"))

    def ask_peer(peer):
        return find_class(r"^class (\d+)", host.peer(f"start_{peer.worker}.py", folder, host.threads))

    programs = [(new_row("fovea", "fovea"), start_runner("fovea", ask_fovea, answers))]
    programs += [(new_row(peer.name, peer.program),
                  start_runner(peer.name, lambda peer=peer: ask_peer(peer), answers))
                 for peer in cases.peers_of(case)]
    rows, peak = run_rounds(host, case, programs, finalists=lambda rows: rows[1:])
    if len(set(answers.values())) > 1:
        raise CaseFailed(f"the answers differ: {answers}")
    return {"rows": rows, "peak_gflops": peak}


# ---- A case --------------------------------------------------------------------------------------

def measure(host, case):
    """The case's record for bench.json."""
    kinds = {"train": measure_training, "inference": measure_inference, "start": measure_start}
    with tempfile.TemporaryDirectory() as folder:
        record = kinds[case.kind](host, case, Path(folder))
    if all(not row["runs"] for row in record["rows"] if row["program"] != "fovea"):
        raise CaseFailed("no peer could be measured")
    return {"kind": case.kind, "net": case.net, "batch": case.batch,
            "date": datetime.date.today().isoformat(), "commit": host.commit,
            "machine": host.machine, "fovea": host.fovea_version,
            "instruction_set": host.instruction_set, "versions": host.versions,
            "threads": host.threads, "rounds": host.rounds, "seconds": host.seconds, **record}
