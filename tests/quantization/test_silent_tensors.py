"""A tensor that was zero on every calibration image stays zero, and the bias of the layer behind it stays fine."""

import numpy as np
import pytest

from edge_se.device.agent import OnnxRuntimeRunner
from edge_se.graph.onnx_model import OnnxModel
from edge_se.quantization.placement import place
from edge_se.quantization.ranges import collect
from edge_se.quantization.static import quantize
from edge_se.quantization.targets import TARGETS

RANDOM = np.random.default_rng(0)
CONSTANTS = {"w": -np.abs(RANDOM.standard_normal((4, 3, 1, 1), np.float32)), "six": np.float32(6),
             "zero": np.float32(0), "v": RANDOM.standard_normal((5, 4, 1, 1), np.float32),
             "a": np.full(4, -3, np.float32), "b": np.array([0.0231, -0.0177, 0.3059, -0.4, 1], np.float32)}
STOPPED = {
    "ReLU": [("Relu", ["c"], ["r"])],
    "ReLU6": [("Clip", ["c", "zero", "six"], ["r"])],
    "two": [("Relu", ["c"], ["s"]), ("Conv", ["s", "u"], ["t"]), ("Relu", ["t"], ["r"])]}


@pytest.mark.parametrize("stopped", STOPPED.values(), ids=STOPPED)
@pytest.mark.parametrize("target", [name for name, target in TARGETS.items() if target.calibrated])
def test_what_a_relu_stops_stays_stopped(graph_of, random_images, target, stopped):
    model = OnnxModel.of(graph_of(
        [("Conv", ["x", "w", "a"], ["c"]), *stopped, ("Conv", ["r", "v", "b"], ["y"])],
        CONSTANTS | {"u": RANDOM.standard_normal((4, 4, 1, 1), np.float32)}))
    images = random_images(4, size=8)
    bright = type(images)(name="bright", split="calibration", pixels=images.pixels // 8 + 200, labels=None)
    rules = TARGETS[target]
    ranges = collect(model, bright).ranges("minmax", rules.activations)
    assert ranges.bounds["r"] == (0, 0)
    int8 = quantize(model, ranges, rules, place(model.proto, rules, "all"))
    got = OnnxRuntimeRunner(int8.content, 1, as_written=True).run(next(bright.batches(4)))
    step = (1 + 0.4) / 255 if rules.quantized_outputs else 0
    np.testing.assert_allclose(got, np.broadcast_to(CONSTANTS["b"].reshape(5, 1, 1), got.shape), rtol=1e-3,
                               atol=max(0.51 * step, 5e-5))
