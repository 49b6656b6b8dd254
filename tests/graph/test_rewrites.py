"""Rewrites change the graph and not its numbers."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_se.core.errors import ModelError
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.rewrites import (
    checked,
    prepare,
    remove_unused_initializers,
    remove_unused_nodes,
    sort_topologically,
    squeeze_to_global_average_pool,
    strip_traces,
)

IMAGES = np.random.default_rng(0).standard_normal((2, 3, 8, 8), dtype=np.float32)


def mean_node(opset, axes, keepdims):
    """A ReduceMean node and its constants: axes are an attribute up to opset 17 and an input from 18 on."""
    if opset < 18:
        return [("ReduceMean", ["x"], ["y"], {"axes": axes, "keepdims": keepdims})], {}
    return [("ReduceMean", ["x", "axes"], ["y"], {"keepdims": keepdims})], {"axes": np.array(axes, np.int64)}


def operators(model):
    return [node.op_type for node in model.graph.node]


@pytest.mark.parametrize("opset", [13, 17, 18])
@pytest.mark.parametrize("axes", [[2, 3], [-2, -1], [3, 2], [-1, 2]])
@pytest.mark.parametrize("keepdims", [1, 0])
def test_a_spatial_mean_becomes_a_pool(graph_of, run_onnx, opset, axes, keepdims):
    model = graph_of(*mean_node(opset, axes, keepdims), opset=opset)
    before = run_onnx(model, IMAGES)[0]
    assert squeeze_to_global_average_pool(model) == 1
    assert operators(model) == (["GlobalAveragePool"] if keepdims else ["GlobalAveragePool", "Flatten"])
    assert not model.graph.initializer  # the axes are gone, too
    after = run_onnx(checked(model), IMAGES)[0]
    assert after.shape == before.shape
    np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-6)


def test_keepdims_is_the_default(graph_of):
    model = graph_of([("ReduceMean", ["x"], ["y"], {"axes": [2, 3]})])
    squeeze_to_global_average_pool(model)
    assert operators(model) == ["GlobalAveragePool"]


def test_axes_of_a_constant_node(graph_of, run_onnx):
    axes = numpy_helper.from_array(np.array([2, 3]), "axes")
    model = graph_of([("Constant", [], ["axes"], {"value": axes}), ("ReduceMean", ["x", "axes"], ["y"])], opset=18)
    before = run_onnx(model, IMAGES)[0]
    assert squeeze_to_global_average_pool(model) == 1
    np.testing.assert_allclose(run_onnx(model, IMAGES)[0], before, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("axes", [[1], [2], [1, 2], [1, 2, 3], [0, 1]])
def test_another_mean_is_left_alone(graph_of, axes):
    model = graph_of([("ReduceMean", ["x"], ["y"], {"axes": axes})])
    assert squeeze_to_global_average_pool(model) == 0
    assert operators(model) == ["ReduceMean"]


@pytest.mark.parametrize(("shape", "axes"), [(("batch", 4, 5), [1, 2]), (("batch", 3, 4, 5, 6), [2, 3]),
                                             (("batch", 3, 4, 5, 6), [3, 4])])
def test_a_mean_of_another_rank_is_left_alone(graph_of, shape, axes):
    model = graph_of([("ReduceMean", ["x"], ["y"], {"axes": axes})], x=shape)
    assert squeeze_to_global_average_pool(model) == 0


def test_a_mean_over_everything_is_left_alone(graph_of):
    assert squeeze_to_global_average_pool(graph_of([("ReduceMean", ["x"], ["y"], {"keepdims": 0})])) == 0


def test_a_mean_behind_a_computed_reshape_becomes_a_pool(graph_of, run_onnx):
    """What torch's older exporter writes of `x.view(b, c, ...)` with a dynamic batch."""
    nodes = [("Shape", ["x"], ["shape"]), ("Gather", ["shape", "zero"], ["batch"], {"axis": 0}),
             ("Concat", ["batch", "rest"], ["target"], {"axis": 0}), ("Reshape", ["x", "target"], ["r"]),
             ("ReduceMean", ["r"], ["y"], {"axes": [2, 3]})]
    model = graph_of(nodes, {"zero": np.array([0]), "rest": np.array([3, 8, 8])})
    before = run_onnx(model, IMAGES)[0]
    del model.graph.value_info[:]
    assert squeeze_to_global_average_pool(model) == 1
    np.testing.assert_allclose(run_onnx(model, IMAGES)[0], before, rtol=1e-5, atol=1e-6)


def test_traces_of_the_exporter_are_stripped(graph_of):
    model = graph_of([("Relu", ["x"], ["y"])])
    model.doc_string = model.graph.doc_string = model.graph.node[0].doc_string = "/home/me/net.py"
    model.graph.node[0].metadata_props.add(key="stack_trace", value="/home/me/net.py")
    model.graph.input[0].doc_string = "/home/me/net.py"
    strip_traces(model)
    assert b"/home/me" not in model.SerializeToString()


def test_unused_constants_are_dropped_and_used_ones_kept(graph_of):
    model = graph_of([("Add", ["x", "used"], ["y"])], {"used": np.float32([1]), "unused": np.float32([1])})
    remove_unused_initializers(model)
    assert [item.name for item in model.graph.initializer] == ["used"]


def test_constants_that_are_also_declared_as_inputs_do_not_become_inputs(graph_of):
    """Old exporters list every constant among the graph's inputs, unused ones (batch counts) too."""
    model = graph_of([("Add", ["x", "used"], ["y"])], {"used": np.float32([1]), "unused": np.float32([1])})
    for name in ("used", "unused"):
        model.graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]))
    assert OnnxModel.of(model).input_name == "x"
    assert OnnxModel.of(prepare(model)).input_name == "x"


def test_nodes_are_sorted_and_otherwise_as_they_were(graph_of):
    model = graph_of([("Relu", ["x"], ["a"]), ("Relu", ["x"], ["b"]), ("Add", ["a", "b"], ["y"])])
    order = [2, 1, 0]
    shuffled = [model.graph.node[position] for position in order]
    del model.graph.node[:]
    model.graph.node.extend(shuffled)
    sort_topologically(model)
    assert [node.output[0] for node in model.graph.node] == ["b", "a", "y"]


def test_prepare_refuses_an_invalid_graph(graph_of):
    model = graph_of([("Relu", ["x"], ["y"])])
    model.graph.node[0].op_type = "Rleu"
    with pytest.raises(ModelError, match="not a valid ONNX graph") as error:
        prepare(model)
    assert "\n" not in str(error.value)


def test_prepare_refuses_shapes_that_contradict_each_other(graph_of):
    model = graph_of([("MatMul", ["x", "w"], ["y"])], {"w": np.zeros((5, 4), np.float32)})
    with pytest.raises(ModelError, match="not a valid ONNX graph"):
        prepare(model)


def test_prepare_infers_the_shapes_that_counting_needs(graph_of):
    model = graph_of([("Conv", ["x", "w"], ["c"]), ("Relu", ["c"], ["y"])], {"w": np.zeros((4, 3, 3, 3), np.float32)})
    del model.graph.value_info[:]
    shapes = {value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
              for value in prepare(model).graph.value_info}
    assert shapes["c"][1:] == [4, 6, 6]
    onnx.checker.check_model(model)


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [1, 2, 0]])
def test_a_node_is_in_use_wherever_it_lies(graph_of, order):
    """As converters leave them: onnxruntime sorts them before it runs them."""
    model = graph_of([("Neg", ["x"], ["a"]), ("Relu", ["a"], ["b"]), ("Abs", ["b"], ["y"]), ("Exp", ["a"], ["unread"])])
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([nodes[3], *(nodes[position] for position in order)])
    remove_unused_nodes(model)
    assert operators(model) == [("Neg", "Relu", "Abs")[position] for position in order]


def branch(*nodes, result):
    return helper.make_graph([helper.make_node(*node[:3], **dict(*node[3:])) for node in nodes], "branch", [],
                             [helper.make_tensor_value_info(result, TensorProto.FLOAT, None)])


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_what_a_branch_reads_is_in_use(graph_of, run_onnx, depth):
    """`doubled` and `offset` are read by branches alone, within branches of branches."""
    inner = branch(("Add", ["doubled", "offset"], ["sum0"]), result="sum0")
    for level in range(1, depth):
        inner = branch(("If", ["yes"], [f"sum{level}"], {
            "then_branch": inner, "else_branch": branch(("Identity", ["doubled"], ["other"]), result="other")}),
            result=f"sum{level}")
    model = graph_of([
        ("Add", ["x", "x"], ["doubled"]), ("Neg", ["doubled"], ["nobody reads it"]),
        ("If", ["yes"], ["y"], {"then_branch": inner, "else_branch": branch(
            ("Identity", ["x"], ["same"]), result="same")})],
        {"yes": np.array(True), "offset": np.float32(1), "unused": np.float32(2)})
    before = run_onnx(model, IMAGES)[0]
    remove_unused_nodes(model)
    remove_unused_initializers(model)
    assert operators(model) == ["Add", "If"]
    assert [tensor.name for tensor in model.graph.initializer] == ["yes", "offset"]
    np.testing.assert_array_equal(run_onnx(model, IMAGES)[0], before)
