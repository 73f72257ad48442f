#!/usr/bin/env python3
"""Holds `fovea export NET OUT.onnx` to ONNX's own checker and to ONNX Runtime.

Run by hand: tests/peers/onnx_export.py build/fovea
with any Python that has numpy, onnx, onnxruntime and safetensors. For each net (some for each layer
type and its options, those of tests/nets and nets/) it draws all weights, exports, checks the file
with shape inference, runs both on the same samples, and compares all outputs: the largest
difference, as a share of the largest value, must stay under 1e-4. Prints a table by layer type and
the nets that fail; the exit status is 1 if there are any. Names of nets/ that follow are left out.
"""
import collections
import pathlib
import re
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
from safetensors import safe_open
from safetensors.numpy import save_file

ROOT = pathlib.Path(__file__).resolve().parents[2]
BOUND = 1e-4

# (net, shape of the input where it varies); ";" parts lines.
PICTURE, SIGNAL, VOLUME, VECTOR = "input 9x8x6", "input 23x6", "input 5x6x7x4", "input 24"
ACTIVATIONS = ["relu", "sigmoid", "tanh", "softmax", "relu6", "leaky_relu", "elu", "selu", "gelu",
               "gelu_tanh", "silu", "mish", "hard_sigmoid", "hard_swish", "softplus", "softsign",
               "scaled_tanh", "log_softmax"]
INPUTS = {"input 9x8x3 scale=1/255": None, "input 9x8x3 scale=0.5 mean=0.3": None,
          "input 9x8x3 mean=0.1,0.2,0.3": None, "input 7x3 mean=0.1,0.2,0.3": None,
          "input 5 scale=3 mean=1": None,
          "input 9x8x3 scale=1/255 mean=0.4,0.5,0.6 deviation=0.2,0.3,0.4": None,
          "input 7 deviation=0.3": None, "input *x*x3 scale=1/127.5 mean=1": (11, 9, 3)}
WINDOWS = ["3x3", "3x2 stride=2x1", "3x3 padding=same", "3x3 padding=same stride=2",
           "4x3 padding=same_lower stride=3x2", "3x3 padding=same_lower"]
PADS = ["3x3 pad=1", "3x3 pad=1:0x0:1 stride=2", "2x3 pad=1x1 stride=3"]
CONVS = ["", "groups=2", "dilation=2", "dilation=2x1 padding=same", "bias=false",
         "pad=2:1x1:3 stride=2", "relu"]
CEILS = ["2", "3 stride=2 ceil=true", "3x2 stride=2x1 pad=1x1 ceil=true",
         "2 stride=3 pad=1 ceil=true", "3 stride=2 padding=same ceil=true",
         "2 stride=5 pad=1 ceil=true"]
AFFINES = ["", "scale=false", "bias=false formula=torch", "scale=false bias=false formula=onnx"]
LRNS = ["", "3 alpha=0.5", "4 formula=torch alpha=0.5 k=2", "4 formula=onnx alpha=2",
        "5 formula=caffe", "5 alpha=1e-4 beta=0.75 k=2", "2 formula=keras"]


def cases():
    """Layer type -> list of (net text, shape of a varying input or None)."""
    nets = collections.OrderedDict()

    def add(kind, *texts, shape=None):
        for text in texts:
            nets.setdefault(kind, []).append((text, shape))

    for text, shape in INPUTS.items():
        add("input", text, shape=shape)
    for line in WINDOWS + PADS:
        add("conv", f"{PICTURE};conv 5 {line}", f"{PICTURE};conv 5 {line} gelu")
        add("depthwise_conv", f"{PICTURE};depthwise_conv {line} multiplier=2")
        add("separable_conv", f"{PICTURE};separable_conv 5 {line} silu")
        add("local", f"{PICTURE};local 3 {line} tanh")
    for line in CONVS:
        add("conv", f"{PICTURE};conv 4 3 {line}",
            f"{SIGNAL};conv 4 3 {line.replace('2x1', '2').replace('2:1x1:3', '2:1')}")
    for line in ["", "groups=2 stride=2", "padding=same stride=2"]:
        add("conv", f"{VOLUME};conv 4 2x3x2 {line}")
        add("separable_conv", f"{VOLUME};separable_conv 3 2x3x2 {line.replace('groups=2', '')}")
        add("depthwise_conv", f"{VOLUME};depthwise_conv 2x3x2 {line.replace('groups=2', '')}")
        add("local", f"{VOLUME};local 3 2x3x2 {line.replace('groups=2', '')}")
    add("conv", "input 9x8x4;conv 8 3x3 tanh pad=1 table=0-1,1-2,2-3,0+3,0-2,1-3,0-3,1",
        "input 9x4;conv 3 2 table=0,1-3,2 bias=false",
        f"{SIGNAL};conv 6 3 padding=causal dilation=2 stride=2",
        f"{SIGNAL};conv 6 4 padding=same stride=3")
    for line in ["conv 4 3x3 padding=same", "conv 4 3x3 padding=same stride=2",
                 "conv 4 3x2 padding=same_lower stride=2x3", "conv 4 3x3 padding=same dilation=2",
                 "conv 4 3x3 pad=1 stride=2 relu"]:
        add("conv", f"input *x*x3;{line}", shape=(12, 9, 3))
    add("conv", "input *x3;conv 4 3 padding=causal dilation=3", shape=(17, 3))
    add("depthwise_conv", f"{SIGNAL};depthwise_conv 3 padding=causal bias=false relu6",
        f"{PICTURE};depthwise_conv 3 dilation=2")
    add("separable_conv", f"{SIGNAL};separable_conv 7 3 multiplier=3 dilation=2 bias=false",
        f"{PICTURE};separable_conv 7 3 multiplier=2 dilation=2 padding=same")
    add("local", f"{SIGNAL};local 3 4 stride=2 padding=causal bias=false",
        f"{SIGNAL};local 3 4 padding=same softmax")
    for line in ["3", "3x2 stride=2x3", "3 stride=2 pad=1 output_pad=1 tanh",
                 "2 stride=3 padding=same", "4 stride=2 padding=same",
                 "3 dilation=2 stride=2 pad=1:0x2:1", "3 groups=3 bias=false stride=2"]:
        add("conv_transpose", f"{PICTURE};conv_transpose 6 {line}")
    add("conv_transpose", f"{SIGNAL};conv_transpose 4 3 stride=2 pad=1:0 groups=2 elu",
        f"{VOLUME};conv_transpose 4 2x3x2 stride=2x1x2 groups=2")
    add("conv_transpose", "input *x*x3;conv_transpose 4 3 stride=2 padding=same", shape=(5, 6, 3))

    for kind in ["maxpool", "avgpool"]:
        for line in WINDOWS + PADS + CEILS:
            both = [line, f"{line} count_include_pad=true"] if kind == "avgpool" else [line]
            add(kind, *[f"{PICTURE};{kind} {each}" for each in both])
        add(kind, f"{SIGNAL};{kind} 4 stride=3 ceil=true",
            f"{SIGNAL};{kind} 4 padding=causal stride=2 ceil=true",
            f"{VOLUME};{kind} 2x3x2 stride=1x2x1", f"{VOLUME};{kind} 3 stride=2 pad=1 ceil=true")
        for line in ["2", "3 stride=2 pad=1", "3 stride=2 padding=same",
                     "3 stride=2 padding=same_lower", "3 stride=2 ceil=true",
                     "3 stride=2 pad=1 ceil=true"]:
            counted = f"input *x*x3;{kind} {line} count_include_pad=true"
            more = [counted] if kind == "avgpool" else []
            add(kind, f"input *x*x3;{kind} {line}", *more, shape=(12, 10, 3))
    for kind in ["global_maxpool", "global_avgpool"]:
        for start in [PICTURE, SIGNAL, VOLUME]:
            add(kind, f"{start};{kind}", f"{start};{kind} keep=true")
        add(kind, f"input *x*x5;{kind};dense 3", shape=(7, 9, 5))
    for kind in ["adaptive_maxpool", "adaptive_avgpool"]:
        add(kind, f"{PICTURE};{kind} 3x4", f"{PICTURE};{kind} 4x3", f"{PICTURE};{kind} 1",
            f"{SIGNAL};{kind} 5", f"{SIGNAL};{kind} 30", f"{VOLUME};{kind} 2x4x3",
            f"{VOLUME};{kind} 5x1x7")
        add(kind, f"input *x*x5;{kind} 1", shape=(7, 9, 5))
    add("subsample", f"{PICTURE};subsample 2 scaled_tanh", f"{PICTURE};subsample 3x2 stride=2x1",
        f"{SIGNAL};subsample 4 stride=3 relu", f"{VOLUME};subsample 2x3x2")

    add("rbf", "input 84;rbf 10", f"{PICTURE};flatten;rbf 3 learn=true")
    add("dense", f"{VECTOR};dense 5", f"{VECTOR};dense 5 relu bias=false",
        f"{PICTURE};flatten;dense 5 softmax", f"{VOLUME};flatten;dense 5",
        f"{PICTURE};flatten;dropout 0.5;dense 5", f"{PICTURE};flatten;batch_norm relu;dense 5",
        f"{PICTURE};reshape 432;dense 4", f"{PICTURE};flatten;slice 3 20;dense 5")
    add("flatten", f"{PICTURE};flatten", f"{VOLUME};flatten",
        f"{PICTURE};flatten;flatten;relu;dropout 0.1", f"{VECTOR};flatten",
        f"{PICTURE};global_avgpool keep=true;flatten", "input 5x4x1;flatten",
        f"{PICTURE};flatten;softmax", f"{PICTURE};flatten;layer_norm;dense 3",
        f"{PICTURE};flatten;prelu;dense 3")
    add("reshape", f"{PICTURE};reshape 12x36", f"{PICTURE};reshape 432", f"{VECTOR};reshape 2x3x4",
        f"{PICTURE};reshape *x3", f"{PICTURE};flatten;reshape 8x9x6", f"{VECTOR};reshape 24",
        f"{PICTURE};reshape 2x*x3x4")
    add("reshape", "input *x4x6;reshape *x8", shape=(5, 4, 6))
    add("permute", f"{PICTURE};permute 2,1,3", f"{PICTURE};permute 3,1,2", f"{SIGNAL};permute 2,1",
        f"{VOLUME};permute 3,4,1,2", f"{VECTOR};permute 1", f"{VOLUME};permute 2,1,4,3")
    for line in ["1", "1:2x0:3", "1:2x0:3 value=-1.5", "2:1x3:2 mode=reflect",
                 "2:1x3:2 mode=replicate"]:
        add("pad", f"{PICTURE};pad {line}")
    add("pad", f"{SIGNAL};pad 2:3 mode=reflect", f"{VOLUME};pad 1:0x2:1x0:3 mode=replicate",
        f"{VOLUME};pad 1:0x2:1x0:3 mode=reflect")
    add("crop", f"{PICTURE};crop 1", f"{PICTURE};crop 0:2x3:0", f"{VOLUME};crop 1:1x0:2x3:0")
    add("crop", "input *x*x3;crop 1:0x2:3", shape=(8, 9, 3))
    add("slice", f"{PICTURE};slice 1 4", f"{PICTURE};slice 2", f"{PICTURE};slice 2 7 axis=1",
        f"{PICTURE};slice 3 axis=2", f"{VECTOR};slice 5 9", f"{PICTURE};flatten;slice 7 100")
    add("concat", f"{PICTURE};a: conv 3 1;b: conv 2 1 from=input1;concat from=a,b,input1",
        f"{PICTURE};a: slice 2 axis=1;concat axis=1 from=a,input1",
        f"{VECTOR};a: dense 3;concat from=input1,a",
        f"{PICTURE};a: flatten;b: dense 2;concat from=a,b,a;dense 3",
        f"{VOLUME};a: slice 2 axis=3;concat axis=3 from=input1,a,input1")
    for kind in ["add", "multiply", "maximum"]:
        add(kind, f"{PICTURE};a: conv 6 1 tanh;b: conv 6 1 from=input1;{kind} from=a,b,input1",
            f"{PICTURE};a: global_avgpool;{kind} relu from=input1,a",
            f"{PICTURE};a: global_maxpool keep=true;{kind} from=a,input1",
            f"{VECTOR};a: dense 24;{kind} from=a,input1 gelu",
            f"{PICTURE};f: flatten;a: dense 432;{kind} from=a,f;dense 3",
            "input 9x6;a: global_avgpool keep=true;b: reshape 1x1x6;" + f"{kind} from=input1,b")
        add(kind, f"input *x*x6;a: global_avgpool;{kind} from=input1,a", shape=(4, 5, 6))
    for line in ["2", "2x3", "size=18x8", "size=13x7", "size=14x21", "2 mode=bilinear",
                 "3x2 mode=bilinear align_corners=true", "size=5x13 mode=bilinear",
                 "size=13x5 mode=bilinear align_corners=true",
                 "size=1x3 mode=bilinear align_corners=true"]:
        add("upsample", f"{PICTURE};upsample {line}")
    add("upsample", "input 6x14x2;upsample size=14x6", f"{SIGNAL};upsample 3",
        f"{SIGNAL};upsample size=31 mode=bilinear", f"{SIGNAL};upsample size=31",
        f"{SIGNAL};upsample size=31 mode=bilinear align_corners=true", f"{VOLUME};upsample 2",
        f"{VOLUME};upsample 2 mode=bilinear", f"{VOLUME};upsample size=7x9x4",
        f"{VOLUME};upsample size=7x9x4 mode=bilinear",
        f"{VOLUME};upsample 2x1x3 mode=bilinear align_corners=true")
    for line in ["2", "2 mode=bilinear", "size=14x9", "size=14x9 mode=bilinear",
                 "2x3 mode=bilinear align_corners=true"]:
        add("upsample", f"input *x*x3;upsample {line}", shape=(6, 7, 3))
    for order in ["dcr", "crd"]:
        add("depth_to_space", f"input 3x4x12;depth_to_space 2 order={order}",
            f"input 5x6;depth_to_space 3 order={order}",
            f"input 2x3x4x16;depth_to_space 2 order={order}")
        add("space_to_depth", f"input 6x4x3;space_to_depth 2 order={order}",
            f"input 12x3;space_to_depth 3 order={order}",
            f"input 2x6x4x3;space_to_depth 2 order={order}")
        add("depth_to_space", f"input *x*x12;depth_to_space 2 order={order}", shape=(3, 4, 12))
        add("depth_to_space", f"input *x12;depth_to_space 3 order={order}", shape=(5, 12))
    add("space_to_depth", "input *x*x3;space_to_depth 2", shape=(6, 4, 3))
    add("space_to_depth", "input *x3;space_to_depth 2 order=crd", shape=(6, 3))

    add("constant", f"{PICTURE};c: constant 9x8x6;add from=input1,c", f"{PICTURE};constant 5",
        f"{VECTOR};constant 2x3x4 learn=true", f"{PICTURE};flatten;constant 7x2",
        f"{PICTURE};c: constant 6;multiply from=input1,c")
    for line in ["channels_before=1 channels_after=2", "1:0 channels_after=3 value=2"]:
        add("pad", f"{PICTURE};pad {line}", f"{SIGNAL};pad {line}")
    add("pad", f"{VECTOR};pad channels_before=2 channels_after=1 value=5")
    add("output", f"{PICTURE};a: conv 3 3 relu;b: flatten;dense 4 softmax;output a,b",
        f"{PICTURE};a: dropout 0.3;b: conv 2 1;output a,b",
        f"{PICTURE};conv 3 3;flatten;d: dropout 0.2;output flatten1,d",
        "input 6x5x3 scale=2;conv 2 1;output input1",
        f"{PICTURE};conv 4 3;a: flatten;b: dense 3 softmax;c: flatten from=conv1;"
        "dense 5 softmax from=c;loss cross_entropy of=b auxiliary=true;loss cross_entropy")

    for kind, line in [("dropout", "0.5"), ("spatial_dropout", "0.3"), ("gaussian_noise", "0.2")]:
        add(kind, f"{PICTURE};{kind} {line}", f"{PICTURE};{kind} {line};conv 3 3")
    add("dropout", f"{PICTURE};conv 3 3;dropout 0.5", f"{PICTURE};a: dropout 0.5;dropout 0.3")
    for kind in ACTIVATIONS:
        add(kind, f"{PICTURE} scale=4;{kind}", f"{VECTOR} scale=4;{kind}",
            f"{VECTOR};dense 7 {kind}")
    add("leaky_relu", f"{PICTURE};leaky_relu 0.3")
    add("elu", f"{PICTURE};elu 0.7")
    add("hard_sigmoid", f"{PICTURE} scale=4;hard_sigmoid 0.2")
    add("prelu", f"{PICTURE};prelu", f"{PICTURE};prelu shared=true", f"{VECTOR};prelu",
        f"{VOLUME};prelu")
    for start in [PICTURE, SIGNAL, VOLUME, VECTOR]:
        add("batch_norm", f"{start};batch_norm",
            f"{start};batch_norm relu formula=torch scale=false",
            f"{start};batch_norm bias=false epsilon=0.1")
        add("layer_norm",
            *[f"{start};layer_norm {line}" for line in AFFINES],
            *[f"{start};layer_norm all=true {line}" for line in AFFINES])
        add("group_norm",
            *[f"{start};group_norm 2 {line}" for line in AFFINES])
        add("instance_norm",
            *[f"{start};instance_norm {line}" for line in AFFINES])
        add("rms_norm", f"{start};rms_norm", f"{start};rms_norm scale=false epsilon=0.01")
        add("l2_normalize", f"{start};l2_normalize", f"{start};l2_normalize epsilon=9")
        add("lrn",
            *[f"{start};lrn {line}" for line in LRNS])
    for line in ["layer_norm", "layer_norm all=true scale=false bias=false", "group_norm 3",
                 "instance_norm", "lrn", "lrn 4"]:
        add(line.split()[0], f"input *x*x6;{line}", shape=(6, 7, 6))
    return nets


REFUSED = [("input *x*x3;adaptive_avgpool 2", "adaptive_avgpool has no ONNX form"),
           ("input *x*x3;maxpool 2 stride=3 ceil=true", "ceil=true"),
           ("input *x*x*x8;depth_to_space 2", "several sizes that vary"),
           ("input *x*x3;conv 4 3 padding=same stride=2 dilation=2", "padding=same")]


def fovea(*arguments):
    command = [PROGRAM, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip())
    return done.stdout


def draw_weights(path, rng):
    """All weights anew, so that none is 0 or 1 as they start."""
    with safe_open(path, "numpy") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    for name, values in tensors.items():
        if name.endswith("running_var"):
            drawn = rng.uniform(0.3, 2, values.shape)
        elif name.endswith(("bias", "running_mean")):
            drawn = rng.normal(0, 0.4, values.shape)
        elif values.ndim == 1:
            drawn = rng.uniform(0.3, 1.5, values.shape)
        else:
            drawn = rng.normal(0, 1 / np.sqrt(max(values[0].size, 1)), values.shape)
        tensors[name] = drawn.astype(np.float32)
    save_file(tensors, path, metadata)


def channels_first(x):
    return np.ascontiguousarray(np.moveaxis(x, -1, 1)) if x.ndim > 2 else x


def compare(net, shape, folder, rng, redraw=True):
    """The largest difference as a share of the largest value, and the operators used."""
    model, exported = folder / "model.safetensors", folder / "model.onnx"
    fovea("export", net, model)
    if redraw:
        draw_weights(model, rng)
    fovea("export", model, exported)
    again = folder / "again.onnx"
    fovea("export", model, again)
    if exported.read_bytes() != again.read_bytes():
        raise RuntimeError("two exports differ")
    proto = onnx.load(exported)
    onnx.checker.check_model(proto, full_check=True)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(exported.read_bytes(), options,
                                           providers=["CPUExecutionProvider"])
    source = session.get_inputs()[0]
    if shape is None:
        sizes = source.shape[1:]
        shape = tuple(sizes[1:]) + (sizes[0],)
    worst = 0
    for samples in (3, 1):
        x = rng.normal(0, 1, (samples, *shape)).astype(np.float32)
        np.save(folder / "x.npy", x)
        names = [output.name for output in session.get_outputs()]
        ours = []
        for name in names:
            layer = name if name != source.name + ":Identity" else source.name
            fovea("run", model, "--input", folder / "x.npy", "--output", layer,
                  "--output-dir", folder)
            ours.append(np.load(folder / f"{layer.replace('/', '_')}.npy"))
        for got, wanted in zip(session.run(names, {source.name: channels_first(x)}), ours):
            wanted = channels_first(wanted)
            if got.shape != wanted.shape:
                raise RuntimeError(f"shape {got.shape}, expected {wanted.shape}")
            largest = max(np.abs(wanted).max(), 1e-30)
            difference = np.abs(got.astype(np.float64) - wanted).max() / largest
            if not difference <= BOUND:
                raise RuntimeError(f"differs by {difference:.2e} of the largest")
            worst = max(worst, difference)
    return worst, sorted({node.op_type for node in proto.graph.node})


def try_net(kind, net, shape, folder, rng, rows, failures, label):
    row = rows.setdefault(kind, [0, 0, 0.0, set()])
    row[0] += 1
    try:
        worst, operators = compare(net, shape, folder, rng)
        row[1] += 1
        row[2] = max(row[2], worst)
        row[3].update(operators)
    except Exception as error:  # every kind of failure is a row of the report
        failures.append(f"{label}: {type(error).__name__}: {error}")


def main():
    rng = np.random.default_rng(1)
    rows, failures = collections.OrderedDict(), []
    listed = (ROOT / "src/layers/layers.def").read_text()
    types = re.findall(r"^LAYER\(fv_layer_(\w+)\)", listed, re.M)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        net = folder / "case.net"
        nets = cases()
        for kind, texts in nets.items():
            for text, shape in texts:
                net.write_text(text.replace(";", "\n") + "\n")
                try_net(kind, net, shape, folder, rng, rows, failures, text)
        for path in sorted(ROOT.glob("tests/nets/*.net")) + sorted(ROOT.glob("nets/*.net")):
            if path.stem not in SKIPPED:
                try_net(path.name, path, None, folder, rng, rows, failures, path.name)
        for text, words in REFUSED:
            net.write_text(text.replace(";", "\n") + "\n")
            try:
                fovea("export", net, folder / "refused.onnx")
                failures.append(f"{text}: was not refused")
            except RuntimeError as error:
                if words not in str(error):
                    failures.append(f"{text}: message: {error}")
            if (folder / "refused.onnx").exists():
                failures.append(f"{text}: left a file")
    print(f"{'layer or net':<24}{'nets':>6}{'agree':>7}{'worst':>10}  operators")
    for kind, (count, agreed, worst, operators) in rows.items():
        print(f"{kind:<24}{count:>6}{agreed:>7}{worst:>10.1e}  {' '.join(sorted(operators))}")
    missing = [kind for kind in types if kind not in nets]
    if missing:
        failures.append(f"no net has: {', '.join(missing)}")
    count, agreed = sum(row[0] for row in rows.values()), sum(row[1] for row in rows.values())
    print(f"{agreed} of {count} nets agree, worst {max(row[2] for row in rows.values()):.1e}; "
          f"{len(REFUSED)} must be refused")
    for failure in failures:
        print(failure)
    return 1 if failures else 0


SKIPPED = set(sys.argv[2:])  # names of nets/ that are too large for this machine
PROGRAM = sys.argv[1] if len(sys.argv) > 1 else str(ROOT / "build/fovea")

if __name__ == "__main__":
    sys.exit(main())
