"""The peers' inference, run in the peers' Python by bench/run: the models, and a function a program.

All read the ONNX file that fovea exports, or what their own converter makes of it.
"""
import subprocess
import sys
from pathlib import Path

import numpy

from peers_clock import Clock, answer

ROOT = Path(__file__).resolve().parent.parent


# ---- Models --------------------------------------------------------------------------------------

def make_model(job):
    """torchvision's net with random weights whose activations neither vanish nor grow, and pictures:
    for fovea (pictures.npy, bytes as floats), for the peers (inputs.npy, the same channels first),
    and one as picture.png, with a margin that fovea cuts off."""
    sys.path.insert(0, str(ROOT / "tests" / "peers"))
    import torchvision_nets as nets
    from PIL import Image
    from safetensors.torch import save_file
    folder = Path(job["folder"])
    name, _, (mean, deviation) = nets.NETS[job["net"]]
    pictures = numpy.floor(nets.random_pictures(max(job["batch"], 4)))
    model = nets.random_model(name, nets.as_inputs(pictures[:4], mean, deviation))
    save_file({key: value.contiguous() for key, value in model.state_dict().items()},
              folder / "weights.safetensors")
    pictures = pictures[:job["batch"]]
    numpy.save(folder / "pictures.npy", pictures)
    numpy.save(folder / "inputs.npy", numpy.ascontiguousarray(pictures.transpose(0, 3, 1, 2)))
    framed = numpy.pad(pictures[0], ((16, 16), (16, 16), (0, 0)), mode="edge")
    Image.fromarray(framed.astype("uint8")).save(folder / "picture.png")
    return {}


def convert_openvino(job):
    import openvino
    model = openvino.Core().read_model(f"{job['folder']}/net.onnx")
    model.reshape([job["batch"], 3, 224, 224])
    openvino.save_model(model, f"{job['folder']}/net.xml", compress_to_fp16=False)
    return {}


def convert_mnn(job):
    """By the converter's module: the command mnnconvert installs packages and reports its use."""
    import MNN  # noqa: F401: the converter needs it loaded
    import _tools
    _tools.mnnconvert(["mnnconvert", "-f", "ONNX", "--modelFile", f"{job['folder']}/net.onnx",
                       "--MNNModel", f"{job['folder']}/net.mnn", "--bizCode", "fovea"])
    return {}


def convert_ncnn(job):
    import pnnx
    subprocess.run([pnnx.EXEC_PATH, "net.onnx", f"inputshape=[{job['batch']},3,224,224]", "fp16=0"],
                   cwd=job["folder"], check=True, stdout=sys.stderr)
    return {}


# ---- Inference -----------------------------------------------------------------------------------

def measure(job, run):
    """Times `run`, which takes pictures and answers outputs, and writes the first outputs."""
    inputs = numpy.load(f"{job['folder']}/inputs.npy")
    numpy.save(f"{job['folder']}/{job['outputs']}.npy", run(inputs))
    clock, going = Clock(job["seconds"]), True
    while going:
        run(inputs)
        going = clock.tick()
    return clock.figures()


def infer_onnxruntime(job):
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = job["threads"]
    options.add_free_dimension_override_by_name("N", job["batch"])
    session = onnxruntime.InferenceSession(f"{job['folder']}/net.onnx", options,
                                           providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return measure(job, lambda inputs: session.run(None, {name: inputs})[0])


def infer_openvino(job):
    import openvino
    model = openvino.Core().compile_model(f"{job['folder']}/net.xml", "CPU", {
        "INFERENCE_NUM_THREADS": job["threads"], "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY"})
    request = model.create_infer_request()
    return measure(job, lambda inputs: request.infer([inputs])[0])


def infer_mnn(job):
    import MNN
    net = MNN.Interpreter(f"{job['folder']}/net.mnn")
    session = net.createSession({"backend": "CPU", "numThread": job["threads"],
                                 "precision": "high"})
    target = net.getSessionInput(session)
    net.resizeTensor(target, (job["batch"], 3, 224, 224))
    net.resizeSession(session)
    source = net.getSessionOutput(session)
    order, kind = MNN.Tensor_DimensionType_Caffe, MNN.Halide_Type_Float

    def run(inputs):
        target.copyFrom(MNN.Tensor(inputs.shape, kind, inputs, order))
        net.runSession(session)
        outputs = MNN.Tensor(source.getShape(), kind, numpy.empty(source.getShape(), "float32"), order)
        source.copyToHostTensor(outputs)
        return outputs.getNumpyData().copy()  # its memory is the tensor's
    return measure(job, run)


def infer_ncnn(job):
    import ncnn
    net = ncnn.Net()
    net.opt.num_threads = job["threads"]
    for name in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage"):
        setattr(net.opt, f"use_{name}", False)
    net.load_param(f"{job['folder']}/net.ncnn.param")
    net.load_model(f"{job['folder']}/net.ncnn.bin")

    def run(inputs):
        extractor = net.create_extractor()
        extractor.input("in0", ncnn.Mat(inputs, batch_index=0).clone())
        status, outputs = extractor.extract("out0")
        if status:
            raise RuntimeError(f"ncnn's extract gives {status}")
        return outputs.numpy(batch_index=0)
    return measure(job, run)


# ---- Are they the same? --------------------------------------------------------------------------

def compare(job):
    """For each name the largest difference to the reference, of the logarithms of the probabilities
    without their mean, which is the last layer's output before its softmax, over the largest."""
    def read(name):
        outputs = numpy.load(f"{job['folder']}/{name}.npy").reshape(job["batch"], -1)
        logarithms = numpy.log(numpy.clip(outputs.astype("float64"), 1e-30, None))
        return logarithms - logarithms.mean(1, keepdims=True)
    wanted = read(job["reference"])
    return {name: float(abs(read(name) - wanted).max() / abs(wanted).max()) for name in job["names"]}


if __name__ == "__main__":
    answer({"make_model": make_model, "compare": compare,
            "convert_openvino": convert_openvino, "convert_mnn": convert_mnn,
            "convert_ncnn": convert_ncnn,
            "onnxruntime": infer_onnxruntime, "openvino": infer_openvino, "mnn": infer_mnn,
            "ncnn": infer_ncnn})
