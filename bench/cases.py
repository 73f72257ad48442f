"""What bench/run measures: the nets with their batches, and the peers' configurations.

A configuration is a name, the program that the name belongs to, the function of peers_training.py
or peers_inference.py that runs it, its options and its environment.
"""
from dataclasses import dataclass, field

ADADELTA = {"name": "adadelta", "slots": 2}
ADAM = {"name": "adam", "slots": 2}
MOMENTUM = {"name": "sgd", "slots": 1}


@dataclass(frozen=True)
class Case:
    kind: str  # train, inference or start
    net: str
    batch: int
    input: tuple = (224, 224, 3)
    classes: int = 1000
    optimizer: dict = None  # None: nothing is trained

    @property
    def name(self):
        return f"{self.kind}/{self.net}" + ("" if self.kind == "start" else f"/{self.batch}")

    @property
    def small(self):
        """Steps are so short that what a framework does between them shows."""
        return self.input[0] < 100


@dataclass(frozen=True)
class Peer:
    name: str
    program: str
    worker: str
    options: dict = field(default_factory=dict)
    environment: dict = field(default_factory=dict)


LECTURE = {"input": (28, 28, 1), "classes": 10}
CIFAR = {"input": (32, 32, 3), "classes": 10, "optimizer": MOMENTUM}
INFERENCE = ["alexnet-torchvision", "vgg16", "googlenet-torchvision", "resnet50", "mobilenet_v2",
             "squeezenet1.1"]

CASES = [
    Case("train", "lecture-keras", 128, **LECTURE, optimizer=ADADELTA),
    Case("train", "lecture-tensorflow", 128, **LECTURE, optimizer=ADAM),
    Case("train", "resnet20", 128, **CIFAR),
    Case("train", "alexnet-torchvision", 64, optimizer=MOMENTUM),
    Case("train", "googlenet-torchvision", 32, optimizer=MOMENTUM),
    Case("train", "resnet18", 32, optimizer=MOMENTUM),
    Case("train", "resnet50", 16, optimizer=MOMENTUM),
    Case("train", "vgg16", 8, optimizer=MOMENTUM),
    *[Case("inference", net, batch) for batch in (1, 16) for net in INFERENCE],
    Case("start", "resnet50", 1),
]

# Which is faster depends on the processor and the net, so all run: either order of the channels in
# PyTorch, compiled or not; TensorFlow's own kernels or oneDNN's. XLA is measured where it compiles
# in seconds.
TRAINING_PEERS = [
    Peer("PyTorch", "PyTorch", "torch"),
    Peer("PyTorch, channels_last", "PyTorch", "torch", {"channels_last": True}),
    Peer("PyTorch, compiled", "PyTorch", "torch", {"compile": True}),
    Peer("PyTorch, compiled, channels_last", "PyTorch", "torch",
         {"compile": True, "channels_last": True}),
    Peer("Keras on TensorFlow", "Keras", "keras", {}, {"TF_ENABLE_ONEDNN_OPTS": "0"}),
    Peer("Keras on TensorFlow, oneDNN", "Keras", "keras", {}, {"TF_ENABLE_ONEDNN_OPTS": "1"}),
]
XLA = Peer("Keras on TensorFlow, XLA", "Keras", "keras", {"xla": True})
ONNX_RUNTIME = Peer("ONNX Runtime", "ONNX Runtime", "onnxruntime")
INFERENCE_PEERS = [
    ONNX_RUNTIME,
    Peer("OpenVINO", "OpenVINO", "openvino"),
    Peer("MNN", "MNN", "mnn"),
    Peer("ncnn", "ncnn", "ncnn"),
]
START_PEERS = INFERENCE_PEERS[:3]


def peers_of(case):
    if case.kind == "train":
        return TRAINING_PEERS + ([XLA] if case.net.startswith("lecture-") else [])
    return INFERENCE_PEERS if case.kind == "inference" else START_PEERS
