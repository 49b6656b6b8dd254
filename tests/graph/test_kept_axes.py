"""Reductions that drop axes in front of integers: the same numbers with axes kept, and OpenVINO's are right then."""

import numpy as np
import onnx
import pytest

from edge_se.core import environment
from edge_se.evaluation.accuracy import logits_of
from edge_se.graph.kept_axes import with_kept_axes
from edge_se.graph.onnx_model import OnnxModel
from edge_se.quantization.placement import place
from edge_se.quantization.ranges import collect
from edge_se.quantization.sensitivity import sqnr_db
from edge_se.quantization.static import quantize
from edge_se.quantization.targets import TARGETS

RANDOM = np.random.default_rng(0)
CONSTANTS = {"w": RANDOM.standard_normal((48, 16), np.float32), "h": RANDOM.standard_normal((16, 10), np.float32),
             "flat": np.array([0, 4, 48]), "square": np.array([0, 2, 2, 48]), "step": np.float32(0.1),
             "zero": np.uint8(128), "rows": np.array([1]), "places": np.array([1, 2])}
FORMS = {"mean": ("flat", "ReduceMean", [1]), "max": ("flat", "ReduceMax", [-2]), "sum": ("flat", "ReduceSum", "rows"),
         "mean of a square": ("square", "ReduceMean", [1, 2]), "sum of a square": ("square", "ReduceSum", "places")}


def tokens(form):
    """What makes `m`, (batch, 16), of a product of tokens with a matrix."""
    shape, operator, axes = FORMS[form]
    reduced = ("m", {"axes": axes, "keepdims": 0}) if isinstance(axes, list) else ("m", {"keepdims": 0})
    return [("Reshape", ["x", shape], ["t"]), ("MatMul", ["t", "w"], ["p"]), ("Relu", ["p"], ["r"]),
            (operator, ["r"] if isinstance(axes, list) else ["r", axes], [reduced[0]], reduced[1])]


@pytest.fixture
def graph(graph_of):
    def make(nodes, **changes):
        read = {name for node in nodes for name in node[1]}
        return graph_of(nodes, {name: value for name, value in CONSTANTS.items() if name in read}, x=("batch", 3, 8, 8),
                        **changes)
    return make


def pair(name):
    return [("QuantizeLinear", [name, "step", "zero"], ["q"]), ("DequantizeLinear", ["q", "step", "zero"], ["y"])]


@pytest.mark.parametrize("form", FORMS)
def test_the_numbers_are_the_same(graph, run_onnx, form):
    model = graph([*tokens(form), *pair("m")])
    changed = with_kept_axes(model)
    onnx.checker.check_model(changed, full_check=True)
    images = RANDOM.standard_normal((3, 3, 8, 8), np.float32)
    np.testing.assert_array_equal(run_onnx(changed, images)[0], run_onnx(model, images)[0])
    assert [node.op_type for node in changed.graph.node][-4:-2] == [FORMS[form][1], "Squeeze"]
    assert with_kept_axes(changed) is changed


def test_where_axes_are_an_input(graph, run_onnx):
    nodes = [*tokens("mean")[:3], ("ReduceMean", ["r", "rows"], ["m"], {"keepdims": 0}), *pair("m")]
    model = graph(nodes, opset=18)
    changed, images = with_kept_axes(model), RANDOM.standard_normal((3, 3, 8, 8), np.float32)
    assert [node.op_type for node in changed.graph.node][-3] == "Squeeze"
    np.testing.assert_array_equal(run_onnx(changed, images)[0], run_onnx(model, images)[0])


@pytest.mark.parametrize("nodes", [
    [*tokens("mean"), ("Relu", ["m"], ["y"])],
    [*tokens("mean")[:3], ("ReduceMean", ["r"], ["m"], {"axes": [1]}), *pair("m")],
    [*tokens("mean")[:3], ("ReduceMean", ["r"], ["m"], {"keepdims": 0}), *pair("m")],
    [*tokens("mean")[:3], ("ReduceMin", ["r"], ["m"], {"axes": [1], "keepdims": 0}), *pair("m")]],
    ids=["floats behind it", "axes that are kept", "all axes", "another reduction"])
def test_others_stay(graph, nodes):
    model = graph(nodes)
    assert with_kept_axes(model) is model


@pytest.mark.skipif(environment.version_of("openvino") != "2026.4.1", reason="needs OpenVINO 2026.4.1")
@pytest.mark.skipif("avx512_vnni" not in environment.processor_flags(), reason="needs a processor with VNNI")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("target", ["openvino", "tensorrt"])
def test_files_that_openvino_judges(graph, random_images, monkeypatch, target, form):
    model = OnnxModel.of(graph([*tokens(form), ("Gemm", ["m", "h"], ["y"])], shape=("batch", 10)))
    images, rules = random_images(8, size=8), TARGETS[target]
    ranges, plan = collect(model, images).ranges("minmax", rules.activations), place(model.proto, rules, "all")
    assert sqnr_db(logits_of(model, images), logits_of(quantize(model, ranges, rules, plan), images)) > 30
    for module in ("edge_se.quantization.static", "edge_se.backends.openvino"):
        monkeypatch.setattr(f"{module}.with_kept_axes", lambda proto: proto)
    others = random_images(8, size=8, seed=1)  # answers to the same images are kept
    assert sqnr_db(logits_of(model, others), logits_of(quantize(model, ranges, rules, plan), others)) < 20
