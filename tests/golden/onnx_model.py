"""The frame of make_onnx.py: a graph that grows, and a case, which is a model file, its input and
what ONNX Runtime computes of it."""
import json
import os
import struct
import zlib

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "onnx")
tensors, metadata = {}, {}
metadata["versions"] = "onnx %s, onnxruntime %s, numpy %s" % (
    onnx.__version__, onnxruntime.__version__, np.__version__)

# ---- Numbers -------------------------------------------------------------------------------------

random = np.random.RandomState(7)  # each case seeds it by its name
INPUTS = {"even": random.uniform(-1, 1, 1024), "wide": random.uniform(-4, 4, 128),
          "bytes": random.randint(0, 256, 128)}
tensors.update((name, values.astype(np.float32)) for name, values in INPUTS.items())


def draw(*shape):
    return random.uniform(-1, 1, shape).astype(np.float32)


def positive(*shape):
    return random.uniform(0.5, 1.5, shape).astype(np.float32)


def ints(*values):
    return np.array(values, np.int64)


def last(x):
    """An array of ONNX in the library's order of axes: the channels last."""
    return x[:, None] if x.ndim == 1 else np.moveaxis(x, 1, -1) if x.ndim > 2 else x


# ---- Graphs --------------------------------------------------------------------------------------


class Model:
    """A graph that grows: calling it adds a node and gives its output's name. Arrays among the
    inputs become initialisers (constant: small ones Constant nodes, as PyTorch writes them)."""

    def __init__(self, opset, constant=False):
        self.opset, self.constant = opset, constant
        self.nodes, self.tensors = [], []

    def weight(self, array, name=None):
        tensor = array
        if not isinstance(array, TensorProto):
            tensor = numpy_helper.from_array(np.ascontiguousarray(array).reshape(np.shape(array)))
        tensor.name = name or "onnx::%d" % (len(self.tensors) + len(self.nodes))
        self.tensors.append(tensor)
        return tensor.name

    def value(self, x):
        if x is None or isinstance(x, str):
            return x or ""
        if self.constant and np.size(x) < 16:
            return self("Constant", value=numpy_helper.from_array(np.asarray(x)))
        return self.weight(x)

    def __call__(self, op, *inputs, outputs=1, domain="", made=None, **attributes):
        names = [self.value(x) for x in inputs]
        name = "/%s_%d" % (op, len(self.nodes))
        made = made or ["%s.out%s" % (name, i or "") for i in range(outputs)]
        node = helper.make_node(op, names, made, name=name, domain=domain)
        # Sorted, so that the same case gives the same file.
        node.attribute.extend(helper.make_attribute(k, v) for k, v in sorted(attributes.items()))
        self.nodes.append(node)
        return made[0] if len(made) == 1 else made

    def rename(self, old, new):
        for node in self.nodes:
            for names in (node.input, node.output):
                for i, name in enumerate(names):
                    names[i] = new if name == old else name

    def proto(self, inputs, outputs, ir):
        """The file's message; until IR 4 initialisers are inputs, too."""
        if ir < 4:
            inputs = inputs + [helper.make_tensor_value_info(t.name, t.data_type, t.dims)
                               for t in self.tensors]
        graph = helper.make_graph(self.nodes, "main_graph", inputs, outputs, self.tensors)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)],
                                 ir_version=ir, producer_name="golden")


def port(name, shape):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


# ---- Cases ---------------------------------------------------------------------------------------


def run(path, outputs, x):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run(outputs, {"input": x})


def declare(path, results, outputs, batch, sizes):
    """Writes the shapes of the outputs, to which ONNX's checker then holds what it infers."""
    model = onnx.load(path, load_external_data=False)
    for i, y in enumerate(outputs):
        shape = [batch] + list(y.shape[1:])
        if sizes and y.ndim > 2:
            shape[2:] = ["%s_of_%d" % (size, i) for size in sizes]
        model.graph.output[i].CopyFrom(port(results[i], shape))
    onnx.save(model, path)
    onnx.checker.check_model(path, full_check=True)


def save(model, path, external):
    if external:
        data = os.path.basename(path)[:-5] + ".bin"
        if os.path.exists(os.path.join(FOLDER, data)):
            os.remove(os.path.join(FOLDER, data))
        onnx.external_data_helper.convert_model_to_external_data(model, location=data,
                                                                 size_threshold=0)
    onnx.save(model, path)


def case(name, shape, build, opset=17, ir=None, batch="N", sizes=None, constant=False,
         data="even", refused=None, external=False, classes=None):
    """build(model, input) gives the output, or a dictionary of outputs. sizes: names of spatial
    sizes that vary; data: which of INPUTS."""
    assert name + ".input" not in metadata, name
    random.seed(zlib.crc32(name.encode()) % 2**31)
    m = Model(opset, constant)
    results = build(m, "input")
    results = results if isinstance(results, dict) else {"output": results}
    for new, old in results.items():
        m.rename(old, new)
    open_shape = [batch] + list(sizes and [shape[1]] + sizes or shape[1:])
    model = m.proto([port("input", open_shape)], [port(to, None) for to in results],
                    ir or {7: 3, 8: 3, 9: 4, 10: 5, 11: 6}.get(opset, 8 if opset < 20 else 10))
    if classes:
        helper.set_model_props(model, {"fovea.classes": json.dumps(classes)})
    path = "%s/%s.onnx" % (FOLDER, name)
    save(model, path, external)

    ours = shape[:1] + shape[2:] + (shape[1:2] or (1,))
    x = tensors[data][:np.prod(shape)].reshape(ours)
    first = np.moveaxis(x, -1, 1).reshape(shape).copy()
    outputs = run(path, list(results), first)
    declare(path, list(results), outputs, batch, sizes)
    metadata[name + ".input"] = " ".join([data] + [str(size) for size in ours])
    if refused is not None:
        metadata[name + ".refused"] = refused
    for output, y in zip(results, outputs):
        assert np.isfinite(y).all() and np.abs(y).max() > 1e-3, name
        tensors["%s.%s" % (name, output)] = last(y)


def write(path):
    """safetensors: header size, JSON, values."""
    header, offset = {"__metadata__": metadata}, 0
    for name in sorted(tensors):
        value = tensors[name] = np.ascontiguousarray(tensors[name], np.float32)
        header[name] = {"dtype": "F32", "shape": value.shape,
                        "data_offsets": [offset, offset + value.nbytes]}
        offset += value.nbytes
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name in sorted(tensors):
            file.write(tensors[name].tobytes())
