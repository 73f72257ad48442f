"""One picture from process start: start_openvino.py FOLDER THREADS prints the class."""
import sys

import numpy
import openvino

folder, threads = sys.argv[1], int(sys.argv[2])
model = openvino.Core().compile_model(f"{folder}/net.xml", "CPU", {
    "INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"})
print("class", model([numpy.load(f"{folder}/inputs.npy")])[0].argmax())
