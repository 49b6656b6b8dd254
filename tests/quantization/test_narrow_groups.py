"""Grouped convolutions: which stay float on which target, and that onnxruntime leaves them so."""

import numpy as np
import onnx
import onnxruntime
import pytest

from edge_se.graph.onnx_model import OnnxModel
from edge_se.quantization.placement import PLACEMENTS, narrow_groups, place
from edge_se.quantization.ranges import collect
from edge_se.quantization.static import quantize
from edge_se.quantization.targets import TARGETS

CHANNELS = 64
NARROW = ("cpu", "cpu-avx2")


@pytest.fixture(scope="module")
def block(graph_of):
    """(groups, outputs) -> pointwise, grouped 3 x 3 `g`, pointwise and a pool, on 8 x 8 images."""
    rng = np.random.default_rng(0)

    def make(groups, outputs=CHANNELS):
        shapes = {"s": (CHANNELS, 3, 1, 1), "w": (outputs, CHANNELS // groups, 3, 3), "v": (CHANNELS, outputs, 1, 1),
                  "f": (10, CHANNELS, 1, 1)}
        nodes = [("Conv", ["x", "s"], ["a"]), ("Relu", ["a"], ["b"]),
                 ("Conv", ["b", "w"], ["g"], {"group": groups, "pads": [1] * 4}), ("Relu", ["g"], ["h"]),
                 ("Conv", ["h", "v"], ["c"]), ("Relu", ["c"], ["d"]), ("GlobalAveragePool", ["d"], ["p"]),
                 ("Conv", ["p", "f"], ["q"]), ("Flatten", ["q"], ["y"])]
        model = graph_of(nodes, {name: (rng.standard_normal(shape) / np.prod(shape[1:]) ** 0.5).astype(np.float32)
                                 for name, shape in shapes.items()}, shape=("batch", 10))
        return OnnxModel.of(model)
    return make


@pytest.fixture(scope="module")
def quantized(block, random_images):
    """(target, groups, outputs, placement) -> (float model, INT8 model, calibration images)."""

    def make(target, groups, outputs=CHANNELS, placement="se-float"):
        model, rules = block(groups, outputs), TARGETS[target]
        images = random_images(16, size=8)
        ranges = collect(model, images).ranges("minmax", rules.activations)
        return model, quantize(model, ranges, rules, place(model.proto, rules, placement)), images
    return make


@pytest.mark.parametrize(("groups", "outputs", "narrow"), [
    (1, 64, False), (2, 64, False), (8, 64, False), (16, 64, True), (32, 64, True), (64, 64, False), (64, 128, True)])
@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("target", TARGETS)
def test_narrow_groups_stay_float_on_x86(block, target, placement, groups, outputs, narrow):
    """All of them in onnxruntime, in OpenVINO depthwise ones with more outputs alone."""
    plan = place(block(groups, outputs).proto, TARGETS[target], placement)
    stays = narrow and (target in NARROW or (target == "openvino" and outputs > groups == CHANNELS))
    assert plan.narrow_groups == (("g",) if stays else ())
    alone = groups == CHANNELS and not TARGETS[target].depthwise
    assert ("g" in plan.float_nodes) == (stays or alone)


def test_how_narrow_is_the_targets_word(block):
    assert narrow_groups(block(16).proto, 3) == []
    assert narrow_groups(block(8).proto, 8) == ["g"]
    assert narrow_groups(block(32).proto, 0) == []


def test_openvinos_file_leaves_them_alone(quantized):
    """Nothing is quantized in front of them, and no scale is repeated for each channel: OpenVINO keeps floats."""
    _, model, _ = quantized("openvino", 64, 128)
    g = next(node for node in model.proto.graph.node if node.op_type == "Conv" and "g" in node.output)
    assert list(g.input[:2]) == ["b", "w"]
    assert sum(node.op_type == "QuantizeLinear" for node in model.proto.graph.node) == 3  # of 4 convolutions


def optimized(model, path):
    """Operators of the graph that onnxruntime runs."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.optimized_model_filepath = 3, str(path)
    onnxruntime.InferenceSession(model.content, options, providers=["CPUExecutionProvider"])
    return [node.op_type for node in onnx.load(path).graph.node]


@pytest.mark.parametrize("target", NARROW)
@pytest.mark.parametrize(("groups", "outputs", "float_ones"), [(1, 64, 0), (2, 64, 0), (16, 64, 1), (32, 64, 1),
                                                               (64, 64, 0), (64, 128, 1)])
def test_onnxruntime_leaves_them_float(quantized, tmp_path, target, groups, outputs, float_ones):
    _, model, _ = quantized(target, groups, outputs)
    ran = optimized(model, tmp_path / "ran.onnx")
    assert sum(name in ("Conv", "FusedConv") for name in ran) == float_ones
    assert ran.count("QLinearConv") == 4 - float_ones


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("groups", "outputs"), [(1, 64), (2, 64), (32, 64), (64, 64), (64, 128)])
def test_the_numbers_are_nearly_those_of_fp32(quantized, run_onnx, target, groups, outputs):
    model, int8, images = quantized(target, groups, outputs)
    pixels = np.concatenate(list(images.batches(16)))
    wanted, got = run_onnx(model, pixels)[0], run_onnx(int8, pixels)[0]
    assert 10 * np.log10((wanted ** 2).sum() / ((wanted - got) ** 2).sum()) > 25


def test_a_tensor_that_others_read_too_keeps_its_one_scale_for_them(graph_of, random_images, tmp_path):
    rng = np.random.default_rng(0)
    weights = {"s": (16, 3, 1, 1), "w": (16, 2, 3, 3), "v": (16, 16, 3, 3)}
    nodes = [("Conv", ["x", "s"], ["a"]), ("Relu", ["a"], ["b"]),
             ("Conv", ["b", "w"], ["g"], {"group": 8, "pads": [1] * 4}),
             ("Conv", ["b", "v"], ["c"], {"pads": [1] * 4}), ("Add", ["g", "c"], ["y"])]
    model = OnnxModel.of(graph_of(nodes, {name: (rng.standard_normal(shape) / 4).astype(np.float32)
                                          for name, shape in weights.items()}, shape=("batch", 16, 8, 8)))
    target = TARGETS["cpu"]
    ranges = collect(model, random_images(16, size=8)).ranges("minmax", target.activations)
    ran = optimized(quantize(model, ranges, target, place(model.proto, target, "all")), tmp_path / "ran.onnx")
    assert (ran.count("QLinearConv"), ran.count("Conv") + ran.count("FusedConv")) == (2, 1)
