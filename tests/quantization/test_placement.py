"""Which nodes run in INT8, per target and placement, and which input of an Add is the shortcut."""

import numpy as np
import pytest

from edge_se.core.errors import EdgeSeError
from edge_se.graph.counting import macs_by_node
from edge_se.quantization.excitations import find_excitations
from edge_se.quantization.placement import (
    PLACEMENTS,
    default_placement,
    ends,
    means_of_powers,
    place,
    residual_inputs,
    sums,
    sums_of_parts,
)
from edge_se.quantization.targets import TARGETS, WEIGHTED, target_of
from edge_se.quantization.units import units_of

CPU, TENSORRT = TARGETS["cpu"], TARGETS["tensorrt"]
W = {"w": np.ones((3, 3, 1, 1), np.float32)}
LONG = [("Conv", ["x", "w"], ["a"]), ("Relu", ["a"], ["b"]), ("Conv", ["b", "w"], ["c"])]
PROJECTED = ("Conv", ["x", "w"], ["p"])


@pytest.mark.parametrize(("nodes", "expected"), [
    ([*LONG, ("Add", ["c", "x"], ["y"])], [("y", "x")]),
    ([*LONG, ("Add", ["x", "c"], ["y"])], [("y", "x")]),
    ([*LONG, PROJECTED, ("Add", ["c", "p"], ["y"])], [("y", "p")]),
    ([PROJECTED, *LONG, ("Add", ["p", "c"], ["y"])], [("y", "p")]),
    ([*LONG, ("Add", ["c", "w"], ["y"])], []),
    ([*LONG, ("Add", ["c", "x"], ["m"]), ("Relu", ["m"], ["r"]), ("Conv", ["r", "w"], ["d"]),
      ("Add", ["d", "r"], ["y"])], [("m", "x"), ("y", "r")]),
])
def test_the_residual_input_is_the_shorter_branch(graph_of, nodes, expected):
    assert residual_inputs(graph_of(nodes, W)) == expected


def test_the_residual_inputs_of_a_net_are_its_shortcuts(tiny_onnx):
    producer = {node.output[0]: node for node in tiny_onnx.proto.graph.node}
    found = [(producer[output].op_type, producer[name].op_type) for output, name in
             residual_inputs(tiny_onnx.proto)]
    assert found == [("Add", "Relu"), ("Add", "Conv"), ("Add", "Conv"), ("Add", "Conv")]
    assert all(producer[name].op_type == "Relu" or "downsample" in producer[name].input[1]
               for _, name in residual_inputs(tiny_onnx.proto))


@pytest.mark.parametrize("attention", ["se", "pre", "post", "identity", "double_fc", "folded"])
def test_the_residual_input_is_the_shortcut_whatever_is_gated(family_onnx, attention):
    proto = family_onnx(attention).proto
    producer = {node.output[0]: node for node in proto.graph.node}
    found = residual_inputs(proto)
    assert len(found) == 4
    for _, name in found[1:]:  # the first shortcut is the identity
        node = producer[name]
        if attention == "identity":  # the scaled shortcut
            assert node.op_type == "Mul"
            node = producer[next(read for read in node.input if producer[read].op_type == "Conv")]
        assert "downsample" in node.input[1]


def test_an_add_inside_an_excitation_has_no_shortcut(graph_of):
    excitation = [("GlobalAveragePool", ["x"], ["s"]), ("Conv", ["s", "w"], ["a"]), ("Relu", ["a"], ["b"]),
            ("Add", ["a", "b"], ["ab"]), ("Conv", ["ab", "w"], ["c"]), ("Sigmoid", ["c"], ["g"]),
            ("Mul", ["x", "g"], ["xg"])]
    model = graph_of([*excitation, ("Conv", ["xg", "w"], ["d"]), ("Add", ["d", "xg"], ["y"])], W)
    assert len(find_excitations(model)) == 1
    assert residual_inputs(model) == [("y", "xg")]


def float_nodes(model, placement):
    """By the name of their first output."""
    nodes = [] if placement == "all" else [name for excitation in find_excitations(model) for name in excitation.inner]
    if placement == "sums-float":
        nodes += sums(model)
    if placement in ("ends-float", "sums-float"):
        nodes += [node.output[0] for node in model.graph.node if "images" in node.input]
        nodes += [node.output[0] for node in model.graph.node][-3:]  # pool, flatten, linear
    return set(nodes)


@pytest.mark.parametrize("target", [CPU, TENSORRT])
@pytest.mark.parametrize("name", PLACEMENTS)
def test_plans(tiny_onnx, target, name):
    plan = place(tiny_onnx.proto, target, name)
    assert plan.name == name
    assert set(plan.float_nodes) == float_nodes(tiny_onnx.proto, name)
    expected = set(WEIGHTED) if target is TENSORRT else set(target.operators)
    if target is CPU and name == "conv-only":
        expected = {*WEIGHTED, "Relu", "Clip"}
    assert set(plan.operators) == expected
    assert len(plan.residual_inputs) == (4 if target is TENSORRT and name != "conv-only" else 0)


def test_the_default_leaves_the_ends_in_float_where_they_are_cheap(tiny_onnx, graph_of):
    chosen = default_placement(tiny_onnx.proto)
    macs = macs_by_node(tiny_onnx.proto)
    share = sum(macs.get(name, 0) for name in ends(tiny_onnx.proto)) / sum(macs.values())
    assert chosen == ("ends-float" if share <= 0.01 else "se-float")
    assert place(tiny_onnx.proto, CPU) == place(tiny_onnx.proto, CPU, chosen)
    one_layer = graph_of([("Conv", ["x", "w"], ["y"])], W)
    assert default_placement(one_layer) == "se-float"  # its end is all there is


def test_the_ends_are_the_first_layer_and_everything_from_the_last_pool_on(tiny_onnx):
    producer = {node.output[0]: node for node in tiny_onnx.proto.graph.node}
    assert [producer[name].op_type for name in ends(tiny_onnx.proto)] == ["Conv", "Gemm", "Flatten",
                                                                          "GlobalAveragePool"]


@pytest.mark.parametrize("power", [("Pow", ["c", "p"], ["powers"]), ("Mul", ["c", "c"], ["powers"]),
                                   ("Exp", ["c"], ["powers"])])
@pytest.mark.parametrize("name", [name for name in PLACEMENTS if name != "conv-only"])
def test_a_mean_of_powers_stays_float_in_every_placement_and_is_no_unit(graph_of, power, name):
    model = graph_of([("Conv", ["x", "w"], ["a"]), ("GlobalAveragePool", ["a"], ["b"]), ("Mul", ["a", "b"], ["c"]),
                      power, ("GlobalAveragePool", ["powers"], ["mean"]), ("Pow", ["mean", "q"], ["e"]),
                      ("Flatten", ["e"], ["f"]), ("Gemm", ["f", "g"], ["y"])],
                     W | {"p": np.float32(3), "q": np.float32(1 / 3), "g": np.ones((3, 10), np.float32)})
    assert means_of_powers(model) == ["mean"]
    for target in TARGETS.values():
        assert "mean" in place(model, target, name).float_nodes and "b" not in place(model, target, name).float_nodes
        assert not any("mean" in unit.nodes for unit in units_of(model, target))
    assert any("b" in unit.nodes for unit in units_of(model, CPU))


def test_sums_of_parts_of_one_tensor_stay_float_and_shortcuts_do_not(graph_of):
    parts = [("Conv", ["x", "w"], ["a"]), ("Transpose", ["a"], ["t"], {"perm": [0, 1, 3, 2]}),
             ("Gather", ["t", "zero"], ["t0"], {"axis": 3}), ("Gather", ["t", "one"], ["t1"], {"axis": 3}),
             ("Add", ["t0", "t1"], ["two"]), ("Gather", ["a", "one"], ["a1"], {"axis": 3}),
             ("Add", ["two", "a1"], ["three"]), ("Conv", ["a", "w"], ["b"]), ("Add", ["b", "a"], ["shortcut"]),
             ("Gather", ["shortcut", "zero"], ["s0"], {"axis": 3}), ("Add", ["s0", "three"], ["twice"]),
             ("Add", ["twice", "twice"], ["y"])]
    model = graph_of(parts, W | {"zero": np.int64([0]), "one": np.int64([1])})
    assert sums_of_parts(model) == ["two", "three"], "parts of two tensors are a shortcut"
    assert {"two", "three"} <= set(place(model, CPU, "all").float_nodes)
    assert "shortcut" not in place(model, CPU, "all").float_nodes
    assert {"shortcut", "twice", "y"} <= {node for unit in units_of(model, CPU) for node in unit.nodes}
    assert not {"two", "three"} & {node for unit in units_of(model, CPU) for node in unit.nodes}


def test_a_plain_net_has_no_excitations_to_leave_in_float(tiny_plain_onnx):
    assert place(tiny_plain_onnx.proto, CPU, "se-float").float_nodes == ()


def test_unknown_names(tiny_onnx):
    with pytest.raises(EdgeSeError, match=r"--placement: unknown placement 'se-floot'; did you mean 'se-float'\?"):
        place(tiny_onnx.proto, CPU, "se-floot")
    with pytest.raises(EdgeSeError, match=r"--target: unknown target 'tensort'; did you mean 'tensorrt'\?"):
        target_of("tensort")
    assert target_of("cpu") is CPU


TOKENS = {"w": np.ones((3, 3), np.float32), "flat": np.array([0, 3, -1])}
HEADS = [("Reshape", ["x", "flat"], ["t"]), ("Transpose", ["t"], ["k"], {"perm": [0, 2, 1]}),
         ("MatMul", ["k", "t"], ["scores"]), ("Softmax", ["scores"], ["attention"], {"axis": -1}),
         ("MatMul", ["attention", "k"], ["mixed"]), ("MatMul", ["mixed", "w"], ["z"])]


@pytest.mark.parametrize("name", PLACEMENTS)
@pytest.mark.parametrize("target", TARGETS)
def test_products_of_attention_and_softmax_are_float(graph_of, target, name):
    model = graph_of([*HEADS, ("Add", ["z", "k"], ["y"])], TOKENS)
    plan = place(model, TARGETS[target], name)
    assert [unit.nodes for unit in units_of(model, TARGETS[target]) if unit.kind == "layer"] == [("z",)]
    assert {"scores", "attention", "mixed"} <= set(plan.float_nodes)
    # A product with a constant is a layer like any.
    assert ("z" in plan.float_nodes) == (name in ("ends-float", "sums-float"))


@pytest.mark.parametrize("target", ["cpu", "litert"])
def test_a_product_that_weighs_by_a_softmax_is_float(graph_of, target):
    model = graph_of([("Conv", ["x", "w"], ["u"]), ("Softmax", ["u"], ["s"], {"axis": 1}),
                      ("Split", ["s", "parts"], ["a", "b"], {"axis": 2}), ("Reshape", ["b", "flat"], ["c"]),
                      ("Mul", ["a", "u"], ["m"]), ("Mul", ["c", "n"], ["o"]), ("Mul", ["u", "n"], ["y"])],
                     {"w": np.ones((4, 3, 1, 1), np.float32), "parts": np.array([4, 4]), "flat": np.array([0, -1, 4]),
                      "n": np.ones((1, 1), np.float32)})
    assert set(place(model, TARGETS[target], "all").float_nodes) == {"s", "m", "o"}


@pytest.mark.parametrize("branch", [[("Conv", ["u", "w"], ["b"])],
                                    [("Conv", ["u", "w"], ["c"]), ("Relu", ["c"], ["b"])]])
def test_a_branch_that_ends_in_a_convolution_has_a_residual_input(graph_of, branch):
    nodes = [("Conv", ["x", "w"], ["u"]), *branch, ("Add", ["b", "u"], ["y"])]
    assert residual_inputs(graph_of(nodes, W)) == [("y", "u")]


@pytest.mark.parametrize("branch", [HEADS[:3], HEADS, [*HEADS, ("Relu", ["z"], ["r"])]])
def test_the_residual_stream_of_a_transformer_is_not_quantized(graph_of, branch):
    nodes = [*branch, ("Add", [branch[-1][2][0], "bias"], ["b"]), ("Add", ["b", "k"], ["y"])]
    assert residual_inputs(graph_of(nodes, TOKENS | {"bias": np.ones(1, np.float32)})) == []
