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
@pytest.mark.parametrize("target", [name for name in TARGETS if TARGETS[name].calibrated])
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
    # Half a step where outputs are quantized, and no more: the bias itself is exact.
    assert np.abs(got - exact)[:, :VANISHED].max() < (high - low) / 255 * 0.501 + 1e-3
    constants = {item.name: numpy_helper.to_array(item) for item in int8.proto.graph.initializer}
    scales = [constants[node.input[1]] for node in int8.proto.graph.node if node.op_type == "DequantizeLinear"]
    assert all(np.all(scale > 0) for scale in scales)
    if not rules.half_floats:
        assert all(np.all(scale >= np.finfo(np.float32).tiny) for scale in scales)  # none is subnormal


@pytest.mark.parametrize("transposed", [0, 1])
@pytest.mark.parametrize("target", [name for name in TARGETS if TARGETS[name].calibrated])
def test_the_bias_of_an_empty_output_of_a_linear_layer_is_kept(graph_of, random_images, target, transposed):
    weight = np.random.default_rng(0).standard_normal((8, 3)).astype(np.float32) * np.float32(0.01)
    weight[:VANISHED] = 0  # steps of the input would be a coarse bias for outputs this small
    bias = np.array([0.0231, -0.0177, 0.0059, 0, 0, 0, 0, 0], np.float32)
    model = OnnxModel.of(graph_of(
        [("GlobalAveragePool", ["x"], ["p"]), ("Flatten", ["p"], ["f"]),
         ("Gemm", ["f", "w", "b"], ["y"], {"transB": transposed})],
        {"w": weight if transposed else np.ascontiguousarray(weight.T), "b": bias}))
    rules, images = TARGETS[target], random_images(8, size=8)
    ranges = collect(model, images).ranges("minmax", rules.activations)
    int8 = quantize(model, ranges, rules, place(model.proto, rules, "all"))
    got = outputs(int8, next(images.batches(8)))
    low, high = ranges.bounds["y"]
    assert np.abs(got[:, :VANISHED] - bias[:VANISHED]).max() < (high - low) / 255 * 0.501 + 1e-5


@pytest.mark.parametrize("target", ["tensorrt", "openvino"])
def test_the_optimized_run_of_a_float_bias_keeps_it(graph_of, random_images, target):
    """onnxruntime's INT8 kernel stores a float bias in 32 bits, too."""
    random = np.random.default_rng(0)
    weight = random.standard_normal((8, 3, 3, 3)).astype(np.float32) * np.float32(0.002)
    weight[:VANISHED], bias = 0, np.linspace(-0.01, 0.03, 8, dtype=np.float32)
    model = OnnxModel.of(graph_of(
        [("Conv", ["x", "w", "b"], ["c"]), ("Relu", ["c"], ["r"]), ("Conv", ["r", "v"], ["y"])],
        {"w": weight, "b": bias, "v": random.standard_normal((4, 8, 1, 1)).astype(np.float32)}))
    rules, images = TARGETS[target], random_images(8, size=8)
    ranges = collect(model, images).ranges("minmax", rules.activations)
    int8 = quantize(model, ranges, rules, place(model.proto, rules, "all"))
    pixels = next(images.batches(8))
    fused = onnxruntime.InferenceSession(int8.content, providers=["CPUExecutionProvider"]).run(None, {"x": pixels})[0]
    assert np.abs(fused - outputs(int8, pixels)).max() < 0.02 * np.abs(fused).max()
