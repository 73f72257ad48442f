#!/usr/bin/env python3
"""torchvision's nets as PyTorch exports them to ONNX: does fovea read the same net of the file?

Run by hand, with any Python that has torch, torchvision, onnx, onnxscript, onnxruntime and numpy:

    python tests/peers/torchvision_onnx.py build/fovea [NET ...]

Each net gets random weights (torchvision_nets.py says how), and is exported with a batch that varies
in three ways: by the older exporter (TorchScript, opset 17), by the newer (dynamo, its own opset)
into one file, and by the newer with the weights in a file beside it. Of each file: `fovea run`, with
and without --exact, and ONNX Runtime on the same two random pictures; then `fovea export` to ONNX
again, onnx's checker with shape inference, and ONNX Runtime on that. All outputs must be within
1e-4 of the largest of the first one's by ONNX Runtime. Prints a row a file, with the spread of the
pictures' outputs (0 would show nothing), the peak memory of `fovea run` and the size of the file in
MiB, and exits with 1 where one differs or fails.
"""
import contextlib
import io
import json
import logging
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch

from torchvision_nets import as_inputs, random_model, random_pictures

BOUND = 1e-4
SAMPLES = 2
NETS = ["alexnet", "vgg16", "googlenet", "resnet18", "resnet50", "resnet152", "squeezenet1_1",
        "mobilenet_v2", "densenet121"]
MEAN, DEVIATION = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]

# Runs a command and writes the most memory that it had: a process of its own, since Linux counts
# what the parent of a new process has, and this one has torch.
PEAK = """
import json, resource, subprocess, sys
done = subprocess.run(sys.argv[1:], capture_output=True, text=True, errors="replace")
print(json.dumps([done.returncode, done.stderr,
                  resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss]))
"""


def export_script(model, inputs, folder):
    torch.onnx.export(model, (inputs,), folder / "model.onnx", dynamo=False, opset_version=17,
                      input_names=["picture"], output_names=["scores"],
                      dynamic_axes={"picture": {0: "batch"}, "scores": {0: "batch"}})


def export_dynamo(model, inputs, folder, external=False):
    batch = torch.export.Dim("batch")
    program = torch.onnx.export(model, (inputs,), dynamo=True, input_names=["picture"],
                                output_names=["scores"], dynamic_shapes=({0: batch},),
                                verbose=False)
    program.save(folder / "model.onnx", external_data=external)


def export_beside(model, inputs, folder):
    export_dynamo(model, inputs, folder, external=True)


WAYS = {"script": export_script, "dynamo": export_dynamo, "dynamo+data": export_beside}


def fovea(*arguments):
    """Its peak memory in bytes."""
    command = [sys.executable, "-I", "-S", "-c", PEAK, PROGRAM, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    status, message, peak = json.loads(done.stdout)
    if status:
        raise RuntimeError(f"fovea {arguments[0]}: status {status}: {message.strip()}")
    return peak * 1024


def run_fovea(model, pictures, folder, *options):
    outputs = folder / "outputs"
    outputs.mkdir()
    try:
        peak = fovea("run", model, "--input", pictures, "--output-dir", outputs, *options)
        (path,) = outputs.iterdir()
        return np.load(path), peak
    finally:
        for path in outputs.iterdir():
            path.unlink()
        outputs.rmdir()


def run_peer(model, inputs):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    (output,) = session.run(None, {session.get_inputs()[0].name: inputs})
    return output


def difference(got, wanted):
    if got.shape != wanted.shape:
        raise RuntimeError(f"shape {got.shape}, expected {wanted.shape}")
    share = np.abs(got.astype(np.float64) - wanted).max() / np.abs(wanted).max()
    return share if np.isfinite(share) else np.inf


def compare(export, model, inputs, folder):
    """A row of the table, without its names."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        export(model, inputs, folder)
    path, pictures, again = folder / "model.onnx", folder / "x.npy", folder / "again.onnx"
    size = sum(each.stat().st_size for each in folder.glob("model.onnx*"))
    opset = onnx.load(path, load_external_data=False).opset_import[0].version
    wanted = run_peer(path, inputs.numpy())
    with torch.no_grad():
        if difference(model(inputs).numpy(), wanted) > BOUND:
            raise RuntimeError("ONNX Runtime does not give what PyTorch gives")
    np.save(pictures, inputs.permute(0, 2, 3, 1).contiguous().numpy())
    got, peak = run_fovea(path, pictures, folder)
    exact, _ = run_fovea(path, pictures, folder, "--exact")
    fovea("export", path, again)
    onnx.checker.check_model(again, full_check=True)
    differences = [difference(each, wanted) for each in (got, exact, run_peer(again, inputs.numpy()))]
    spread = np.abs(wanted - wanted.mean(0)).max() / np.abs(wanted).max()
    print("".join(f"{each:12.1e}" for each in differences) + f"{spread:9.2g}", end="")
    print(f"{peak / 2**20:9.0f}{size / 2**20:9.0f}{opset:7}", end="")
    return all(each <= BOUND for each in differences)


def main(names):
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    print(f"{'net':15}{'exporter':13}{'run':>12}{'run --exact':>12}{'again':>12}{'spread':>9}{'peak MiB':>9}"
          f"{'file':>9}{'opset':>7}")
    inputs = as_inputs(random_pictures(SAMPLES), MEAN, DEVIATION)
    failed = 0
    for name in names:
        model = random_model(name, inputs)
        for way, export in WAYS.items():
            print(f"{name:15}{way:13}", end="", flush=True)
            with tempfile.TemporaryDirectory() as folder:
                try:
                    agrees = compare(export, model, inputs, Path(folder))
                    print("  ok" if agrees else "  FAIL", flush=True)
                except Exception as error:  # of any of the programs: a row, and on with the next
                    agrees = False
                    print(f"  FAIL {type(error).__name__}: {str(error)[:400]}", flush=True)
            failed += not agrees
    print(f"{len(names) * len(WAYS) - failed} of {len(names) * len(WAYS)} files agree")
    return 1 if failed else 0


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    PROGRAM = sys.argv[1]
    sys.exit(main(sys.argv[2:] or NETS))
