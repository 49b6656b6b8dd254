"""Depthwise convolutions with a swish, which TensorRT 8.5 has no INT8 kernel for, and their neighbours that it has."""

import numpy as np
import pytest

from edge_se.core.progress import SilentProgress
from edge_se.graph.onnx_model import OnnxModel
from edge_se.quantization.chains import depthwise_swishes, without_kernel
from edge_se.quantization.placement import place
from edge_se.quantization.ranges import collect
from edge_se.quantization.static import quantize
from edge_se.quantization.targets import TARGETS
from edge_se.steps.export import export

ACTIVATIONS = {
    "swish": [("Sigmoid", ["d"], ["g"]), ("Mul", ["d", "g"], ["a"])],
    "swish, the other way round": [("Sigmoid", ["d"], ["g"]), ("Mul", ["g", "d"], ["a"])],
    "hard swish": [("HardSigmoid", ["d"], ["g"], {"alpha": 1 / 6, "beta": 0.5}), ("Mul", ["d", "g"], ["a"])],
    "HardSwish": [("HardSwish", ["d"], ["a"])],
    "ReLU": [("Relu", ["d"], ["a"])],
    "another's sigmoid": [("Sigmoid", ["c"], ["g"]), ("Mul", ["d", "g"], ["a"])],
}
SWISHES = ("swish", "swish, the other way round", "hard swish", "HardSwish")


@pytest.fixture
def net(graph_of):
    """(activation, group) -> conv 1x1, conv 3x3 of that many groups, the activation, conv 1x1, mean."""

    def make(activation, group=8):
        random = np.random.default_rng(0)
        weights = {name: random.standard_normal(shape).astype(np.float32) / 4 for name, shape in (
            ("w1", (8, 3, 1, 1)), ("w2", (8, 8 // group, 3, 3)), ("w3", (10, 8, 1, 1)))}
        nodes = [("Conv", ["x", "w1"], ["c"]), ("Conv", ["c", "w2"], ["d"], {"group": group, "pads": [1, 1, 1, 1]}),
                 *ACTIVATIONS[activation], ("Conv", ["a", "w3"], ["e"]), ("GlobalAveragePool", ["e"], ["p"]),
                 ("Flatten", ["p"], ["y"])]
        return OnnxModel.of(graph_of(nodes, weights, x=("batch", 3, 32, 32)))
    return make


def quantized(model, images, target="tensorrt"):
    rules = TARGETS[target]
    return quantize(model, collect(model, images).ranges("minmax", rules.activations), rules,
                    place(model.proto, rules, "conv-only")).proto


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_which_chains_are_found(net, random_images, activation):
    model = net(activation)
    assert depthwise_swishes(quantized(model, random_images(8))) == (["d"] if activation in SWISHES else [])
    assert depthwise_swishes(model.proto) == []  # no INT8


def test_a_convolution_that_is_not_depthwise_has_a_kernel(net, random_images):
    for group in (1, 2):
        assert depthwise_swishes(quantized(net("swish", group), random_images(8))) == []


class Notes(SilentProgress):
    def __init__(self):
        self.said = []

    def note(self, message):
        self.said.append(message)


@pytest.mark.parametrize(("activation", "targets", "told"), [
    ("swish", ["tensorrt"], True), ("swish", ["tensorrt-fp16"], False), ("swish", ["cpu", "openvino"], False),
    ("ReLU", ["tensorrt"], False)])
def test_export_tells_of_them(net, calibration_npz, tmp_path, monkeypatch, activation, targets, told):
    monkeypatch.delenv("EDGE_SE_DATA", raising=False)
    (tmp_path / "net.onnx").write_bytes(net(activation).content)
    notes = Notes()
    export(str(tmp_path / "net.onnx"), int8=True, targets=targets, calibration=str(calibration_npz), effort="quick",
           placement="conv-only", accuracy=False, out=tmp_path / "build", progress=notes)
    found = [text for text in notes.said if "TensorRT 8.5 (JetPack 5) has no INT8 kernel" in text]
    assert len(found) == told and all(text.startswith("int8.tensorrt.onnx: ") and "kernel for a depthwise convolution "
                                      "with a swish between Q/DQ (first d), and" in text for text in found)


def test_of_many_convolutions_the_number_is_told_and_the_first():
    assert "for 3 depthwise convolutions with a swish between Q/DQ (first a), and" in without_kernel(["a", "b", "c"])
