#!/usr/bin/env python3
"""Our nets to ONNX and back: are they the same nets?

Run by hand, with any Python that has numpy, onnx, onnxruntime and safetensors:

    python tests/peers/onnx_round_trip.py build/fovea [--all] [NET ...]

Each net of nets/ (the largest only with --all, or by name) and of tests/nets/ gets weights from a
seed and goes from safetensors to ONNX and back. `fovea run` on both models and on the ONNX file must
give the same outputs, under the same names, within 1e-5 of the largest value; the exit status is 1
where it does not. The two tables of `fovea info` are laid side by side (layers of one name, then of
one type and output in their order), and what differs is counted by kind: a net loses what ONNX does
not have, such as dropout and layers that only train, and a layer of several nodes comes back as
several layers where nothing puts them together.
"""
import collections
import difflib
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from onnx_export import PROGRAM, ROOT, draw_weights, fovea

BOUND = 1e-5
LARGE = {"alexnet", "alexnet-torchvision", "resnet101", "resnet152", "resnet1202", "vgg11", "vgg13",
         "vgg16", "vgg19"}
VARYING = 12  # what a size that may vary is here
SAMPLES = 2
FIELDS = ["type", "output", "parameters", "macs", "name"]


def table(model):
    return json.loads(fovea("info", model, "--json"))


def run(model, pictures, folder):
    folder.mkdir()
    fovea("run", model, "--input", pictures, "--output-dir", folder)
    return {path.stem: np.load(path) for path in folder.iterdir()}


def draw(model, rng):
    """All weights anew; the sums of so many residual blocks as resnet1202 has would pass a float's
    range if their normalisations did not scale them down."""
    draw_weights(model, rng)
    with safe_open(model, "numpy") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    if len(tensors) > 3000:
        for name, values in tensors.items():
            if values.ndim == 1 and name.endswith("weight"):
                tensors[name] = values * np.float32(0.1)
        save_file(tensors, model, metadata)


def random_input(layers, path, rng):
    sizes = [size if size and size > 0 else VARYING for size in layers[0]["output"]]
    np.save(path, rng.normal(0, 1, (SAMPLES, *sizes)).astype(np.float32))


def worst_difference(before, after):
    if set(before) != set(after):
        raise RuntimeError(f"outputs {sorted(before)} came back as {sorted(after)}")
    worst = 0.0
    for name, wanted in before.items():
        got = after[name]
        if got.shape != wanted.shape:
            raise RuntimeError(f"{name}: shape {got.shape}, expected {wanted.shape}")
        if not np.isfinite(wanted).all():
            raise RuntimeError(f"{name}: not finite before it went to ONNX")
        share = np.abs(got.astype(np.float64) - wanted).max() / max(np.abs(wanted).max(), 1e-30)
        worst = max(worst, share if np.isfinite(share) else np.inf)
    return worst


def side_by_side(before, after):
    """Pairs of layers, and those that have none."""
    ours = {layer["name"]: layer for layer in before}
    theirs = {layer["name"]: layer for layer in after}
    pairs = [(ours[name], theirs[name]) for name in ours if name in theirs]
    gone = [layer for name, layer in ours.items() if name not in theirs]
    new = [layer for name, layer in theirs.items() if name not in ours]

    def keys(layers):
        return [(layer["type"], str(layer["output"])) for layer in layers]

    matcher = difflib.SequenceMatcher(None, keys(gone), keys(new), autojunk=False)
    blocks = matcher.get_matching_blocks()
    pairs += [(gone[block.a + i], new[block.b + i]) for block in blocks for i in range(block.size)]
    paired = {id(layer) for pair in pairs for layer in pair}
    return (pairs, [layer for layer in gone if id(layer) not in paired],
            [layer for layer in new if id(layer) not in paired])


def what_differs(before, after):
    """Kind of difference: an example of it for each layer that has it."""
    kinds = collections.defaultdict(list)
    pairs, gone, new = side_by_side(before, after)
    for layer in gone:
        only = " (only trains)" if layer["training_only"] else ""
        kinds[f"gone: {layer['type']}{only}"].append(layer["name"])
    for layer in new:
        kinds[f"new: {layer['type']}"].append(layer["name"])
    for ours, theirs in pairs:
        for field in FIELDS:
            if ours[field] == theirs[field]:
                continue
            kind = (f"type: {ours['type']} became {theirs['type']}" if field == "type"
                    else f"{field} of {ours['type']}")
            kinds[kind].append(f"{ours['name']}: {ours[field]} became {theirs[field]}")
    return kinds


def compare(net, folder, rng):
    """The models before and after, and the worst difference of outputs."""
    first, onnx_file, second = folder / "a.safetensors", folder / "a.onnx", folder / "b.safetensors"
    fovea("export", net, first)
    draw(first, rng)
    fovea("export", first, onnx_file)
    fovea("export", onnx_file, second)
    pictures = folder / "x.npy"
    random_input(table(first)["layers"], pictures, rng)
    ours = run(first, pictures, folder / "a")
    worst = max(worst_difference(ours, run(model, pictures, folder / model.suffix[1:]))
                for model in (second, onnx_file))
    if worst > BOUND:
        raise RuntimeError(f"outputs differ by {worst:.2e} of the largest")
    return worst, first, second, onnx_file


def tables(first, second, onnx_file):
    """What `fovea info` says before and after."""
    before, after, direct = table(first), table(second), table(onnx_file)
    if what_differs(after["layers"], direct["layers"]):
        raise RuntimeError("`fovea info` says of the ONNX file other than of the model made of it")
    return before, after


def chosen(words):
    """(label, what fovea is given) of each net to do."""
    names = [word for word in words if not word.startswith("--")]
    for path in sorted(ROOT.glob("nets/*.net")) + sorted(ROOT.glob("tests/nets/*.net")):
        if path.stem in names if names else "--all" in words or path.stem not in LARGE:
            yield path.relative_to(ROOT), path


def report(everywhere):
    print("what differs, in all nets:")
    for kind, found in sorted(everywhere.items()):
        nets = {net for net, _ in found}
        net, example = found[0]
        print(f"  {kind}: {len(found)} in {len(nets)} nets, as {net}, {example}")
    if not everywhere:
        print("  nothing")


def print_row(before, after):
    kept = ({layer["name"] for layer in before["layers"]}
            & {layer["name"] for layer in after["layers"]})
    layers = f"{len(before['layers'])} > {len(after['layers'])}"
    totals = ["same" if before[key] == after[key] else f"{before[key]} > {after[key]}"
              for key in ("parameters", "macs")]
    print(f"{layers:>13}{len(kept):>12}  {', '.join(totals)}", flush=True)


def main(words):
    rng = np.random.default_rng(1)
    everywhere, failures, count = collections.defaultdict(list), [], 0
    print(f"{'net':34}{'outputs':>9}{'layers':>13}{'names kept':>12}  parameters, multiply-adds")
    for label, path in chosen(words):
        count += 1
        print(f"{str(label):34}", end="", flush=True)
        with tempfile.TemporaryDirectory() as name:
            try:
                worst, *models = compare(path, Path(name), rng)
                print(f"{worst:>9.1e}", end="", flush=True)
                before, after = tables(*models)
            except Exception as error:  # of any of the programs: a line of the report
                failures.append(f"{label}: {type(error).__name__}: {error}")
                print("     FAIL", flush=True)
                continue
        print_row(before, after)
        for kind, examples in what_differs(before["layers"], after["layers"]).items():
            everywhere[kind] += [(label, example) for example in examples]
    report(everywhere)
    print(f"{count - len(failures)} of {count} nets came back")
    for failure in failures:
        print("failed:", failure)
    return 1 if failures or not count else 0


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[2:]))
