#!/usr/bin/env python3
"""Makes tests/golden/keras: small models saved by Keras, an input (x) and the outputs (y) that Keras
computed for each, for tests/keras.sh. All .keras files but volumes.keras are packed anew, to be
small: Keras itself does not compress. keras2.h5 is written here as Keras 2 would have done it (its
numbers by NumPy for what Keras 3 no longer has), link.h5 and packed.h5 are hostile. orders.txt has
the layers of nets of fovea in the order in which Keras has them once it has read their exports: by
that it looks for their weights. Made with Keras 3.15.1, TensorFlow 2.21, h5py 3.14:

    python tests/golden/make_keras.py build/fovea
"""
import json
import os
import subprocess
import sys
import tempfile
import zipfile

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""
import h5py
import keras
import numpy as np
from keras import layers as L

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "keras")
random = np.random.default_rng(7)


def randomize(model):
    for w in model.weights:
        name, shape = w.path.split("/")[-1], tuple(w.shape)
        if "seed" in name:
            continue
        low = 0.5 if "variance" in name or name == "gamma" else -0.6
        w.assign(random.uniform(low, low + 1.2, shape))


def pack(path):
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)


def save(name, model, suffixes):
    randomize(model)
    x = random.normal(size=(2, *model.input_shape[1:])).astype(np.float32)
    for suffix in suffixes:
        model.save(f"{FOLDER}/{name}.{suffix}", include_optimizer=False)
    if name != "volumes":
        pack(f"{FOLDER}/{name}.keras")
    np.save(f"{FOLDER}/{name}.x.npy", x)
    np.save(f"{FOLDER}/{name}.y.npy", np.asarray(model(x, training=False), np.float32))


def pictures():
    i = keras.Input((8, 7, 3), name="picture")
    x = L.Normalization(mean=[0.1, 0.2, 0.3], variance=[0.5, 1.0, 2.0])(L.Rescaling(0.5)(i))
    x = L.Conv2D(4, 3, 2, "same", activation="leaky_relu")(x)
    a = L.ReLU(6)(L.BatchNormalization(epsilon=1e-4)(x))
    b = L.DepthwiseConv2D(2, padding="same", depth_multiplier=1, activation="gelu")(x)
    c = L.SeparableConv2D(4, 3, padding="same", depth_multiplier=2, activation="selu")(x)
    d = L.GroupNormalization(2)(L.Conv2D(4, 3, padding="same", groups=2, use_bias=False)(x))
    x = L.Add()([a, L.Multiply()([b, c]), L.Maximum()([c, d]), L.Average()([a, d])])
    e = L.MaxPooling2D(3, 2, "same")(x)
    f = L.AveragePooling2D(2, padding="same")(x)
    x = L.Concatenate()([e, L.PReLU(shared_axes=[1, 2])(f)])
    x = L.Conv2DTranspose(3, 3, 2, "same", output_padding=1)(x)
    x = L.Cropping2D(((1, 0), (0, 1)))(L.ZeroPadding2D(((1, 0), (2, 1)))(x))
    x = L.LayerNormalization()(L.UpSampling2D(2, interpolation="bilinear")(x))
    x = L.Dropout(0.2)(L.Permute((2, 1, 3))(x))
    g = L.GlobalAveragePooling2D()(x)
    x = L.AdaptiveAveragePooling2D(2)(x[:, 1:, :, :2])
    x = L.Concatenate()([g, L.Flatten()(x)])
    return keras.Model(i, L.Dense(3, activation="softmax")(x))


def steps():
    return keras.Sequential([
        keras.Input((12, 3)), L.Conv1D(4, 3, padding="causal", dilation_rate=2, activation="silu"),
        L.MaxPooling1D(2), L.SeparableConv1D(4, 3, padding="same"), L.LayerNormalization([1, 2]),
        L.Conv1DTranspose(3, 2, 3), L.ELU(0.5), L.Dense(4, activation="softsign"),
        L.SpatialDropout1D(0.2), L.UnitNormalization(), L.RMSNormalization(), L.Reshape((3, -1)),
        L.GlobalMaxPooling1D()])


def volumes():
    return keras.Sequential([
        keras.Input((5, 6, 4, 2)), L.Conv3D(3, 2, (1, 2, 1), activation="hard_sigmoid"),
        L.BatchNormalization(scale=False), L.AveragePooling3D((2, 1, 1), padding="same"),
        L.GaussianNoise(0.1), L.Flatten(), L.Dense(3, "mish"), L.Dense(2)])


def nested():
    i = keras.Input((6, 5, 2))
    inner = keras.Sequential([keras.Input((6, 5, 2)), L.Conv2D(3, 2), L.BatchNormalization(),
                              L.Conv2D(2, 1, trainable=False)], name="inner")
    j = keras.Input((5, 4, 2))
    outer = keras.Model(j, L.BatchNormalization()(L.Conv2D(2, 2)(j)), name="outer")
    return keras.Model(i, L.Dense(2)(L.Flatten()(outer(inner(i)))))


def crossed():
    """Branches of one shape; their layers are made and called in another order than the model has
    them in, also in a model in the model."""
    def conv():
        return L.Conv2D(3, 3, padding="same")

    d, c, b, a, last = conv(), conv(), conv(), conv(), conv()
    i, j = keras.Input((6, 5, 3)), keras.Input((6, 5, 3))
    p, q = conv()(j), conv()(conv()(j))
    inner = keras.Model(j, L.Concatenate()([q, p, conv()(q)]), name="inner")
    x = a(i)
    short, side, far = d(x), inner(x), c(b(x))
    y = L.Concatenate()([L.Add()([short, far]), side, conv()(i), short * last(far)])
    return keras.Model(i, L.Dense(3)(L.GlobalAveragePooling2D()(y)))


# ---- As Keras 2 wrote it -------------------------------------------------------------------------


def local_by_numpy(x, kernel, bias, size):
    """LocallyConnected2D, implementation 1: kernel (places, size x size x channels, filters)."""
    rows, columns, filters = bias.shape
    y = np.zeros((len(x), rows, columns, filters))
    for r in range(rows):
        for c in range(columns):
            patch = x[:, r:r + size, c:c + size, :].reshape(len(x), -1)
            y[:, r, c] = patch @ kernel[r * columns + c] + bias[r, c]
    return y


def keras2():
    """conv2d hard_sigmoid (slope 1 / 5), locally connected, LeakyReLU, flatten, dense."""
    kernel, bias = random.normal(size=(2, 2, 2, 3)), random.normal(size=3)
    own, own_bias = random.normal(size=(12, 12, 2)), random.normal(size=(3, 4, 2))
    dense = random.normal(size=(24, 3))
    x = random.normal(size=(2, 5, 6, 2)).astype(np.float32)
    y = np.zeros((2, 4, 5, 3))
    for r in range(4):
        for c in range(5):
            y[:, r, c] = x[:, r:r + 2, c:c + 2].reshape(2, -1) @ kernel.reshape(-1, 3) + bias
    y = np.clip(0.2 * y + 0.5, 0, 1)
    y = local_by_numpy(y, own, own_bias, 2)
    y = np.where(y > 0, y, 0.3 * y).reshape(2, -1) @ dense
    np.save(f"{FOLDER}/keras2.x.npy", x)
    np.save(f"{FOLDER}/keras2.y.npy", y.astype(np.float32))

    def layer(class_name, name, inputs, **config):
        nodes = [[[i, 0, 0, {}] for i in inputs]] if inputs else []
        return {"class_name": class_name, "name": name, "inbound_nodes": nodes,
                "config": {"name": name, "trainable": True, "dtype": "float32", **config}}

    last = {"data_format": "channels_last"}
    config = {"class_name": "Model", "config": {"name": "model_1", "layers": [
        layer("InputLayer", "input_1", [], batch_input_shape=[None, 5, 6, 2], sparse=False),
        layer("Conv2D", "conv2d_1", ["input_1"], filters=3, kernel_size=[2, 2], strides=[1, 1],
              padding="valid", dilation_rate=[1, 1], activation="hard_sigmoid", use_bias=True,
              **last),
        layer("LocallyConnected2D", "local_1", ["conv2d_1"], filters=2, kernel_size=[2, 2],
              strides=[1, 1], padding="valid", activation="linear", use_bias=True,
              implementation=1, **last),
        layer("LeakyReLU", "leaky_re_lu_1", ["local_1"], alpha=0.30000001192092896),
        layer("Flatten", "flatten_1", ["leaky_re_lu_1"], **last),
        layer("Dense", "dense_1", ["flatten_1"], units=3, activation="linear", use_bias=False),
    ], "input_layers": [["input_1", 0, 0]], "output_layers": [["dense_1", 0, 0]]}}
    with h5py.File(f"{FOLDER}/keras2.h5", "w") as file:
        file.attrs["keras_version"], file.attrs["backend"] = b"2.4.0", b"tensorflow"
        file.attrs["model_config"] = json.dumps(config).encode()
        group = file.create_group("model_weights")
        names = [entry["name"] for entry in config["config"]["layers"]]
        group.attrs["layer_names"] = [name.encode() for name in names]
        weights = {"conv2d_1": [("kernel", kernel), ("bias", bias)],
                   "local_1": [("kernel", own), ("bias", own_bias)],
                   "dense_1": [("kernel", dense)]}
        for name in names:
            own_group = group.create_group(name)
            own_group.attrs["weight_names"] = [f"{name}/{v}:0".encode()
                                               for v, _ in weights.get(name, [])]
            for v, values in weights.get(name, []):
                own_group.create_dataset(f"{name}/{v}:0", data=values.astype(np.float32))


# ---- Hostile -------------------------------------------------------------------------------------


def hostile():
    """A dense layer whose kernel is a link to another file, or is stored compressed."""
    config = {"class_name": "Sequential", "config": {"name": "m", "layers": [
        {"class_name": "Dense", "config": {"name": "d", "batch_input_shape": [None, 4], "units": 3,
                                           "use_bias": False, "activation": "linear"}}]}}
    for name in ("link", "packed"):
        with h5py.File(f"{FOLDER}/{name}.h5", "w") as file:
            file.attrs["keras_version"] = "2.4.0"
            file.attrs["model_config"] = json.dumps(config)
            group = file.create_group("model_weights/d")
            group.attrs["weight_names"] = ["d/kernel:0"]
            group.create_group("d")
            if name == "link":
                group["d/kernel:0"] = h5py.ExternalLink("/etc/passwd", "/x")
            else:
                group["d"].create_dataset("kernel:0", (4, 3), "f4", compression="gzip")


# ---- The order of layers -------------------------------------------------------------------------


def orders(fovea):
    with tempfile.TemporaryDirectory() as work, open(f"{FOLDER}/orders.txt", "w") as file:
        for net in (f"{FOLDER}/branches.net", "googlenet-torchvision", "resnet18"):
            subprocess.run([fovea, "export", net, f"{work}/net.keras"], check=True)
            with zipfile.ZipFile(f"{work}/net.keras") as archive:
                model = keras.saving.deserialize_keras_object(json.loads(archive.read("config.json")))
            name = os.path.basename(net).removesuffix(".net")
            print(name, *[operation.name for operation in model.operations], file=file)


os.makedirs(FOLDER, exist_ok=True)
save("pictures", pictures(), ["keras"])
save("steps", steps(), ["keras"])
save("volumes", volumes(), ["keras"])
save("nested", nested(), ["keras", "h5"])
keras2()
hostile()
save("crossed", crossed(), ["keras", "h5"])
orders(os.path.abspath(sys.argv[1]))
