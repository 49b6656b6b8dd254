"""Constants that layers read in different ways: each layer has scales of its own outputs, and floats stay floats."""

import numpy as np
import pytest

from edge_se.device.agent import OnnxRuntimeRunner
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.view import GraphView, attribute
from edge_se.quantization.placement import place
from edge_se.quantization.ranges import collect
from edge_se.quantization.sensitivity import sqnr_db
from edge_se.quantization.static import quantize
from edge_se.quantization.targets import TARGETS

RANDOM = np.random.default_rng(0)
UNALIKE = np.logspace(-2, 1, 16).astype(np.float32)  # rows of a matrix, so that scales along the other axis are wrong
STEM = [("Conv", ["x", "w", "b"], ["c"]), ("Relu", ["c"], ["r"])]
POOLED = [("GlobalAveragePool", ["r"], ["p"]), ("Flatten", ["p"], ["f"])]
HEAD = [("Gemm", ["t", "h"], ["y"])]


def normal(*shape):
    return RANDOM.standard_normal(shape, np.float32)


CONSTANTS = {"w": normal(16, 3, 1, 1), "b": normal(16), "h": normal(16, 10)}
FIRST = {"Gemm": ("Gemm", ["f", "m", "d"], ["g"]), "MatMul": ("MatMul", ["f", "m"], ["g"])}
PAIRS = [("Gemm", 16), ("Gemm", 24), ("MatMul", 16)]  # the layer that reads the matrix first, and its outputs


@pytest.fixture
def quantized(graph_of, random_images, run_onnx):
    """(nodes, constants, target) -> the INT8 model, and how near it and the graph that it writes are to FP32 in dB."""
    def make(nodes, constants, target):
        read = {name for node in nodes for name in node[1]}
        model = OnnxModel.of(graph_of(nodes, {name: value for name, value in (CONSTANTS | constants).items()
                                              if name in read}, shape=("batch", 10)))
        images, rules = random_images(8, size=8), TARGETS[target]
        ranges = collect(model, images).ranges("minmax", rules.activations)
        int8, batch = quantize(model, ranges, rules, place(model.proto, rules, "all")), next(images.batches(8))
        exact = run_onnx(model, batch)[0]
        return int8, sqnr_db(exact, run_onnx(int8, batch)[0]), sqnr_db(
            exact, OnnxRuntimeRunner(int8.content, 1, as_written=True).run(batch))
    return make


def maker(view, name):
    """The DequantizeLinear of what a layer reads; None where it reads floats."""
    node = view.producer.get(name)
    return node if node is not None and node.op_type == "DequantizeLinear" else None


@pytest.mark.parametrize(("first", "outputs"), PAIRS)
@pytest.mark.parametrize("target", [name for name, target in TARGETS.items() if target.calibrated])
def test_a_matrix_that_is_tied_transposed(quantized, target, first, outputs):
    nodes = [*STEM, *POOLED, FIRST[first], ("Relu", ["g"], ["s"]), ("Gemm", ["s", "m"], ["t"], {"transB": 1}), *HEAD]
    int8, run, written = quantized(nodes, {"m": normal(16, outputs) * UNALIKE[:, None], "d": normal(outputs)}, target)
    assert min(run, written) > 25
    view = GraphView(int8.proto)
    axes = [(attribute(node, "transB", 0), attribute(maker(view, node.input[1]), "axis")) for node in view.graph.node
            if node.op_type in ("Gemm", "MatMul")]
    assert axes == [(0, 1), (1, 0), (0, 1)]


@pytest.mark.parametrize("target", ["cpu", "tensorrt", "openvino"])
def test_a_layer_in_float_reads_floats(quantized, target):
    nodes = [*STEM, ("Conv", ["r", "m"], ["1"]), ("Relu", ["1"], ["2"]), ("ConvTranspose", ["2", "m"], ["3"]),
             ("GlobalAveragePool", ["3"], ["p"]), ("Flatten", ["p"], ["t"]), *HEAD]
    int8, run, written = quantized(nodes, {"m": normal(16, 16, 1, 1) * UNALIKE[:, None, None, None]}, target)
    view = GraphView(int8.proto)
    back, = (node for node in view.graph.node if node.op_type == "ConvTranspose")
    assert view.constant(back.input[1]).dtype == np.float32
    assert min(run, written) > 25


@pytest.mark.parametrize(("target", "kind"), [("cpu", np.int32), ("arm", np.int32), ("tensorrt", np.float32)])
def test_a_bias_that_an_add_reads_keeps_its_bits(quantized, target, kind):
    bias = np.array([9, 0.01, 0.02, 0.03, -0.02, 0.01, 0.05, -7], np.float32)  # 8 bits of 9 are steps of 0.06
    nodes = [*STEM, ("Conv", ["r", "m", "d"], ["1"]), ("Add", ["1", "d"], ["2"]), ("GlobalAveragePool", ["2"], ["p"]),
             ("Flatten", ["p"], ["t"]), *HEAD]
    int8, run, written = quantized(nodes, {"m": normal(8, 16, 1, 1), "d": bias, "h": normal(8, 10)}, target)
    view = GraphView(int8.proto)
    conv = [node for node in view.graph.node if node.op_type == "Conv"][1]
    restored = maker(view, conv.input[2])
    assert view.constant(restored.input[0] if restored is not None else conv.input[2]).dtype == kind
    assert min(run, written) > 25


def test_one_way_of_reading_needs_no_copy(quantized):
    nodes = [*STEM, ("Conv", ["r", "m", "d"], ["1"]), ("Relu", ["1"], ["2"]), ("Conv", ["2", "m", "d"], ["3"]),
             ("GlobalAveragePool", ["3"], ["p"]), ("Flatten", ["p"], ["t"]), *HEAD]
    int8, run, written = quantized(nodes, {"m": normal(16, 16, 1, 1), "d": normal(16)}, "cpu")
    view = GraphView(int8.proto)
    first, second = (node for node in view.graph.node if node.op_type == "Conv" and node.input[1].startswith("m"))
    assert first.input[1] == second.input[1]
    assert min(run, written) > 25


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("target", ["cpu", "arm", "tensorrt", "openvino"])
def test_a_stack_of_matrices_has_one_scale_and_runs(quantized, target, left):
    """As for heads of attention, or groups of a linear layer; from the left, matrices that mix tokens."""
    read = ["m", "1"] if left else ["1", "m"]
    nodes = [*STEM, ("Reshape", ["r", "heads"], ["1"]), ("MatMul", read, ["2"]), ("Reshape", ["2", "map"], ["3"]),
             ("GlobalAveragePool", ["3"], ["p"]), ("Flatten", ["p"], ["t"]), *HEAD]
    stack = normal(4, 4, 4) if left else normal(4, 64, 64)
    int8, run, written = quantized(nodes, {"m": stack, "heads": np.array([0, 4, 4, 64]),
                                           "map": np.array([0, 16, 8, 8])}, target)
    view = GraphView(int8.proto)
    product, = (node for node in view.graph.node if node.op_type == "MatMul")
    assert view.constant(maker(view, product.input[0 if left else 1]).input[1]).size == 1
    assert min(run, written) > 25
