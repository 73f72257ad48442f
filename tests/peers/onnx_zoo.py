#!/usr/bin/env python3
"""The ONNX model zoo's first nets, as Caffe2 wrote them, through fovea's reader of ONNX files.

Run by hand, with any Python that has onnx, onnxruntime and numpy:

    python tests/peers/onnx_zoo.py build/fovea [NET ...]

The onnx package brings them (backend/test/data/light) in operator set 9, for a batch of 1, with
constants for weights: these are drawn here from a seed, or all pictures would look the same.
`fovea run`, with and without --exact, must give what ONNX Runtime gives, within 1e-4 of the largest
value, and so must ONNX Runtime of what `fovea export` makes of the file: the net's output, and
what comes before its softmax, which hides much. Exits with 1 where one does not.
"""
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from onnx_cases import difference

BOUND = 1e-4
LIGHT = Path(onnx.__file__).parent / "backend/test/data/light"


def draw(shape, readers, rng):
    """A weight, by the shape and by what reads it: (operator, which input of it)."""
    if len(shape) > 1:
        return rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)
    biases = {("Conv", 2), ("Gemm", 2), ("BatchNormalization", 2), ("BatchNormalization", 3)}
    return rng.normal(0, 0.2, shape) if readers & biases else rng.uniform(0.5, 1.5, shape)


def with_weights(model, rng):
    """The model with weights for its constants, and with what its softmax reads as an output."""
    graph = model.graph
    shapes = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    readers = {}
    for node in graph.node:
        for i, name in enumerate(node.input):
            readers.setdefault(name, set()).add((node.op_type, i))
    constants = [node for node in graph.node if node.op_type == "ConstantOfShape"]
    for node in constants:
        name = node.output[0]
        weights = draw(shapes[node.input[0]], readers.get(name, set()), rng).astype(np.float32)
        graph.initializer.append(numpy_helper.from_array(weights, name))
        graph.input.append(helper.make_tensor_value_info(name, 1, weights.shape))
        graph.node.remove(node)
    for node in graph.node:
        if node.op_type == "Softmax":
            graph.output.append(helper.make_tensor_value_info(node.input[0], 1, None))
    return model


def fovea(*arguments):
    done = subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, text=True,
                          errors="replace", check=False)
    if done.returncode:
        raise RuntimeError(f"status {done.returncode}: {done.stderr.strip()}")


def run_peer(path, inputs):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {session.get_inputs()[0].name: inputs})))


def worst(got, wanted):
    if set(got) != set(wanted):
        raise RuntimeError(f"outputs {sorted(got)}, expected {sorted(wanted)}")
    return max(difference(got[name], wanted[name]) for name in wanted)


def compare(source, folder):
    """Differences of run, run --exact, and of what is exported again; and of two pictures."""
    rng = np.random.default_rng(11)
    model = with_weights(onnx.load(source), rng)
    path, again, array = folder / "model.onnx", folder / "again.onnx", folder / "x.npy"
    onnx.save(model, path)
    squares = rng.normal(0, 1, (2, 3, 8, 8)).repeat(28, 2).repeat(28, 3)
    pictures = (squares + 0.3 * rng.normal(0, 1, squares.shape)).astype(np.float32)
    picture, other = pictures[:1], pictures[1:]
    np.save(array, np.ascontiguousarray(np.moveaxis(picture, 1, -1)))
    wanted = run_peer(path, picture)
    spread = worst(run_peer(path, other), wanted)
    results = []
    for options in ([], ["--exact"]):
        outputs = folder / "-".join(["outputs", *options])
        outputs.mkdir()
        fovea("run", path, "--input", array, "--output-dir", outputs, *options)
        got = {name: np.load(outputs / (re.sub("[/:]", "_", name) + ".npy")) for name in wanted}
        results.append(worst({name: np.moveaxis(got[name], -1, 1) for name in got}, wanted))
    fovea("export", path, again)
    onnx.checker.check_model(again, full_check=True)
    results.append(worst(run_peer(again, picture), wanted))
    return results, spread


def main(names):
    failed = count = 0
    print(f"{'net':20}{'run':>10}{'--exact':>10}{'again':>10}{'spread':>10}")
    for source in sorted(LIGHT.glob("light_*.onnx")):
        name = source.stem.removeprefix("light_")
        if names and name not in names:
            continue
        count += 1
        print(f"{name:20}", end="", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            try:
                results, spread = compare(source, Path(folder))
                agrees = all(each <= BOUND for each in results)
                print("".join(f"{each:10.1e}" for each in [*results, spread]),
                      "ok" if agrees else "FAIL", flush=True)
            except Exception as error:  # of any of the programs: a row, and on with the next
                agrees = False
                print(f"FAIL {type(error).__name__}: {str(error)[:400]}", flush=True)
        failed += not agrees
    print(f"{count - failed} of {count} nets agree")
    return 1 if failed or not count else 0


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    PROGRAM = sys.argv[1]
    sys.exit(main(sys.argv[2:]))
