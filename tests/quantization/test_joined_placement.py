"""What a Concat makes is uint8 with a zero point in files for OpenVINO, which then computes what they say."""

import numpy as np
import onnxruntime
import pytest

from edge_se.graph.joined import is_joined
from edge_se.graph.labels import mislabelled
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.view import GraphView
from edge_se.quantization.placement import place
from edge_se.quantization.ranges import collect
from edge_se.quantization.sensitivity import sqnr_db
from edge_se.quantization.static import quantize
from edge_se.quantization.targets import TARGETS

BRANCHES = [("Conv", ["x", "v"], ["a"]), ("Conv", ["x", "w"], ["b"])]
JOIN = ("Concat", ["a", "b"], ["k"], {"axis": 1})
TAIL = [("Conv", ["m", "u"], ["c"]), ("GlobalAveragePool", ["c"], ["p"]), ("Flatten", ["p"], ["y"])]
BETWEEN = {
    "nothing": [("Identity", ["k"], ["m"])],
    "a product": [("Mul", ["k", "half"], ["m"])],
    "a batch norm": [("BatchNormalization", ["k", "u1", "u2", "u3", "u4"], ["m"])],
    "a padding": [("Pad", ["k", "pads"], ["m"])],
    "two joins": [("Concat", ["a", "k"], ["l"], {"axis": 1}), ("Slice", ["l", "from", "to", "axis"], ["m"])],
    "a size": [("Resize", ["k", "", "sizes"], ["e"], {"mode": "nearest"}),
               ("MaxPool", ["e"], ["m"], {"kernel_shape": [2, 2], "strides": [2, 2]})],
    "a sigmoid": [("Sigmoid", ["k"], ["s"]), ("Mul", ["k", "s"], ["m"])],
    "a sum": [("Add", ["a", "b"], ["n"]), ("Concat", ["n", "n"], ["l"], {"axis": 1}), ("LeakyRelu", ["l"], ["m"])],
}
JOINED = ("nothing", "a product", "a batch norm", "a padding", "two joins", "a size")


@pytest.fixture(scope="module")
def made(graph_of, random_images):
    """What lies between the Concat and the convolution -> (float model, file for OpenVINO, images)."""
    rng = np.random.default_rng(0)

    def make(between):
        constants = {name: rng.standard_normal(shape).astype(np.float32) / 3
                     for name, shape in {"v": (8, 3, 1, 1), "w": (8, 3, 1, 1), "u": (10, 16, 1, 1)}.items()}
        constants |= {"half": np.float32(0.5), "pads": np.zeros(8, np.int64), "from": np.array([8]),
                      "to": np.array([24]), "axis": np.array([1]), "sizes": np.array([1, 1, 2, 2], np.float32)}
        constants |= {f"u{at}": rng.uniform(0.5, 1.5, 16).astype(np.float32) for at in range(1, 5)}
        model = OnnxModel.of(graph_of([*BRANCHES, JOIN, *BETWEEN[between], *TAIL], constants, shape=("batch", 10)))
        images, rules = random_images(16, size=8), TARGETS["openvino"]
        ranges = collect(model, images).ranges("minmax", rules.activations)
        return model, quantize(model, ranges, rules, place(model.proto, rules, "all")), next(images.batches(16))
    return make


@pytest.mark.parametrize("between", BETWEEN)
def test_openvino_computes_what_the_file_says(made, between):
    openvino = pytest.importorskip("openvino")
    _, quantized, images = made(between)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    said = onnxruntime.InferenceSession(quantized.content, options, providers=["CPUExecutionProvider"]).run(
        None, {"x": images})[0]
    core = openvino.Core()
    computed = core.compile_model(core.read_model(quantized.content), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(
        images)[0]
    assert sqnr_db(said, computed) > 30  # it may round a number otherwise


@pytest.mark.parametrize("between", BETWEEN)
def test_only_joined_tensors_have_a_zero_point(made, between):
    model, quantized, _ = made(between)
    assert is_joined("m", GraphView(model.proto)) == (between in JOINED)
    view = GraphView(quantized.proto)
    points = {node.input[0]: view.constant(node.input[2]) for node in view.graph.node
              if node.op_type == "QuantizeLinear"}
    joined = next(point for name, point in points.items() if is_joined(name, view) or name == "m")
    assert (joined.dtype == np.uint8) == (between in JOINED)
    assert bool(joined.any()) == (between in JOINED)
    assert mislabelled(quantized.proto, "int8", "openvino") is None
    assert mislabelled(quantized.proto, "int8", "tensorrt") == (
        "its activations are int8 and uint8" if between in JOINED else None)
