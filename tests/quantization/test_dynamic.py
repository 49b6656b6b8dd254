"""Targets without calibration: what their graphs say, and what stays in float."""

from collections import Counter

import numpy as np
import pytest

from edge_se.backends.onnxruntime import OnnxRuntime
from edge_se.graph.counting import count
from edge_se.graph.labels import mislabelled
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.view import GraphView
from edge_se.quantization.as_written import EXACT_DB, fidelity
from edge_se.quantization.placement import PLACEMENTS, place
from edge_se.quantization.ranges import collect
from edge_se.quantization.static import quantize
from edge_se.quantization.targets import TARGETS

TARGET = TARGETS["litert-dynamic"]


@pytest.fixture
def dynamic(random_images):
    """(model, placement) -> its graph for `litert-dynamic`."""
    def make(model, placement="all"):
        size = model.input_shape[2]
        ranges = collect(model, random_images(4, size=size), targets=[TARGET]).ranges("mse", TARGET.activations)
        return quantize(model, ranges, TARGET, place(model.proto, TARGET, placement))
    return make


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_what_layers_read_gets_its_steps_as_the_graph_runs(tiny_onnx, dynamic, placement):
    made = dynamic(tiny_onnx, placement)
    view, kinds = GraphView(made.proto), Counter(node.op_type for node in made.proto.graph.node)
    layers = [node for node in made.proto.graph.node if node.op_type in ("Conv", "Gemm")]
    reads = [view.producer[node.input[0]].input for node in layers if node.input[1].endswith("DequantizeLinear_Output")]
    assert 0 < len(reads) <= len(layers) and (placement != "all" or len(reads) == len(layers))
    assert kinds["QuantizeLinear"] == 0 < kinds["DynamicQuantizeLinear"] == len({own[0] for own in reads})
    for tensor, scale, point in reads:
        assert view.producer[tensor].op_type == "DynamicQuantizeLinear"
        assert list(view.producer[tensor].output) == [tensor, scale, point]
    assert not [name for name in view.initializers if not view.consumers[name]], "nothing is left over"
    assert mislabelled(made.proto, "int8", "litert-dynamic") is None
    assert 0 < count(made.proto).int8_mac_share <= 1


def test_no_images_are_watched_and_no_ranges_are_kept(tiny_onnx, random_images):
    statistics = collect(tiny_onnx, random_images(4), targets=[TARGET])
    assert set(statistics.histograms) == {tiny_onnx.input_name, tiny_onnx.proto.graph.output[0].name}
    assert statistics.ranges("auto", TARGET.activations).bounds == {}
    assert collect(tiny_onnx, random_images(4)).histograms.keys() == collect(
        tiny_onnx, random_images(4), targets=[own for own in TARGETS.values() if own is not TARGET]).histograms.keys()


@pytest.mark.parametrize(("groups", "outputs", "float_weights"), [(1, 4, 0), (2, 4, 0), (4, 4, 1), (4, 8, 1)])
def test_depthwise_convolutions_stay_in_float(graph_of, dynamic, groups, outputs, float_weights):
    random = np.random.default_rng(0)
    model = OnnxModel.of(graph_of(
        [("Conv", ["x", "a"], ["1"]), ("Conv", ["1", "b"], ["2"], {"group": groups}), ("Flatten", ["2"], ["y"])],
        {"a": random.normal(size=(4, 3, 1, 1)).astype(np.float32),
         "b": random.normal(size=(outputs, 4 // groups, 3, 3)).astype(np.float32)}))
    made = dynamic(model)
    assert sum(node.op_type == "Conv" and node.input[1] == "b" for node in made.proto.graph.node) == float_weights


@pytest.mark.parametrize(("graph", "target", "words"), [
    ("litert-dynamic", "litert", "its ranges are not in the file"), ("litert-dynamic", "cpu", "its ranges are not"),
    ("litert", "litert-dynamic", "its ranges are in the file"), ("litert-dynamic", "any", "it is quantized")])
def test_a_renamed_file_is_told(tiny_onnx, random_images, graph, target, words):
    own = TARGETS[graph]
    ranges = collect(tiny_onnx, random_images(4), targets=[own]).ranges("minmax", own.activations)
    proto = quantize(tiny_onnx, ranges, own, place(tiny_onnx.proto, own, "all")).proto
    assert mislabelled(proto, "fp32" if target == "any" else "int8", target).startswith(words)


def test_a_runtime_is_compared_image_by_image(tiny_onnx, random_images, dynamic):
    """With all images in one range onnxruntime would seem to compute something else than LiteRT, which has one each."""
    told = fidelity(tiny_onnx, dynamic(tiny_onnx), random_images(4), OnnxRuntime())
    assert told.node is None and abs(told.run_db - told.written_db) < 0.5 and told.run_db < EXACT_DB
