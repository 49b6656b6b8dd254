"""Hard swishes in every spelling become the operator; what only looks like one stays."""

import itertools

import numpy as np
import pytest

from edge_se.graph.foreign import normalised
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.swishes import with_hard_swishes

W = np.random.default_rng(0).standard_normal((4, 3, 1, 1), np.float32) * 3
IMAGES = np.random.default_rng(1).standard_normal((2, 3, 8, 8), np.float32)
CONSTANTS = {"w": W, "three": np.float32(3), "zero": np.float32(0), "six": np.float32(6), "sixth": np.float32(1 / 6),
             "two": np.float32(2), "ones": np.full((1, 1, 1, 1), 3, np.float32)}
CONV, HEAD = ("Conv", ["x", "w"], ["c"]), [("GlobalAveragePool", ["h"], ["p"]), ("Flatten", ["p"], ["y"])]
CLIP = ("Clip", ["a", "zero", "six"], ["b"])


def spelling(shift, product, sixth, early, three="three"):
    """The nodes of x * clip(x + 3, 0, 6) / 6: orders of factors, Div or Mul, and the sixth of which part."""
    def by_six(name, result):
        return ("Div", [name, "six"], [result]) if sixth == "Div" else ("Mul", [name, "sixth"], [result])
    add = ("Add", ["c", three][::shift], ["a"])
    if early == "clip":
        return [add, CLIP, by_six("b", "s"), ("Mul", ["c", "s"][::product], ["h"])]
    if early == "input":
        return [add, CLIP, by_six("c", "s"), ("Mul", ["s", "b"][::product], ["h"])]
    return [add, CLIP, ("Mul", ["c", "b"][::product], ["m"]), by_six("m", "h")]


ALIKE = {
    "another shift": [("Add", ["c", "two"], ["a"]), *spelling(1, 1, "Div", "")[1:]],
    "another bound": [("Add", ["c", "three"], ["a"]), ("Clip", ["a", "zero", "three"], ["b"]),
                      *spelling(1, 1, "Div", "")[2:]],
    "another factor": [*spelling(1, 1, "Div", "")[:-1], ("Div", ["m", "two"], ["h"])],
    "of another tensor": [("Relu", ["c"], ["r"]), *spelling(1, 1, "Div", "")[:2], ("Mul", ["r", "b"], ["m"]),
                          ("Div", ["m", "six"], ["h"])],
    "a hard sigmoid": [*spelling(1, 1, "Div", "clip")[:2], ("Div", ["b", "six"], ["h"])],
    "six over it": [*spelling(1, 1, "Div", "")[:-1], ("Div", ["six", "m"], ["h"])],
}


def operators(proto):
    return [node.op_type for node in proto.graph.node]


SPELLINGS = list(itertools.product((1, -1), (1, -1), ("Div", "Mul"), ("clip", "input", "")))


@pytest.mark.parametrize("how", SPELLINGS, ids=str)
def test_every_spelling_is_the_operator(graph_of, run_onnx, how):
    model = graph_of([CONV, *spelling(*how), *HEAD], CONSTANTS, opset=13)
    expected = run_onnx(model, IMAGES)[0]
    changed = with_hard_swishes(model)
    assert operators(changed) == ["Conv", "HardSwish", "GlobalAveragePool", "Flatten"]
    assert changed.opset_import[0].version == 14 and [value.name for value in changed.graph.initializer] == ["w"]
    np.testing.assert_allclose(run_onnx(changed, IMAGES)[0], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("nodes", ALIKE.values(), ids=ALIKE)
def test_what_only_looks_like_one_stays(graph_of, nodes):
    model = graph_of([CONV, *nodes, *HEAD], CONSTANTS, opset=13)
    before = model.SerializeToString()
    assert with_hard_swishes(model).SerializeToString() == before


def test_parts_that_something_else_reads_stay(graph_of, run_onnx):
    """The clip is read twice: the swish is one operator, and the clip is still there."""
    model = graph_of([CONV, *spelling(1, 1, "Div", ""), ("Add", ["h", "b"], ["both"]),
                      ("GlobalAveragePool", ["both"], ["p"]), HEAD[1]], CONSTANTS)
    expected = run_onnx(model, IMAGES)[0]
    changed = with_hard_swishes(model)
    assert operators(changed) == ["Conv", "Add", "Clip", "HardSwish", "Add", "GlobalAveragePool", "Flatten"]
    np.testing.assert_allclose(run_onnx(changed, IMAGES)[0], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("opset", [11, 13, 17])
def test_files_come_with_the_operator(graph_of, run_onnx, tmp_path, opset):
    model = OnnxModel.of(graph_of([CONV, *spelling(1, 1, "Mul", "", "ones"), *HEAD], CONSTANTS, opset=opset))
    proto = normalised(model, tmp_path / "m.onnx")
    assert operators(proto) == ["Conv", "HardSwish", "GlobalAveragePool", "Flatten"]
    np.testing.assert_allclose(run_onnx(proto, IMAGES)[0], run_onnx(model, IMAGES)[0], rtol=1e-5, atol=1e-6)
