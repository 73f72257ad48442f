#!/usr/bin/env python3
"""Makes golden.safetensors: small cases computed by PyTorch, Keras on TensorFlow and ONNX Runtime,
which tests/test_golden.c holds the library to. Run again only to add cases:

    pip install torch tensorflow keras onnx onnxruntime numpy
    python3 tests/golden/make.py

A case NAME is a net (metadata NAME.net) and tensors: NAME.input (samples, spatial sizes...,
channels), NAME.weights.LAYER.weight in PyTorch's layout, and what must come out: NAME.output at
inference, or after NAME.steps training steps on NAME.target.FIELD the first loss NAME.loss and
NAME.after.LAYER.weight. NAME.origin says which call made it.
"""
import os

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
import json
import struct
import sys

sys.modules["triton"] = None  # its LLVM and TensorFlow's do not live in one process

import keras
import numpy as np
import onnx
import onnxruntime
import tensorflow as tf
import torch
import torch.nn.functional as F

random = np.random.RandomState(7)
tensors, metadata = {}, {}
metadata["versions"] = "torch %s, keras %s, tensorflow %s, onnxruntime %s, numpy %s" % (
    torch.__version__, keras.__version__, tf.__version__, onnxruntime.__version__, np.__version__)


def draw(*shape):
    return random.uniform(-1, 1, shape).astype(np.float32)


def first(x):
    """Channels last to channels first."""
    return torch.tensor(np.moveaxis(x, -1, 1).copy())


def last(x):
    x = x.detach().numpy() if isinstance(x, torch.Tensor) else np.asarray(x)
    return np.moveaxis(x, 1, -1) if x.ndim > 2 else x


def kernel(w):
    """A Keras convolution kernel (k..., in, out) as PyTorch's (out, in, k...)."""
    w = np.asarray(w)
    return np.moveaxis(w, (-1, -2), (0, 1))


def case(name, origin, net, x, output=None, weights=None, steps=0, targets=None, after=None,
         loss=None):
    assert name + ".net" not in metadata, name
    metadata[name + ".net"] = net.strip() + "\n"
    metadata[name + ".origin"] = origin
    tensors[name + ".input"] = x
    if steps:
        metadata[name + ".steps"] = str(steps)
    for key, group in (("weights", weights), ("target", targets), ("after", after)):
        for part, value in (group or {}).items():
            tensors["%s.%s.%s" % (name, key, part)] = np.asarray(value)
    if output is not None:
        tensors[name + ".output"] = np.asarray(output)
    if loss is not None:
        tensors[name + ".loss"] = np.asarray(loss).reshape(1)


def shape_of(x):
    return "x".join(str(n) for n in x.shape[1:])


def layer(name, origin, text, x, y, weights=None):
    case(name, origin, "input %s\nL: %s" % (shape_of(x), text), x, output=y,
         weights={"L." + k: v for k, v in (weights or {}).items()})


def torch_layer(name, text, module, x, more=None):
    """One PyTorch module; its parameters and buffers are the layer's weights."""
    module = module.eval()
    weights = {k: v.detach().numpy() for k, v in module.state_dict().items()
               if not k.endswith("num_batches_tracked")}
    layer(name, "torch.nn." + str(module).replace("\n", ""), text, x, last(module(first(x))),
          more or weights)


def randomize(module):
    with torch.no_grad():
        for p in list(module.parameters()) + list(module.buffers()):
            if p.dtype == torch.float32:
                p.copy_(torch.tensor(draw(*p.shape) if p.dim() else draw()))
        for n, b in module.named_buffers():
            if n.endswith("var"):
                b.abs_().add_(0.5)
    return module


def keras_layer(name, text, module, x, weights):
    module.build(x.shape)
    module.set_weights([np.abs(draw(*w.shape)) + 0.5 if "variance" in w.path else draw(*w.shape)
                        for w in module.weights])
    layer(name, "keras.layers." + module.__class__.__name__ + json.dumps(
        {k: v for k, v in module.get_config().items() if isinstance(v, (int, float, str, tuple))}),
        text, x, module(x, training=False).numpy(), weights([np.asarray(w) for w in module.weights]))


def onnx_layer(name, text, op, x, attributes, inputs=(), weights=None):
    """One ONNX operator on channels-first data; further inputs are initialisers."""
    names = ["x"] + ["i%d" % i for i in range(len(inputs))]
    value = np.moveaxis(x, -1, 1).copy()
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node(op, names, ["y"], **attributes)], "g",
        [onnx.helper.make_tensor_value_info("x", 1, value.shape)],
        [onnx.helper.make_tensor_value_info("y", 1, None)],
        [onnx.numpy_helper.from_array(v, n) for v, n in zip(inputs, names[1:])])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
    model.ir_version = 8
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    layer(name, "ONNX %s %s" % (op, attributes), text, x, last(session.run(None, {"x": value})[0]),
          weights)


# ---- C1: convolution and padding -------------------------------------------------------------------


def conv_weights(w):
    return {"weight": kernel(w[0]), "bias": w[1]}


def convolutions():
    kl = keras.layers
    ramp = np.arange(1, 17, dtype=np.float32).reshape(1, 4, 4, 1)
    ones = {"weight": np.ones((1, 1, 3, 3), np.float32)}
    y = tf.nn.conv2d(ramp, tf.ones((3, 3, 1, 1)), 2, "SAME").numpy()
    assert y.ravel().tolist() == [54, 45, 72, 54]
    layer("conv.same.ramp", "tf.nn.conv2d SAME stride 2", "conv 1 3x3 stride=2 padding=same bias=false",
          ramp, y, ones)
    y = F.conv2d(first(ramp), torch.ones(1, 1, 3, 3), stride=2, padding=1)
    assert y.ravel().tolist() == [14, 30, 57, 99]
    layer("conv.pad.ramp", "torch.conv2d padding 1 stride 2",
          "conv 1 3x3 stride=2 pad=1 bias=false", ramp, last(y), ones)
    x1, x2, x3 = draw(2, 13, 5), draw(2, 9, 8, 6), draw(2, 5, 6, 7, 4)
    torch_layer("conv1d.torch", "conv 7 4 stride=2 dilation=2 pad=3", randomize(
        torch.nn.Conv1d(5, 7, 4, 2, 3, 2)), x1)
    torch_layer("conv2d.same.even.torch", "conv 3 4x4 padding=same", randomize(
        torch.nn.Conv2d(6, 3, 4, padding="same")), x2)
    torch_layer("conv2d.groups.torch", "conv 4 3x2 stride=2x1 pad=1x0 dilation=1x2 groups=2",
                randomize(torch.nn.Conv2d(6, 4, (3, 2), (2, 1), (1, 0), (1, 2), 2)), x2)
    torch_layer("conv3d.torch", "conv 5 3x2x3 stride=1x2x2 pad=1x0x1 groups=1", randomize(
        torch.nn.Conv3d(4, 5, (3, 2, 3), (1, 2, 2), (1, 0, 1))), x3)
    torch_layer("conv2d.winograd.torch", "conv 16 3x3 relu pad=1", torch.nn.Sequential(randomize(
        torch.nn.Conv2d(16, 16, 3, padding=1)), torch.nn.ReLU()), x := draw(2, 11, 10, 16), None)
    for part in ("weight", "bias"):
        tensors["conv2d.winograd.torch.weights.L." + part] = tensors.pop(
            "conv2d.winograd.torch.weights.L.0." + part)
    for size, k, s in ((9, 3, 2), (8, 3, 2), (8, 2, 3), (7, 5, 1)):
        keras_layer("conv2d.same.%d.%d.%d.keras" % (size, k, s),
                    "conv 3 %dx%d stride=%d padding=same" % (k, k, s),
                    kl.Conv2D(3, k, s, "same"), draw(2, size, size, 2), conv_weights)
    keras_layer("conv1d.causal.keras", "conv 4 3 dilation=2 padding=causal",
                kl.Conv1D(4, 3, padding="causal", dilation_rate=2), x1, conv_weights)
    keras_layer("conv2d.dilated.same.keras", "conv 4 3x3 dilation=2 padding=same",
                kl.Conv2D(4, 3, padding="same", dilation_rate=2), x2, conv_weights)
    keras_layer("conv3d.same.keras", "conv 4 3x3x3 stride=2 padding=same",
                kl.Conv3D(4, 3, 2, "same"), x3, conv_weights)
    w = draw(3, 6, 3, 3)
    onnx_layer("conv2d.same_lower.onnx", "conv 3 3x3 stride=2 padding=same_lower bias=false", "Conv",
               draw(2, 8, 8, 6), {"auto_pad": "SAME_LOWER", "strides": [2, 2]}, [w], {"weight": w})

    def depthwise(w, n):  # (k..., in, multiplier) to (in x multiplier, 1, k...)
        return np.moveaxis(w.reshape(w.shape[:-2] + (-1,)), -1, 0)[:, None]
    keras_layer("depthwise.keras", "depthwise_conv 3x3 multiplier=2 stride=2 padding=same",
                kl.DepthwiseConv2D(3, 2, "same", 2), x2,
                lambda w: {"weight": depthwise(w[0], 2), "bias": w[1]})
    keras_layer("depthwise1.keras", "depthwise_conv 3x3", kl.DepthwiseConv2D(3), x2,
                lambda w: {"weight": depthwise(w[0], 2), "bias": w[1]})
    keras_layer("separable.keras", "separable_conv 5 3x3 multiplier=2 padding=same",
                kl.SeparableConv2D(5, 3, padding="same", depth_multiplier=2), x2,
                lambda w: {"depthwise_weight": depthwise(w[0], 2), "weight": kernel(w[1]),
                           "bias": w[2]})
    torch_layer("transpose1d.torch", "conv_transpose 4 3 stride=2 pad=1 output_pad=1", randomize(
        torch.nn.ConvTranspose1d(5, 4, 3, 2, 1, 1)), x1)
    torch_layer("transpose2d.torch",
                "conv_transpose 4 3x2 stride=2x3 pad=1x0 dilation=2x1 groups=2", randomize(
                    torch.nn.ConvTranspose2d(6, 4, (3, 2), (2, 3), (1, 0), 0, 2, True, (2, 1))), x2)
    torch_layer("transpose3d.torch", "conv_transpose 2 2x3x2 stride=2", randomize(
        torch.nn.ConvTranspose3d(4, 2, (2, 3, 2), 2)), x3)
    for k, s, p in ((3, 2, "same"), (4, 2, "same"), (5, 1, "same"), (3, 2, "valid"), (3, 4, "same")):
        keras_layer("transpose.%d.%d.%s.keras" % (k, s, p),
                    "conv_transpose 3 %dx%d stride=%d padding=%s" % (k, k, s, p),
                    kl.Conv2DTranspose(3, k, s, p), draw(2, 4, 5, 6),
                    lambda w: {"weight": np.moveaxis(w[0], (-1, -2), (0, 1)), "bias": w[1]})


# ---- C2: pooling -----------------------------------------------------------------------------------


def pools():
    kl, nn = keras.layers, torch.nn
    none = lambda w: {}
    x1, x2, x3 = draw(2, 11, 3), draw(2, 10, 9, 3), draw(1, 5, 6, 7, 3)
    layer("avgpool.count.torch", "torch: 3x3 ones, k2 s2 p1", "avgpool 2x2 pad=1 count_include_pad=true",
          np.ones((1, 3, 3, 1), np.float32), np.array([.25, .5, .5, 1]).reshape(1, 2, 2, 1))
    for k, s, p in ((3, 2, 1), (2, 2, 1), (3, 2, 0), (5, 3, 2)):
        for c in (False, True):
            word = "%dx%d stride=%d pad=%d ceil=%s" % (k, k, s, p, str(c).lower())
            tag = "%d.%d.%d.%d" % (k, s, p, c)
            torch_layer("maxpool.%s.torch" % tag, "maxpool " + word, nn.MaxPool2d(k, s, p, ceil_mode=c), x2)
            torch_layer("avgpool.in.%s.torch" % tag, "avgpool %s count_include_pad=true" % word,
                        nn.AvgPool2d(k, s, p, c), x2)
            torch_layer("avgpool.out.%s.torch" % tag, "avgpool " + word,
                        nn.AvgPool2d(k, s, p, c, False), x2)
    torch_layer("maxpool1d.torch", "maxpool 3 stride=2 pad=1", nn.MaxPool1d(3, 2, 1), x1)
    torch_layer("avgpool3d.torch", "avgpool 2x3x2 stride=2x1x2 pad=1x1x0 count_include_pad=true",
                nn.AvgPool3d((2, 3, 2), (2, 1, 2), (1, 1, 0)), x3)
    for p in ("same", "valid"):
        keras_layer("maxpool.%s.keras" % p, "maxpool 3x3 stride=2 padding=" + p,
                    kl.MaxPooling2D(3, 2, p), x2, none)
        keras_layer("avgpool.%s.keras" % p, "avgpool 3x3 stride=2 padding=" + p,
                    kl.AveragePooling2D(3, 2, p), x2, none)
    keras_layer("avgpool3d.keras", "avgpool 2x2x2 padding=same", kl.AveragePooling3D(2, padding="same"),
                x3, none)
    onnx_layer("maxpool.lower.onnx", "maxpool 2x2 stride=1 padding=same_lower", "MaxPool", x2,
               {"kernel_shape": [2, 2], "auto_pad": "SAME_LOWER"})
    onnx_layer("avgpool.lower.onnx", "avgpool 2x2 stride=1 padding=same_lower", "AveragePool", x2,
               {"kernel_shape": [2, 2], "auto_pad": "SAME_LOWER"})
    onnx_layer("maxpool.ceil.onnx", "maxpool 3x3 stride=2 ceil=true", "MaxPool", x2,
               {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1})
    keras_layer("global_avgpool.keras", "global_avgpool", kl.GlobalAveragePooling2D(), x2, none)
    keras_layer("global_maxpool.keras", "global_maxpool keep=true",
                kl.GlobalMaxPooling3D(keepdims=True), x3, none)
    torch_layer("adaptive_avgpool.torch", "adaptive_avgpool 3x4", nn.AdaptiveAvgPool2d((3, 4)), x2)
    torch_layer("adaptive_maxpool.torch", "adaptive_maxpool 4x5", nn.AdaptiveMaxPool2d((4, 5)), x2)
    torch_layer("adaptive_up.torch", "adaptive_avgpool 14", nn.AdaptiveAvgPool1d(14), x1)


# ---- C3: layouts, shapes and joins -----------------------------------------------------------------


def shapes():
    kl, nn = keras.layers, torch.nn
    x = draw(2, 4, 6, 8)
    module = randomize(nn.Linear(4 * 6 * 8, 5))
    case("flatten.torch", "torch Flatten, Linear", "input 4x6x8\nflatten\nL: dense 5", x,
         module(first(x).flatten(1)).detach().numpy(),
         {"L.weight": module.weight.detach().numpy(), "L.bias": module.bias.detach().numpy()})
    dense = kl.Dense(5)
    y = dense(kl.Flatten()(x))
    w = np.asarray(dense.weights[0]).reshape(4, 6, 8, 5)
    case("flatten.keras", "keras Flatten, Dense", "input 4x6x8\nflatten\nL: dense 5", x, y.numpy(),
         {"L.weight": np.transpose(w, (3, 2, 0, 1)).reshape(5, -1), "L.bias": np.asarray(dense.weights[1])})
    none = lambda w: {}
    keras_layer("permute.keras", "permute 3,1,2", kl.Permute((3, 1, 2)), x, none)
    keras_layer("reshape.keras", "reshape 3x8x8", kl.Reshape((3, 8, 8)), x, none)
    keras_layer("crop.keras", "crop 1:0x2:1", kl.Cropping2D(((1, 0), (2, 1))), x, none)
    for mode, word in (("constant", "constant value=0.5"), ("reflect", "reflect"), ("replicate", "replicate")):
        y = F.pad(first(x), (1, 2, 3, 0), mode, **({"value": 0.5} if mode == "constant" else {}))
        layer("pad.%s.torch" % mode, "torch.nn.functional.pad", "pad 3:0x1:2 mode=" + word, x, last(y))
    torch_layer("shuffle.torch", "depth_to_space 2 order=crd", nn.PixelShuffle(2), x)
    torch_layer("unshuffle.torch", "space_to_depth 2 order=crd", nn.PixelUnshuffle(2), x)
    layer("depth.tf", "tf.nn.depth_to_space", "depth_to_space 2", x, tf.nn.depth_to_space(x, 2).numpy())
    layer("space.tf", "tf.nn.space_to_depth", "space_to_depth 2", x, tf.nn.space_to_depth(x, 2).numpy())
    for mode in ("nearest", "bilinear"):
        keras_layer("upsample.%s.keras" % mode, "upsample 2x3 mode=" + mode,
                    kl.UpSampling2D((2, 3), interpolation=mode), x, none)
        torch_layer("upsample.%s.torch" % mode, "upsample size=7x5 mode=" + mode,
                    nn.Upsample((7, 5), mode=mode), x)
    torch_layer("upsample.corners.torch", "upsample size=9x11 mode=bilinear align_corners=true",
                nn.Upsample((9, 11), mode="bilinear", align_corners=True), x)
    torch_layer("upsample.linear3.torch", "upsample 2 mode=bilinear",
                nn.Upsample(scale_factor=2, mode="trilinear"), draw(1, 3, 4, 5, 2))
    torch_layer("upsample.linear1.torch", "upsample 3 mode=bilinear",
                nn.Upsample(scale_factor=3, mode="linear"), draw(1, 5, 2))
    onnx_layer("resize.onnx", "upsample 2 mode=bilinear", "Resize", x,
               {"mode": "linear", "coordinate_transformation_mode": "half_pixel"},
               [np.array([], np.float32), np.array([1, 1, 2, 2], np.float32)])


# ---- C4, C5, C9: normalisation and activations -----------------------------------------------------


def norms():
    kl, nn = keras.layers, torch.nn
    x = draw(3, 4, 5, 8)
    torch_layer("batch_norm.torch", "batch_norm formula=torch", randomize(nn.BatchNorm2d(8)), x)
    bn = lambda w: dict(zip(("weight", "bias", "running_mean", "running_var"), w))
    keras_layer("batch_norm.keras", "batch_norm", kl.BatchNormalization(), x, bn)
    w = [np.abs(draw(8)) + 0.5 for i in range(4)]
    onnx_layer("batch_norm.onnx", "batch_norm formula=onnx", "BatchNormalization", x, {}, w, bn(w))
    module = randomize(nn.LayerNorm(8))
    layer("layer_norm.torch", "torch.nn.LayerNorm(8), channels last", "layer_norm formula=torch", x,
          module(torch.tensor(x)).detach().numpy(), {k: v.numpy() for k, v in module.state_dict().items()})
    torch_layer("layer_norm.all.torch", "layer_norm all=true formula=torch", randomize(
        nn.LayerNorm((8, 4, 5))), x)
    scale = lambda w: dict(zip(("weight", "bias"), w))
    keras_layer("layer_norm.keras", "layer_norm", kl.LayerNormalization(), x, scale)
    torch_layer("group_norm.torch", "group_norm 4 formula=torch", randomize(nn.GroupNorm(4, 8)), x)
    keras_layer("group_norm.keras", "group_norm 2", kl.GroupNormalization(2), x, scale)
    torch_layer("instance_norm.torch", "instance_norm formula=torch", randomize(
        nn.InstanceNorm2d(8, affine=True)), x)
    torch_layer("instance_norm.plain.torch", "instance_norm formula=torch scale=false bias=false",
                nn.InstanceNorm1d(8), draw(2, 9, 8))
    keras_layer("rms_norm.keras", "rms_norm", kl.RMSNormalization(), x, lambda w: {"weight": w[0]})
    torch_layer("lrn.torch", "lrn 5 formula=torch alpha=0.5 beta=0.75 k=2", nn.LocalResponseNorm(
        5, 0.5, 0.75, 2), x)
    torch_layer("lrn.even.torch", "lrn 4 formula=torch alpha=0.5", nn.LocalResponseNorm(4, 0.5), x)
    onnx_layer("lrn.onnx", "lrn 5 formula=onnx alpha=0.5", "LRN", x, {"size": 5, "alpha": 0.5})
    layer("lrn.tf", "tf.nn.local_response_normalization(x, 2, 2, 1e-4, .75)",
          "lrn 5 k=2 alpha=1e-4 beta=0.75", x,
          tf.nn.local_response_normalization(x, 2, 2, 1e-4, .75).numpy())
    layer("lrn.default.tf", "tf.nn.local_response_normalization(x, depth_radius=2)", "lrn 5", x,
          tf.nn.local_response_normalization(x, 2).numpy())
    keras_layer("l2_normalize.keras", "l2_normalize", kl.UnitNormalization(), x, lambda w: {})


def activations():
    nn = torch.nn
    x = np.concatenate([draw(1, 5, 8) * 4, np.array([-30, -6, -3, -1e-3, 0, 1e-3, 3, 6] * 3,
                                                    np.float32).reshape(1, 3, 8)], 1)
    for word, module in (("relu", nn.ReLU()), ("relu6", nn.ReLU6()), ("leaky_relu", nn.LeakyReLU()),
                         ("leaky_relu 0.3", nn.LeakyReLU(0.3)), ("elu", nn.ELU()), ("elu 0.5", nn.ELU(0.5)),
                         ("selu", nn.SELU()), ("gelu", nn.GELU()), ("gelu_tanh", nn.GELU("tanh")),
                         ("silu", nn.SiLU()), ("mish", nn.Mish()), ("hard_sigmoid", nn.Hardsigmoid()),
                         ("hard_swish", nn.Hardswish()), ("softplus", nn.Softplus()),
                         ("softsign", nn.Softsign()), ("tanh", nn.Tanh()), ("sigmoid", nn.Sigmoid()),
                         ("softmax", nn.Softmax(1)), ("log_softmax", nn.LogSoftmax(1)),
                         ("prelu", randomize(nn.PReLU(8))), ("prelu shared=true", randomize(nn.PReLU()))):
        torch_layer("activation.%s.torch" % word.replace(" ", "."), word, module, x)
    for word, name in (("relu6", "relu6"), ("elu", "elu"), ("selu", "selu"), ("silu", "silu"), ("mish", "mish"),
                       ("hard_sigmoid", "hard_sigmoid"), ("hard_swish", "hard_silu"),
                       ("softplus", "softplus"), ("softsign", "softsign"), ("softmax", "softmax"),
                       ("log_softmax", "log_softmax")):
        layer("activation.%s.keras" % word, "keras.activations." + name, word, x,
              getattr(keras.activations, name)(tf.constant(x)).numpy())
    layer("activation.leaky.keras", "keras.layers.LeakyReLU()", "leaky_relu 0.3", x,
          keras.layers.LeakyReLU()(x).numpy())
    layer("activation.gelu.keras", "keras.activations.gelu(approximate=False)", "gelu", x,
          keras.activations.gelu(tf.constant(x), approximate=False).numpy())
    onnx_layer("activation.hard_sigmoid.onnx", "hard_sigmoid 0.2", "HardSigmoid", x, {})


# ---- C7: losses, by the weights after one step of plain SGD ----------------------------------------


def torch_loss(name, text, x, targets, loss, width=4, act=None, line=""):
    """A dense layer, one step of sgd lr=1 on `loss(outputs)`."""
    module = randomize(torch.nn.Linear(x.shape[1], width))
    start = {"L." + k: v.detach().numpy().copy() for k, v in module.state_dict().items()}
    value = loss(module(torch.tensor(x)))
    value.backward()
    after = {"L." + k: (p - p.grad).detach().numpy() for k, p in module.named_parameters()}
    case(name, "torch", "input %s\nL: dense %d%s\n%s\ntrain optimizer=sgd lr=1 batch=%d" % (
        shape_of(x), width, act or "", text, len(x)), x, weights=start, steps=1, targets=targets,
         after=after, loss=value.detach().numpy())


def keras_loss(name, text, x, targets, loss, width=4, act=None):
    w, b = tf.Variable(draw(x.shape[1], width)), tf.Variable(draw(width))
    start = {"L.weight": w.numpy().T, "L.bias": b.numpy()}
    with tf.GradientTape() as tape:
        y = tf.matmul(x, w) + b
        y = {None: y, " softmax": tf.nn.softmax(y), " sigmoid": tf.sigmoid(y)}[act]
        value = loss(y)
    gw, gb = tape.gradient(value, [w, b])
    case(name, "keras", "input %s\nL: dense %d%s\n%s\ntrain optimizer=sgd lr=1 batch=%d" % (
        shape_of(x), width, act or "", text, len(x)), x, weights=start, steps=1, targets=targets,
         after={"L.weight": (w - gw).numpy().T, "L.bias": (b - gb).numpy()}, loss=value.numpy())


def losses():
    x, n = draw(6, 5), 6
    labels = np.array([0, 3, 1, 2, 3, 3])
    label = {"label": labels.reshape(n, 1).astype(np.float32)}
    t = torch.tensor(labels)
    spread = np.abs(draw(n, 4)) + 0.1
    spread /= spread.sum(1, keepdims=True)
    values, bits = draw(n, 4), (draw(n, 4) > 0).astype(np.float32)
    cw = [0.5, 1, 2, 3]
    T = torch.tensor
    torch_loss("loss.ce.torch", "loss cross_entropy", x, label, lambda y: F.cross_entropy(y, t))
    torch_loss("loss.ce.smooth.torch", "loss cross_entropy label_smoothing=0.1", x, label,
               lambda y: F.cross_entropy(y, t, label_smoothing=0.1))
    torch_loss("loss.ce.weights.torch", "loss cross_entropy class_weights=0.5,1,2,3 formula=torch", x,
               label, lambda y: F.cross_entropy(y, t, T(cw)))
    torch_loss("loss.ce.ignore.torch", "loss cross_entropy ignore=3", x, label,
               lambda y: F.cross_entropy(y, t, ignore_index=3))
    torch_loss("loss.ce.spread.torch", "loss cross_entropy target=spread", x, {"spread": spread},
               lambda y: F.cross_entropy(y, T(spread)))
    k = keras.losses
    keras_loss("loss.ce.keras", "loss cross_entropy", x, label,
               lambda y: k.SparseCategoricalCrossentropy()(labels, y), act=" softmax")
    keras_loss("loss.ce.smooth.keras", "loss cross_entropy label_smoothing=0.2", x, label,
               lambda y: k.CategoricalCrossentropy(label_smoothing=0.2)(np.eye(4)[labels], y),
               act=" softmax")
    keras_loss("loss.ce.weights.keras", "loss cross_entropy class_weights=0.5,1,2,3", x, label,
               lambda y: k.SparseCategoricalCrossentropy()(
                   labels, y, sample_weight=np.array(cw)[labels]), act=" softmax")
    keras_loss("loss.ce.ignore.keras", "loss cross_entropy ignore=3", x, label,
               lambda y: k.SparseCategoricalCrossentropy(ignore_class=3)(labels, y), act=" softmax")
    b, v = {"bits": bits}, {"values": values}
    torch_loss("loss.bce.torch", "loss binary_cross_entropy target=bits", x, b,
               lambda y: F.binary_cross_entropy_with_logits(y, T(bits)))
    keras_loss("loss.bce.smooth.keras", "loss binary_cross_entropy target=bits label_smoothing=0.2", x, b,
               lambda y: k.BinaryCrossentropy(label_smoothing=0.2)(bits, y), act=" sigmoid")
    keras_loss("loss.focal.keras", "loss focal target=bits", x, b,
               lambda y: k.BinaryFocalCrossentropy(apply_class_balancing=True)(bits, y), act=" sigmoid")
    torch_loss("loss.mse.torch", "loss mse target=values", x, v, lambda y: F.mse_loss(y, T(values)))
    keras_loss("loss.mse.onehot.keras", "loss mse", x, label,
               lambda y: k.MeanSquaredError()(np.eye(4)[labels], y), act=" softmax")
    torch_loss("loss.mae.torch", "loss mae target=values", x, v, lambda y: F.l1_loss(y, T(values)))
    torch_loss("loss.huber.torch", "loss huber target=values delta=0.5", x, v,
               lambda y: F.huber_loss(y, T(values), delta=0.5))
    keras_loss("loss.huber.keras", "loss huber target=values", x, v, lambda y: k.Huber()(values, y))
    torch_loss("loss.smooth_l1.torch", "loss smooth_l1 target=values delta=0.5", x, v,
               lambda y: F.smooth_l1_loss(y, T(values), beta=0.5))
    keras_loss("loss.hinge.keras", "loss hinge target=bits", x, b, lambda y: k.Hinge()(bits, y))
    torch_loss("loss.kl.torch", "loss kl target=spread", x, {"spread": spread},
               lambda y: (T(spread) * (T(spread).log() - F.log_softmax(y, 1))).sum(1).mean(),
               act=" softmax")
    keras_loss("loss.kl.keras", "loss kl target=spread", x, {"spread": spread},
               lambda y: k.KLDivergence()(spread, y), act=" softmax")
    torch_loss("loss.cosine.torch", "loss cosine target=values", x, v,
               lambda y: (1 - F.cosine_similarity(y, T(values))).mean())
    torch_loss("loss.two.torch", "loss mse target=values weight=0.5\nloss mae target=bits weight=2", x,
               {"values": values, "bits": bits},
               lambda y: 0.5 * F.mse_loss(y, T(values)) + 2 * F.l1_loss(y, T(bits)))
    # Keras exchanges the two: its alpha weighs false negatives.
    keras_loss("loss.tversky.keras", "loss tversky target=bits alpha=0.7 beta=0.3 smooth=1e-7", x, b,
               lambda y: k.Tversky(alpha=0.3, beta=0.7, axis=1)(bits, y), act=" sigmoid")
    # Per pixel, with an ignored class.
    image, mask = draw(2, 3, 4, 5), random.randint(0, 3, (2, 3, 4))
    module = randomize(torch.nn.Conv2d(5, 3, 1))
    start = {"L." + k: v.detach().numpy().copy() for k, v in module.state_dict().items()}
    value = F.cross_entropy(module(first(image)), T(mask), ignore_index=1)
    value.backward()
    case("loss.pixels.torch", "torch cross_entropy per pixel",
         "input 3x4x5\nL: conv 3 1x1\nloss cross_entropy target=mask ignore=1\n"
         "train optimizer=sgd lr=1 batch=2", image, weights=start, steps=1,
         targets={"mask": mask[..., None].astype(np.float32)}, loss=value.detach().numpy(),
         after={"L." + k: (p - p.grad).detach().numpy() for k, p in module.named_parameters()})


# ---- C4 in training: batch norm's statistics -------------------------------------------------------


def batch_norm_steps():
    x, values = draw(6, 3, 2, 4), draw(6, 3, 2, 4)
    module = randomize(torch.nn.BatchNorm2d(4)).train()
    start = {"L." + k: v.numpy().copy() for k, v in module.state_dict().items() if v.dim()}
    opt = torch.optim.SGD(module.parameters(), lr=0.5)
    first_loss = None
    for i in range(3):
        opt.zero_grad()
        value = F.mse_loss(module(first(x)), first(values))
        value.backward()
        opt.step()
        first_loss = first_loss if i else value.detach().numpy()
    case("batch_norm.train.torch", "torch BatchNorm2d, 3 steps", "input 3x2x4\nL: batch_norm formula=torch\n"
         "loss mse target=values\ntrain optimizer=sgd lr=0.5 batch=6", x, weights=start, steps=3,
         targets={"values": values}, loss=first_loss,
         after={"L." + k: v.numpy() for k, v in module.state_dict().items() if v.dim()})
    module = keras.layers.BatchNormalization()
    module.build(x.shape)
    module.set_weights([draw(4), draw(4), draw(4), np.abs(draw(4)) + 0.5])
    names = ("weight", "bias", "running_mean", "running_var")
    start = {"L." + n: np.asarray(w).copy() for n, w in zip(names, module.weights)}
    for i in range(3):
        with tf.GradientTape() as tape:
            value = tf.reduce_mean((module(x, training=True) - values) ** 2)
        for w, g in zip(module.trainable_weights, tape.gradient(value, module.trainable_weights)):
            w.assign(w - 0.5 * g)
        first_loss = first_loss if i else value.numpy()
    case("batch_norm.train.keras", "keras BatchNormalization, 3 steps", "input 3x2x4\nL: batch_norm\n"
         "loss mse target=values\ntrain optimizer=sgd lr=0.5 batch=6", x, weights=start, steps=3,
         targets={"values": values}, loss=first_loss,
         after={"L." + n: np.asarray(w) for n, w in zip(names, module.weights)})


# ---- C8: optimisers and schedules, ten steps -------------------------------------------------------


def torch_run(name, train, make, schedule=None, clip=None, steps=10):
    x, values = draw(8, 5), draw(8, 3)
    module = randomize(torch.nn.Linear(5, 3)).double()
    start = {"L." + k: v.numpy().astype(np.float32) for k, v in module.state_dict().items()}
    opt = make(module.parameters())
    plan = schedule(opt) if schedule else None
    first_loss = None
    for i in range(steps):
        opt.zero_grad()
        value = F.mse_loss(module(torch.tensor(x).double()), torch.tensor(values).double())
        value.backward()
        if clip:
            clip(module.parameters())
        opt.step()
        if plan:
            plan.step()
        first_loss = first_loss if i else value.detach().numpy()
    case(name, "torch " + str(opt).replace("\n", " ")[:200],
         "input 5\nL: dense 3\nloss mse target=values\ntrain batch=8 steps=%d formula=torch %s" % (steps, train),
         x, weights=start, steps=steps, targets={"values": values}, loss=first_loss,
         after={"L." + k: v.numpy() for k, v in module.state_dict().items()})


def keras_run(name, train, make, steps=10):
    keras.backend.set_floatx("float64")
    x, values = draw(8, 5), draw(8, 3)
    start = draw(5, 3), draw(3)
    w, b = (keras.Variable(s.astype(np.float64), dtype="float64") for s in start)
    opt = make()
    opt.build([w, b])
    first_loss = None
    for i in range(steps):
        with tf.GradientTape() as tape:
            value = tf.reduce_mean((tf.matmul(x.astype(np.float64), w.value) + b.value - values) ** 2)
        opt.apply(tape.gradient(value, [w.value, b.value]))
        first_loss = first_loss if i else value.numpy()
    keras.backend.set_floatx("float32")
    case(name, "keras " + opt.__class__.__name__,
         "input 5\nL: dense 3\nloss mse target=values\ntrain batch=8 steps=%d %s" % (steps, train), x,
         weights={"L.weight": start[0].T, "L.bias": start[1]}, steps=steps, targets={"values": values},
         loss=first_loss, after={"L.weight": np.asarray(w).T, "L.bias": np.asarray(b)})


def optimisers():
    o, k = torch.optim, keras.optimizers
    for tag, words, make in (
            ("sgd", "optimizer=sgd lr=0.1", lambda p: o.SGD(p, 0.1)),
            ("momentum", "optimizer=sgd lr=0.1 momentum=0.9", lambda p: o.SGD(p, 0.1, 0.9)),
            ("nesterov", "optimizer=sgd lr=0.1 momentum=0.9 nesterov=true",
             lambda p: o.SGD(p, 0.1, 0.9, nesterov=True)),
            ("decay", "optimizer=sgd lr=0.1 momentum=0.9 weight_decay=0.1",
             lambda p: o.SGD(p, 0.1, 0.9, weight_decay=0.1)),
            ("adagrad", "optimizer=adagrad", lambda p: o.Adagrad(p)),
            ("adagrad.start", "optimizer=adagrad lr=0.1 accumulator=0.5",
             lambda p: o.Adagrad(p, 0.1, initial_accumulator_value=0.5)),
            ("rmsprop", "optimizer=rmsprop", lambda p: o.RMSprop(p)),
            ("rmsprop.centered", "optimizer=rmsprop lr=0.01 momentum=0.5 centered=true",
             lambda p: o.RMSprop(p, 0.01, momentum=0.5, centered=True)),
            ("adadelta", "optimizer=adadelta", lambda p: o.Adadelta(p)),
            ("adam", "optimizer=adam lr=0.01", lambda p: o.Adam(p, 0.01)),
            ("adam.decay", "optimizer=adam lr=0.01 weight_decay=0.1",
             lambda p: o.Adam(p, 0.01, weight_decay=0.1)),
            ("amsgrad", "optimizer=adam lr=0.1 amsgrad=true", lambda p: o.Adam(p, 0.1, amsgrad=True)),
            ("adamw", "optimizer=adamw lr=0.01", lambda p: o.AdamW(p, 0.01)),
            ("adamax", "optimizer=adamax", lambda p: o.Adamax(p)),
            ("nadam", "optimizer=nadam", lambda p: o.NAdam(p))):
        torch_run("optimizer.%s.torch" % tag, words, make)
    for tag, words, make in (
            ("sgd", "optimizer=sgd", lambda: k.SGD()),
            ("momentum", "optimizer=sgd lr=0.1 momentum=0.9", lambda: k.SGD(0.1, 0.9)),
            ("nesterov", "optimizer=sgd lr=0.1 momentum=0.9 nesterov=true", lambda: k.SGD(0.1, 0.9, True)),
            ("decay", "optimizer=sgd lr=0.1 momentum=0.9 weight_decay=0.1",
             lambda: k.SGD(0.1, 0.9, weight_decay=0.1)),
            ("adagrad", "optimizer=adagrad lr=0.1", lambda: k.Adagrad(0.1)),
            ("rmsprop", "optimizer=rmsprop", lambda: k.RMSprop()),
            ("rmsprop.centered", "optimizer=rmsprop lr=0.01 momentum=0.5 centered=true",
             lambda: k.RMSprop(0.01, momentum=0.5, centered=True)),
            ("adadelta", "optimizer=adadelta lr=1", lambda: k.Adadelta(1.0)),
            ("adam", "optimizer=adam lr=0.01", lambda: k.Adam(0.01)),
            ("amsgrad", "optimizer=adam lr=0.1 amsgrad=true", lambda: k.Adam(0.1, amsgrad=True)),
            ("adamw", "optimizer=adamw lr=0.01", lambda: k.AdamW(0.01)),
            ("adamax", "optimizer=adamax", lambda: k.Adamax()),
            ("nadam", "optimizer=nadam", lambda: k.Nadam()),
            ("lion", "optimizer=lion lr=0.01", lambda: k.Lion(0.01)),
            ("lamb", "optimizer=lamb lr=0.01", lambda: k.Lamb(0.01)),
            ("clip_value", "optimizer=sgd lr=0.1 clip_value=0.05", lambda: k.SGD(0.1, clipvalue=0.05)),
            ("clip_norm", "optimizer=sgd lr=0.1 clip_norm=0.1", lambda: k.SGD(0.1, clipnorm=0.1)),
            ("global_clip_norm", "optimizer=sgd lr=0.1 global_clip_norm=0.1",
             lambda: k.SGD(0.1, global_clipnorm=0.1))):
        keras_run("optimizer.%s.keras" % tag, words, make)
    torch_run("optimizer.global_clip_norm.torch", "optimizer=sgd lr=0.1 global_clip_norm=0.1",
              lambda p: o.SGD(p, 0.1), clip=lambda p: torch.nn.utils.clip_grad_norm_(p, 0.1))


def schedules():
    o, s = torch.optim, torch.optim.lr_scheduler
    sgd = lambda p: o.SGD(p, 0.2)
    for tag, words, make in (
            ("step", "schedule=step every=3 gamma=0.5", lambda t: s.StepLR(t, 3, 0.5)),
            ("multi_step", "schedule=multi_step milestones=2,5,7 gamma=0.3",
             lambda t: s.MultiStepLR(t, [2, 5, 7], 0.3)),
            ("exponential", "schedule=exponential decay_steps=1 gamma=0.8",
             lambda t: s.ExponentialLR(t, 0.8)),
            ("polynomial", "schedule=polynomial decay_steps=8 power=2",
             lambda t: s.PolynomialLR(t, 8, 2)),
            ("cosine", "schedule=cosine decay_steps=10 end=0.01",
             lambda t: s.CosineAnnealingLR(t, 10, 0.01)),
            ("restarts", "schedule=restarts decay_steps=3 multiply=2 end=0.01",
             lambda t: s.CosineAnnealingWarmRestarts(t, 3, 2, 0.01)),
            ("one_cycle", "schedule=one_cycle decay_steps=10",
             lambda t: s.OneCycleLR(t, 0.2, total_steps=10, cycle_momentum=False))):
        torch_run("schedule.%s.torch" % tag, "optimizer=sgd lr=0.2 " + words, sgd, make,
                  steps=9 if tag == "one_cycle" else 10)
    k, d = keras.optimizers, keras.optimizers.schedules
    for tag, words, make in (
            ("exponential", "schedule=exponential decay_steps=4 gamma=0.5",
             lambda: d.ExponentialDecay(0.2, 4, 0.5)),
            ("polynomial", "schedule=polynomial decay_steps=7 power=1.5 end=0.05",
             lambda: d.PolynomialDecay(0.2, 7, 0.05, 1.5)),
            ("inverse", "schedule=inverse decay_steps=4 gamma=0.5",
             lambda: d.InverseTimeDecay(0.2, 4, 0.5)),
            ("cosine", "schedule=cosine decay_steps=8 end=0.02", lambda: d.CosineDecay(0.2, 8, 0.1)),
            ("restarts", "schedule=restarts decay_steps=3 multiply=2",
             lambda: d.CosineDecayRestarts(0.2, 3, 2.0)),
            ("multi_step", "schedule=multi_step milestones=3,6 gamma=0.5",
             lambda: d.PiecewiseConstantDecay([2, 5], [0.2, 0.1, 0.05]))):
        keras_run("schedule.%s.keras" % tag, "optimizer=sgd lr=0.2 " + words, lambda: k.SGD(make()))


# ---- The file --------------------------------------------------------------------------------------


def write(path):
    header, data = {"__metadata__": metadata}, b""
    for name in sorted(tensors):
        value = np.ascontiguousarray(tensors[name], dtype=np.float32)
        header[name] = {"dtype": "F32", "shape": list(value.shape),
                        "data_offsets": [len(data), len(data) + value.nbytes]}
        data += value.tobytes()
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)
    print("%d cases, %d tensors, %d bytes: %s" % (
        sum(k.endswith(".net") for k in metadata), len(tensors), len(data), metadata["versions"]))


if __name__ == "__main__":
    torch.manual_seed(7)
    for part in (convolutions, pools, shapes, norms, activations, losses, batch_norm_steps, optimisers,
                 schedules):
        part()
    write(os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden.safetensors"))
