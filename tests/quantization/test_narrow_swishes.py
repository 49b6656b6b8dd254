"""Narrow layers beside a hard swish, in each spelling: where they stay float, and that onnxruntime leaves them so."""

import numpy as np
import onnx
import onnxruntime
import pytest

from edge_se.graph.onnx_model import OnnxModel
from edge_se.quantization.placement import PLACEMENTS, place
from edge_se.quantization.ranges import collect
from edge_se.quantization.static import quantize
from edge_se.quantization.swishes import hard_swishes, narrow_layers
from edge_se.quantization.targets import TARGETS

NARROW = ("cpu", "cpu-avx2")


def hard(read, made):
    return [("HardSigmoid", [read], [f"{made}s"], {"alpha": 1 / 6, "beta": 0.5}), ("Mul", [read, f"{made}s"], [made])]


def whole(read, made):
    return [("HardSwish", [read], [made])]


def soft(read, made):
    return [("Sigmoid", [read], [f"{made}s"]), ("Mul", [f"{made}s", read], [made])]


def relu(read, made):
    return [("Relu", [read], [made])]


@pytest.fixture(scope="module")
def block(graph_of):
    """(activation, channels, scaled by an excitation) -> stem `a`, depthwise `d`, pointwise `c`, pool, linear layer."""
    def make(activation, channels, scaled=False):
        rng = np.random.default_rng(0)
        shapes = {"s": (channels, 3, 1, 1), "w": (channels, 1, 3, 3), "v": (channels, channels, 1, 1),
                  "f": (10, channels, 1, 1), "e": (channels, channels, 1, 1)}
        read = "dx" if scaled else "da"
        excitation = [("GlobalAveragePool", ["da"], ["ep"]), ("Conv", ["ep", "e"], ["ec"]), ("Sigmoid", ["ec"], ["eg"]),
                      ("Mul", ["da", "eg"], ["dx"])]
        nodes = [("Conv", ["x", "s"], ["a"]), *activation("a", "aa"),
                 ("Conv", ["aa", "w"], ["d"], {"group": channels, "pads": [1] * 4}), *activation("d", "da"),
                 *(excitation if scaled else []), ("Conv", [read, "v"], ["c"]), ("GlobalAveragePool", ["c"], ["p"]),
                 ("Conv", ["p", "f"], ["q"]), ("Flatten", ["q"], ["y"])]
        used = {name for item in nodes for name in item[1]}
        return OnnxModel.of(graph_of(
            nodes, {name: (rng.standard_normal(shape) / np.prod(shape[1:]) ** 0.5).astype(np.float32)
                    for name, shape in shapes.items() if name in used}, shape=("batch", 10)))
    return make


@pytest.mark.parametrize("activation", [hard, whole])
def test_each_spelling_is_a_hard_swish(block, activation):
    found = hard_swishes(block(activation, 32, scaled=True).proto)
    assert {name: read for name, (read, _) in found.items()} == {"aa": "a", "da": "d"}  # an excitation is none
    assert hard_swishes(block(soft, 32).proto) == hard_swishes(block(relu, 32, scaled=True).proto) == {}


@pytest.mark.parametrize(("activation", "channels", "scaled", "floats"), [
    (hard, 32, False, {"a", "d", "c"}), (whole, 32, True, {"a", "d", "c"}), (hard, 32, True, {"a", "d", "c"}),
    (hard, 128, False, {"a"}), (whole, 128, True, {"a"}),  # the stem reads three channels: it is narrow
    (hard, 64, False, {"a"}), (soft, 32, False, set()), (soft, 32, True, set()), (relu, 32, False, set())])
def test_what_stays_float(block, activation, channels, scaled, floats):
    model = block(activation, channels, scaled).proto
    nodes, convolutions = narrow_layers(model)
    own = {name for read, names in hard_swishes(model).values() if read in floats for name in names}
    assert set(convolutions) == floats and set(nodes) == floats | own


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("target", TARGETS)
def test_on_which_targets(block, target, placement):
    plan = place(block(hard, 32).proto, TARGETS[target], placement)
    assert ({"d", "da", "das", "c"} <= set(plan.float_nodes)) == (target in NARROW)


@pytest.mark.parametrize("target", NARROW)
@pytest.mark.parametrize(("activation", "channels", "int8"), [(hard, 32, 1), (hard, 128, 3), (soft, 32, 4),
                                                              (relu, 32, 4)])
def test_onnxruntime_leaves_them_float(block, random_images, tmp_path, target, activation, channels, int8):
    model, rules, images = block(activation, channels), TARGETS[target], random_images(8, size=8)
    ranges = collect(model, images).ranges("minmax", rules.activations)
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.optimized_model_filepath = 3, str(tmp_path / "ran.onnx")
    quantized = quantize(model, ranges, rules, place(model.proto, rules, "se-float"))
    onnxruntime.InferenceSession(quantized.content, options, providers=["CPUExecutionProvider"])
    ran = [node.op_type for node in onnx.load(tmp_path / "ran.onnx").graph.node]
    assert ran.count("QLinearConv") == int8
    assert sum(name in ("Conv", "FusedConv") for name in ran) == 4 - int8
