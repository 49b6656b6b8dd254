"""Gemms with factors and with biases of every shape, as exporters write them: the same numbers, and INT8 of them."""

import numpy as np
import onnx
import pytest

from edge_se.graph.foreign import normalised
from edge_se.graph.gemms import plain_gemms
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.view import GraphView, attribute
from edge_se.quantization.placement import place
from edge_se.quantization.ranges import collect
from edge_se.quantization.sensitivity import sqnr_db
from edge_se.quantization.static import quantize
from edge_se.quantization.targets import TARGETS

RANDOM = np.random.default_rng(0)
WEIGHTS = RANDOM.standard_normal((3, 5), np.float32)
BIAS = RANDOM.standard_normal(5, np.float32)
IMAGES = RANDOM.standard_normal((4, 3, 8, 8), np.float32)
GEMMS = {
    "a row": (WEIGHTS, BIAS[None], {}), "one number": (WEIGHTS, BIAS[:1], {}), "a scalar": (WEIGHTS, BIAS[0], {}),
    "one number in a row": (WEIGHTS, BIAS[:1, None], {}), "transposed": (WEIGHTS.T, BIAS[None], {"transB": 1}),
    "alpha": (WEIGHTS, BIAS, {"alpha": 2.0}), "beta": (WEIGHTS, BIAS, {"beta": 0.5}),
    "both, of a row": (WEIGHTS, BIAS[None], {"alpha": -3.0, "beta": 2.0}),
    "no bias": (WEIGHTS, None, {"alpha": 2.0, "beta": 3.0})}


@pytest.fixture
def head(graph_of):
    def make(weights, bias, attributes):
        read, constants = (["f", "w"], {}) if bias is None else (["f", "w", "b"], {"b": bias})
        return graph_of([("GlobalAveragePool", ["x"], ["p"]), ("Flatten", ["p"], ["f"]),
                         ("Gemm", read, ["y"], attributes)], constants | {"w": weights}, shape=("batch", 5))
    return make


@pytest.mark.parametrize("gemm", GEMMS.values(), ids=GEMMS)
def test_a_plain_gemm_has_the_same_numbers(head, run_onnx, random_images, tmp_path, gemm):
    model = head(*gemm)
    before = run_onnx(model, IMAGES)[0]
    onnx.save(model, tmp_path / "net.onnx")
    plain = OnnxModel.of(normalised(OnnxModel.read(tmp_path / "net.onnx"), tmp_path / "net.onnx"))
    node, view = plain.proto.graph.node[-1], GraphView(plain.proto)
    assert node.op_type == "Gemm" and attribute(node, "alpha", 1.0) == 1
    assert len(node.input) == 2 or (view.constant(node.input[2]).shape == (5,) and attribute(node, "beta", 1.0) == 1)
    np.testing.assert_allclose(run_onnx(plain, IMAGES)[0], before, rtol=1e-5, atol=1e-6)
    images = random_images(4, size=8)
    for name in ("cpu", "tensorrt", "litert-dynamic"):
        target = TARGETS[name]
        ranges = collect(plain, images).ranges("minmax", target.activations)
        int8 = quantize(plain, ranges, target, place(plain.proto, target, "all"))
        batch = next(images.batches(4))
        assert sqnr_db(run_onnx(model, batch)[0], run_onnx(int8, batch)[0]) > 30


def test_a_shared_bias_stays_for_others(graph_of, run_onnx):
    model = graph_of([("GlobalAveragePool", ["x"], ["p"]), ("Flatten", ["p"], ["f"]),
                      ("Gemm", ["f", "w", "b"], ["g"], {"beta": 2.0}), ("Add", ["g", "b"], ["y"])],
                     {"w": WEIGHTS, "b": BIAS[None]})
    before = run_onnx(model, IMAGES)[0]
    plain_gemms(model)
    assert attribute(model.graph.node[2], "beta") is None
    np.testing.assert_allclose(run_onnx(model, IMAGES)[0], before, rtol=1e-5)


@pytest.mark.parametrize(("constants", "attributes"), [
    ({"w": WEIGHTS, "b": BIAS}, {}), ({"w": WEIGHTS}, {"beta": 2.0})], ids=["plain", "a computed bias"])
def test_what_is_plain_or_cannot_be_stays(graph_of, constants, attributes):
    model = graph_of([("GlobalAveragePool", ["x"], ["p"]), ("Flatten", ["p"], ["f"]), ("MatMul", ["f", "w"], ["c"]),
                      ("Gemm", ["f", "w", "b" if "b" in constants else "c"], ["y"], attributes)], constants)
    before = model.SerializeToString()
    plain_gemms(model)
    assert model.SerializeToString() == before


@pytest.mark.parametrize("shape", [(4, 5), (4, 1)])
@pytest.mark.parametrize("factors", [{}, {"beta": 0.5}, {"alpha": 2.0, "beta": -3.0}], ids=str)
@pytest.mark.parametrize("target", ["cpu", "tensorrt"])
def test_a_bias_with_a_row_for_each_image_is_an_add(graph_of, run_onnx, random_images, shape, factors, target):
    model = graph_of([("GlobalAveragePool", ["x"], ["p"]), ("Flatten", ["p"], ["f"]),
                      ("Gemm", ["f", "w", "b"], ["y"], factors)],
                     {"w": WEIGHTS, "b": RANDOM.standard_normal(shape, np.float32)}, x=(4, 3, 8, 8), shape=(4, 5))
    before = run_onnx(model, IMAGES)[0]
    plain_gemms(model)
    assert [node.op_type for node in model.graph.node][-2:] == ["Gemm", "Add"]
    np.testing.assert_allclose(run_onnx(model, IMAGES)[0], before, rtol=1e-5, atol=1e-6)
    source, images, rules = OnnxModel.of(model), random_images(4, size=8), TARGETS[target]
    ranges = collect(source, images).ranges("minmax", rules.activations)
    int8, batch = quantize(source, ranges, rules, place(source.proto, rules, "all")), next(images.batches(4))
    assert sqnr_db(run_onnx(source, batch)[0], run_onnx(int8, batch)[0]) > 30
