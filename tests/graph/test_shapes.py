"""Shapes are those of the whole graph, though weights have no values while they are inferred."""

import numpy as np
import onnx
import pytest

from edge_se.graph.rewrites import checked
from edge_se.graph.shapes import inferred, without_weights


@pytest.fixture(params=["tiny_onnx", "tiny_plain_onnx", "shapes from constants"])
def proto(request, graph_of):
    """A fresh graph without inferred shapes."""
    if request.param in ("tiny_onnx", "tiny_plain_onnx"):
        made = request.getfixturevalue(request.param).copy()
    else:
        made = graph_of([("Conv", ["x", "w"], ["a"]), ("Resize", ["a", "", "scales"], ["b"]),
                         ("Shape", ["b"], ["c"]), ("Gather", ["c", "first"], ["d"]),
                         ("Concat", ["d", "rest"], ["e"], {"axis": 0}), ("Reshape", ["b", "e"], ["y"])],
                        {"w": np.ones((4, 3, 1, 1), np.float32), "scales": np.float32([1, 1, 2, 2]),
                         "first": np.int64([0]), "rest": np.int64([4, -1])})
    del made.graph.value_info[:]
    return made


def test_they_are_those_of_the_whole_graph(proto):
    whole, light = onnx.shape_inference.infer_shapes(proto, data_prop=True), inferred(proto, data_prop=True)
    assert len(whole.graph.value_info) > 3
    assert (light.graph.value_info, light.graph.output, light.graph.input) == (
        whole.graph.value_info, whole.graph.output, whole.graph.input)


def test_weights_keep_their_shapes_alone(proto):
    light = without_weights(proto)
    assert [(one.name, one.dims, one.data_type) for one in light.graph.initializer] == [
        (one.name, one.dims, one.data_type) for one in proto.graph.initializer]
    assert not any(one.raw_data for one in light.graph.initializer if len(one.dims) > 1)
    assert light.graph.node == proto.graph.node and light.opset_import == proto.opset_import


def test_a_checked_graph_is_what_onnx_makes_of_the_whole_one(proto):
    expected = onnx.shape_inference.infer_shapes(proto, strict_mode=True, data_prop=True)
    assert checked(proto).SerializeToString(deterministic=True) == expected.SerializeToString(deterministic=True)
