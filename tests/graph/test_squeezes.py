"""Squeezes however they are spelled become one GlobalAveragePool that computes the same; other means stay."""

import numpy as np
import pytest

from edge_se.graph.rewrites import prepare

CONV, LAST = ("Conv", ["x", "w"], ["u"]), ("Sigmoid", ["s"], ["y"])
SPELLINGS = {
    "a kernel as large as the map": [("AveragePool", ["u"], ["s"], {"kernel_shape": [6, 8]})],
    "a kernel of the whole map's size without padding": [("AveragePool", ["u"], ["s"], {"kernel_shape": [6, 8],
                                                                                       "pads": [0, 0, 0, 0]})],
    "columns, then rows": [("ReduceMean", ["u"], ["r"], {"axes": [3]}), ("ReduceMean", ["r"], ["s"], {"axes": [2]})],
    "rows, then columns": [("ReduceMean", ["u"], ["r"], {"axes": [-2]}), ("ReduceMean", ["r"], ["s"], {"axes": [-1]})],
    "two means that drop their axes": [("ReduceMean", ["u"], ["r"], {"axes": [2], "keepdims": 0}),
                                       ("ReduceMean", ["r"], ["s"], {"axes": [2], "keepdims": 0})],
    "flattened by a Reshape": [("Reshape", ["u", "flat"], ["r"]), ("ReduceMean", ["r"], ["s"],
                                                                   {"axes": [-1], "keepdims": 0})],
}
OTHERS = {
    "a smaller kernel": [("AveragePool", ["u"], ["s"], {"kernel_shape": [2, 2]})],
    "rows alone": [("ReduceMean", ["u"], ["s"], {"axes": [2]})],
    "channels, then rows": [("ReduceMean", ["u"], ["r"], {"axes": [1]}), ("ReduceMean", ["r"], ["s"], {"axes": [2]})],
    "another flat shape": [("Reshape", ["u", "halves"], ["r"]), ("ReduceMean", ["r"], ["s"],
                                                                 {"axes": [-1], "keepdims": 0})],
}


@pytest.fixture
def model_of(graph_of):
    constants = {"w": np.random.default_rng(0).standard_normal((4, 3, 3, 1), np.float32), "flat": np.array([0, 4, 48]),
                 "halves": np.array([0, 8, 24])}

    def make(nodes):
        used = {name for node in nodes for name in node[1]}
        model = graph_of(nodes, {name: value for name, value in constants.items() if name in used})
        for dim, size in zip(model.graph.input[0].type.tensor_type.shape.dim[2:], (8, 8)):
            dim.dim_value = size
        return model
    return make


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_squeeze_becomes_one_pool(model_of, run_onnx, spelling):
    images = np.random.default_rng(1).standard_normal((2, 3, 8, 8), np.float32)
    expected = run_onnx(model_of([CONV, *SPELLINGS[spelling], LAST]), images)
    rewritten = prepare(model_of([CONV, *SPELLINGS[spelling], LAST]))
    kinds = [node.op_type for node in rewritten.graph.node]
    assert kinds.count("GlobalAveragePool") == 1 and not {"ReduceMean", "AveragePool", "Reshape"} & set(kinds)
    np.testing.assert_allclose(run_onnx(rewritten, images), expected, atol=1e-6)


@pytest.mark.parametrize("spelling", OTHERS)
def test_other_means_stay(model_of, spelling):
    kinds = [node.op_type for node in prepare(model_of([CONV, *OTHERS[spelling], LAST])).graph.node]
    assert "GlobalAveragePool" not in kinds and {"ReduceMean", "AveragePool"} & set(kinds)


def test_the_largest_of_a_whole_map_is_one_pool(model_of, run_onnx):
    images = np.random.default_rng(1).standard_normal((2, 3, 8, 8), np.float32)
    nodes = [CONV, ("MaxPool", ["u"], ["s"], {"kernel_shape": [6, 8]}), LAST]
    rewritten = prepare(model_of(nodes))
    assert [node.op_type for node in rewritten.graph.node] == ["Conv", "GlobalMaxPool", "Sigmoid"]
    np.testing.assert_array_equal(run_onnx(rewritten, images), run_onnx(model_of(nodes), images))
