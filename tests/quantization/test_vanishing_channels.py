"""A channel whose weights vanish keeps its bias, which 32 bits of its natural scale could not hold."""

import numpy as np
import onnxruntime
import pytest
from onnx import numpy_helper

from edge_se.graph.onnx_model import OnnxModel
from edge_se.quantization.placement import place
from edge_se.quantization.ranges import collect
from edge_se.quantization.static import quantize
from edge_se.quantization.targets import TARGETS

VANISHED = 4  # of 8 channels


def outputs(model, images):
    """As the file is written: what onnxruntime fuses of two FP16 scales is no concern of TensorRT."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.content, options, providers=["CPUExecutionProvider"]).run(
        None, {"x": images})[0]


@pytest.mark.parametrize("factor", [0.0, 1e-12, 1e-7, 5e-6, 1e-3])  # at 5e-6 the bias just fits 32 bits
@pytest.mark.parametrize("target", TARGETS)
def test_the_bias_is_kept(graph_of, random_images, target, factor):
    random = np.random.default_rng(0)
    weight = random.standard_normal((8, 3, 3, 3)).astype(np.float32)
    weight[:VANISHED] = np.abs(weight[:VANISHED]) * np.float32(factor)
    bias = np.array([2, -2, 1.5, -1.5, 0, 0, 0, 0], np.float32)
    model = OnnxModel.of(graph_of([("Conv", ["x", "w", "b"], ["y"])], {"w": weight, "b": bias}))
    rules, images = TARGETS[target], random_images(8, size=8)
    ranges = collect(model, images).ranges("minmax", rules.activations)
    int8 = quantize(model, ranges, rules, place(model.proto, rules, "all"))
    pixels = next(images.batches(8))
    exact, got = outputs(model, pixels), outputs(int8, pixels)
    low, high = ranges.bounds["y"]
    assert np.abs(got - exact)[:, :VANISHED].max() < (high - low) / 255 + 0.01  # one step where outputs are quantized
    constants = {item.name: numpy_helper.to_array(item) for item in int8.proto.graph.initializer}
    scales = [constants[node.input[1]] for node in int8.proto.graph.node if node.op_type == "DequantizeLinear"]
    assert all(np.all(scale > 0) for scale in scales)
    if not rules.half_floats:
        assert all(np.all(scale >= np.finfo(np.float32).tiny) for scale in scales)  # none is subnormal
