#!/usr/bin/env python3
"""Models of Keras through fovea and back, and nets of fovea through Keras: the same outputs within
1e-4 of the largest. Run by hand, with a Python that has Keras 3, TensorFlow and NumPy:

    python tests/peers/keras_models.py build/fovea [WORD...]     only cases with a WORD in their name
"""
import glob
import os
import subprocess
import sys
import tempfile

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""
import keras
import numpy as np
from keras import layers as L, ops

FOVEA = os.path.abspath(sys.argv[1])
WORDS = sys.argv[2:]
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BOUND = 1e-4
random = np.random.default_rng(1)
passed, failures = 0, []


def verdict(good, name, text=""):
    global passed
    passed += bool(good)
    if not good:
        failures.append(name)
        print(f"FAIL  {name}: {text}", flush=True)


def fovea(*words):
    done = subprocess.run([FOVEA, *words], capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise RuntimeError(done.stderr.strip() or f"exit status {done.returncode}")
    return done.stdout


def lines_of(*words):
    """What fovea prints, but for the order of lines: the export has layers in Keras' order."""
    return sorted(fovea(*words).splitlines())


def run_fovea(model, x, work):
    """Outputs of a model file, one array for each of the net's outputs."""
    folder = tempfile.mkdtemp(dir=work)
    np.save(f"{folder}/x.npy", x)
    fovea("run", model, "--input", f"{folder}/x.npy", "--output-dir", f"{folder}/out")
    return {os.path.basename(f)[:-4]: np.load(f) for f in glob.glob(f"{folder}/out/*.npy")}


def distance(a, b):
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.size != b.size:
        return f"{a.shape} and {b.shape}"
    return np.abs(a.ravel() - b.ravel()).max() / max(np.abs(b).max(), 1e-30)


def close(a, b):
    d = distance(a, b)
    return not isinstance(d, str) and d <= BOUND


def randomize(model):
    """Weights of everyday size; scales and variances above 0."""
    for w in model.weights:
        shape, name = tuple(w.shape), w.path.split("/")[-1]
        if name in ("mean", "variance", "count"):  # what adapt() found
            continue
        if "seed" in name or str(w.dtype).startswith("int") or str(w.dtype).startswith("uint"):
            continue
        if "variance" in name or name in ("gamma", "scale"):
            w.assign(random.uniform(0.5, 1.5, shape))
        elif name.endswith("kernel"):
            w.assign(random.normal(size=shape) / np.sqrt(max(1, np.prod(shape[:-1]))))
        else:
            w.assign(random.normal(size=shape) * 0.3)


def samples(shape, count=2):
    return random.normal(size=(count, *shape)).astype(np.float32)


def wanted(name):
    return not WORDS or any(word in name for word in WORDS)


# ---- Keras to fovea -----------------------------------------------------------------------------


def compare(name, path, x, expected, work, outputs=None):
    try:
        found = run_fovea(path, x, work)
        if outputs is None:
            (values,) = found.values()
            verdict(close(values, expected), name, distance(values, expected))
        else:
            for key, e in zip(outputs, expected):
                verdict(close(found[key], e), f"{name} {key}", distance(found[key], e))
    except Exception as error:  # noqa: BLE001
        verdict(False, name, error)


def back_again(name, path, x, expected, work):
    """fovea's export of the imported model: loaded by Keras, and read by fovea again."""
    try:
        out = f"{work}/back.keras"
        fovea("export", path, out)
        model = keras.saving.load_model(out, compile=False)
        y = np.asarray(model(x, training=False))
        verdict(close(y, expected), f"{name} back", distance(y, expected))
        verdict(lines_of("info", path) == lines_of("info", out), f"{name} info",
                fovea("info", path) + fovea("info", out))
    except Exception as error:  # noqa: BLE001
        verdict(False, f"{name} back", error)


def case(name, shape, build, formats=("keras", "h5"), count=2, size=None, back=True):
    """build: from the input tensor to the output, or a list of layers."""
    if not wanted(name):
        return
    keras.backend.clear_session()
    x = samples(size or shape, count)
    with tempfile.TemporaryDirectory() as work:
        if isinstance(build, list):
            model = keras.Sequential([keras.Input(shape), *build])
        else:
            i = keras.Input(shape)
            model = keras.Model(i, build(i))
        randomize(model)
        expected = np.asarray(model(x, training=False))
        for suffix in formats:
            path = f"{work}/m.{suffix}"
            model.save(path)
            compare(f"{name} .{suffix}", path, x, expected, work)
        if back:
            back_again(name, f"{work}/m.keras", x, expected, work)


def refused(name, shape, build, pattern):
    if not wanted(name):
        return
    keras.backend.clear_session()
    with tempfile.TemporaryDirectory() as work:
        i = keras.Input(shape)
        model = keras.Model(i, build(i))
        model.save(f"{work}/m.keras")
        try:
            fovea("info", f"{work}/m.keras")
            verdict(False, name, "was not refused")
        except Exception as error:  # noqa: BLE001
            verdict(pattern in str(error), name, error)


def convolutions():
    shapes = {1: (11, 4), 2: (9, 8, 4), 3: (5, 6, 7, 4)}
    conv = {1: L.Conv1D, 2: L.Conv2D, 3: L.Conv3D}
    transposed = {1: L.Conv1DTranspose, 2: L.Conv2DTranspose, 3: L.Conv3DTranspose}
    for axes, shape in shapes.items():
        for padding in ("valid", "same"):
            for kernel, stride, dilation in ((3, 1, 1), (2, 1, 1), (3, 2, 1), (2, 3, 1), (3, 1, 2),
                                             (1, 2, 1), (4, 2, 1)):
                name = f"conv{axes} {padding} k{kernel} s{stride} d{dilation}"
                case(name, shape, [conv[axes](6, kernel, stride, padding, dilation_rate=dilation,
                                              activation="relu")])
        case(f"conv{axes} no bias", shape, [conv[axes](5, 3, use_bias=False)])
        case(f"conv{axes} groups", shape, [conv[axes](6, 3, groups=2)])
        for padding in ("valid", "same"):
            for kernel, stride, more in ((3, 1, None), (3, 2, None), (4, 2, None), (2, 3, None),
                                         (3, 2, 1), (3, 2, 0), (5, 3, 2), (4, 2, 1), (2, 3, 1)):
                name = f"transpose{axes} {padding} k{kernel} s{stride} o{more}"
                case(name, shape, [transposed[axes](5, kernel, stride, padding,
                                                    output_padding=more)])
    case("conv1 causal", (11, 4), [L.Conv1D(5, 3, padding="causal")])
    case("conv1 causal stride", (11, 4), [L.Conv1D(5, 3, 2, padding="causal")])
    case("conv1 causal dilation", (11, 4), [L.Conv1D(5, 3, dilation_rate=2, padding="causal")])
    case("conv2 oblong", (9, 8, 4), [L.Conv2D(5, (3, 2), (2, 1), "same")])
    case("conv2 oblong dilation", (9, 8, 4), [L.Conv2D(5, (3, 2), dilation_rate=(1, 3))])
    case("conv2 any size", (None, None, 3), [L.Conv2D(5, 3, 2, "same"), L.GlobalMaxPooling2D()],
         size=(12, 9, 3))
    for cls, shape in ((L.DepthwiseConv1D, (11, 4)), (L.DepthwiseConv2D, (9, 8, 4))):
        for padding in ("valid", "same"):
            for multiplier in (1, 3):
                name = f"{cls.__name__} {padding} x{multiplier}"
                case(name, shape, [cls(3, 1, padding, multiplier)])
                case(f"{name} s2", shape, [cls(3, 2, padding, multiplier, activation="relu6")])
        case(f"{cls.__name__} dilation", shape, [cls(3, dilation_rate=2, use_bias=False)])
    for cls, shape in ((L.SeparableConv1D, (11, 4)), (L.SeparableConv2D, (9, 8, 4))):
        for padding in ("valid", "same"):
            for multiplier in (1, 2):
                name = f"{cls.__name__} {padding} x{multiplier}"
                case(name, shape, [cls(6, 3, 1, padding, depth_multiplier=multiplier)])
                case(f"{name} s2", shape, [cls(6, 3, 2, padding, depth_multiplier=multiplier,
                                               activation="tanh", use_bias=False)])


def dense_and_shapes():
    case("dense vector", (13,), [L.Dense(7), L.Dense(5, use_bias=False, activation="softmax")])
    case("dense of places", (5, 6, 3), [L.Dense(7, activation="sigmoid")])
    case("dense of steps", (5, 6), [L.Dense(7)])
    case("flatten dense", (5, 4, 3), [L.Flatten(), L.Dense(7, activation="relu")])
    case("flatten dense 3", (3, 5, 4, 2), [L.Conv3D(3, 2), L.Flatten(), L.Dense(4)])
    case("flatten norm dense", (5, 4, 3), [L.Flatten(), L.BatchNormalization(), L.Dropout(0.4),
                                           L.Dense(7)])
    case("reshape", (24,), [L.Reshape((4, 3, 2)), L.Conv2D(3, 2), L.Reshape((-1,)), L.Dense(3)])
    case("reshape rest", (6, 4), [L.Reshape((-1, 2, 3)), L.Conv2D(2, 1)])
    case("permute", (4, 5, 3), [L.Permute((2, 1, 3)), L.Conv2D(2, 2)])
    case("permute channels", (4, 5, 3), [L.Permute((3, 1, 2)), L.Flatten(), L.Dense(2)])
    case("permute steps", (4, 5), [L.Permute((2, 1)), L.Conv1D(2, 2)])
    for axes, pad, crop, up, shape in (
            (1, L.ZeroPadding1D, L.Cropping1D, L.UpSampling1D, (7, 3)),
            (2, L.ZeroPadding2D, L.Cropping2D, L.UpSampling2D, (7, 6, 3)),
            (3, L.ZeroPadding3D, L.Cropping3D, L.UpSampling3D, (5, 6, 7, 3))):
        uneven = {1: (1, 2), 2: ((1, 2), (0, 3)), 3: ((1, 2), (0, 3), (2, 0))}[axes]
        case(f"pad{axes}", shape, [pad(2)])
        case(f"pad{axes} uneven", shape, [pad(uneven), L.ReLU()])
        case(f"crop{axes}", shape, [crop(1)])
        case(f"crop{axes} uneven", shape, [crop(uneven)])
        case(f"upsample{axes}", shape, [up(2)])
    case("upsample oblong", (4, 5, 3), [L.UpSampling2D((3, 2))])
    case("upsample bilinear", (4, 5, 3), [L.UpSampling2D((3, 2), interpolation="bilinear")])


def pools():
    for axes, shape in ((1, (11, 3)), (2, (9, 8, 3)), (3, (5, 6, 7, 3))):
        for kind in ("Max", "Average"):
            pool = getattr(L, f"{kind}Pooling{axes}D")
            for padding in ("valid", "same"):
                for size, stride in ((2, None), (3, 2), (3, 1), (2, 3)):
                    case(f"{kind}{axes} {padding} {size} {stride}", shape,
                         [pool(size, stride, padding)])
            for keep in (False, True):
                case(f"Global{kind}{axes} {keep}", shape,
                     [getattr(L, f"Global{kind}Pooling{axes}D")(keepdims=keep)])
            case(f"Adaptive{kind}{axes}", shape,
                 [getattr(L, f"Adaptive{kind}Pooling{axes}D")(3)])
    case("Max2 oblong", (9, 8, 3), [L.MaxPooling2D((2, 3), (3, 1), "same")])


def normalizations():
    for shape in ((6,), (7, 6), (5, 4, 6), (3, 4, 5, 6)):
        for scale in (False, True):
            for center in (False, True):
                options = dict(scale=scale, center=center)
                name = f"{len(shape)} {scale} {center}"
                case(f"BatchNormalization {name}", shape,
                     [L.BatchNormalization(momentum=0.9, epsilon=1e-4, **options)])
                case(f"LayerNormalization {name}", shape, [L.LayerNormalization(**options)])
                case(f"GroupNormalization {name}", shape, [L.GroupNormalization(3, **options)])
        case(f"GroupNormalization {len(shape)} each", shape,
             [L.GroupNormalization(-1, epsilon=1e-5)])
        case(f"RMSNormalization {len(shape)}", shape, [L.RMSNormalization()])
        case(f"UnitNormalization {len(shape)}", shape, [L.UnitNormalization()])
        if len(shape) > 1:
            axes = list(range(1, len(shape) + 1))
            case(f"LayerNormalization {len(shape)} all", shape, [L.LayerNormalization(axes)])
            case(f"LayerNormalization {len(shape)} all plain", shape,
                 [L.LayerNormalization(axes, scale=False, center=False)])
        for shared in ("places", "all"):
            axes = list(range(1, len(shape) + (shared == "all"))) or None
            case(f"PReLU {len(shape)} {shared}", shape, [L.PReLU(shared_axes=axes)])
    for rate in (0.0, 0.3):
        case(f"dropouts {rate}", (6, 5, 4),
             [L.Dropout(rate), L.SpatialDropout2D(rate), L.GaussianNoise(rate), L.Conv2D(3, 2),
              L.AlphaDropout(0.3), L.GaussianDropout(0.2), L.ActivityRegularization(l2=0.1),
              L.Conv2D(2, 1)], back=rate == 0.0)


def activations():
    for word in ("linear", "relu", "sigmoid", "tanh", "softmax", "relu6", "elu", "selu", "gelu",
                 "silu", "mish", "hard_sigmoid", "hard_silu", "softplus", "softsign",
                 "log_softmax", "leaky_relu"):
        case(f"argument {word}", (5, 4, 6), [L.Conv2D(4, 2, activation=word), L.Conv2D(3, 1)])
        case(f"argument {word} dense", (6,), [L.Dense(4, activation=word)])
        case(f"Activation {word}", (5, 6), [L.Conv1D(4, 2), L.Activation(word)])
    for name, layer in (("ReLU", lambda: L.ReLU()), ("ReLU6", lambda: L.ReLU(6)),
                        ("ReLU slope", lambda: L.ReLU(negative_slope=0.1)),
                        ("LeakyReLU", lambda: L.LeakyReLU()),
                        ("LeakyReLU 0.01", lambda: L.LeakyReLU(0.01)),
                        ("LeakyReLU 0", lambda: L.LeakyReLU(0.0)),
                        ("ELU", lambda: L.ELU()), ("ELU 0.3", lambda: L.ELU(0.3)),
                        ("Softmax", lambda: L.Softmax()), ("Softmax 3", lambda: L.Softmax(axis=3))):
        case(f"layer {name}", (5, 4, 6), [L.Conv2D(4, 2), layer()])
    case("activation layer as argument", (5, 4, 6), [L.Conv2D(4, 2, activation=L.LeakyReLU(0.2))])
    for name, function in (("relu", ops.relu), ("relu6", ops.relu6), ("sigmoid", ops.sigmoid),
                           ("tanh", ops.tanh), ("gelu", ops.gelu), ("silu", ops.silu),
                           ("elu", ops.elu), ("selu", ops.selu), ("softplus", ops.softplus),
                           ("softsign", ops.softsign), ("leaky", ops.leaky_relu),
                           ("hard_sigmoid", ops.hard_sigmoid),
                           ("hard_silu", ops.hard_silu), ("softmax", ops.softmax),
                           ("log_softmax", ops.log_softmax),
                           ("gelu exact", lambda x: ops.gelu(x, approximate=False))):
        case(f"ops {name}", (4, 6), lambda i, f=function: f(i))


def graphs():
    def residual(i):
        x = L.Conv2D(8, 3, padding="same", activation="relu", name="first")(i)
        y = L.Conv2D(8, 3, padding="same")(x)
        y = L.BatchNormalization()(y)
        return L.GlobalAveragePooling2D()(L.ReLU()(L.Add()([x, y])))

    def joins(i):
        a, b = L.Conv2D(4, 1)(i), L.Conv2D(4, 1)(i)
        return L.Concatenate()([L.Add()([a, b]), L.Multiply()([a, b]), L.Maximum()([a, b, i]),
                                L.Average()([a, b, i])])

    def excite(i):
        x = L.Conv2D(6, 3)(i)
        s = L.Dense(6, activation="sigmoid")(L.GlobalAveragePooling2D()(x))
        return L.Multiply()([x, s])

    def excite_kept(i):
        x = L.Conv2D(6, 3)(i)
        s = L.GlobalAveragePooling2D(keepdims=True)(x)
        s = L.Conv2D(6, 1, activation="hard_sigmoid")(L.Conv2D(3, 1, activation="relu")(s))
        return L.Multiply()([s, x])

    def functions(i):
        a, b = L.Conv2D(4, 1)(i), L.Conv2D(4, 1)(i)
        return ops.concatenate([a + b, a * b, ops.maximum(a, b)], axis=-1)

    def inner(name, shape=(8, 7, 4)):
        i = keras.Input(shape)
        x = L.BatchNormalization()(L.Conv2D(5, 3)(i))
        return keras.Model(i, L.Conv2D(4, 1)(L.ReLU()(x)), name=name)

    def nested(i):
        x = inner("encoder")(i)
        x = keras.Sequential([L.Conv2D(6, 2), L.BatchNormalization(), L.PReLU(shared_axes=[1, 2]),
                              L.Conv2D(3, 1)], name="head")(x)
        return L.Dense(3)(L.Flatten()(x))

    def deep(i):
        middle = keras.Sequential([keras.Input((8, 7, 4)), inner("deepest"),
                                   L.SeparableConv2D(4, 2)], name="middle")
        outer = keras.Sequential([keras.Input((8, 7, 4)), L.Conv2D(4, 1), middle], name="outer")
        outer.layers[0].trainable = False
        middle.layers[0].trainable = False
        return outer(i)

    def reused(i):
        relu, drop = L.ReLU(), L.Dropout(0.2)
        return relu(L.Conv2D(3, 1)(drop(relu(L.Conv2D(3, 2)(drop(i))))))

    def wide(i):
        return L.Concatenate(axis=1)([L.Conv2D(3, 2)(i), L.Conv2D(3, 2)(i)])

    def vectors(i):
        a, b = L.Flatten()(i), L.GlobalMaxPooling2D()(i)
        return L.Dense(4)(L.Concatenate(axis=-1)([a, b]))

    def crossed(i):
        a, b, c, d, e = (L.Conv2D(4, 3, padding="same") for _ in range(5))
        x = e(i)
        y = L.Concatenate()([a(x), L.Add()([b(c(x)), d(i)])])
        j = keras.Input((8, 7, 8))
        z = L.Concatenate()([L.Conv2D(4, 1)(j), L.Conv2D(4, 1)(L.Conv2D(8, 1)(j)), L.Conv2D(4, 1)(j)])
        return L.Dense(3)(L.Flatten()(keras.Model(j, z)(y)))

    shape = (8, 7, 4)
    case("residual", shape, residual)
    case("crossed", shape, crossed)
    case("joins", shape, joins)
    case("excite", shape, excite)
    case("excite kept", shape, excite_kept)
    case("functions", shape, functions)
    case("nested", shape, nested)
    case("deep", shape, deep)
    case("reused", shape, reused, back=False)
    case("concat of rows", shape, wide)
    case("concat of vectors", shape, vectors)
    case("numbers", shape, lambda i: ops.relu6(i + 3.0) * (1 / 6))
    case("numbers of the input", shape, lambda i: L.Conv2D(3, 2)(i / 127.5 - 1.0))
    case("numbers before", shape, lambda i: L.Conv2D(3, 2)(1.0 - L.Conv2D(3, 1)(i)))
    case("numbers in front", shape, lambda i: L.Conv2D(3, 2)(2.0 * (1.0 + i)))
    case("slices", shape, lambda i: L.Concatenate()([i[..., :2], i[..., 1:3], i[..., -1:]]))
    case("slices of places", shape, lambda i: L.Conv2D(3, 1)(i[:, 1:-1, 2:5, 1:]))
    case("function pad", shape, lambda i: ops.pad(i, [[0, 0], [1, 2], [0, 1], [0, 0]],
                                                  constant_values=1.5))
    case("function pad channels", shape, lambda i: ops.pad(i, [[0, 0], [0, 0], [0, 1], [2, 1]]))
    case("function pad reflect", shape, lambda i: ops.pad(i, [[0, 0], [1, 2], [0, 1], [0, 0]],
                                                          mode="reflect"))
    case("depth to space", (4, 5, 8), lambda i: ops.depth_to_space(i, 2))
    case("space to depth", (4, 6, 3), lambda i: ops.space_to_depth(i, 2))


def scales():
    three = [0.2, 0.5, 0.9]
    case("rescaling", (5, 4, 3), [L.Rescaling(1 / 255), L.Conv2D(3, 2)])
    case("rescaling offset", (5, 4, 3), [L.Rescaling(1 / 127.5, offset=-1), L.Conv2D(3, 2)])
    case("rescaling offsets", (5, 4, 3), [L.Rescaling(0.5, offset=three), L.Conv2D(3, 2)])
    case("rescaling scales", (5, 4, 3), [L.Rescaling(three, offset=0.3), L.Conv2D(3, 2)])
    case("rescaling twice", (5, 4, 3), [L.Rescaling(0.5, offset=three), L.Rescaling(3.0, offset=1),
                                        L.Rescaling(three), L.Conv2D(3, 2)])
    case("normalization", (5, 4, 3), [L.Rescaling(0.5), L.Normalization(mean=three, variance=three),
                                      L.Conv2D(3, 2)])
    case("normalization of all", (5, 4, 3), [L.Normalization(axis=None, mean=0.3, variance=2.0),
                                             L.Conv2D(3, 2)])
    adapted = L.Normalization()
    adapted.adapt(random.normal(size=(50, 5, 4, 3)) * 2 + 1)
    case("normalization adapted", (5, 4, 3), [adapted, L.Conv2D(3, 2)])
    case("normalization many", (7,), [L.Normalization(mean=np.arange(7.0).tolist(),
                                                      variance=np.arange(1.0, 8).tolist()),
                                      L.Dense(3)])
    case("rescaling later", (5, 4, 3), [L.Conv2D(3, 2), L.Rescaling(2.0, offset=three),
                                        L.Conv2D(3, 1), L.Rescaling(0.5), L.Conv2D(2, 1)])
    case("rescaling of one branch", (5, 4, 3),
         lambda i: L.Concatenate()([L.Rescaling(3.0, offset=1.0)(i), i]))
    case("augmentation first", (6, 6, 3), [L.RandomFlip(), L.RandomRotation(0.1), L.Rescaling(0.5),
                                           L.Conv2D(3, 2)])


def settings():
    case("tuning", (6, 5, 4),
         [L.Conv2D(5, 2, kernel_regularizer=keras.regularizers.L1L2(0.1, 0.2),
                   kernel_constraint=keras.constraints.MaxNorm(3, [0, 1, 2]),
                   kernel_initializer="he_normal", bias_initializer=keras.initializers.Constant(.2)),
          L.Conv2D(3, 1, trainable=False, kernel_initializer=keras.initializers.RandomNormal(0.0, 0.1)),
          L.BatchNormalization(trainable=False), L.Flatten(),
          L.Dense(3, kernel_constraint=keras.constraints.MaxNorm(2),
                  kernel_initializer="orthogonal")])
    if not wanted("two outputs"):
        return
    i = keras.Input((6, 5, 3), name="picture")
    x = L.Conv2D(4, 3)(i)
    a = L.Dense(3, name="kind")(L.Flatten()(x))
    b = L.Conv2D(2, 1, name="mask")(x)
    model = keras.Model(i, {"b": b, "a": a})
    randomize(model)
    data = samples((6, 5, 3))
    y = model(data)
    with tempfile.TemporaryDirectory() as work:
        for suffix in ("keras", "h5"):
            model.save(f"{work}/m.{suffix}")
            compare(f"two outputs .{suffix}", f"{work}/m.{suffix}", data, [y["b"], y["a"]], work,
                    ["mask", "kind"])
        fovea("export", f"{work}/m.keras", f"{work}/back.keras")
        back = keras.saving.load_model(f"{work}/back.keras")(data)
        named = {tuple(v.shape): v for v in back}
        for key in ("a", "b"):
            verdict(close(named[tuple(y[key].shape)], y[key]), "two outputs back")


def trainings():
    for name, optimizer, loss, words in (
            ("sgd", keras.optimizers.SGD(0.1, 0.9, nesterov=True), "sparse_categorical_crossentropy",
             "optimizer=sgd lr=0.1 momentum=0.9 nesterov=true"),
            ("adam", keras.optimizers.Adam(3e-4, beta_1=0.8, clipnorm=2.0), "mse", "beta1=0.8"),
            ("adamw", keras.optimizers.AdamW(weight_decay=0.01), keras.losses.Huber(2.0),
             "weight_decay=0.01"),
            ("rmsprop", keras.optimizers.RMSprop(rho=0.8, centered=True), "mean_absolute_error",
             "rho=0.8 centered=true"),
            ("adadelta", keras.optimizers.Adadelta(1.0),
             keras.losses.CategoricalCrossentropy(label_smoothing=0.1), "optimizer=adadelta lr=1"),
            ("lion", keras.optimizers.Lion(), "kl_divergence", "optimizer=lion")):
        if not wanted(f"training {name}"):
            continue
        model = keras.Sequential([keras.Input((5,)), L.Dense(3, activation="softmax")])
        model.compile(optimizer, loss)
        with tempfile.TemporaryDirectory() as work:
            texts = []
            for suffix in ("keras", "h5"):
                model.save(f"{work}/m.{suffix}")
                fovea("export", f"{work}/m.{suffix}", f"{work}/m.net")
                texts.append(open(f"{work}/m.net").read())
            fovea("export", f"{work}/m.keras", f"{work}/back.keras")
            fovea("export", f"{work}/back.keras", f"{work}/back.net")
            texts.append(open(f"{work}/back.net").read())
            verdict(texts[0] == texts[1] == texts[2], f"training {name} alike", "\n".join(texts))
            verdict(all(word in texts[0] for word in words.split()), f"training {name}", texts[0])
            keras.saving.load_model(f"{work}/back.keras").train_on_batch(
                samples((5,)), np.array([[1.0, 0, 0], [0, 1, 0]], np.float32)
                if "sparse" not in str(loss) else np.array([0, 1]))


def applications():
    """Keras' own models, with random weights, on small pictures."""
    for name, size in (("MobileNet", 96), ("MobileNetV2", 96), ("MobileNetV3Small", 96),
                       ("EfficientNetB0", 64), ("EfficientNetV2B0", 64), ("DenseNet121", 64),
                       ("ResNet50", 64), ("ResNet50V2", 64), ("InceptionV3", 96), ("Xception", 96),
                       ("NASNetMobile", 96), ("VGG16", 48)):
        if not wanted(f"application {name}"):
            continue
        keras.backend.clear_session()
        model = getattr(keras.applications, name)(weights=None, input_shape=(size, size, 3), classes=20)
        randomize(model)
        x = random.uniform(0, 255, (1, size, size, 3)).astype(np.float32)
        expected = np.asarray(model(x, training=False))
        with tempfile.TemporaryDirectory() as work:
            for suffix in ("keras", "h5"):
                model.save(f"{work}/m.{suffix}")
                compare(f"application {name} .{suffix}", f"{work}/m.{suffix}", x, expected, work)
            back_again(f"application {name}", f"{work}/m.keras", x, expected, work)


def refusals():
    p = (6, 5, 4)
    two = keras.Input((3,))
    for name, shape, build, pattern in (
            ("refuse channels_first", (4, 6, 5), lambda i: L.MaxPooling2D(data_format="channels_first")(i),
             "channels_first"),
            ("refuse shared", p, lambda i: (lambda c: c(c(i)))(L.Conv2D(4, 1)), "used 2 times"),
            ("refuse lstm", (5, 4), lambda i: L.LSTM(3)(i), "LSTM"),
            ("refuse threshold", p, lambda i: L.ReLU(threshold=1.0)(i), "threshold 1"),
            ("refuse max", p, lambda i: L.ReLU(3.0)(i), "max_value 3"),
            ("refuse prelu", p, lambda i: L.PReLU()(i), "differ from place"),
            ("refuse softmax axis", p, lambda i: L.Softmax(axis=1)(i), "axis is 1"),
            ("refuse norm axis", p, lambda i: L.BatchNormalization(axis=1)(i), "axis is 1"),
            ("refuse norm axes", p, lambda i: L.LayerNormalization([1, 2])(i), "some axes"),
            ("refuse bicubic", p, lambda i: L.UpSampling2D(2, interpolation="bicubic")(i), "bicubic"),
            ("refuse subtract", p, lambda i: L.Subtract()([i, i]), "several layers"),
            ("refuse constant", p, lambda i: i * np.ones((5, 4), np.float32), "other arguments"),
            ("refuse step", p, lambda i: i[:, ::2], "without steps"),
            ("refuse index", p, lambda i: i[:, 1], "no plain slice"),
            ("refuse training", p, lambda i: L.BatchNormalization()(i, training=True), "other arguments"),
            ("refuse exponential", p, lambda i: L.Activation("exponential")(i), "exponential"),
            ("refuse symmetric", p, lambda i: ops.pad(i, [[0, 0], [1, 1], [1, 1], [0, 0]],
                                                     mode="symmetric"), "symmetric")):
        refused(name, shape, build, pattern)
    if wanted("refuse inputs"):
        a, b = keras.Input((3,)), keras.Input((3,))
        with tempfile.TemporaryDirectory() as work:
            keras.Model([a, b], L.Add()([a, b])).save(f"{work}/m.keras")
            try:
                fovea("info", f"{work}/m.keras")
                verdict(False, "refuse inputs")
            except RuntimeError as error:
                verdict("2 inputs" in str(error), "refuse inputs", error)


# ---- fovea to Keras -----------------------------------------------------------------------------


def net_case(name, path, work):
    """A net with random weights: its .keras, run by Keras, read again by fovea."""
    model = f"{work}/net.safetensors"
    try:
        fovea("export", path, model)
        fovea("export", model, f"{work}/net.keras")
        fovea("export", model, f"{work}/again.keras")
        verdict(open(f"{work}/net.keras", "rb").read() == open(f"{work}/again.keras", "rb").read(),
                f"{name}: equal files")
        loaded = keras.saving.load_model(f"{work}/net.keras", compile=False)
        shape = [s or 12 for s in loaded.input_shape[1:]]
        x = samples(shape)
        y = loaded(x, training=False)
        y = [np.asarray(v) for v in (y if isinstance(y, (list, tuple)) else [y])]
        if lines_of("info", model) != lines_of("info", f"{work}/net.keras"):
            print(f"{name}: another info\n" + fovea("info", model) + fovea("info", f"{work}/net.keras"))
        ours, again = run_fovea(model, x, work), run_fovea(f"{work}/net.keras", x, work)
        for found, what in ((ours, "by Keras"), (again, "again")):
            values = list(found.values())
            good = len(values) == len(y) and all(
                any(v.size == e.size and close(v, e) for v in values) for e in y)
            verdict(good, f"{name}: {what}", [distance(v, e) for v in values for e in y])
    except Exception as error:  # noqa: BLE001
        verdict(False, name, error)


SMALL = {
    "input": "input 4x5x3 scale=1/255 mean=0.1,0.2,0.3 deviation=0.5,0.6,0.7\nconv 2 1x1",
    "input one": "input 4x5x3 scale=2 mean=0.5 deviation=0.25\nconv 2 1x1",
    "input mean": "input 4x5x3 mean=0.5,1,2\nconv 2 1x1",
    "conv pad": "input 7x6x3\nconv 4 3x3 pad=1 relu\nconv 4 3x2 pad=0:1x2:0 stride=2 leaky_relu",
    "conv lower": "input 7x6x3\nconv 4 4x3 stride=2 padding=same_lower",
    "conv 1": "input 9x3\nconv 4 3 pad=2:0 gelu_tanh\nconv 3 3 padding=causal",
    "conv 3": "input 5x6x4x3\nconv 4 3x3x3 pad=1 groups=1 elu",
    "conv groups": "input 7x6x4\nconv 6 3x3 groups=2 padding=same hard_swish",
    "depthwise": "input 7x6x4\ndepthwise_conv 3x3 multiplier=2 pad=1 relu6",
    "depthwise oblong": "input 7x6x4\ndepthwise_conv 3x2 stride=2x1 multiplier=2",
    "depthwise 3": "input 5x6x4x3\ndepthwise_conv 2x2x2 bias=false",
    "separable": "input 7x6x4\nseparable_conv 5 3x3 multiplier=2 stride=2 pad=1 leaky_relu",
    "transpose": "input 5x4x3\nconv_transpose 4 3x3 stride=2 pad=1 output_pad=1 relu\n"
                 "conv_transpose 2 4x4 stride=2 padding=same gelu_tanh",
    "transpose cut": "input 5x4x3\nconv_transpose 4 4x4 stride=2 pad=1:2x0:1 tanh",
    "transpose small": "input 5x4x3\nconv_transpose 4 2x2 stride=3",
    "transpose 1": "input 5x3\nconv_transpose 4 3 stride=2 pad=1",
    "maxpool pad": "input 7x6x3\nconv 4 1x1\nmaxpool 3x3 stride=2 pad=1",
    "maxpool ceil": "input 8x8x3\nmaxpool 3x3 stride=2 ceil=true",
    "maxpool lower": "input 8x7x3\nmaxpool 3x3 stride=2 padding=same_lower",
    "avgpool pad": "input 7x6x3\navgpool 3x3 stride=2 pad=1 count_include_pad=true",
    "avgpool same": "input 8x8x3\navgpool 3x3 stride=2 ceil=true",
    "adaptive": "input 7x6x3\nadaptive_avgpool 3x2\nadaptive_maxpool 2x1",
    "batch norm": "input 7x6x3\nconv 4 1x1\nbatch_norm relu formula=torch\nbatch_norm leaky_relu",
    "norms": "input 7x6x4\nlayer_norm all=true formula=torch\nlayer_norm\ngroup_norm 2\n"
             "instance_norm\nrms_norm\nrms_norm scale=false\nl2_normalize",
    "activations": "input 7x6x4\nrelu\nconv 4 1x1\nsigmoid\ntanh\nelu 0.5\nselu\ngelu\ngelu_tanh\n"
                   "silu\nmish\nhard_sigmoid\nhard_swish\nsoftplus\nsoftsign\nleaky_relu 0.3\nrelu6\n"
                   "prelu\nprelu shared=true\nsoftmax\nlog_softmax",
    "vector": "input 6\ndense 5 gelu_tanh\nprelu\nbatch_norm\ndropout 0.3\ndense 3 softmax",
    "flatten": "input 4x5x3\nflatten\nbatch_norm\ndense 6 relu\nreshape 1x2x3\nupsample 2\nflatten\n"
               "dense 3",
    "shapes": "input 6x6x4\npad 1:2x0:1\npad 1 value=2\npad 1 mode=reflect\ncrop 1:2x3:0\n"
              "permute 2,1,3\nslice 1 3\nslice 1 4 axis=1\nslice 2 axis=2\npad channels_after=2",
    "depth": "input 4x6x8\ndepth_to_space 2\nspace_to_depth 2",
    "upsample": "input 4x6x8\nupsample 2x3 mode=bilinear\nupsample size=16x36",
    "joins": "input 6x5x4\na: conv 4 1x1\nb: conv 4 1x1 from=input1\nadd from=a,b relu\n"
             "multiply from=add1,a leaky_relu\nmaximum from=multiply1,b\nconcat from=maximum1,a\n"
             "concat from=concat1,concat1 axis=1",
    "excite": "input 6x5x4\nc: conv 4 1x1\nglobal_avgpool\ndense 4 sigmoid\nmultiply from=c,dense1",
    "excite kept": "input 6x5x4\nc: conv 4 1x1\nglobal_avgpool keep=true\nd: conv 4 1x1 sigmoid\n"
                   "multiply from=d,c",
    "constants": "input 6x5x4\nc: conv 4 1x1\nk: constant 4 init=uniform(1)\nmultiply from=c,k\n"
                 "l: constant 4 init=uniform(1)\nadd from=multiply1,l relu",
    "any size": "input *x*x3\nconv 4 3x3 pad=1 stride=2\nmaxpool 2x2\nglobal_avgpool\ndense 3",
    "names": "input 4x4x3\nstem/a.0: conv 3 1x1\nstem_a.0: conv 3 1x1\nstem.a.0: conv 3 1x1",
    "tuning": "input 4x4x3\nconv 3 1x1 l2=0.1 max_norm=2 freeze=true init=kaiming_normal\nflatten\n"
              "dense 3 l1=0.2 init=fan_in_uniform softmax\n"
              "train optimizer=adam lr=0.01 loss=cross_entropy",
    "branches": "input 6x5x3\nstem: conv 4 3x3 pad=1\na: conv 4 3x3 pad=1\n"
                "b: conv 4 3x3 pad=1 from=stem\nc: conv 4 3x3 pad=1\nd: conv 4 3x3 pad=1 from=c\n"
                "e: conv 4 3x3 pad=1 from=c\nf: add relu from=e,b\ng: conv 4 3x3 pad=1 from=stem\n"
                "h: concat from=g,f,d,a\nflatten\ndense 3\noutput e",
    "two outputs": "input 6x5x3\nc: conv 4 3x3\nm: conv 2 1x1\noutput m\nflatten from=c\ndense 3",
}
REFUSED = {
    "table": ("input 4x4x2\nconv 2 1x1 table=0,0+1", "connection tables"),
    "local": ("input 4x4x2\nlocal 2 1x1", "no such layer"),
    "lrn": ("input 4x4x2\nlrn", "no such layer"),
    "scaled tanh": ("input 4x4x2\nconv 2 1x1 scaled_tanh", "scaled tanh"),
    "means": ("input 8x8x2\navgpool 3x3 stride=2 pad=1", "means of windows"),
    "replicate": ("input 4x4x2\npad 1 mode=replicate", "replicate"),
    "transposed groups": ("input 4x4x2\nconv_transpose 4 2x2 groups=2", "groups"),
    "upsample size": ("input 4x4x2\nupsample size=6x6", "whole factors"),
    "dilated stride": ("input 9x9x2\nconv 2 3x3 stride=2 dilation=2", "strides and dilation"),
}


def nets():
    with tempfile.TemporaryDirectory() as work:
        for name, text in SMALL.items():
            if wanted(f"net {name}"):
                open(f"{work}/n.net", "w").write(text + "\n")
                net_case(f"net {name}", f"{work}/n.net", work)
        for name, (text, pattern) in REFUSED.items():
            if not wanted(f"net refuse {name}"):
                continue
            open(f"{work}/n.net", "w").write(text + "\n")
            try:
                fovea("export", f"{work}/n.net", f"{work}/r.keras")
                verdict(False, f"net refuse {name}", "was not refused")
            except RuntimeError as error:
                verdict(pattern in str(error) and not os.path.exists(f"{work}/r.keras"),
                        f"net refuse {name}", error)
        for path in sorted(glob.glob(f"{ROOT}/nets/*.net") + glob.glob(f"{ROOT}/tests/nets/*.net")):
            if not wanted(f"file {os.path.basename(path)}"):
                continue
            try:
                fovea("export", path, f"{work}/probe.keras")
            except RuntimeError as error:
                print(f"not for Keras: {error}", flush=True)
                continue
            net_case(f"file {os.path.basename(path)}", path, work)


def main():
    for part in (convolutions, dense_and_shapes, pools, normalizations, activations, graphs, scales,
                 settings, trainings, applications, refusals, nets):
        before = passed
        part()
        print(f"{part.__name__}: {passed - before}", flush=True)
    print(f"{passed} passed, {len(failures)} failed")
    sys.exit(bool(failures))


main()
