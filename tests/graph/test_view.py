"""The index over a graph."""

import numpy as np
import pytest
from onnx import numpy_helper

from edge_se.graph.view import GraphView, attribute, node_label


@pytest.fixture
def view(graph_of):
    value = numpy_helper.from_array(np.float32([2]), "two")
    return GraphView(graph_of([("Constant", [], ["two"], {"value": value}), ("Mul", ["x", "two"], ["a"]),
                               ("Add", ["a", "one"], ["b"]), ("Add", ["a", "b"], ["y"])], {"one": np.float32([1])}))


def test_constants(view):
    assert view.constant("one") == 1 and view.constant("two") == 2
    assert view.constant("a") is None and view.constant("x") is None and view.constant("nowhere") is None


def test_producers_and_consumers(view):
    assert view.producer["a"].op_type == "Mul"
    assert [node.output[0] for node in view.consumers["a"]] == ["b", "y"]
    assert view.data_inputs(view.producer["b"]) == ["a"]
    assert view.data_inputs(view.producer["y"]) == ["a", "b"]


def test_only_consumer(view):
    assert view.only_consumer("b").output[0] == "y"
    assert view.only_consumer("a") is None  # two readers
    assert view.only_consumer("y") is None  # leaves the graph


def test_attribute_and_label(graph_of):
    node = graph_of([("Flatten", ["x"], ["y"], {"axis": 2, "name": "flat"})]).graph.node[0]
    assert (attribute(node, "axis"), attribute(node, "other", 5)) == (2, 5)
    assert node_label(node) == "Flatten node 'flat'"
    node.name = ""
    assert node_label(node) == "Flatten node 'y'"
