"""The operator tests of the onnx package, rewritten for nets of one input with a batch axis.

A test's first float input stays, its others become initializers of the test's values; two and more
arrays that an operator joins (of shapes that agree but for the channels) come in as one, which a
Split parts again. What is rewritten so must still give what the test expects, by ONNX Runtime or
onnx's reference evaluator. A test of a version that fovea does not read is written in the newest
that it does read, where the operator was the same then. Imported by onnx_operators.py.
"""
import collections
import pathlib
import warnings

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnx.backend.test import loader
from onnx.backend.test.case.node import collect_testcases
from onnx.reference import ReferenceEvaluator

JOINED = set("Add Sub Mul Div Max Min Sum Mean Pow Concat Where".split())
FLOATS = {TensorProto.FLOAT: 1e-4, TensorProto.DOUBLE: 1e-4, TensorProto.FLOAT16: 2e-3}
# Of outputs: fovea reckons in floats where a model asks for fewer bits.
FEWER_BITS = {TensorProto.FLOAT16: 2e-3, TensorProto.BFLOAT16: 1e-2}
NEWEST_SET, NEWEST_FORMAT = 28, 14  # operators, and ONNX's format (its ir_version)
FEW_DIGITS = 1e-3  # how far from exact the package's own runner lets expected outputs be
NO_BATCH = "no batch axis: a single number"
NOT_TESTED = "neither peer gives the expected outputs of the rewritten test"

Case = collections.namedtuple("Case", "label name model inputs outputs bound")


class Skip(Exception):
    """Why a test is none for a net of one input with a batch axis."""


def tests():
    """(name, model, inputs, outputs) of all kinds that the package brings as single models."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy's, of casts that overflow on purpose
        nodes = collect_testcases(None)
    for case in nodes:
        for inputs, outputs in case.data_sets:
            yield case.name, case.model, inputs, outputs
            if len(outputs) > 1 and len(case.model.graph.node) == 1:
                yield case.name + "_first", first_only(case.model), inputs, outputs[:1]
    yield from own_tests()
    for kind in ["simple", "pytorch-converted", "pytorch-operator"]:
        for case in sorted(loader.load_model_tests(kind=kind), key=lambda each: each.name):
            folder = pathlib.Path(case.model_dir)
            for data in sorted(folder.glob("test_data_set_*")):
                sides = [[data / f"{side}_{i}.pb" for i, _ in enumerate(data.glob(side + "*"))]
                         for side in ("input", "output")]
                yield case.name, onnx.load(folder / "model.onnx"), *sides


def first_only(model):
    """The operator as nets have it, without what it can tell besides (means, masks, indices)."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    del model.graph.node[0].output[1:], model.graph.output[1:]
    return model


def own_tests():
    """Of operators that the package tests in no way that a net has."""
    x = np.random.default_rng(3).normal(0, 1, (2, 6, 4, 5)).astype(np.float32)
    for name, operator, constant, axis in [
            ("pow_square", "Pow", np.float32(2), None), ("pow_itself", "Pow", np.float32(1), None),
            ("gather_channels", "Gather", np.int64([1, 2, 3]), 1),
            ("gather_column", "Gather", np.int64(2), 3), ("gather_last", "Gather", np.int64(-1), 2)]:
        options = {} if axis is None else {"axis": axis}
        node = helper.make_node(operator, ["x", "constant"], ["y"], **options)
        graph = helper.make_graph(
            [node], name, [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
            [numpy_helper.from_array(np.asarray(constant), "constant")])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        yield name, model, [x], ReferenceEvaluator(model).run(None, {"x": x})


def label_of(name, model, singles):
    """The operator that a test is about."""
    base = name.split("_expanded")[0]
    if base != name and base in singles:
        return singles[base] + " ..."
    operators = [node.op_type for node in model.graph.node]
    if len(operators) == 1:
        return singles.setdefault(name, operators[0])
    for operator in operators:  # the first that is no shape arithmetic
        if operator not in {"Constant", "Unsqueeze", "Cast", "Abs", "Neg", "Shape"}:
            return operator + " ..."
    return operators[0] + " ..." if operators else "nothing"


def as_array(value, info):
    if info.type.WhichOneof("value") != "tensor_type":
        raise Skip("a sequence or an optional")
    if isinstance(value, pathlib.Path):
        value = TensorProto.FromString(value.read_bytes())
    return numpy_helper.to_array(value) if isinstance(value, TensorProto) else np.asarray(value)


def join(graph, taken, arrays, version, kind):
    """One input for all of `taken`, parted along the channels by a Split."""
    sizes = [arrays[name].shape[1] for name in taken]
    joined = np.concatenate([arrays[name] for name in taken], 1)
    split = helper.make_node("Split", ["joined"], taken, axis=1)
    if version < 13:
        split.attribute.append(helper.make_attribute("split", sizes))
    else:
        split.input.append("joined_sizes")
        graph.initializer.append(numpy_helper.from_array(np.int64(sizes), "joined_sizes"))
    nodes = [split, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    graph.input.append(helper.make_tensor_value_info("joined", kind, joined.shape))
    return joined


def let_batch_vary(graph):
    """As exporters write it: the first axis has a name, and shapes beyond the input are inferred."""
    graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    for each in graph.output:
        if each.type.WhichOneof("value") == "tensor_type":
            each.type.tensor_type.ClearField("shape")
    del graph.value_info[:]


def rewrite(name, model, inputs, outputs, label, varying):
    model = onnx.ModelProto.FromString(model.SerializeToString())
    graph = model.graph
    constants = {each.name for each in graph.initializer}
    infos = [info for info in graph.input if info.name not in constants]
    if len(infos) != len(inputs):
        raise Skip("inputs are left out")
    arrays = {info.name: as_array(value, info) for info, value in zip(infos, inputs)}
    wanted = [as_array(value, info) for value, info in zip(outputs, graph.output)]
    kinds = {info.name: info.type.tensor_type.elem_type for info in infos}
    floats = [info.name for info in infos if kinds[info.name] in FLOATS]
    if not floats:
        raise Skip("no input of floats")
    data = floats[0]
    if arrays[data].ndim < 1:
        raise Skip(NO_BATCH)
    version = next((each.version for each in model.opset_import if not each.domain), 1)

    def frame(key):
        return kinds[key], arrays[key].shape[:1] + arrays[key].shape[2:]

    taken = [key for key in floats if arrays[key].ndim > 1]
    both = (label.split()[0] in JOINED and len(taken) > 1 and len({frame(key) for key in taken}) == 1)
    kept = [info for info in graph.input if info.name in constants]
    for info in infos:
        if not (info.name in taken if both else info.name == data):
            graph.initializer.append(numpy_helper.from_array(arrays[info.name], info.name))
            if model.ir_version < 4:
                kept.append(info)
    del graph.input[:]
    if both:
        values = join(graph, taken, arrays, version, kinds[data])
    else:
        graph.input.append(next(info for info in infos if info.name == data))
        values = arrays[data]
    graph.input.extend(kept)
    with np.errstate(over="ignore"):
        if not np.array_equal(np.isfinite(values), np.isfinite(np.float32(values))):
            raise Skip("doubles that no float holds")
    for i, node in enumerate(graph.node):
        node.name = f"step{i}"
    if varying:
        let_batch_vary(graph)
    ends = [FEWER_BITS.get(each.type.tensor_type.elem_type, 0) for each in graph.output]
    case = Case(label, name, model, values, wanted, max([FLOATS[kinds[data]], *ends]))
    if version > NEWEST_SET or model.ir_version > NEWEST_FORMAT:
        try:
            return with_peers(case._replace(model=written_down(model)))
        except Skip:
            pass
    return with_peers(case)


def written_down(model):
    older = onnx.ModelProto.FromString(model.SerializeToString())
    older.ir_version = min(older.ir_version, NEWEST_FORMAT)
    for each in older.opset_import:
        if not each.domain:
            each.version = min(each.version, NEWEST_SET)
    return older


def difference(got, wanted):
    """The largest, as a share of the largest value; infinity where shapes or special values differ."""
    if got.shape != wanted.shape:
        return np.inf
    got, wanted = got.astype(np.float64), wanted.astype(np.float64)
    finite = np.isfinite(wanted)
    if not np.array_equal(got[~finite], wanted[~finite], equal_nan=True):
        return np.inf
    got, wanted = got[finite], wanted[finite]
    if not wanted.size:
        return 0.0
    worst = np.abs(got - wanted).max() / max(np.abs(wanted).max(), 1e-30)
    return np.inf if np.isnan(worst) else worst


def run_peer(case, reference):
    feed = {case.model.graph.input[0].name: case.inputs}
    if reference:
        return ReferenceEvaluator(case.model).run(None, feed)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(case.model.SerializeToString(), options,
                                           providers=["CPUExecutionProvider"])
    return session.run(None, feed)


def with_peers(case):
    """The case if a peer still gives what is expected, with the peer's outputs where the test has
    written them with few digits."""
    for reference in (False, True):
        try:
            got = [np.asarray(each) for each in run_peer(case, reference)]
        except Exception:  # an operator that this peer does not have, or not of this type
            continue
        if len(got) != len(case.outputs) or not got:
            continue
        worst = max(difference(*pair) for pair in zip(got, case.outputs))
        if worst <= case.bound:
            return case
        if worst <= FEW_DIGITS:
            return case._replace(outputs=got)
    raise Skip(NOT_TESTED)
