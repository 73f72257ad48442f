#!/usr/bin/env python3
"""Holds fovea's reader of ONNX files to the operator tests that the onnx package brings.

Run by hand, with any Python that has onnx (with its reference evaluator), onnxruntime and numpy:

    python tests/peers/onnx_operators.py build/fovea [--self-check] [--varying] [--verbose] [OP ...]

onnx_cases.py says how a test becomes a net of one input. `fovea run` must give what the test
expects within 1e-4 of the largest value (of fewer bits: as these round), or refuse it in words that
name a node and its operator, an input, an output, a tensor or the version; a crash, other numbers,
another shape and other words are failures. Prints a table by operator ("X ..." are tests of X in several nodes, as those
with its function written out), the refusals and the failures; the exit status is 1 if there are
any failures, or if an operator that is claimed passes no test though it has some. --varying gives the
batch axis a name instead of the test's number, as exporters do; --verbose prints what became of
each test; --self-check only prepares them, and runs no fovea.
"""
import collections
import logging
import pathlib
import re
import subprocess
import sys
import tempfile
import warnings

import numpy as np

import onnx_cases

# What fovea claims to import, as layers or as arithmetic on constants and shapes.
CLAIMED = set("""
    Add Sub Mul Div Max Min Sum Mean Neg Abs Pow Conv ConvTranspose MaxPool AveragePool
    GlobalAveragePool GlobalMaxPool Gemm MatMul BatchNormalization InstanceNormalization
    LayerNormalization GroupNormalization RMSNormalization LRN LpNormalization Relu LeakyRelu Elu
    Selu Celu Sigmoid Tanh HardSigmoid HardSwish Softplus Softsign Softmax LogSoftmax Clip Mish Gelu
    Swish PRelu Dropout Identity Cast Flatten Reshape Transpose Squeeze Unsqueeze Concat Split Slice
    Pad Resize Upsample DepthToSpace SpaceToDepth ReduceMean ReduceSum ReduceMax Expand Shape Gather
    Constant ConstantOfShape Where Equal
    """.split())
# Those that only reckon with constants, which no test of one node shows.
FOLDED = set("Constant ConstantOfShape Equal Shape Where".split())
SECONDS = 120

Refusal = collections.namedtuple("Refusal", "label message name")


def explains(message, model):
    """Does a refusal name node and operator, or input, output or version?"""
    def has(words):
        return re.search(rf"(?<!\w){words}(?!\w)", message)

    graph = model.graph
    sides = [(side, each.name) for side, list_ in [("input", graph.input), ("output", graph.output),
                                                   ("tensor", graph.initializer)] for each in list_]
    if has(r"FILE:\d+"):
        return False  # a line of a text that nobody has
    return (any(has(node.name) and has(node.op_type) for node in graph.node)
            or any(has(f'{side} "{re.escape(name)}"') for side, name in sides)
            or any(has(f"operator set {each.version}") for each in model.opset_import)
            or has(f"version {model.ir_version} of ONNX's format"))


def run_fovea(case, folder):
    """The outputs in ONNX's order of axes, or a Refusal."""
    model, array = folder / "test.onnx", folder / "test.npy"
    model.write_bytes(case.model.SerializeToString())
    inputs = case.inputs[:, None] if case.inputs.ndim == 1 else np.moveaxis(case.inputs, 1, -1)
    np.save(array, np.ascontiguousarray(inputs, np.float32))
    with tempfile.TemporaryDirectory() as results:
        command = [PROGRAM, "run", model, "--input", array, "--output-dir", results]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace",
                              timeout=SECONDS, check=False)
        found = {path.stem: np.load(path) for path in pathlib.Path(results).glob("*.npy")}
    if done.returncode:
        message = done.stderr.strip().replace(str(model), "FILE").replace(str(array), "ARRAY")
        if done.returncode != 1 or not explains(message, case.model):
            raise RuntimeError(f"status {done.returncode}: {message[:400]}")
        return Refusal(case.label, message, case.name)
    names = [re.sub("[/:]", "_", info.name) for info in case.model.graph.output]
    if len(found) == 1 and len(names) == 1:
        names = list(found)
    if set(found) != set(names):
        raise RuntimeError(f"outputs {sorted(found)}, expected {sorted(names)}")
    return [np.moveaxis(found[name], -1, 1) for name in names]


def attempt(case, folder):
    """The worst difference, a Refusal, or the text of a failure."""
    try:
        got = run_fovea(case, folder)
        if isinstance(got, Refusal):
            return got
        worst = 0.0
        for ours, wanted in zip(got, case.outputs):
            if wanted.ndim == 1 and ours.ndim == 2 and ours.shape[1] == 1:
                ours = ours[:, 0]  # a sample has channels, if only one
            if ours.shape != wanted.shape:
                raise RuntimeError(f"shape {ours.shape}, expected {wanted.shape}")
            worst = max(worst, onnx_cases.difference(ours, wanted))
        if worst > case.bound:
            raise RuntimeError(f"differs by {worst:.2e} of the largest")
        return worst
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        return f"{case.label}: {case.name}: {error}"


def print_rows(rows):
    print(f"{'operator':<32}{'tests':>6}{'passed':>8}{'refused':>9}{'failed':>8}{'worst':>10}")
    for claimed in (True, False):
        print("claimed:" if claimed else "not claimed:")
        for label, row in sorted(rows.items()):
            if (label.split()[0] in CLAIMED) == claimed:
                worst = f"{row['worst']:.1e}" if row["passed"] else ""
                print(f"  {label:<30}{row['tests']:>6}{row['passed']:>8}{row['refused']:>9}"
                      f"{row['failed']:>8}{worst:>10}")


def print_refusals(refusals):
    messages = collections.defaultdict(list)
    for refusal in refusals:
        general = re.sub(r"step\d+", "NODE", refusal.message)
        general = re.sub(r"-?\d+(\.\d+)?(e[-+]\d+)?", "#", general)
        messages[refusal.label, general].append(refusal)
    print("refused (# stands for a number):")
    for (label, general), those in sorted(messages.items()):
        print(f"  {label}: {len(those)} as {those[0].name}: {general}")


def broken_claims(rows):
    """Operators that are claimed, have tests, and pass none."""
    broken = []
    for name in sorted(CLAIMED - FOLDED):
        both = [rows[label] for label in (name, name + " ...") if label in rows]
        if both and not any(row["passed"] for row in both):
            broken.append(f"{name}: claimed, but none of its tests passes")
    return broken


def prepared(only, varying, verbose):
    """All cases; prints how many tests are none, and why."""
    skipped, singles = collections.defaultdict(list), {}
    for test in onnx_cases.tests():
        label = onnx_cases.label_of(*test[:2], singles)
        if only and label.split()[0] not in only:
            continue
        try:
            yield onnx_cases.rewrite(*test, label, varying)
        except onnx_cases.Skip as reason:
            skipped[str(reason)].append(test[0])
            if verbose:
                print(f"{test[0]}: not run: {reason}")
    for reason, names in sorted(skipped.items()):
        print(f"not run: {len(names)}: {reason}")
    if onnx_cases.NOT_TESTED in skipped:
        print("these are:", " ".join(skipped[onnx_cases.NOT_TESTED]))


def main(options, only):
    rows = collections.defaultdict(collections.Counter)
    refusals, failures = [], []
    verbose = "--verbose" in options
    with tempfile.TemporaryDirectory() as name:
        for case in prepared(only, "--varying" in options, verbose):
            row = rows[case.label]
            row["tests"] += 1
            if "--self-check" in options:
                continue
            result = attempt(case, pathlib.Path(name))
            if isinstance(result, Refusal):
                row["refused"] += 1
                refusals.append(result)
                result = result.message
            elif isinstance(result, str):
                row["failed"] += 1
                failures.append(result)
            else:
                row["passed"] += 1
                row["worst"] = max(row["worst"], result)
            if verbose:
                print(f"{case.name}: {result}")
    print_rows(rows)
    print_refusals(refusals)
    if "--self-check" not in options:
        failures += broken_claims(rows)
    total = sum(rows.values(), collections.Counter())
    print(f"{total['tests']} tests: {total['passed']} passed, {total['refused']} refused, "
          f"{total['failed']} failed")
    for failure in failures:
        print("failed:", failure)
    return 1 if failures else 0


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    PROGRAM = sys.argv[1]
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")  # numpy's in the reference evaluator, of infinities
    words = sys.argv[2:]
    sys.exit(main({word for word in words if word.startswith("--")},
                  {word for word in words if not word.startswith("--")}))
