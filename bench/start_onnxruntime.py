"""One picture from process start: start_onnxruntime.py FOLDER THREADS prints the class."""
import sys

import numpy
import onnxruntime

folder, threads = sys.argv[1], int(sys.argv[2])
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = threads
session = onnxruntime.InferenceSession(f"{folder}/net.onnx", options,
                                       providers=["CPUExecutionProvider"])
outputs = session.run(None, {session.get_inputs()[0].name: numpy.load(f"{folder}/inputs.npy")})
print("class", outputs[0].argmax())
