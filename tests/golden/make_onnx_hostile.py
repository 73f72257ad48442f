#!/usr/bin/env python3
"""Makes onnx/hostile/NAME.onnx: files that are no models, or none that a library may trust, which
tests/test_onnx_hostile.c wants refused by the name of the node, value or tensor. Run again only to
add some:

    pip install onnx onnxruntime numpy
    python3 tests/golden/make_onnx_hostile.py
"""
import os

import numpy as np
import onnx
from onnx import TensorProto, helper

from onnx_model import FOLDER, Model, draw, ints, port

LARGEST, HUGE = 2**63 - 1, 1 << 40


def hostile(name, build, change=None, shape=("N", 3, 4, 5), opset=17):
    """build(model, input) gives the output; change(model) then damages the whole message."""
    m = Model(opset)
    y = build(m, "input")
    y = y[0] if isinstance(y, list) else y
    outputs = [] if y is None else [port(y, None)]
    model = m.proto([port("input", list(shape))], outputs, 8)
    if change:
        change(model)
    with open("%s/hostile/%s.onnx" % (FOLDER, name), "wb") as file:
        file.write(model.SerializeToString(deterministic=True))


def relu(m, x):
    return m("Relu", x)


def faulty(m, op, *inputs, **attributes):
    """The node whose name the message is to have."""
    y = m(op, *inputs, **attributes)
    m.nodes[-1].name = "faulty"
    return y


def tensor(**fields):
    return TensorProto(**dict(dict(data_type=TensorProto.FLOAT), **fields))


# ---- Graphs --------------------------------------------------------------------------------------


def graphs():
    def cycle(m, x):
        m("Add", x, "/Relu_1.out", made=["ring"])
        return faulty(m, "Relu", "ring", made=["/Relu_1.out"])
    hostile("cycle", cycle)
    hostile("own_output", lambda m, x: faulty(m, "Add", x, "y", made=["y"]))
    hostile("missing_initialiser", lambda m, x: faulty(m, "Conv", x, "no_such_weight"))
    hostile("unknown_value", lambda m, x: faulty(m, "Add", x, "nowhere"))
    hostile("unknown_output", lambda m, x: [relu(m, x), "nowhere"][1])
    hostile("duplicate_value", lambda m, x: [m("Relu", x, made=["twice"]), m(
        "Tanh", x, made=["twice"])][0])
    hostile("duplicate_of_input", lambda m, x: m("Relu", x, made=["input"]))
    hostile("duplicate_of_initialiser", lambda m, x: m("Add", x, m.weight(draw(1), "twice"),
                                                       made=["twice"]))
    hostile("duplicate_initialiser", lambda m, x: m("Add", m("Add", x, m.weight(
        draw(1), "twice")), m.weight(draw(1), "twice")))
    hostile("unsorted", lambda m, x: [m("Relu", "later", made=["y"]), m(
        "Tanh", x, made=["later"])][0])
    hostile("no_input", relu, lambda model: model.graph.input.pop())
    hostile("two_inputs", lambda m, x: m("Add", x, "second"),
            lambda model: model.graph.input.append(port("second", ["N", 3, 4, 5])))
    hostile("same_input_twice", relu, lambda model: model.graph.input.append(
        port("input", ["N", 3, 4, 5])))
    hostile("no_output", lambda m, x: [relu(m, x), None][1])
    hostile("output_is_constant", lambda m, x: [relu(m, x), m.weight(draw(2), "fixed")][1])
    hostile("output_by_constant_node", lambda m, x: [relu(m, x), m(
        "Constant", value_floats=[1.0, 2.0], made=["fixed"])][1])
    hostile("no_graph", relu, lambda model: model.ClearField("graph"))
    hostile("empty_operator", lambda m, x: faulty(m, "", x))
    hostile("no_outputs_of_node", lambda m, x: [faulty(m, "Relu", x), relu(m, x)][1],
            lambda model: model.graph.node[0].output.pop())
    hostile("empty_output_name", lambda m, x: faulty(m, "Relu", x, made=[""]))
    hostile("too_few_inputs", lambda m, x: faulty(m, "Conv", x))
    hostile("too_many_inputs", lambda m, x: faulty(m, "Relu", x, x))
    hostile("input_left_out", lambda m, x: faulty(m, "Add", x, None))
    hostile("mask_is_used", lambda m, x: m("Add", *m("Dropout", x, outputs=2)[:1], faulty(
        m, "Cast", "/Dropout_0.out1", to=1)), opset=12)


def inputs():
    change = lambda change: lambda model: change(model.graph.input[0].type)
    dims = lambda model: model.tensor_type.shape.dim
    hostile("input_of_rank_0", relu, shape=())
    hostile("input_of_rank_7", relu, shape=("N", 1, 2, 3, 4, 5, 6))
    hostile("input_without_shape", relu, change(lambda t: t.tensor_type.ClearField("shape")))
    hostile("input_without_type", relu, change(lambda t: t.Clear()))
    hostile("input_of_int64", relu, change(lambda t: setattr(t.tensor_type, "elem_type", 7)))
    hostile("input_size_0", relu, change(lambda t: setattr(dims(t)[1], "dim_value", 0)))
    hostile("input_size_negative", relu, change(lambda t: setattr(dims(t)[2], "dim_value", -4)))
    hostile("input_size_huge", relu, change(lambda t: setattr(dims(t)[2], "dim_value", HUGE)))
    hostile("input_channels_open", relu, change(lambda t: setattr(dims(t)[1], "dim_param", "C")))
    hostile("input_sequence", relu, change(lambda t: t.CopyFrom(
        helper.make_sequence_type_proto(helper.make_tensor_type_proto(1, [2])))))


def versions():
    version = lambda n: lambda model: setattr(model.opset_import[0], "version", n)
    hostile("opset_1", relu, version(1))
    hostile("opset_99", relu, version(99))
    hostile("opset_negative", relu, version(-5))
    hostile("opset_none", relu, lambda model: model.opset_import.pop())
    hostile("opset_of_other_domain", relu, lambda model: setattr(
        model.opset_import[0], "domain", "com.example"))
    hostile("ir_none", relu, lambda model: model.ClearField("ir_version"))
    hostile("ir_99", relu, lambda model: setattr(model, "ir_version", 99))


def operators():
    hostile("operator", lambda m, x: faulty(m, "NonMaxSuppression", x))
    hostile("operator_unknown", lambda m, x: faulty(m, "Frobnicate", x))
    hostile("domain", lambda m, x: faulty(m, "Relu", x, domain="com.example"))
    hostile("domain_microsoft", lambda m, x: faulty(m, "FusedConv", x, domain="com.microsoft"))
    body = helper.make_graph([helper.make_node("Identity", ["input"], ["z"])], "body", [],
                             [port("z", None)])
    hostile("if", lambda m, x: faulty(m, "If", m.weight(np.array(True)), then_branch=body,
                                      else_branch=body))
    hostile("loop", lambda m, x: faulty(m, "Loop", ints(3), None, x, body=body))
    hostile("quantized", lambda m, x: faulty(m, "QuantizeLinear", x, np.float32(0.1), np.uint8(0)))
    hostile("batch_moved", lambda m, x: faulty(m, "Transpose", x, perm=[1, 0, 2, 3]))
    hostile("batch_reduced", lambda m, x: faulty(m, "ReduceMean", x, axes=[0]))
    hostile("batch_joined", lambda m, x: faulty(m, "Concat", x, x, axis=0))
    hostile("batch_sliced", lambda m, x: faulty(m, "Slice", x, ints(1), ints(2), ints(0)))
    hostile("batch_padded", lambda m, x: faulty(m, "Pad", x, ints(1, 0, 0, 0, 0, 0, 0, 0)))
    hostile("batch_flattened", lambda m, x: faulty(m, "Flatten", x, axis=0))
    hostile("flatten_axis_2", lambda m, x: faulty(m, "Flatten", x, axis=2))
    hostile("batchnorm_training", lambda m, x: faulty(m, "BatchNormalization", x, *[
        draw(3) for _ in range(4)], training_mode=1))
    hostile("convolution_of_two_values", lambda m, x: faulty(m, "Conv", x, relu(m, x)))


# ---- Tensors -------------------------------------------------------------------------------------


def tensors():
    def with_weight(name, change=None, **fields):
        hostile("tensor_" + name, lambda m, x: m("Add", x, m.weight(
            tensor(**fields), "bad_weight")), change)
    raw = lambda count: bytes(4 * count)
    with_weight("dims_overflow", dims=[1 << 32, 1 << 32, 1], raw_data=raw(3))
    with_weight("dims_overflow_to_fit", dims=[1 << 62, 4, 3, 1, 1], raw_data=b"")
    with_weight("dims_negative", dims=[-3, -1, 1], raw_data=raw(3))
    with_weight("dims_huge", dims=[HUGE], raw_data=raw(3))
    with_weight("dims_largest", dims=[LARGEST], raw_data=raw(3))
    with_weight("dims_many", dims=[1] * 300 + [3, 1, 1], raw_data=raw(3))
    with_weight("raw_short", dims=[3, 1, 1], raw_data=raw(3)[:-1])
    with_weight("raw_long", dims=[3, 1, 1], raw_data=raw(4))
    with_weight("raw_none", dims=[3, 1, 1])
    with_weight("empty", dims=[0, 1, 1], raw_data=b"")
    with_weight("values_few", dims=[3, 1, 1], float_data=[1, 2])
    with_weight("values_many", dims=[3, 1, 1], float_data=[1, 2, 3, 4])
    with_weight("values_twice", dims=[3, 1, 1], float_data=[1, 2, 3], raw_data=raw(3))
    with_weight("values_of_other_type", dims=[3, 1, 1], int64_data=[1, 2, 3])
    with_weight("type_0", data_type=0, dims=[3, 1, 1], raw_data=raw(3))
    with_weight("type_99", data_type=99, dims=[3, 1, 1], raw_data=raw(3))
    with_weight("type_negative", data_type=-1, dims=[3, 1, 1], raw_data=raw(3))
    with_weight("type_string", data_type=TensorProto.STRING, dims=[3, 1, 1],
                string_data=[b"a", b"b", b"c"])
    with_weight("type_complex", data_type=TensorProto.COMPLEX64, dims=[3, 1, 1], raw_data=bytes(24))
    with_weight("type_int64", data_type=TensorProto.INT64, dims=[3, 1, 1], raw_data=bytes(24))
    segment = TensorProto.Segment(begin=1, end=2)
    with_weight("segment", dims=[3, 1, 1], raw_data=raw(3), segment=segment)
    hostile("tensor_without_name", lambda m, x: faulty(m, "Add", x, ""), lambda model:
            model.graph.initializer.append(tensor(dims=[3, 1, 1], raw_data=raw(3))))
    hostile("tensor_sparse", lambda m, x: faulty(m, "Add", x, "sparse"), lambda model:
            model.graph.sparse_initializer.append(helper.make_sparse_tensor(
                helper.make_tensor("sparse", 1, [1], [2.0]),
                helper.make_tensor("indices", 7, [1], [0]), [3, 1, 1])))
    short = tensor(dims=[3, 1, 1], raw_data=raw(2))
    hostile("constant_short", lambda m, x: m("Add", x, faulty(m, "Constant", value=short)))
    hostile("constant_without_value", lambda m, x: m("Add", x, faulty(m, "Constant")))
    hostile("constant_of_shape", lambda m, x: m("Add", x, faulty(m, "ConstantOfShape", ints(
        1 << 20, 1 << 20))))
    hostile("constant_of_shape_overflow", lambda m, x: m("Add", x, faulty(
        m, "ConstantOfShape", ints(1 << 32, 1 << 32))))
    hostile("constant_of_shape_negative", lambda m, x: m("Add", x, faulty(
        m, "ConstantOfShape", ints(-3))))
    hostile("constant_expanded", lambda m, x: m("Add", x, faulty(m, "Expand", draw(1), ints(
        HUGE, 4, 5))))
    hostile("constant_tiled", lambda m, x: m("Add", x, faulty(m, "Tile", draw(1), ints(HUGE))))
    hostile("constant_range", lambda m, x: m("Add", x, m("Cast", faulty(
        m, "Range", np.array(0), np.array(HUGE), np.array(1)), to=1)))

    def doubling(m, x):
        """Each node twice as large as the one before: 2^43 values by 40 nodes."""
        y = m.weight(draw(8))
        for _ in range(40):
            y = m("Concat", y, y, axis=0)
        m.nodes[-1].name = "faulty"
        return m("Add", x, y)
    hostile("constant_doubling", doubling)
    rows = np.ones(127, np.float32)
    hostile("constant_for_places", lambda m, x: faulty(m, "Mul", relu(m, x), rows),
            shape=("N", 1 << 24, 127))
    hostile("domain_of_constants", lambda m, x: m("Add", x, faulty(
        m, "Neg", np.ones(1, np.float32), domain="com.example")))
    # No numbers, and sizes whose products or sums no integer holds.
    hostile("constant_empty_joined", lambda m, x: m("Add", x, m("Concat", *[m.weight(
        tensor(dims=[1 << 62, 0]), name) for name in ("bad_weight", "b", "c")], axis=0)))
    hostile("constant_empty_turned", lambda m, x: m("Add", x, m("Transpose", m.weight(
        tensor(dims=[0, 1 << 62, 1 << 62]), "bad_weight"))))
    # Cut again, it would begin behind the end.
    hostile("constant_sliced_twice", lambda m, x: m("Add", x, faulty(
        m, "Slice", np.ones(4, np.float32), ints(3, 3), ints(4, 4), ints(0, 0))))


# ---- Operators and what they read ----------------------------------------------------------------


def convolutions():
    def conv(name, weight, *bias, op="Conv", **attributes):
        hostile(name, lambda m, x: faulty(m, op, x, draw(*weight), *[draw(*b) for b in bias],
                                          **attributes))
    conv("conv_large_kernel", (2, 3, 5, 6))
    conv("conv_group_not_divisor", (4, 1, 2, 2), group=2)
    conv("conv_group_0", (4, 3, 2, 2), group=0)
    conv("conv_group_negative", (3, 3, 2, 2), group=-1)
    conv("conv_group_largest", (3, 3, 2, 2), group=LARGEST)
    conv("conv_channels", (2, 4, 2, 2))
    conv("conv_rank_3", (2, 3, 2))
    conv("conv_rank_5", (2, 3, 2, 2, 2))
    conv("conv_bias_length", (2, 3, 2, 2), (3,))
    conv("conv_kernel_shape", (2, 3, 2, 2), kernel_shape=[3, 3])
    conv("conv_kernel_shape_short", (2, 3, 2, 2), kernel_shape=[2])
    conv("conv_stride_0", (2, 3, 2, 2), strides=[0, 1])
    conv("conv_stride_negative", (2, 3, 2, 2), strides=[1, -1])
    conv("conv_stride_short", (2, 3, 2, 2), strides=[2])
    conv("conv_stride_largest", (2, 3, 2, 2), strides=[LARGEST, LARGEST])
    conv("conv_stride_text", (2, 3, 2, 2), strides="two")
    conv("conv_dilation_0", (2, 3, 2, 2), dilations=[0, 0])
    conv("conv_dilation_huge", (2, 3, 2, 2), dilations=[HUGE, HUGE])
    conv("conv_pads_negative", (2, 3, 2, 2), pads=[-1, 0, 0, 0])
    conv("conv_pads_short", (2, 3, 2, 2), pads=[1, 1])
    conv("conv_pads_largest", (2, 3, 2, 2), pads=[LARGEST, 0, LARGEST, 0])
    conv("conv_auto_pad", (2, 3, 2, 2), auto_pad="SAME_MIDDLE")
    conv("convtranspose_output_shape", (3, 2, 2, 2), op="ConvTranspose", output_shape=[50, 50])
    conv("convtranspose_output_padding", (3, 2, 2, 2), op="ConvTranspose", output_padding=[9, 9])
    conv("convtranspose_channels", (4, 2, 2, 2), op="ConvTranspose")
    hostile("conv_of_vector", lambda m, x: faulty(m, "Conv", x, draw(2, 3, 1, 1)), shape=("N", 3))
    for lengths in ((4, 3, 3, 3), (3, 2, 3, 3), (3, 3, 1, 3), (3, 3, 3, 4)):
        hostile("batchnorm_lengths_%d%d%d%d" % lengths, lambda m, x: faulty(
            m, "BatchNormalization", x, *[draw(n) for n in lengths]))
    for name, attributes in (("no_kernel", {}), ("kernel_0", {"kernel_shape": [0, 2]}),
                             ("kernel_large", {"kernel_shape": [5, 6]}),
                             ("kernel_huge", {"kernel_shape": [HUGE, HUGE]}),
                             ("kernel_short", {"kernel_shape": [2]}),
                             ("pads_large", {"kernel_shape": [2, 2], "pads": [9, 9, 9, 9]})):
        hostile("pool_" + name, lambda m, x: faulty(m, "MaxPool", x, **attributes))
    hostile("pool_indices", lambda m, x: [faulty(m, "MaxPool", x, kernel_shape=[2, 2], outputs=2),
                                          m("Cast", "/MaxPool_0.out1", to=1)][1])


def shapes():
    one = lambda name, op, *inputs, **attributes: hostile(name, lambda m, x: faulty(
        m, op, x, *[i(m, x) if callable(i) else i for i in inputs], **attributes))
    one("reshape_does_not_fit", "Reshape", ints(-1, 7))
    one("reshape_other_count", "Reshape", ints(0, 61))
    one("reshape_two_open", "Reshape", ints(-1, -1))
    one("reshape_negative", "Reshape", ints(0, -2))
    one("reshape_overflow", "Reshape", ints(0, 1 << 32, 1 << 32))
    one("reshape_zero_beyond", "Reshape", ints(0, 0, 0, 0, 0))
    one("reshape_of_floats", "Reshape", np.array([1.5, 2.5], np.float32))
    one("reshape_by_data", "Reshape", lambda m, x: m("Cast", x, to=7))
    one("reshape_batch_into_channels", "Reshape", ints(1, -1))
    one("transpose_twice", "Transpose", perm=[0, 1, 1, 2])
    one("transpose_beyond", "Transpose", perm=[0, 1, 2, 9])
    one("transpose_short", "Transpose", perm=[0, 1, 2])
    one("concat_sizes", "Concat", lambda m, x: m("MaxPool", x, kernel_shape=[2, 2]), axis=1)
    one("concat_axis", "Concat", "input", axis=9)
    one("concat_no_axis", "Concat", "input")
    one("add_sizes", "Add", draw(3, 4, 7))
    one("add_rank", "Add", draw(2, 2, 3, 4, 5))
    one("mul_sizes", "Mul", lambda m, x: m("MaxPool", x, kernel_shape=[2, 2]))
    one("split_sum", "Split", ints(1, 1), axis=1, outputs=2)
    one("split_negative", "Split", ints(5, -2), axis=1, outputs=2)
    one("split_count", "Split", ints(1, 2), axis=1, outputs=3)
    one("slice_axis", "Slice", ints(0), ints(1), ints(9))
    one("slice_nothing", "Slice", ints(2), ints(1), ints(1))
    one("slice_step_0", "Slice", ints(0), ints(2), ints(1), ints(0))
    one("slice_counts", "Slice", ints(0, 0), ints(1), ints(1))
    one("pad_count", "Pad", ints(1, 1))
    one("pad_all_away", "Pad", ints(0, 0, -4, 0, 0, 0, -4, 0))
    one("pad_largest", "Pad", ints(0, 0, LARGEST, 0, 0, 0, LARGEST, 0))
    one("pad_reflects_beyond", "Pad", ints(0, 0, 9, 0, 0, 0, 0, 0), mode="reflect")
    one("pad_mode", "Pad", ints(0, 0, 1, 0, 0, 0, 0, 0), mode="mirror")
    for name, scales in (("zero", [1, 1, 0, 1]), ("negative", [1, 1, -2, 1]),
                         ("nan", [1, 1, np.nan, 1]), ("infinite", [1, 1, np.inf, 1]),
                         ("huge", [1, 1, 1e30, 1]), ("batch", [2, 1, 1, 1]), ("short", [2, 2])):
        one("resize_" + name, "Resize", None, np.array(scales, np.float32))
    one("resize_no_size", "Resize")
    one("resize_mode", "Resize", None, np.array([1, 1, 2, 2], np.float32), mode="best")
    one("depth_block", "DepthToSpace", blocksize=2)
    one("depth_block_0", "DepthToSpace", blocksize=0)
    one("squeeze_size", "Squeeze", ints(1))
    one("unsqueeze_beyond", "Unsqueeze", ints(9))
    one("gather_beyond", "Gather", ints(7), axis=1)
    one("gather_of_floats", "Gather", np.array([0.5], np.float32), axis=1)
    one("gemm_of_picture", "Gemm", draw(60, 4))
    one("lrn_size", "LRN", size=-1)
    one("lrn_no_size", "LRN")
    one("prelu_sizes", "PRelu", draw(2, 1, 1))
    one("groups_of_norm", "GroupNormalization", draw(3), draw(3), num_groups=2)
    one("instancenorm_lengths", "InstanceNormalization", draw(2), draw(3))
    one("clip_by_text", "Clip", lambda m, x: m.weight(tensor(
        data_type=TensorProto.STRING, dims=[], string_data=[b"six"])))
    vector = lambda name, op, *inputs, **attributes: hostile(
        name, lambda m, x: faulty(m, op, x, *inputs, **attributes), shape=("N", 6))
    vector("gemm_sizes", "Gemm", draw(7, 4))
    vector("gemm_bias", "Gemm", draw(6, 4), draw(3))
    vector("gemm_transA", "Gemm", draw(6, 4), transA=1)
    vector("gemm_rank", "Gemm", draw(6, 4, 1))
    vector("gemm_alpha_nan", "Gemm", draw(6, 4), alpha=float("nan"))
    vector("matmul_sizes", "MatMul", draw(7, 4))
    vector("matmul_itself", "MatMul", "input")
    vector("layernorm_lengths", "LayerNormalization", draw(5), draw(6))


os.makedirs(FOLDER + "/hostile", exist_ok=True)
for make in (graphs, inputs, versions, operators, tensors, convolutions, shapes):
    make()
