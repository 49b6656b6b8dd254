"""Scores of attention stay in float up to their Softmax: beside a mask no 8 bits hold them, and -inf has no range."""

import numpy as np
import pytest

from edge_se.device.agent import OnnxRuntimeRunner
from edge_se.graph.onnx_model import OnnxModel
from edge_se.quantization.placement import float_in_all, place
from edge_se.quantization.ranges import collect
from edge_se.quantization.sensitivity import sqnr_db
from edge_se.quantization.static import quantize
from edge_se.quantization.targets import TARGETS

RANDOM = np.random.default_rng(0)
HIDDEN = RANDOM.random((64, 64)) < 0.5
np.fill_diagonal(HIDDEN, False)
CONSTANTS = {name: RANDOM.standard_normal(shape, np.float32) for name, shape in {
    "w": (16, 3, 1, 1), "q": (16, 16), "k": (16, 16), "v": (16, 16), "h": (16, 10), "bias": (64, 64)}.items()} | {
    "flat": np.array([0, 16, 64]), "heads": np.array([0, 1, 64, 64]), "none": np.array([1]), "hidden": HIDDEN,
    "scale": np.float32(0.25), "root": np.float32(4), "never": np.float32(-np.inf)}
BETWEEN = {  # the product of queries and keys becomes what Softmax reads
    "scaled": [("Mul", ["1", "scale"], ["2"])],
    "divided and biased": [("Div", ["1", "root"], ["3"]), ("Add", ["3", "bias"], ["2"])],
    "masked": [("Mul", ["1", "scale"], ["3"]), ("Add", ["3", "mask"], ["2"])],
    "masked in another shape": [("Reshape", ["1", "heads"], ["3"]), ("Add", ["mask", "3"], ["4"]),
                                ("Squeeze", ["4", "none"], ["5"]), ("Mul", ["5", "scale"], ["2"])],
    "chosen": [("Mul", ["1", "scale"], ["3"]), ("Where", ["hidden", "never", "3"], ["2"])]}


@pytest.fixture
def attention(graph_of):
    def make(between, mask=0.0):
        nodes = [("Conv", ["x", "w"], ["c"]), ("Relu", ["c"], ["r"]), ("Reshape", ["r", "flat"], ["t"]),
                 ("Transpose", ["t"], ["n"], {"perm": [0, 2, 1]}), ("MatMul", ["n", "q"], ["queries"]),
                 ("MatMul", ["n", "k"], ["keys"]), ("MatMul", ["n", "v"], ["values"]),
                 ("Transpose", ["keys"], ["turned"], {"perm": [0, 2, 1]}), ("MatMul", ["queries", "turned"], ["1"]),
                 *between, ("Softmax", ["2"], ["s"], {"axis": -1}), ("MatMul", ["s", "values"], ["o"]),
                 ("ReduceMean", ["o"], ["p"], {"axes": [1], "keepdims": 0}), ("Gemm", ["p", "h"], ["y"])]
        read = {name for node in nodes for name in node[1]}
        told = CONSTANTS | {"mask": np.where(HIDDEN, np.float32(mask), np.float32(0))}
        return OnnxModel.of(graph_of(nodes, {name: told[name] for name in told if name in read}, shape=("batch", 10)))
    return make


@pytest.mark.parametrize("between", BETWEEN.values(), ids=BETWEEN)
def test_what_lies_between_product_and_softmax_is_float(attention, between):
    left = float_in_all(attention(between).proto)
    assert {"1", "s", "o", *(name for node in between for name in node[2] if node[0] in ("Add", "Mul"))} <= set(left)
    assert not {"queries", "keys", "values", "y"} & set(left)


def test_a_sum_in_front_of_a_softmax_without_attention_is_no_score(graph_of):
    model = graph_of([("Conv", ["x", "w"], ["c"]), ("Mul", ["c", "two"], ["d"]), ("Add", ["d", "c"], ["e"]),
                      ("Softmax", ["e"], ["y"], {"axis": 1})], {"w": CONSTANTS["w"], "two": np.float32(2)})
    assert float_in_all(model) == ["y"]


@pytest.mark.parametrize("mask", [-np.inf, np.finfo(np.float32).min, -1e9, -100])
@pytest.mark.parametrize("between", ["masked", "masked in another shape"])
@pytest.mark.parametrize("target", ["cpu", "arm", "tensorrt"])
def test_a_mask_costs_nothing(attention, random_images, run_onnx, target, between, mask):
    model, images, rules = attention(BETWEEN[between], mask), random_images(8, size=8), TARGETS[target]
    ranges = collect(model, images).ranges("mse", rules.activations)
    int8, batch = quantize(model, ranges, rules, place(model.proto, rules, "all")), next(images.batches(8))
    exact = run_onnx(model, batch)[0]
    for got in (run_onnx(int8, batch)[0], OnnxRuntimeRunner(int8.content, 1, as_written=True).run(batch)):
        assert sqnr_db(exact, got) > 20
