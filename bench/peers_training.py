"""The peers' training, run in the peers' Python by bench/run: one function a program."""
import signal
import sys
from pathlib import Path

from peers_clock import Clock, answer

ROOT = Path(__file__).resolve().parent.parent
COMPILING_SECONDS = 300

# The lecture's two programs for PyTorch, as in nets/*.net; the last softmax is in the loss.
LECTURE = {
    "lecture-keras": [("conv", 32, 3, 0), ("conv", 64, 3, 0), ("maxpool", 2), ("dropout", 0.25),
                      ("flatten",), ("dense", 128), ("dropout", 0.5), ("logits", 10)],
    "lecture-tensorflow": [("conv", 32, 5, 2), ("maxpool", 2), ("conv", 64, 5, 2), ("maxpool", 2),
                           ("flatten",), ("dense", 1024), ("dropout", 0.25), ("logits", 10)],
}


# ---- PyTorch -------------------------------------------------------------------------------------

def lecture_model(net):
    import torch
    from torch import nn
    make = {"conv": lambda filters, size, padding: [nn.LazyConv2d(filters, size, padding=padding),
                                                    nn.ReLU(inplace=True)],
            "dense": lambda units: [nn.LazyLinear(units), nn.ReLU(inplace=True)],
            "logits": lambda units: [nn.LazyLinear(units)],
            "maxpool": lambda size: [nn.MaxPool2d(size)],
            "dropout": lambda rate: [nn.Dropout(rate)],
            "flatten": lambda: [nn.Flatten()]}
    model = nn.Sequential(*[module for kind, *values in LECTURE[net]
                            for module in make[kind](*values)])
    model(torch.zeros(1, 1, 28, 28))  # tells the lazy modules their input sizes
    return model


def torch_model(net):
    if net in LECTURE:
        return lecture_model(net)
    if net == "resnet20":
        sys.path.insert(0, str(ROOT / "tests" / "peers"))
        from cifar_resnet20 import ResNet
        return ResNet(20)
    import torchvision
    name = net.removesuffix("-torchvision")
    options = {"init_weights": False, "aux_logits": True} if name == "googlenet" else {}
    return torchvision.models.get_model(name, weights=None, **options)


def torch_optimizer(name, parameters):
    import torch
    if name == "adadelta":
        return torch.optim.Adadelta(parameters, lr=1.0, rho=0.95, eps=1e-7)
    if name == "adam":
        return torch.optim.Adam(parameters, lr=0.001, eps=1e-8, fused=True)
    return torch.optim.SGD(parameters, lr=0.01, momentum=0.9, fused=True)


def torch_loss(model):
    """Cross-entropy; GoogLeNet's two auxiliary outputs count 0.3 each, as in the paper."""
    import torch
    cross_entropy = torch.nn.CrossEntropyLoss()

    def loss(pictures, labels):
        outputs = model(pictures)
        if isinstance(outputs, torch.Tensor):
            return cross_entropy(outputs, labels)
        return cross_entropy(outputs.logits, labels) + 0.3 * (
            cross_entropy(outputs.aux_logits1, labels) + cross_entropy(outputs.aux_logits2, labels))
    return loss


def train_torch(job):
    """The usual loop, over one batch."""
    import torch
    torch.manual_seed(1)
    torch.set_num_threads(job["threads"])
    torch.set_num_interop_threads(job["threads"])
    torch.set_flush_denormal(True)  # TensorFlow does so by default
    order = torch.channels_last if job.get("channels_last") else torch.contiguous_format
    height, width, channels = job["input"]
    pictures = torch.randn(job["batch"], channels, height, width).contiguous(memory_format=order)
    labels = torch.arange(job["batch"]) % job["classes"]
    model = torch_model(job["net"]).to(memory_format=order).train()
    optimizer = torch_optimizer(job["optimizer"], model.parameters())
    loss, update = torch_loss(model), optimizer.step
    if job.get("compile"):
        loss, update = torch.compile(loss), torch.compile(update)
        signal.alarm(COMPILING_SECONDS)  # ends this process unless the first step is over by then
    clock, going = Clock(job["seconds"]), True
    while going:
        optimizer.zero_grad()
        loss(pictures, labels).backward()
        update()
        signal.alarm(0)
        going = clock.tick()
    return {**clock.figures(), "parameters": sum(p.numel() for p in model.parameters())}


# ---- Keras on TensorFlow -------------------------------------------------------------------------

def keras_optimizer(name):
    import keras
    if name == "adadelta":
        return keras.optimizers.Adadelta(learning_rate=1.0, rho=0.95, epsilon=1e-7)
    if name == "adam":
        return keras.optimizers.Adam(learning_rate=0.001, epsilon=1e-8)
    return keras.optimizers.SGD(learning_rate=0.01, momentum=0.9)


def train_keras(job):
    """model.fit of the net that fovea has exported, over one batch, without metrics."""
    import tensorflow
    tensorflow.config.threading.set_intra_op_parallelism_threads(job["threads"])
    tensorflow.config.threading.set_inter_op_parallelism_threads(job["threads"])
    import keras
    import numpy
    clock = Clock(job["seconds"])

    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = not clock.tick()

    model = keras.saving.load_model(job["model"], compile=False)
    model.trainable = True
    model.compile(optimizer=keras_optimizer(job["optimizer"]), jit_compile=job.get("xla", False),
                  steps_per_execution=job["steps_a_call"],
                  loss=keras.losses.SparseCategoricalCrossentropy())
    pictures = numpy.random.default_rng(1).uniform(0, 255, (job["batch"], *job["input"]))
    labels = numpy.arange(job["batch"]) % job["classes"]
    samples = tensorflow.data.Dataset.from_tensors((pictures.astype("float32"), labels)).repeat()
    model.fit(samples, steps_per_epoch=1000000, epochs=1, verbose=0, callbacks=[Stop()])
    return {**clock.figures(job["steps_a_call"]),
            "parameters": sum(int(numpy.prod(w.shape)) for w in model.trainable_weights)}


if __name__ == "__main__":
    answer({"torch": train_torch, "keras": train_keras})
