#!/usr/bin/env python3
"""Makes onnx/NAME.onnx, small models in the forms that exporters write, and onnx/cases.safetensors
with what ONNX Runtime computes of them: tests/test_onnx.c holds the library to it. Run again only to
add cases:

    pip install onnx onnxruntime numpy
    python3 tests/golden/make_onnx.py

cases.safetensors has NAME.OUTPUT for each output of a model, in the order of axes that the library
has: samples, spatial sizes..., channels. Metadata NAME.input says of which array the input is made,
and its shape: "even 2 5 6 4" is the first 240 values of the array `even`. NAME.refused is there
where the library has no layers for a model, and holds words of the message that says so
(make_onnx_hostile.py has what is no model at all).
"""
import os
import sys

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from onnx_model import FOLDER, case, draw, ints, metadata, positive, write

LARGEST = 2**63 - 1

# ---- Convolution ---------------------------------------------------------------------------------


def conv(m, x, filters, channels, *kernel, bias=True, group=1, **attributes):
    inputs = [draw(filters, channels // group, *kernel)] + ([draw(filters)] if bias else [])
    if group > 1:
        attributes["group"] = group
    return m("Conv", x, *inputs, **attributes)


def conv_case(name, shape, filters, *kernel, opset=17, **attributes):
    case("conv_" + name, shape, lambda m, x: conv(m, x, filters, shape[1], *kernel, **attributes),
         opset=opset)


def convolutions():
    picture = (1, 4, 5, 6)
    conv_case("plain", picture, 3, 3, 2)
    conv_case("every_attribute", picture, 6, 3, 2, group=2, kernel_shape=[3, 2], strides=[2, 1],
              dilations=[1, 2], pads=[1, 0, 2, 1], auto_pad="NOTSET", opset=11)
    conv_case("same_upper", picture, 3, 3, 2, auto_pad="SAME_UPPER", strides=[2, 1])
    conv_case("same_lower", picture, 3, 4, 3, auto_pad="SAME_LOWER", strides=[1, 2])
    conv_case("valid", picture, 3, 3, 3, auto_pad="VALID", strides=[2, 3])
    conv_case("symmetric_pads", picture, 5, 3, 3, pads=[1, 1, 1, 1], strides=[2, 2], opset=22)
    conv_case("no_bias", picture, 5, 3, 3, pads=[1, 1, 1, 1], bias=False)
    conv_case("groups", picture, 6, 3, 3, group=2, bias=False)
    conv_case("depthwise", picture, 4, 3, 3, group=4, pads=[1, 1, 1, 1])
    conv_case("depthwise_multiplied", picture, 8, 3, 3, group=4, strides=[2, 2])
    conv_case("depthwise_one_channel", (1, 1, 5, 6), 1, 3, 3)
    conv_case("1x1", picture, 16, 1, 1)
    conv_case("1d", (1, 4, 17), 5, 4, strides=[2], dilations=[2], pads=[3, 1])
    conv_case("1d_causal", (1, 4, 9), 4, 3, dilations=[2], pads=[4, 0])
    conv_case("3d", (2, 2, 5, 6, 7), 3, 3, 2, 3, strides=[1, 2, 2], pads=[1, 0, 1, 0, 1, 1])
    conv_case("3d_same", (1, 2, 4, 5, 6), 3, 3, 2, 3, auto_pad="SAME_UPPER", strides=[2, 2, 2])
    conv_case("whole_vectors", (1, 16, 6, 6), 16, 3, 3, pads=[1, 1, 1, 1])
    case("conv_bias_as_add", picture, lambda m, x: m(
        "Relu", m("Add", conv(m, x, 5, 4, 3, 3, bias=False, auto_pad="SAME_UPPER"), draw(5, 1, 1))),
        opset=8, batch=1)
    case("conv_separable", picture, lambda m, x: conv(
        m, conv(m, x, 4, 4, 3, 3, group=4, bias=False, pads=[1, 1, 1, 1]), 6, 4, 1, 1))

    def shared(m, x):
        w, b = m.weight(draw(4, 4, 3, 3), "shared.weight"), m.weight(draw(4), "shared.bias")
        for _ in range(2):
            x = m("Relu", m("Conv", x, w, b, pads=[1, 1, 1, 1]))
        return x
    case("conv_shared_weights", picture, shared)
    case("conv_dynamic_sizes", (1, 3, 7, 8), lambda m, x: conv(
        m, m("Relu", conv(m, x, 4, 3, 3, 3, pads=[1, 1, 1, 1])), 2, 4, 3, 3, strides=[2, 2]),
        sizes=["H", "W"])
    case("conv_dynamic_to_classes", (1, 3, 7, 8), lambda m, x: m(
        "Gemm", m("Flatten", m("GlobalAveragePool", conv(m, x, 4, 3, 3, 3))), draw(5, 4), draw(5),
        transB=1), sizes=["height", "width"])


def transposed(name, shape, filters, *kernel, bias=True, group=1, opset=17, **attributes):
    inputs = lambda: [draw(shape[1], filters // group, *kernel)] + ([draw(filters)] if bias else [])
    if group > 1:
        attributes["group"] = group
    case("convtranspose_" + name, shape,
         lambda m, x: m("ConvTranspose", x, *inputs(), **attributes), opset=opset)


def transposed_convolutions():
    picture = (1, 4, 3, 4)
    transposed("plain", picture, 3, 3, 2)
    transposed("output_padding", picture, 3, 3, 3, strides=[2, 2], pads=[1, 1, 1, 1],
               output_padding=[1, 1], dilations=[1, 1], kernel_shape=[3, 3])
    transposed("output_shape", picture, 3, 3, 3, strides=[2, 2], output_shape=[6, 7])
    transposed("same_upper", picture, 3, 3, 3, strides=[2, 2], auto_pad="SAME_UPPER")
    transposed("same_lower", picture, 3, 3, 4, strides=[2, 2], auto_pad="SAME_LOWER")
    transposed("valid", picture, 3, 3, 3, strides=[3, 2], auto_pad="VALID", opset=11)
    transposed("groups", picture, 6, 3, 2, group=2, strides=[2, 3], pads=[1, 0, 0, 1])
    transposed("dilated", picture, 3, 3, 2, dilations=[2, 1], strides=[1, 2])
    transposed("no_bias", picture, 3, 2, 2, bias=False, strides=[2, 2], opset=22)
    transposed("1d", (1, 3, 6), 4, 3, strides=[2], pads=[1, 0])
    transposed("3d", (1, 2, 3, 2, 3), 3, 2, 3, 2, strides=[2, 2, 2])


# ---- Normalisation -------------------------------------------------------------------------------


def batch_norm(m, x, channels, **attributes):
    return m("BatchNormalization", x, positive(channels), draw(channels), draw(channels),
             positive(channels), **attributes)


def batch_norms():
    picture = (1, 4, 4, 5)
    case("batchnorm_of_conv", picture, lambda m, x: m("Relu", batch_norm(
        m, conv(m, x, 6, 4, 3, 3, bias=False), 6, epsilon=1e-3, momentum=0.9)))
    case("batchnorm_of_conv_with_bias", picture, lambda m, x: batch_norm(
        m, conv(m, x, 6, 4, 3, 3, group=2), 6))
    case("batchnorm_alone", picture, lambda m, x: batch_norm(m, x, 4))
    case("batchnorm_before_padded_conv", picture, lambda m, x: conv(
        m, m("Relu", batch_norm(m, x, 4)), 3, 4, 3, 3, pads=[1, 1, 1, 1]))
    case("batchnorm_of_gemm", (2, 7), lambda m, x: m("Relu", batch_norm(
        m, m("Gemm", x, draw(6, 7), draw(6), transB=1), 6)))
    case("batchnorm_1d", (1, 4, 6), lambda m, x: batch_norm(m, x, 4))
    case("batchnorm_3d", (1, 2, 3, 4, 3), lambda m, x: batch_norm(m, x, 2))
    case("batchnorm_opset7", picture, lambda m, x: batch_norm(m, x, 4, spatial=1), opset=7)
    case("batchnorm_opset9", picture, lambda m, x: batch_norm(m, x, 4, epsilon=1e-5), opset=9)
    case("batchnorm_inference_mode", picture, lambda m, x: batch_norm(
        m, x, 4, training_mode=0), opset=15)
    case("batchnorm_one_channel", (1, 1, 6, 5), lambda m, x: batch_norm(m, x, 1))


def norms():
    picture = (2, 6, 3, 4)
    case("lrn", picture, lambda m, x: m("LRN", x, size=5, alpha=0.5, beta=0.6, bias=2.0))
    case("lrn_defaults", picture, lambda m, x: m("LRN", x, size=3))
    for name, shape in (("2d", picture), ("1d", (2, 6, 9)), ("3d", (1, 3, 3, 4, 2))):
        case("instancenorm_" + name, shape, lambda m, x: m(
            "InstanceNormalization", x, positive(shape[1]), draw(shape[1]), epsilon=1e-3))

    def torch_group_norm(m, x, affine=True):
        zero = {"allowzero": 0} if m.opset >= 14 else {}
        y = m("Reshape", x, ints(0, 3, -1), **zero)
        y = m("InstanceNormalization", y, np.ones(3, np.float32), np.zeros(3, np.float32),
              epsilon=1e-5)
        y = m("Reshape", y, m("Shape", x), **zero)
        return m("Add", m("Mul", y, positive(6, 1, 1)), draw(6, 1, 1)) if affine else y
    case("groupnorm_torch", picture, torch_group_norm, opset=16, constant=True)
    case("groupnorm_torch_plain", picture, lambda m, x: torch_group_norm(m, x, False),
         opset=16, constant=True)
    case("groupnorm_torch_of_conv", (2, 4, 4, 5), lambda m, x: m("Relu", torch_group_norm(
        m, conv(m, x, 6, 4, 3, 3))), opset=13, constant=True)
    case("groupnorm_operator", picture, lambda m, x: m(
        "GroupNormalization", x, positive(6), draw(6), num_groups=3, epsilon=1e-4), opset=21)

    def last(m, x, normalize):
        y = m("Transpose", x, perm=[0, 2, 3, 1])
        return m("Transpose", normalize(m, y), perm=[0, 3, 1, 2])

    def operator(m, x):
        return m("LayerNormalization", x, positive(6), draw(6), axis=-1, epsilon=1e-5)

    def decomposed(m, x):
        centred = m("Sub", x, m("ReduceMean", x, axes=[-1]))
        variance = m("ReduceMean", m("Pow", centred, np.float32(2)), axes=[-1])
        deviation = m("Sqrt", m("Add", variance, np.float32(1e-5)))
        return m("Add", m("Mul", m("Div", centred, deviation), positive(6)), draw(6))
    case("layernorm_operator", picture, lambda m, x: last(m, x, operator), constant=True)
    case("layernorm_decomposed", picture, lambda m, x: last(m, x, decomposed), opset=16,
         constant=True)
    case("layernorm_of_vector", (2, 6), operator)
    case("layernorm_of_vector_decomposed", (2, 6), decomposed, opset=16, constant=True)
    case("layernorm_no_bias", (2, 6), lambda m, x: m(
        "LayerNormalization", x, positive(6), axis=1, epsilon=1e-3))
    case("layernorm_of_all", (2, 3, 4, 5), lambda m, x: m(
        "LayerNormalization", x, positive(3, 4, 5), draw(3, 4, 5), axis=1))
    # ConvNeXt: depthwise, channels last, norm, two MatMuls, a scale, channels first, plus itself.
    def convnext(m, x):
        y = m("Transpose", conv(m, x, 6, 6, 3, 3, group=6, pads=[1, 1, 1, 1]), perm=[0, 2, 3, 1])
        y = m("Add", m("MatMul", operator(m, y), draw(6, 8)), draw(8))
        y = m("Add", m("MatMul", gelu(m, y), draw(8, 6)), draw(6))
        return m("Add", m("Transpose", m("Mul", y, draw(6)), perm=[0, 3, 1, 2]), x)
    case("convnext", picture, convnext, constant=True)
    case("rmsnorm_operator", (2, 6), lambda m, x: m(
        "RMSNormalization", x, positive(6), axis=-1, epsilon=1e-5), opset=23)
    case("l2norm_formula", picture, lambda m, x: m("Div", x, m("Sqrt", m("Add", m(
        "ReduceSum", m("Mul", x, x), ints(1), keepdims=1), np.float32(1e-3)))))
    case("l2norm_operator", picture, lambda m, x: m("LpNormalization", x, axis=1, p=2))


def norms_elsewhere():
    """Axes that lie elsewhere in memory than the layer wants them, and norms written as formulas."""
    picture = (2, 6, 3, 4)

    def turned(m, x):
        return m("Transpose", x, perm=[0, 3, 1, 2])
    case("batchnorm_of_turned", (2, 4, 4, 4), lambda m, x: batch_norm(
        m, turned(m, conv(m, x, 4, 4, 1, 1)), 4))
    case("instancenorm_of_turned", picture, lambda m, x: m(
        "InstanceNormalization", turned(m, x), positive(4), draw(4)))
    case("groupnorm_operator_of_turned", picture, lambda m, x: m(
        "GroupNormalization", turned(m, x), positive(4), draw(4), num_groups=2), opset=21)
    for groups in (1, 2, 6):
        case("groupnorm_scaled_groups_%d" % groups, picture, lambda m, x: m("Reshape", m(
            "InstanceNormalization", m("Reshape", x, ints(0, groups, -1)), positive(groups),
            draw(groups)), ints(0, 6, 3, 4)))
    case("layernorm_of_places", picture, lambda m, x: m(
        "LayerNormalization", x, positive(3, 4), draw(3, 4), axis=2))
    case("layernorm_of_rows", picture, lambda m, x: m("LayerNormalization", x, positive(4)))
    case("layernorm_of_all_turned", picture, lambda m, x: m(
        "LayerNormalization", turned(m, x), positive(4, 6, 3), draw(4, 6, 3), axis=1))
    case("lp_normalization_of_rows", picture, lambda m, x: m("LpNormalization", x))
    case("prelu_of_turned", picture, lambda m, x: m("PRelu", turned(m, x), draw(4, 1, 1)))

    def centred(m, x, axis):
        return m("Sub", x, m("ReduceMean", x, ints(axis)))

    def by_channels(m, x, scale):
        """Each difference anew, as Keras writes it."""
        d = centred(m, x, 1)
        variance = m("ReduceMean", m("Mul", d, d), ints(1))
        y = m("Div", centred(m, x, 1), m("Sqrt", m("Add", variance, np.float32(1e-3))))
        return m("Mul", y, scale)
    case("layernorm_by_channels_decomposed", picture, lambda m, x: by_channels(
        m, x, positive(6, 1, 1)), opset=18)
    case("layernorm_scaled_by_rows", picture, lambda m, x: by_channels(
        m, x, positive(4)), opset=18)

    def root(m, x):
        return m("Sqrt", m("Add", m("ReduceMean", m("Pow", x, np.float32(2)), axes=[-1]),
                           np.float32(1e-6)))
    case("rmsnorm_decomposed", (2, 6), lambda m, x: m(
        "Mul", positive(6), m("Div", x, root(m, x))), opset=16, constant=True)
    case("rmsnorm_reciprocal", picture, lambda m, x: m(
        "Mul", positive(4), m("Mul", x, m("Reciprocal", root(m, x)))), opset=16)
    case("l2norm_torch", picture, lambda m, x: m("Div", x, m("Expand", m("Clip", m(
        "ReduceL2", x, axes=[1]), np.float32(1e-12)), m("Shape", x))), constant=True)
    case("l2norm_least", picture, lambda m, x: m("Div", x, m("Sqrt", m("Max", m(
        "ReduceSum", m("Mul", x, x), ints(1)), np.float32(2)))))

    def distances(m, x):
        d = m("Sub", m("Reshape", x, ints(0, 1, 7)), draw(5, 7))
        return m("ReduceSum", m("Mul", d, d), ints(2), keepdims=0)
    case("rbf_formula", (2, 7), distances)

    def by_rows(m, x):
        rows = m("Reshape", m("Mul", x, x), ints(0, 1, 6, -1))
        mean = m("AveragePool", rows, kernel_shape=[4, 1], pads=[1, 0, 2, 0], count_include_pad=1)
        base = m("Add", m("Mul", mean, np.float32(0.8)), np.float32(2))
        return m("Div", x, m("Reshape", m("Pow", base, np.float32(0.6)), m("Shape", x)))
    case("lrn_formula", picture, by_rows)


def formulas():
    """Activations as their formulas, beyond those of activation_*_of_conv."""
    picture = (1, 3, 4, 5)

    def one(name, build, **more):
        case("formula_" + name, picture, lambda m, x: build(m, conv(m, x, 4, 3, 2, 2)),
             data="wide", **more)

    def step(m, x):
        return m("Clip", m("Add", x, np.float32(3)), np.float32(0), np.float32(6))
    one("hard_swish", lambda m, x: m("Div", m("Mul", x, step(m, x)), np.float32(6)))
    one("hard_sigmoid", lambda m, x: m("Mul", step(m, x), np.float32(1 / 6)))
    one("softplus", lambda m, x: m("Log", m("Add", m("Exp", x), np.float32(1))))
    one("softsign", lambda m, x: m("Div", x, m("Add", m("Abs", x), np.float32(1))))

    def half_first(m, x):
        half = m("Mul", x, np.float32(0.5))
        return m("Mul", half, m("Add", m("Erf", m("Div", x, np.float32(2 ** 0.5))),
                                np.float32(1)))
    one("gelu_half_first", half_first, constant=True)
    one("gelu_and_its_input", lambda m, x: m("Add", half_first(m, x), x))
    one("celu", lambda m, x: m("Celu", x, alpha=2.0))
    one("clip_to_1", lambda m, x: m("Clip", x, np.float32(-1), np.float32(1)))
    one("clip_max_alone", lambda m, x: m("Clip", x, None, np.float32(0.5)))
    one("clip_nothing", lambda m, x: m("Clip", x))


# ---- Dense layers --------------------------------------------------------------------------------


def gemm(name, bias=None, trans=True, opset=17, batch="N", samples=3, **attributes):
    weights = (5, 7) if trans else (7, 5)
    if trans:
        attributes["transB"] = 1
    case("gemm_" + name, (samples, 7), lambda m, x: m(
        "Gemm", x, draw(*weights), *([] if bias is None else [draw(*bias)]), **attributes),
        opset=opset, batch=batch)


def dense():
    gemm("plain", bias=[5], trans=False)
    gemm("transposed", bias=[5], alpha=1.0, beta=1.0)
    gemm("alpha_beta", bias=[5], alpha=0.25, beta=-1.5)
    gemm("no_bias", trans=False, alpha=2.0, beta=3.0)
    gemm("bias_row", bias=[1, 5])
    gemm("bias_scalar", bias=[], beta=0.5)
    gemm("bias_one", bias=[1])
    gemm("bias_one_by_one", bias=[1, 1], trans=False)
    gemm("beta_zero", bias=[5], beta=0.0)
    gemm("opset7", bias=[5], opset=7)
    gemm("opset9", bias=[5], opset=9)
    gemm("one_sample", bias=[1, 5], batch=1, samples=1)
    case("gemm_transA", (1, 7), lambda m, x: m(
        "Gemm", m("Transpose", x, perm=[1, 0]), draw(5, 7), draw(5), transA=1, transB=1), batch=1,
        refused="/Transpose_0 batch")
    case("gemm_weight_by_transpose", (2, 7), lambda m, x: m(
        "Gemm", x, m("Transpose", m.weight(draw(5, 7)), perm=[1, 0]), draw(5)))
    case("matmul", (2, 7), lambda m, x: m("MatMul", x, draw(7, 5)))
    case("matmul_add", (2, 7), lambda m, x: m("Relu", m("Add", m("MatMul", x, draw(7, 5)), draw(5))))
    case("matmul_add_swapped", (2, 7), lambda m, x: m(
        "Tanh", m("Add", draw(1, 5), m("MatMul", x, draw(7, 5)))))
    case("matmul_channels_last", (2, 7, 3, 4), lambda m, x: m("Transpose", m("Add", m(
        "MatMul", m("Transpose", x, perm=[0, 2, 3, 1]), draw(7, 5)), draw(5)), perm=[0, 3, 1, 2]))
    # As CNTK writes it: the weights of four axes, under another shape.
    case("matmul_of_reshaped_weights", (2, 3, 2, 4), lambda m, x: m("Add", m(
        "MatMul", m("Reshape", x, ints(-1, 24)), m("Reshape", draw(3, 2, 4, 5), ints(24, 5))),
        draw(1, 5)), opset=8)


def flattening():
    picture = (2, 3, 4, 5)

    def classify(flatten):
        return lambda m, x: m("Gemm", flatten(m, m("Relu", conv(m, x, 2, 3, 2, 2))), draw(3, 24),
                              draw(3), transB=1)

    def dynamic(m, x):
        n = m("Gather", m("Shape", x), np.array(0), axis=0)
        return m("Reshape", x, m("Concat", m("Unsqueeze", n, ints(0)), ints(-1), axis=0))

    def dynamic11(m, x):
        n = m("Unsqueeze", m("Gather", m("Shape", x), np.array(0), axis=0), axes=[0])
        return m("Reshape", x, m("Concat", n, m("Constant", value=numpy_helper.from_array(ints(-1))),
                                 axis=0))

    def all_sizes(m, x):
        sizes = m("Shape", x)
        part = lambda i: m("Gather", sizes, np.array(i), axis=0)
        count = m("Mul", m("Mul", part(1), part(2)), part(3))
        return m("Reshape", x, m("Concat", m("Unsqueeze", part(0), ints(0)),
                                 m("Unsqueeze", count, ints(0)), axis=0))
    flats = {
        "axis_default": lambda m, x: m("Flatten", x),
        "axis_1": lambda m, x: m("Flatten", x, axis=1),
        "axis_minus_3": lambda m, x: m("Flatten", x, axis=-3),
        "reshape_0": lambda m, x: m("Reshape", x, ints(0, -1)),
        "reshape_minus_1": lambda m, x: m("Reshape", x, ints(-1, 24)),
        "reshape_n": lambda m, x: m("Reshape", x, m("Concat", m(
            "Shape", x, start=0, end=1), ints(-1), axis=0)),
        "dynamic": dynamic,
        "all_sizes": all_sizes,
        "relu_dropout": lambda m, x: m("Dropout", m("LeakyRelu", m("Flatten", x)), np.float32(0.5)),
        "batchnorm": lambda m, x: m("Relu", batch_norm(m, m("Flatten", x), 24)),
        "layernorm": lambda m, x: m("LayerNormalization", m("Flatten", x), positive(24), draw(24)),
        "prelu": lambda m, x: m("PRelu", m("Flatten", x), draw(24)),
        "slice": lambda m, x: m("Concat", *m("Split", m("Flatten", x), ints(11, 13), axis=1,
                                             outputs=2)[::-1], axis=1),
    }
    for name, flatten in flats.items():
        case("flatten_" + name, picture, classify(flatten), constant=name in ("dynamic", "all_sizes"))
    case("flatten_dynamic_opset11", picture, classify(dynamic11), opset=11)
    case("flatten_fixed_batch", (1, 3, 4, 5), classify(lambda m, x: m("Reshape", x, ints(1, 24))),
         batch=1)
    case("flatten_fixed_batch_256", (1, 16, 4, 4), lambda m, x: m("Add", m("MatMul", m(
        "Reshape", m("Relu", x), ints(1, 256)), draw(256, 3)), draw(1, 3)), batch=1, opset=8)
    case("flatten_1d", (2, 3, 7), lambda m, x: m("Gemm", m("Flatten", x), draw(21, 4)))
    case("flatten_3d", (2, 2, 2, 3, 2), lambda m, x: m("Gemm", m("Flatten", x), draw(24, 4)))
    case("flatten_as_output", picture, lambda m, x: m("Flatten", m("Relu", x)))
    case("flatten_two_joined", picture, lambda m, x: m("Gemm", m("Concat", m("Flatten", x), m(
        "Flatten", conv(m, x, 2, 3, 3, 3)), axis=1), draw(72, 3)))
    case("flatten_and_added", picture, lambda m, x: m("Gemm", m("Add", m("Flatten", x), m(
        "Flatten", m("Tanh", x))), draw(60, 3)))
    case("vector_to_picture", (2, 6), lambda m, x: m("ConvTranspose", m("Relu", m("Reshape", m(
        "Gemm", x, draw(24, 6), draw(24), transB=1), ints(-1, 4, 2, 3))), draw(4, 3, 2, 2),
        strides=[2, 2]))
    case("autoencoder", (2, 2, 4, 4), lambda m, x: m("Sigmoid", m("ConvTranspose", m("Reshape", m(
        "Gemm", m("Gemm", m("Flatten", conv(m, x, 3, 2, 2, 2, strides=[2, 2])), draw(5, 12),
                  transB=1), draw(5, 12)), ints(0, 3, 2, 2)), draw(3, 2, 2, 2), strides=[2, 2])))


# ---- Pooling -------------------------------------------------------------------------------------


def pool(op, name, shape, opset=17, refused=None, **attributes):
    case("%s_%s" % (op.lower(), name), shape, lambda m, x: m(op, x, **attributes), opset=opset,
         refused=refused)


def pools():
    picture = (1, 2, 6, 7)
    for op, counted in (("MaxPool", {}), ("AveragePool", {}),
                        ("AveragePool", {"count_include_pad": 1})):
        tag = "counted_" if counted else ""
        pool(op, tag + "default_stride", picture, kernel_shape=[3, 2], **counted)
        pool(op, tag + "pads", picture, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 0, 0, 1],
             **counted)
        pool(op, tag + "ceil", picture, kernel_shape=[3, 2], strides=[2, 2], ceil_mode=1, opset=19,
             **counted)
        pool(op, tag + "ceil_pads", picture, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1,
             pads=[1, 1, 1, 1], opset=19, **counted)
        pool(op, tag + "same_upper", picture, kernel_shape=[2, 3], strides=[1, 2],
             auto_pad="SAME_UPPER", **counted)
        pool(op, tag + "same_lower", picture, kernel_shape=[2, 3], strides=[1, 2],
             auto_pad="SAME_LOWER", **counted)
        pool(op, tag + "valid", picture, kernel_shape=[3, 3], strides=[3, 3], auto_pad="VALID",
             opset=11, **counted)
    for op in ("MaxPool", "AveragePool"):
        pool(op, "1d", (1, 3, 11), kernel_shape=[3], strides=[2], pads=[1, 1])
        pool(op, "3d", (1, 2, 4, 5, 6), kernel_shape=[2, 3, 2], strides=[2, 1, 2])
        pool(op, "opset7", picture, kernel_shape=[2, 2], strides=[2, 2], opset=7)
        pool(op, "opset10", picture, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1, opset=10)
        pool(op, "dilations_of_1", picture, kernel_shape=[3, 3], dilations=[1, 1],
             opset=10 if op == "MaxPool" else 19)
        pool(op, "dilated", picture, kernel_shape=[3, 2], dilations=[2, 1], strides=[1, 2],
             opset=22, refused="/%s_0 dilations" % op)
    pool("MaxPool", "opset8", picture, kernel_shape=[2, 2], strides=[2, 2], storage_order=0, opset=8)
    case("averagepool_as_window_sum", picture, lambda m, x: m(
        "Mul", m("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2]), np.float32(4)))


def global_pools():
    picture = (2, 6, 3, 4)
    to_classes = lambda pool: lambda m, x: m("Gemm", pool(m, x), draw(3, 6), draw(3), transB=1)
    for op in ("GlobalAveragePool", "GlobalMaxPool"):
        case(op.lower(), picture, lambda m, x: m(op, x))
        case(op.lower() + "_flatten", picture, to_classes(lambda m, x: m("Flatten", m(op, x))))
        case(op.lower() + "_1d", (2, 6, 5), lambda m, x: m(op, x))
        case(op.lower() + "_3d", (1, 6, 2, 3, 2), lambda m, x: m(op, x))
    case("globalaveragepool_squeeze_11", picture, to_classes(lambda m, x: m(
        "Squeeze", m("GlobalAveragePool", x), axes=[2, 3])), opset=11)
    case("globalaveragepool_squeeze_13", picture, to_classes(lambda m, x: m(
        "Squeeze", m("GlobalAveragePool", x), ints(-1, -2))), opset=13)
    case("globalaveragepool_reshape", picture, to_classes(lambda m, x: m(
        "Reshape", m("GlobalAveragePool", x), ints(-1, 6))))
    case("reducemean_keep_13", picture, lambda m, x: conv(m, m(
        "ReduceMean", x, axes=[2, 3], keepdims=1), 2, 6, 1, 1), opset=13)
    case("reducemean_13", picture, to_classes(lambda m, x: m(
        "ReduceMean", x, axes=[2, 3], keepdims=0)), opset=13)
    case("reducemean_default_keep_13", picture, lambda m, x: m("ReduceMean", x, axes=[-1, -2]),
         opset=13)
    case("reducemean_keep_18", picture, lambda m, x: m(
        "ReduceMean", x, ints(2, 3), keepdims=1), opset=18)
    case("reducemean_18", picture, to_classes(lambda m, x: m(
        "ReduceMean", x, ints(-2, -1), keepdims=0)), opset=18)
    case("reducemean_1d", (2, 6, 5), to_classes(lambda m, x: m(
        "ReduceMean", x, axes=[2], keepdims=0)), opset=11)
    case("reducemax", picture, to_classes(lambda m, x: m(
        "ReduceMax", x, axes=[2, 3], keepdims=0)), opset=13)


# ---- Axes, joins and parts -----------------------------------------------------------------------


def shapes_and_axes():
    picture = (2, 6, 2, 3)

    def shuffle(m, x, apart, back):
        return m("Reshape", m("Transpose", m("Reshape", x, apart), perm=[0, 2, 1, 3, 4]), back)

    def dynamic_shuffle(m, x):
        part = [m("Gather", m("Shape", x), np.array(i), axis=0) for i in range(4)]
        part[1] = m("Cast", m("Div", part[1], np.array(2)), to=TensorProto.INT64)
        flat = [m("Unsqueeze", p, ints(0)) for p in part]
        apart = m("Concat", flat[0], ints(2), flat[1], flat[2], flat[3], axis=0)
        return shuffle(m, x, apart, m("Concat", flat[0], ints(-1), flat[2], flat[3], axis=0))
    case("channel_shuffle", picture, lambda m, x: shuffle(
        m, x, ints(0, 3, 2, 2, 3), ints(0, 6, 2, 3)))
    case("channel_shuffle_open", picture, lambda m, x: shuffle(
        m, x, ints(-1, 2, 3, 2, 3), ints(-1, 6, 2, 3)))
    case("channel_shuffle_dynamic", picture, dynamic_shuffle, opset=16, constant=True)
    case("channel_shuffle_between_convs", (2, 3, 4, 5), lambda m, x: conv(m, shuffle(
        m, conv(m, x, 6, 3, 1, 1), ints(0, 2, 3, 4, 5), ints(0, 6, 4, 5)), 6, 6, 3, 3, group=3))
    case("transpose", picture, lambda m, x: m("Transpose", m("Relu", x), perm=[0, 1, 3, 2]))
    case("transpose_to_conv", (2, 5, 6, 3), lambda m, x: conv(m, m(
        "Transpose", x, perm=[0, 3, 1, 2]), 4, 3, 3, 3))
    case("transpose_and_back", picture, lambda m, x: m("Transpose", m("Softmax", m(
        "Transpose", x, perm=[0, 2, 3, 1]), axis=-1), perm=[0, 3, 1, 2]), opset=13)
    case("transpose_to_vector", (2, 3, 2, 4), lambda m, x: m("Gemm", m("Flatten", m(
        "Transpose", x, perm=[0, 2, 3, 1])), draw(24, 3)))
    case("unsqueeze_to_1d", (2, 12), lambda m, x: conv(m, m("Unsqueeze", x, ints(1)), 3, 1, 3))
    case("depth_to_space_dcr", (2, 8, 3, 4), lambda m, x: m("DepthToSpace", x, blocksize=2))
    case("depth_to_space_crd", (2, 8, 3, 4), lambda m, x: m(
        "DepthToSpace", x, blocksize=2, mode="CRD"))
    case("depth_to_space_opset9", (2, 9, 2, 3), lambda m, x: m(
        "DepthToSpace", x, blocksize=3), opset=9)
    case("space_to_depth", (2, 3, 4, 6), lambda m, x: m("SpaceToDepth", x, blocksize=2))
    case("pixel_unshuffle_torch", (2, 3, 4, 6), lambda m, x: m("Reshape", m("Transpose", m(
        "Reshape", x, ints(-1, 3, 2, 2, 3, 2)), perm=[0, 1, 3, 5, 2, 4]), ints(-1, 12, 2, 3)))
    case("pixel_shuffle_by_reshape", (2, 8, 3, 4), lambda m, x: m("Reshape", m("Transpose", m(
        "Reshape", x, ints(0, 2, 2, 2, 3, 4)), perm=[0, 1, 4, 2, 5, 3]), ints(0, 2, 6, 8)))


def joins():
    picture = (2, 4, 3, 4)

    def excite(m, x, gate="Sigmoid"):
        y = m("Relu", conv(m, m("GlobalAveragePool", x), 2, 4, 1, 1))
        return m("Mul", x, m(gate, conv(m, y, 4, 2, 1, 1)))

    def excite_dense(m, x):
        y = m("Reshape", m("GlobalAveragePool", x), ints(0, 4))
        y = m("Sigmoid", m("Gemm", m("Relu", m("Gemm", y, draw(4, 2))), draw(2, 4)))
        return m("Mul", m("Reshape", y, ints(0, 4, 1, 1)), x)

    def excite_unsqueezed(m, x):
        y = m("ReduceMean", x, axes=[2, 3], keepdims=0)
        y = m("Sigmoid", m("Add", m("MatMul", y, draw(4, 4)), draw(4)))
        return m("Mul", x, m("Unsqueeze", m("Unsqueeze", y, ints(2)), ints(3)))
    case("squeeze_excite", picture, excite)
    case("squeeze_excite_hard", picture, lambda m, x: excite(m, x, "HardSigmoid"))
    case("squeeze_excite_dense", picture, excite_dense)
    case("squeeze_excite_expanded", picture, lambda m, x: m("Mul", x, m("Expand", m(
        "Sigmoid", conv(m, m("GlobalAveragePool", x), 4, 4, 1, 1)), m("Shape", x))))
    case("expanded_alone", picture, lambda m, x: m("Relu", m("Expand", m(
        "GlobalAveragePool", x), m("Shape", x))), refused="/Expand_2 repeats")
    case("squeeze_excite_unsqueezed", picture, excite_unsqueezed, opset=13)

    def residual(m, x, op="Add", swapped=False):
        y = m("Relu", batch_norm(m, conv(m, x, 4, 4, 3, 3, pads=[1, 1, 1, 1], bias=False), 4))
        y = batch_norm(m, conv(m, y, 4, 4, 3, 3, pads=[1, 1, 1, 1], bias=False), 4)
        return m("Relu", m(op, *((x, y) if swapped else (y, x))))
    case("residual", picture, residual)
    case("residual_swapped", picture, lambda m, x: residual(m, x, swapped=True))
    case("residual_sum", picture, lambda m, x: residual(m, x, "Sum"))
    case("residual_with_projection", picture, lambda m, x: m("Add", conv(
        m, m("Relu", x), 6, 4, 3, 3, strides=[2, 2], pads=[1, 1, 1, 1]), conv(
        m, x, 6, 4, 1, 1, strides=[2, 2])))
    case("residual_scaled", picture, lambda m, x: m("Add", x, m("Mul", conv(
        m, x, 4, 4, 1, 1), np.float32(0.17))))
    case("layer_scale", picture, lambda m, x: m("Add", x, m("Mul", conv(
        m, x, 4, 4, 1, 1), draw(1, 4, 1, 1))))
    case("sum_of_three", picture, lambda m, x: m("Sum", x, m("Relu", x), m("Tanh", x)))
    case("add_itself", picture, lambda m, x: m("Add", x, x))
    case("multiply_itself", picture, lambda m, x: m("Mul", x, x))
    case("maximum", picture, lambda m, x: m("Max", x, m("Sigmoid", x)))
    case("subtract", picture, lambda m, x: m("Sub", m("Relu", x), m("Tanh", x)))
    case("add_by_place", picture, lambda m, x: m("Add", x, draw(1, 4, 3, 4)))
    case("spatial_attention", picture, lambda m, x: m("Mul", x, m("Sigmoid", conv(
        m, x, 1, 4, 1, 1))), refused="/Mul_2")
    case("concat_channels", picture, lambda m, x: m("Concat", conv(m, x, 3, 4, 1, 1), x, m(
        "Relu", conv(m, x, 2, 4, 1, 1)), axis=1))
    case("concat_negative_axis", picture, lambda m, x: m("Concat", x, m("Relu", x), axis=-3))
    case("concat_height", picture, lambda m, x: m("Concat", x, m("Relu", x), x, axis=2))
    case("concat_width", picture, lambda m, x: m("Concat", x, m("MaxPool", x, kernel_shape=[
        3, 2], pads=[1, 0, 1, 0]), axis=-1))
    case("concat_vectors", (2, 5), lambda m, x: m("Concat", m("Relu", x), x, axis=1))
    case("add_longer_constant", (2, 5), lambda m, x: m("Flatten", m("Add", x, draw(1, 1, 5)),
         axis=2), batch=2, refused="/Add_0 sizes")
    case("vectors_of_pictures", (2, 4, 3, 3), lambda m, x: m("Mul", m("Add", m("Flatten", m(
        "Relu", conv(m, x, 5, 4, 3, 3))), m("Gemm", m("Flatten", x), draw(36, 5))), m(
        "Flatten", m("Mul", m("Flatten", m("Relu", conv(m, x, 5, 4, 3, 3))), draw(5)))))
    case("concat_1d", (2, 5, 4), lambda m, x: m("Concat", m("Relu", x), x, axis=2))


def channels_last():
    """Operators between Transposes, as TensorFlow's converters leave them."""
    picture = (2, 4, 5, 6)

    def turned(name, build, **options):
        case("last_" + name, picture, lambda m, x: m("Transpose", build(m, m(
            "Transpose", conv(m, x, 4, 4, 3, 3), perm=[0, 2, 3, 1])), perm=[0, 3, 1, 2]), **options)

    def excite(m, x, keep):
        s = m("ReduceMean", x, axes=[1, 2], keepdims=keep)
        s = m("Sigmoid", m("Add", m("MatMul", s, draw(4, 4)), draw(4)))
        return m("Mul", x, s if keep else m("Reshape", s, ints(-1, 1, 1, 4)))
    turned("bias", lambda m, x: m("Relu", m("Add", x, draw(4))), sizes=["H", "W"])
    turned("scale_after_relu", lambda m, x: m("Mul", m("Relu", x), draw(1, 1, 4)))
    turned("bounds", lambda m, x: m("Min", m("Max", x, draw(4)), positive(1, 1, 1, 4)))
    turned("row", lambda m, x: m("Mul", x, draw(1, 1, 4, 1)))
    turned("places", lambda m, x: m("Add", x, draw(3, 1, 4)))
    turned("excited", lambda m, x: excite(m, x, 1))
    turned("excited_reshaped", lambda m, x: excite(m, x, 0))
    turned("prelu", lambda m, x: m("PRelu", x, draw(1, 1, 4)))
    case("last_input", (1, 3, 4, 5), lambda m, x: conv(m, m("Transpose", m("Div", m("Sub", m(
        "Transpose", x, perm=[0, 2, 3, 1]), 9 * draw(3)), positive(3)), perm=[0, 3, 1, 2]), 2, 3, 3, 3),
        data="bytes")

    def tokens(m, x):
        """The first layers of a vision transformer."""
        y = m("Reshape", conv(m, x, 6, 4, 2, 3, strides=[2, 3]), ints(0, 6, -1))
        y = m("Add", m("Transpose", y, perm=[0, 2, 1]), draw(1, 4, 6))
        z = m("Gelu", m("Add", m("MatMul", y, draw(6, 7)), draw(7)))
        return m("Add", y, m("Add", m("MatMul", z, draw(7, 6)), draw(6)))
    case("last_tokens", picture, tokens, opset=20)


def parts():
    picture = (1, 6, 5, 7)
    halves = lambda m, made: m("Concat", m("Relu", made[1]), *made[2:], made[0], axis=1)
    case("split_equal_11", picture, lambda m, x: halves(m, m(
        "Split", x, axis=1, outputs=2)), opset=11)
    case("split_sizes_11", picture, lambda m, x: halves(m, m(
        "Split", x, axis=1, split=[1, 2, 3], outputs=3)), opset=11)
    case("split_equal_13", picture, lambda m, x: halves(m, m(
        "Split", x, axis=-3, outputs=3)), opset=13)
    case("split_sizes_13", picture, lambda m, x: halves(m, m(
        "Split", x, ints(4, 2), axis=1, outputs=2)), opset=13)
    case("split_num_outputs_18", picture, lambda m, x: halves(m, m(
        "Split", x, axis=1, num_outputs=4, outputs=4)), opset=18)
    case("split_width", picture, lambda m, x: m("Concat", *m(
        "Split", x, ints(3, 4), axis=3, outputs=2)[::-1], axis=3))
    case("slice_of_fixed_batch", picture, lambda m, x: m("Slice", x, ints(0, 0, 1, 2), ints(
        1, 6, 4, 7)), batch=1)
    case("slice_9", picture, lambda m, x: m("Slice", x, axes=[1, 3], starts=[1, -5], ends=[
        5, 2**31 - 1]), opset=9)
    case("slice_9_no_axes", picture, lambda m, x: m("Slice", x, starts=[0, 2, 1], ends=[
        LARGEST, 5, -1]), opset=9)
    case("slice_13", picture, lambda m, x: m("Slice", x, ints(1, 0), ints(-1, 3), ints(1, 2), ints(
        1, 1)), opset=13)
    case("slice_13_defaults", picture, lambda m, x: m("Slice", x, ints(0, 2), ints(LARGEST, 5)),
         opset=13)
    case("slice_int32", picture, lambda m, x: m("Slice", x, *[
        np.array([v], np.int32) for v in (1, 4, -2)]), opset=10)
    case("slice_of_vector", (2, 9), lambda m, x: m("Slice", x, ints(2), ints(-2), ints(1)))
    case("slice_steps", picture, lambda m, x: m("Slice", x, ints(0), ints(LARGEST), ints(2), ints(
        2)))
    case("slices_of_channels_split", picture, lambda m, x: m("Add", m("Slice", x, ints(0), ints(
        3), ints(1)), m("Slice", x, ints(3), ints(6), ints(1))))
    case("gather_one_channel", picture, lambda m, x: conv(m, m("Gather", x, ints(4), axis=1), 2, 1,
         3, 3))


def borders():
    picture = (1, 3, 4, 5)
    widths = ints(0, 0, 1, 2, 0, 0, 3, 0)
    for mode in ("constant", "reflect", "edge"):
        case("pad_%s" % mode, picture, lambda m, x: m("Pad", x, widths, mode=mode))
        case("pad_%s_9" % mode, picture, lambda m, x: m(
            "Pad", x, pads=widths.tolist(), mode=mode), opset=9)
    case("pad_value_9", picture, lambda m, x: m(
        "Pad", x, pads=widths.tolist(), value=-0.75), opset=9)
    case("pad_value", picture, lambda m, x: m("Pad", x, widths, np.float32(1.5)), opset=11)
    case("pad_axes_18", picture, lambda m, x: m("Pad", x, ints(1, 0, 2, 1), None, ints(-1, 2)),
         opset=18)
    case("pad_channels", picture, lambda m, x: m("Pad", x, ints(0, 2, 0, 0, 0, 1, 0, 0)))
    case("pad_negative", picture, lambda m, x: m("Pad", x, ints(0, 0, -1, 0, 0, 0, -2, -3)))
    case("pad_1d", (2, 3, 5), lambda m, x: m("Pad", x, ints(0, 0, 2, 0, 0, 1), mode="reflect"))
    case("pad_then_conv", picture, lambda m, x: conv(m, m("Pad", x, ints(
        0, 0, 0, 0, 0, 0, 1, 1)), 4, 3, 3, 3, strides=[2, 2]))

    def torch_pads(mode, pairs):
        """As PyTorch writes the pads: pairs from the last axis on, turned round by arithmetic."""
        def build(m, x):
            zeros = m("ConstantOfShape", ints(8 - len(pairs)),
                      value=numpy_helper.from_array(ints(0)))
            two = m("Reshape", m("Concat", ints(*pairs), zeros, axis=0), ints(-1, 2))
            turned = m("Slice", two, ints(-1), ints(-LARGEST), ints(0), ints(-1))
            flat = m("Reshape", m("Transpose", turned, perm=[1, 0]), ints(-1))
            more = [np.float32(0)] if mode == "constant" else []
            return m("Pad", x, m("Cast", flat, to=TensorProto.INT64), *more, mode=mode)
        return build
    case("pad_constant_torch", picture, torch_pads("constant", [1, 2, 0, 1]), opset=16,
         constant=True)
    case("pad_reflect_torch", picture, torch_pads("reflect", [1, 1, 2, 1]), opset=16, constant=True)


def resizing():
    picture = (1, 2, 3, 4)
    scales = np.array([1, 1, 2, 3], np.float32)
    none = np.array([], np.float32)
    nearest = dict(coordinate_transformation_mode="asymmetric", mode="nearest", nearest_mode="floor")
    linear = dict(coordinate_transformation_mode="half_pixel", mode="linear", cubic_coeff_a=-0.75,
                  nearest_mode="floor")

    def sizes(m, x, *wanted):
        return m("Concat", m("Slice", m("Shape", x), ints(0), ints(2), ints(0)), ints(*wanted),
                 axis=0)
    case("resize_nearest", picture, lambda m, x: m("Resize", x, None, scales, **nearest))
    case("resize_nearest_11", picture, lambda m, x: m("Resize", x, none, scales, **nearest),
         opset=11)
    case("resize_nearest_10", picture, lambda m, x: m("Resize", x, scales, mode="nearest"), opset=10)
    case("resize_nearest_size", picture, lambda m, x: m("Resize", x, None, None, sizes(
        m, x, 6, 8), **nearest), constant=True)
    case("resize_nearest_defaults", picture, lambda m, x: m("Resize", x, None, scales))
    case("resize_linear", picture, lambda m, x: m("Resize", x, None, scales, **linear))
    case("resize_linear_size", picture, lambda m, x: m("Resize", x, None, None, sizes(
        m, x, 8, 5), **linear), constant=True)
    case("resize_linear_size_fixed", picture, lambda m, x: m(
        "Resize", x, None, None, ints(1, 2, 6, 5), **linear), batch=1)
    case("resize_linear_pytorch_half_pixel", picture, lambda m, x: m(
        "Resize", x, none, scales, mode="linear", coordinate_transformation_mode=
        "pytorch_half_pixel"), opset=11)
    case("resize_align_corners", picture, lambda m, x: m(
        "Resize", x, None, None, sizes(m, x, 5, 7), mode="linear",
        coordinate_transformation_mode="align_corners"), constant=True)
    case("resize_1d", (2, 3, 5), lambda m, x: m("Resize", x, None, np.array(
        [1, 1, 2], np.float32), **linear))
    case("resize_3d", (1, 2, 2, 3, 2), lambda m, x: m("Resize", x, None, np.array(
        [1, 1, 2, 2, 3], np.float32), **nearest))
    case("resize_axes_18", picture, lambda m, x: m("Resize", x, None, np.array(
        [2, 2], np.float32), None, axes=[2, 3], **nearest), opset=18)
    case("resize_linear_down", picture, lambda m, x: m("Resize", x, None, None, sizes(
        m, x, 2, 3), **linear), constant=True)
    case("resize_cubic", picture, lambda m, x: m("Resize", x, None, scales, mode="cubic"),
         refused="/Resize_0 cubic")
    case("resize_linear_asymmetric", picture, lambda m, x: m(
        "Resize", x, None, scales, mode="linear", coordinate_transformation_mode="asymmetric"),
        refused="/Resize_0 asymmetric")
    case("upsample_9", picture, lambda m, x: m("Upsample", x, scales, mode="nearest"), opset=9)
    case("upsample_7", picture, lambda m, x: m(
        "Upsample", x, scales=scales.tolist(), mode="nearest"), opset=7)
    case("upsample_9_constant", picture, lambda m, x: m("Upsample", conv(
        m, x, 2, 2, 1, 1), m("Constant", value=numpy_helper.from_array(scales))), opset=9)

    def old_interpolate(m, x):
        """PyTorch's of opset 9: each size times its factor, rounded down, over the size."""
        size = [m("Gather", m("Shape", x), np.array(i), axis=0) for i in (2, 3)]
        size = [m("Floor", m("Cast", m("Mul", s, np.array(2)), to=TensorProto.FLOAT)) for s in size]
        wanted = m("Concat", *[m("Unsqueeze", s, axes=[0]) for s in size], axis=0)
        own = m("Cast", m("Slice", m("Shape", x), starts=[2], ends=[4], axes=[0]),
                to=TensorProto.FLOAT)
        ones = m("Constant", value=numpy_helper.from_array(np.ones(2, np.float32)))
        return m("Upsample", x, m("Concat", ones, m("Div", wanted, own), axis=0), mode="nearest")
    case("upsample_9_dynamic", picture, old_interpolate, opset=9, constant=True)


# ---- Activations ---------------------------------------------------------------------------------


def gelu(m, x):
    y = m("Add", m("Erf", m("Div", x, np.float32(np.sqrt(2)))), np.float32(1))
    return m("Mul", m("Mul", x, y), np.float32(0.5))


def gelu_tanh(m, x):
    y = m("Mul", np.float32(0.044715), m("Mul", x, m("Mul", x, x)))
    y = m("Tanh", m("Mul", np.float32(np.sqrt(2 / np.pi)), m("Add", x, y)))
    return m("Mul", np.float32(0.5), m("Mul", x, m("Add", np.float32(1), y)))


def gelu_tanh_pow(m, x):
    y = m("Add", x, m("Mul", m("Pow", x, np.float32(3)), np.float32(0.044715)))
    y = m("Add", m("Tanh", m("Mul", y, np.float32(0.7978846))), np.float32(1))
    return m("Mul", m("Mul", x, np.float32(0.5)), y)


def hard_swish(m, x):
    y = m("Clip", m("Add", x, np.float32(3)), np.float32(0), np.float32(6))
    return m("Div", m("Mul", x, y), np.float32(6))


def several(*activations):
    """Each on the same values, joined by channels: the channel says which is wrong."""
    return lambda m, x: m("Concat", *[a(m, x) for a in activations], axis=1)


def activations():
    picture = (1, 2, 4, 5)
    op = lambda name, **attributes: lambda m, x: m(name, x, **attributes)
    case("activation_operators", picture, several(
        op("Relu"), op("Sigmoid"), op("Tanh"), op("Softplus"), op("Softsign"), op("LeakyRelu"),
        op("LeakyRelu", alpha=0.3), op("Elu"), op("Elu", alpha=0.5), op("Selu"), op("HardSigmoid"),
        op("HardSigmoid", alpha=1 / 6, beta=0.5), op("HardSwish")), opset=14, data="wide")
    case("activation_operators_22", picture, several(
        op("HardSwish"), op("Mish"), op("Gelu"), op("Gelu", approximate="tanh"), op("Celu")),
        opset=22, data="wide")
    subgraphs = {
        "gelu": gelu, "gelu_tanh": gelu_tanh, "gelu_tanh_pow": gelu_tanh_pow,
        "silu": lambda m, x: m("Mul", x, m("Sigmoid", x)),
        "silu_swapped": lambda m, x: m("Mul", m("Sigmoid", x), x),
        "mish": lambda m, x: m("Mul", x, m("Tanh", m("Softplus", x))),
        "hard_swish": hard_swish,
        "hard_swish_operator": lambda m, x: m("Mul", x, m("HardSigmoid", x, alpha=1 / 6)),
        "hard_sigmoid": lambda m, x: m("Div", m("Clip", m("Add", x, np.float32(3)), np.float32(
            0), np.float32(6)), np.float32(6)),
        "relu6": lambda m, x: m("Clip", x, np.float32(0), np.float32(6)),
        "scaled_tanh": lambda m, x: m("Mul", m("Tanh", m("Mul", x, np.float32(2 / 3))),
                                      np.float32(1.7159)),
    }
    for name, build in subgraphs.items():
        case("activation_%s_of_conv" % name, (1, 3, 4, 5), lambda m, x: build(
            m, conv(m, x, 4, 3, 2, 2)), opset=16, constant=True, data="wide")
    case("activation_subgraphs_of_input", picture, several(*subgraphs.values()), opset=16,
         constant=True, data="wide")
    case("clip_6", picture, lambda m, x: m("Clip", x, min=0.0, max=6.0), opset=7, data="wide")
    case("clip_10", picture, lambda m, x: m("Clip", conv(m, x, 3, 2, 1, 1), max=6.0, min=0.0),
         opset=10, data="wide")
    case("clip_11", picture, lambda m, x: m("Clip", x, np.float32(0), np.float32(6)), opset=11,
         data="wide")
    case("clip_min_alone", picture, lambda m, x: m("Clip", x, np.float32(0)), data="wide")
    case("prelu", picture, lambda m, x: m("PRelu", x, draw(2, 1, 1)))
    case("prelu_shared", picture, lambda m, x: m("PRelu", x, draw(1)))
    case("prelu_of_vector", (2, 7), lambda m, x: m("PRelu", x, draw(7)), opset=9)
    case("prelu_of_vector_shared", (2, 7), lambda m, x: m("PRelu", x, draw(1)))
    case("softmax_11", (2, 7), lambda m, x: m("Softmax", x), opset=11)
    case("softmax_13", (2, 7), lambda m, x: m("Softmax", x), opset=13)
    case("softmax_13_channels", picture, lambda m, x: m("Softmax", x, axis=1), opset=13)
    case("softmax_11_of_one_place", (2, 7, 1, 1), lambda m, x: m("Softmax", x, axis=1), opset=11)
    case("softmax_11_of_all", picture, lambda m, x: m("Softmax", x, axis=1), opset=11)
    case("softmax_13_rows", picture, lambda m, x: m("Softmax", x, axis=2), opset=13)
    case("softmax_13_columns", picture, lambda m, x: m("Softmax", m("Conv", x, draw(4, 2, 1, 1)),
        axis=-1), opset=13)
    case("identity_alone", picture, lambda m, x: m("Identity", x))
    case("one_number_a_sample", (2,), lambda m, x: m("Sigmoid", m("Mul", x, np.float32(3))))
    case("softmax_11_of_flattened", (2, 3, 2, 2), lambda m, x: m("Softmax", m("Flatten", x)),
         opset=9)
    case("logsoftmax_11", (2, 7), lambda m, x: m("LogSoftmax", x, axis=1), opset=11)
    case("logsoftmax_13", (2, 7), lambda m, x: m("LogSoftmax", x, axis=-1), opset=13)
    case("log_of_softmax", (2, 7), lambda m, x: m("Log", m("Softmax", x, axis=1)), opset=13,
         refused="/Log_1 Log")


# ---- Numbers inside the model, what does nothing, constants --------------------------------------


def numbers():
    picture = (1, 3, 4, 5)
    mean = np.array([0.485, 0.456, 0.406], np.float32).reshape(3, 1, 1)
    deviation = np.array([0.229, 0.224, 0.225], np.float32).reshape(3, 1, 1)
    orders = {
        "mul_sub_div": lambda m, x: m("Div", m("Sub", m("Mul", x, np.float32(
            1 / 255)), mean), deviation),
        "div_sub_div": lambda m, x: m("Div", m("Sub", m("Div", x, np.float32(
            255)), mean[None]), deviation[None]),
        "sub_mul": lambda m, x: m("Mul", m("Sub", x, np.float32(127.5)), np.float32(1 / 127.5)),
        "mul_add": lambda m, x: m("Add", m("Mul", x, 1 / (255 * deviation)), -mean / deviation),
        "div_alone": lambda m, x: m("Div", x, np.float32(255)),
        "mul_swapped": lambda m, x: m("Mul", np.float32(1 / 255), x),
        "sub_alone": lambda m, x: m("Sub", x, mean * 255),
        "batchnorm": lambda m, x: m("BatchNormalization", m("Mul", x, np.float32(
            1 / 255)), 1 / deviation.ravel(), np.zeros(3, np.float32), mean.ravel(),
            np.ones(3, np.float32)),
    }
    for name, build in orders.items():
        case("scaled_input_" + name, picture, lambda m, x: conv(m, build(m, x), 4, 3, 2, 2,
             pads=[1, 1, 1, 1]), data="bytes")
    case("scaled_input_of_vector", (2, 3), lambda m, x: m("Gemm", m("Div", m("Sub", x, mean.ravel(
        )), deviation.ravel()), draw(3, 4)))
    case("scaled_inside", picture, lambda m, x: m("Div", m("Sub", m("Add", m("Mul", conv(
        m, x, 4, 3, 2, 2), draw(4, 1, 1)), np.float32(0.25)), draw(1, 4, 1, 1)), positive(4, 1, 1)))
    case("scaled_after_relu", picture, lambda m, x: conv(m, m("Add", m("Mul", m("Relu", conv(
        m, x, 4, 3, 2, 2)), np.float32(1.5)), draw(4, 1, 1)), 2, 4, 3, 3, pads=[1, 1, 1, 1]))
    case("one_minus_x", picture, lambda m, x: m("Sub", np.float32(1), m("Sigmoid", x)))
    case("negated", picture, lambda m, x: m("Neg", x))

    def by_batch(m, x, compare):
        """Four times or eight times x, as the size of the batch says, or what is left of it."""
        size = m("Gather", m("Shape", x), np.array(0), axis=0)
        factor = m("Where", compare(m, size), np.array(8), np.array(4))
        return m("Mul", x, m("Cast", factor, to=TensorProto.FLOAT))
    for name, compare in {
            "less": lambda m, size: m("Less", size, np.array(5)),
            "or_more": lambda m, size: m("GreaterOrEqual", size, np.array(2)),
            "equal": lambda m, size: m("Not", m("Equal", size, np.array(1))),
            "any": lambda m, size: m("Or", np.array(False), m("Cast", m(
                "Sub", size, np.array(1)), to=TensorProto.BOOL))}.items():
        case("batch_" + name, picture, lambda m, x: by_batch(m, x, compare),
             refused="/Mul_ known only when the net runs")
    case("batch_times", picture, lambda m, x: m("Mul", x, m("Cast", m("Gather", m(
        "Shape", x), np.array(0), axis=0), to=TensorProto.FLOAT)),
        refused="/Mul_3 known only when the net runs")
    case("batch_never_minus_1", picture, lambda m, x: by_batch(m, x, lambda m, size: m(
        "Equal", size, np.array(-1))))


def what_does_nothing():
    picture = (1, 3, 4, 5)
    wrapped = lambda around, **options: dict(build=lambda m, x: m("Relu", around(m, conv(
        m, x, 4, 3, 2, 2))), **options)
    nothings = {
        "dropout_7": wrapped(lambda m, x: m("Dropout", x, ratio=0.3), opset=7),
        "dropout_10_mask": wrapped(lambda m, x: m("Dropout", x, ratio=0.3, outputs=2)[0], opset=10),
        "dropout_12": wrapped(lambda m, x: m("Dropout", x, np.float32(0.3), np.array(
            False)), opset=12),
        "dropout_12_mask": wrapped(lambda m, x: m("Dropout", x, outputs=2)[0], opset=12),
        "identity": wrapped(lambda m, x: m("Identity", m("Identity", x))),
        "cast": wrapped(lambda m, x: m("Cast", x, to=TensorProto.FLOAT)),
        "add_zero": wrapped(lambda m, x: m("Add", x, np.float32(0))),
        "pad_nothing": wrapped(lambda m, x: m("Pad", x, ints(0, 0, 0, 0, 0, 0, 0, 0))),
        "slice_all": wrapped(lambda m, x: m("Slice", x, ints(0), ints(LARGEST), ints(1))),
        "transpose_not": wrapped(lambda m, x: m("Transpose", x, perm=[0, 1, 2, 3])),
        "concat_one": wrapped(lambda m, x: m("Concat", x, axis=1)),
        "sum_of_one": wrapped(lambda m, x: m("Sum", x)),
        "reshape_same": wrapped(lambda m, x: m("Reshape", x, ints(0, 0, 0, 0))),
        "unused_nodes": wrapped(lambda m, x: [m("Conv", x, draw(2, 4, 1, 1)), x][1]),
    }
    for name, options in nothings.items():
        case("nothing_" + name, picture, **options)
    case("identity_of_input", picture, lambda m, x: m("Relu", m("Identity", x)))
    case("identity_to_output", picture, lambda m, x: m("Identity", m("Relu", x)))


def stored(array, kind, field):
    """A TensorProto whose numbers are in a field of their own, or raw (field None)."""
    array = np.asarray(array)
    tensor = TensorProto(data_type=kind, dims=array.shape)
    if field is None:
        return numpy_helper.from_array(array)
    numbers = array.view(np.uint16).astype(int) if kind == TensorProto.FLOAT16 else array
    getattr(tensor, field).extend(numbers.ravel().tolist())
    return tensor


def constants():
    picture = (1, 3, 4, 5)
    kinds = {
        "float_data": (np.float32, TensorProto.FLOAT, "float_data"),
        "double_raw": (np.float64, TensorProto.DOUBLE, None),
        "double_data": (np.float64, TensorProto.DOUBLE, "double_data"),
        "half_raw": (np.float16, TensorProto.FLOAT16, None),
        "half_data": (np.float16, TensorProto.FLOAT16, "int32_data"),
        "int32_data": (np.int32, TensorProto.INT32, "int32_data"),
        "int64_data": (np.int64, TensorProto.INT64, "int64_data"),
        "int8_raw": (np.int8, TensorProto.INT8, None),
    }

    def build(dtype, kind, field):
        def weight(m, *shape):
            array = draw(*shape) * (1 if dtype in (np.float16, np.float32, np.float64) else 9)
            name = m.weight(stored(array.astype(dtype), kind, field))
            return name if kind == TensorProto.FLOAT else m("Cast", name, to=TensorProto.FLOAT)
        return lambda m, x: m("Conv", x, weight(m, 4, 3, 2, 2), weight(m, 4))
    for name, options in kinds.items():
        case("weights_" + name, picture, build(*options))

    def standardised(m, x):
        """Weights as of NFNets' formula; what is left of one axis, and a maximum of all."""
        w = m.weight(draw(4, 3, 2, 2))
        centred = m("Sub", w, m("ReduceMean", w, axes=[1, -2, 3]))
        variance = m("ReduceSum", m("Mul", centred, centred), ints(-1, 2, 1), keepdims=1)
        w = m("Div", centred, m("Sqrt", m("Add", variance, np.float32(1e-3))))
        bias = m("ReduceMax", draw(3, 4), axes=[0], keepdims=0)
        same = m("ReduceSum", draw(4), noop_with_empty_axes=1)
        y = m("Conv", x, w, m("Add", bias, same))
        return m("Mul", y, m("ReduceMin", positive(2, 3), keepdims=0))
    case("weights_standardised", picture, standardised)
    case("weights_shape_in_int64_data", (2, 6), lambda m, x: m("Reshape", x, m.weight(stored(
        [-1, 2, 3], TensorProto.INT64, "int64_data"))))

    def nodes(m, x):
        one = lambda **attributes: m("Constant", **attributes)
        y = m("Mul", x, one(value_float=0.5))
        y = m("Conv", y, one(value=numpy_helper.from_array(draw(4, 3, 2, 2))),
              one(value_floats=draw(4).tolist()))
        y = m("Gather", y, m("Reshape", one(value_int=2), one(value_ints=[1])), axis=1)
        return m("Reshape", y, one(value_ints=[0, 3, 4]))
    case("constant_nodes", picture, nodes)
    case("constant_folding", picture, lambda m, x: m(
        "Conv", x, m("Transpose", m("Mul", m.weight(draw(3, 2, 2, 4)), np.float32(0.5)), perm=[
            3, 0, 1, 2]), m("Identity", m("Squeeze", m.weight(draw(1, 4)), ints(0)))))

    classify = lambda m, x: m("Gemm", m("Reshape", m("Relu", conv(m, x, 4, 3, 2, 2)), ints(
        0, -1)), draw(3, 48), draw(3), transB=1)
    case("initialisers_as_inputs", picture, classify, opset=8, ir=3)
    case("initialisers_as_inputs_13", picture, classify, opset=13, ir=3)
    case("external", picture, lambda m, x: m("Gemm", m("Flatten", conv(m, x, 4, 3, 2, 2)), draw(
        48, 3), draw(3)), external=True)
    case("odd_names", picture, odd_names)


def odd_names(m, x):
    """Names are any bytes in ONNX; a .net text has less freedom."""
    y = m("Conv", x, m.weight(draw(4, 3, 2, 2), "a b#c{d}"), made=["conv 1: 'x'=\n\"y\""])
    y = m("Relu", y, made=["%s %d \u00e4\u4e2d"])
    y = m("Conv", y, m.weight(draw(4, 4, 2, 2), "n" * 300), made=["m" * 300])
    y = m("Relu", y, made=["m" * 299 + "n"])
    return m("MaxPool", y, kernel_shape=[2, 2], made=["0.5"])


# ---- Whole nets ----------------------------------------------------------------------------------


def lenet(opset):
    def build(m, x):
        y = m("Relu", batch_norm(m, conv(m, x, 3, 1, 3, 3, pads=[1, 1, 1, 1], strides=[1, 1],
                                         kernel_shape=[3, 3], dilations=[1, 1]), 3))
        y = m("MaxPool", y, kernel_shape=[2, 2], strides=[2, 2], pads=[0, 0, 0, 0])
        y = m("Flatten", m("Relu", conv(m, y, 4, 3, 2, 2)), axis=1)
        y = m("Relu", m("Gemm", y, draw(6, 16), draw(6), alpha=1.0, beta=1.0, transB=1))
        y = m("Dropout", y, *([np.float32(0.5)] if opset >= 12 else []),
              **({} if opset >= 12 else {"ratio": 0.5}))
        return m("Softmax", m("Gemm", y, draw(6, 5), draw(5)), axis=1)
    return build


def nets():
    for opset in (7, 8, 9, 10, 11, 13, 17, 18, 21, 23):
        case("lenet_opset%d" % opset, (2, 1, 6, 6), lenet(opset), opset=opset)
    case("classes", (2, 1, 6, 6), lenet(17), classes=["cat", "Hund \"Rex\"", "\u9ce5", "", "e"])

    def two(m, x):
        y = m("Relu", conv(m, x, 4, 3, 3, 3))
        return {"mask": m("Sigmoid", conv(m, y, 2, 4, 1, 1)),
                "scores": m("Gemm", m("Flatten", m("GlobalAveragePool", y)), draw(4, 3))}
    case("two_outputs", (2, 3, 6, 7), two)

    def inner(m, x):
        y = m("Relu", conv(m, x, 4, 3, 3, 3))
        return {"features": y, "scores": m("Gemm", m("Flatten", y), draw(80, 3))}
    def thrice(m, x):
        """One layer gives three outputs, and itself goes on."""
        y = m("Relu", conv(m, x, 4, 3, 3, 3))
        return {"features": y, "same": m("Identity", y), "rows": m("Reshape", y, ints(0, 4, 2, 10)),
                "scores": conv(m, y, 2, 4, 1, 1)}
    case("outputs_of_one_layer", (2, 3, 6, 7), thrice)
    case("inner_output", (2, 3, 6, 7), inner)

    def unet(m, x):
        a = m("Relu", conv(m, x, 3, 2, 3, 3, pads=[1, 1, 1, 1]))
        b = m("Relu", conv(m, m("MaxPool", a, kernel_shape=[2, 2], strides=[2, 2]), 4, 3, 3, 3,
                           pads=[1, 1, 1, 1]))
        up = m("ConvTranspose", b, draw(4, 3, 2, 2), draw(3), strides=[2, 2])
        return conv(m, m("Concat", up, a, axis=1), 1, 6, 1, 1)
    case("unet", (2, 2, 6, 8), unet)

    def inverted(m, x):
        y = m("Clip", batch_norm(m, conv(m, x, 6, 3, 1, 1, bias=False), 6), np.float32(
            0), np.float32(6))
        y = m("Clip", batch_norm(m, conv(m, y, 6, 6, 3, 3, group=6, bias=False, pads=[
            1, 1, 1, 1]), 6), np.float32(0), np.float32(6))
        return m("Add", x, batch_norm(m, conv(m, y, 3, 6, 1, 1, bias=False), 3))
    case("mobilenet_block", (2, 3, 5, 6), inverted)
    case("dense_block", (2, 3, 5, 6), lambda m, x: dense_block(m, x, 3))


def dense_block(m, x, count):
    channels = 3
    for _ in range(count):
        y = conv(m, m("Relu", batch_norm(m, x, channels)), 2, channels, 3, 3, pads=[1, 1, 1, 1],
                 bias=False)
        x, channels = m("Concat", x, y, axis=1), channels + 2
    return x


# ---- The files -----------------------------------------------------------------------------------

os.makedirs(FOLDER, exist_ok=True)
for make in (convolutions, transposed_convolutions, batch_norms, norms, norms_elsewhere, formulas,
             dense, flattening, pools, global_pools, shapes_and_axes, joins, channels_last, parts, borders, resizing,
             activations, numbers, what_does_nothing, constants, nets):
    make()
write(FOLDER + "/cases.safetensors")
print(sum(key.endswith(".input") for key in metadata), "cases", file=sys.stderr)
