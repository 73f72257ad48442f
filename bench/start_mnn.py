"""One picture from process start: start_mnn.py FOLDER THREADS prints the class."""
import sys

import MNN
import numpy

folder, threads = sys.argv[1], int(sys.argv[2])
net = MNN.Interpreter(f"{folder}/net.mnn")
session = net.createSession({"backend": "CPU", "numThread": threads, "precision": "high"})
inputs = numpy.load(f"{folder}/inputs.npy")
order, kind = MNN.Tensor_DimensionType_Caffe, MNN.Halide_Type_Float
net.getSessionInput(session).copyFrom(MNN.Tensor(inputs.shape, kind, inputs, order))
net.runSession(session)
outputs = MNN.Tensor((1, 1000), kind, numpy.empty((1, 1000), "float32"), order)
net.getSessionOutput(session).copyToHostTensor(outputs)
print("class", outputs.getNumpyData().argmax())
