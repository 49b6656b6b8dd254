"""A Clip stops in INT8 what it stops in FP32, wherever its bounds are."""

import numpy as np
import pytest

from edge_se.device.agent import OnnxRuntimeRunner
from edge_se.graph.onnx_model import OnnxModel
from edge_se.quantization.placement import place
from edge_se.quantization.ranges import collect
from edge_se.quantization.sensitivity import sqnr_db
from edge_se.quantization.static import quantize
from edge_se.quantization.targets import TARGETS

RANDOM = np.random.default_rng(0)
WEIGHTS = {name: RANDOM.standard_normal(shape, np.float32) for name, shape in {
    "w": (4, 3, 1, 1), "v": (5, 4, 1, 1), "b": (4,), "d": (5,)}.items()}
# (bounds, whether the Clip stays in a file whose layers' outputs are quantized, too)
BOUNDS = {"above zero": ((0.5, 2), True), "above zero, no end": ((0.5, None), True), "below zero": ((-2, -0.3), True),
          "below zero, no end": ((None, -0.3), True), "ReLU6": ((0, 6), False), "around zero": ((-1, 0.5), False)}


@pytest.fixture
def quantized(graph_of, random_images):
    """(bounds, target) -> (FP32 model, INT8 model, its inputs)."""
    def make(bounds, target, shift=0.0):
        constants = WEIGHTS | {"b": WEIGHTS["b"] + np.float32(shift)}
        ends = ["low" if bounds[0] is not None else "", *(["high"] if bounds[1] is not None else [])]
        constants |= {name: np.float32(end) for name, end in zip(("low", "high"), bounds) if end is not None}
        model = OnnxModel.of(graph_of([("Conv", ["x", "w", "b"], ["c"]), ("Clip", ["c", *ends], ["r"]),
                                       ("Conv", ["r", "v", "d"], ["y"])], constants))
        images, rules = random_images(4, size=8), TARGETS[target]
        ranges = collect(model, images).ranges("minmax", rules.activations)
        return model, quantize(model, ranges, rules, place(model.proto, rules, "all")), next(images.batches(4))
    return make


@pytest.mark.parametrize(("bounds", "stays"), BOUNDS.values(), ids=BOUNDS)
@pytest.mark.parametrize("target", [name for name, target in TARGETS.items() if target.calibrated])
def test_bounds_hold(quantized, run_onnx, target, bounds, stays):
    model, int8, images = quantized(bounds, target)
    got = OnnxRuntimeRunner(int8.content, 1, as_written=True).run(images)
    assert sqnr_db(run_onnx(model, images)[0], got) > 25
    kept = any(node.op_type == "Clip" for node in int8.proto.graph.node)
    assert kept == (stays or not TARGETS[target].quantized_outputs)


@pytest.mark.parametrize(("high", "stays"), [(0.1, True), (1, False), (6, False)])
@pytest.mark.parametrize("target", ["cpu", "arm", "litert"])
def test_a_silent_clip_stays_where_its_range_is_wider(quantized, run_onnx, target, high, stays):
    """Zero on every calibration image: its tensor gets a range from 0 to 1."""
    model, int8, images = quantized((0, high), target, shift=-99)
    assert not (run_onnx(model, images)[0] - WEIGHTS["d"].reshape(5, 1, 1)).any()
    assert any(node.op_type == "Clip" for node in int8.proto.graph.node) == stays


@pytest.mark.parametrize("side", [1, 2])
@pytest.mark.parametrize("target", ["cpu", "arm", "tensorrt"])
def test_a_clip_whose_bound_is_computed_stays(graph_of, random_images, run_onnx, target, side):
    """Each image has its own bound; a range has one for all."""
    model = OnnxModel.of(graph_of(
        [("Conv", ["x", "w", "b"], ["c"]), ("ReduceMax", ["c"], ["m"], {"axes": [0, 1, 2, 3], "keepdims": 0}),
         ("Mul", ["m", "tenth"], ["t"]), ("Clip", ["c", "t"] if side == 1 else ["c", "", "t"], ["r"]),
         ("Conv", ["r", "v", "d"], ["y"])], WEIGHTS | {"tenth": np.float32(0.1)}, x=(1, 3, 8, 8)))
    images, rules = random_images(4, size=8), TARGETS[target]
    ranges = collect(model, images).ranges("minmax", rules.activations)
    int8 = quantize(model, ranges, rules, place(model.proto, rules, "all"))
    assert any(node.op_type == "Clip" for node in int8.proto.graph.node)
    for batch in images.batches(1):
        got = OnnxRuntimeRunner(int8.content, 1, as_written=True).run(batch)
        assert sqnr_db(run_onnx(model, batch)[0], got) > 25
