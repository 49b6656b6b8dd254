"""Valid graphs that say it in other words: left-out zero points, scales of other ranks, constants behind nodes."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_se.graph.rewrites import sort_topologically
from edge_se.quantization.lint.qdq import QdqView
from edge_se.quantization.lint.table import RULES

NEAR = 60  # decibels


def findings(name, proto):
    return list(RULES[name].find(QdqView(proto)))


def replaced(proto, name, value):
    """`proto` with another value of an initializer."""
    next(tensor for tensor in proto.graph.initializer if tensor.name == name).CopyFrom(
        numpy_helper.from_array(np.asarray(value), name))
    return proto


def pair_of_channels(own, name, points, scale=0.02, *, kind=np.uint8, restored=None):
    """A pair with a scale for each of 3 channels, `points` None for none; `restored` are the points of its DQ."""
    told = [own.constant(f"{name}_scale", np.full(3, scale, np.float32))]
    points = [None if own_points is None else own.constant(f"{name}_{which}", np.full(3, own_points, kind))
              for which, own_points in (("q_zero", points), ("dq_zero", points if restored is None else restored))]
    own.add("QuantizeLinear", [name, *told, *filter(None, points[:1])], f"{name}_q", axis=1)
    return own.add("DequantizeLinear", [f"{name}_q", *told, *filter(None, points[1:])], f"{name}_dq", axis=1)


def without_weights_point(of):
    own = of.graph()
    integers = own.random.integers(0, 9, (4, 3, 1, 1)).astype(np.uint8)
    weights = own.add("DequantizeLinear", [own.constant("w", integers), own.constant("s", np.full(4, .01, np.float32))],
                      "w_dq", axis=0)
    return own.model(own.add("Conv", [own.pair("x", 0.02, 128), weights], "layer"))


def channels(of, *points, **changes):
    own = of.graph()
    return own.model(pair_of_channels(own, "x", *points, **changes))


@pytest.mark.parametrize(("rule", "make"), [
    ("zero-point-left-out", lambda of: channels(of, None)),
    ("uint8-weights", without_weights_point),
    ("zero-point-refused", lambda of: channels(of, 128)),
    ("zero-point-refused", lambda of: channels(of, 128, restored=130)),
    ("zero-point-refused", lambda of: channels(of, 128, restored=0)),
])
def test_a_repair_gives_each_scale_and_each_node_its_own_zero_point(rule, make, of, images):
    proto = make(of)
    before = of.run(proto, images, optimized=False)
    assert RULES[rule].repair(proto) == 1
    onnx.checker.check_model(proto, full_check=True)
    assert np.allclose(of.run(proto, images, optimized=False), before, atol=1e-5)


@pytest.mark.parametrize(("rule", "points"), [("zero-point-left-out", None), ("unsigned-read-as-int8", 0)])
def test_scales_for_channels_are_read_as_int8_too(rule, points, of, images):
    proto = channels(of, points)
    assert findings(rule, proto)
    RULES[rule].computed(proto)
    onnx.checker.check_model(proto, full_check=True)
    assert of.run(proto, 9 * np.abs(images), optimized=False).max() == pytest.approx(127 * 0.02)


@pytest.mark.parametrize(("opset", "told"), [(19, {}), (23, {}), (23, {"output_dtype": TensorProto.FLOAT})])
def test_fp16_scales_of_integers_that_fp16_does_not_hold(opset, told, of):
    """Each integer times its scale fits; the integer alone would be infinite."""
    integers = np.array([70_000, -200_000, 3, 0, 0, 0, 0, 0], np.int32)
    own = of.graph(half=True, opset=19)
    proto = own.model(own.add("Add", ["x", own.add("DequantizeLinear", [
        own.constant("b", integers), own.constant("s", np.float16(0.001))], "bd")], "sum"))
    proto.graph.node[0].attribute.extend(helper.make_attribute(*item) for item in told.items())
    proto.opset_import[0].version = opset
    assert RULES["int32-bias"].repair(proto) == 1
    value = QdqView(proto).constant(next(node for node in proto.graph.node if node.op_type == "Add").input[1])
    assert value.dtype == (np.float32 if told else np.float16)
    np.testing.assert_allclose(value.astype(np.float64), integers * float(np.float16(0.001)), rtol=1e-3)


def test_integers_with_scales_along_an_inner_axis_are_left(of, images):
    own = of.graph()
    told = [own.constant("b", np.arange(3, dtype=np.int32).reshape(1, 3, 1, 1)),
            own.constant("s", np.float32([1, 2, 3]))]
    proto = own.model(own.add("Add", ["x", own.add("DequantizeLinear", told, "bd", axis=1)], "sum"))
    before = of.run(proto, images)
    assert RULES["int32-bias"].repair(proto) == 0
    assert np.array_equal(of.run(proto, images), before)


def one_scale(proto):
    del next(node for node in proto.graph.node if node.output[0] == "b_dq").attribute[:]
    return replaced(replaced(proto, "b_scale", np.float32(0.005)), "b_zero", np.int32(0))


@pytest.mark.parametrize("change", [lambda proto: proto, one_scale], ids=["scales for channels", "one scale"])
def test_a_gemms_bias_of_another_scale_of_any_shape(change, of, images):
    proto = change(of.layer("Gemm", bias="int32", bias_scale=0.005, step=np.linspace(0.01, 0.02, 8)))
    optimized = of.run(proto, images)
    assert findings("gemm-bias-scale", proto)
    RULES["gemm-bias-scale"].computed(proto)
    onnx.checker.check_model(proto, full_check=True)
    assert of.decibels(of.run(proto, images, optimized=False), optimized) > NEAR


@pytest.mark.parametrize("size", [16, 64])
def test_weights_in_blocks_have_no_scale_for_a_channel(size, of):
    own = of.graph(opset=21)
    data = own.pair(own.add("Flatten", [own.pair("x", 0.02, 128)], "flat"), 0.02, 128)
    told = [own.constant("w", np.ones((8, 192), np.int8)),
            own.constant("ws", np.full((8, 192 // size), 0.01, np.float32))]
    weights = own.add("DequantizeLinear", told, "w_dq", axis=1, block_size=size)
    bias = own.weights("b", np.ones(8, np.int32), np.full(8, 0.005))
    assert not findings("gemm-bias-scale", own.model(own.add("Gemm", [data, weights, bias], "layer", transB=1)))


def empty(of, spelling):
    """A Gemm of 8 x 8 whose output 5 has no weights and a bias in coarse steps, and input 2 has none either."""
    own = of.graph()
    data = own.pair(own.add("Reshape", ["x", own.constant("shape", np.array([24, 8]))], "rows"), 0.02, 128)
    integers = np.ones((8, 8), np.int64)
    integers[5], integers[:, 2] = 0, 0
    step = np.where(np.arange(8) == 5, 1, 0.001)
    if spelling == "transposed":
        told = [own.constant("w", integers.T.astype(np.int8)), own.constant("ws", step.astype(np.float32))]
        weights = own.add("DequantizeLinear", told, "w_dq", axis=1)
    elif spelling == "unsigned":
        weights = own.weights("w", (integers + 128).astype(np.uint8), step, 128)
    else:
        floats = own.constant("w", (integers * step[:, None]).astype(np.float32))
        told = [own.constant("ws", step.astype(np.float32)), own.constant("wz", np.full(8, 3, np.int8))]
        own.add("QuantizeLinear", [floats, *told], "w_q", axis=0)
        weights = own.add("DequantizeLinear", ["w_q", *told], "w_dq", axis=0)
    bias = own.weights("b", np.full(8, 7, np.int32), 0.02 * step)
    return own.model(own.add("Gemm", [data, weights, bias], "layer", transB=int(spelling != "transposed")))


@pytest.mark.parametrize("spelling", ["transposed", "unsigned", "floats"])
def test_an_empty_channel_is_found_however_its_weights_are_written(spelling, of):
    told = findings("empty-channel-bias", empty(of, spelling))
    assert [item.detail[:44] for item in told] == ["1 channel without weights (the first is 5) w"]


def test_groups_are_found_where_weights_are_floats_behind_a_pair(of):
    own = of.graph()
    weights = own.pair(own.constant("w", np.ones((6, 1, 3, 3), np.float32)), 0.01, 0, np.int8)
    proto = own.model(own.add("Conv", [own.pair("x", 0.02, 0), weights], "layer", group=3))
    assert [item.detail for item in findings("narrow-groups", proto)] == ["3 groups of 1 channel, 6 outputs"]


def softmax(of, scale, point, kind):
    own = of.graph(opset=21)
    tokens = own.add("Reshape", ["x", own.constant("shape", np.array([1, 1, 192]))], "tokens")
    return own.model(own.pair(own.add("Softmax", [own.pair(tokens, 0.01, 128)], "attention"), scale, point, kind))


@pytest.mark.parametrize(("scale", "point", "kind", "broken"), [
    (0.007 / 255, 0, np.uint8, True), (0.007 / 255, -128, np.int8, True), (0.007 / 127, 0, np.int8, True),
    (0.1 / 127, 0, np.int8, False), (0.1 / 65535, 0, np.uint16, False)])
def test_the_largest_probability_is_that_of_the_type(scale, point, kind, broken, of):
    told = [item.detail for item in findings("uniform-softmax", softmax(of, scale, point, kind))]
    assert told == ["its largest probability over 192 tokens is 0.007"] * broken


@pytest.mark.parametrize(("kind", "broken"), [(np.uint8, True), (np.int8, True), (np.uint16, False), (np.int16, False)])
def test_products_are_those_of_eight_bits(kind, broken, of):
    own = of.graph(opset=21)
    left = own.pair("x", 0.02, 0, kind)
    right = own.pair(own.add("Transpose", ["x"], "turned", perm=[0, 1, 3, 2]), 0.02, 0, kind)
    assert bool(findings("attention-products", own.model(own.add("MatMul", [left, right], "scores")))) is broken


@pytest.mark.parametrize(("first", "second", "broken"), [
    (np.float32(0.02), np.float32([0.02]), False), (np.float32([0.02]), np.float32(0.02), False),
    (np.float32([0.02]), np.float32(0.03), True)])
def test_a_scale_of_one_number_is_the_same_step_in_every_rank(first, second, broken, of):
    own = of.graph()
    proto = own.model(own.pair(own.pair("x", 0.02, 128), 0.02, 128, own="again"))
    for name, scale in (("x", first), ("again", second)):
        replaced(proto, f"{name}_scale", scale)
        replaced(proto, f"{name}_zero", np.full(np.shape(scale), 128, np.uint8))
    assert bool(findings("quantized-twice", proto)) is broken


def several_twins(of, names):
    own = of.graph()
    made = own.pair("x", 0.02, 0, np.int8)
    for name in names:
        made = own.add("Add", [made, own.pair("x", 0.02, 0, np.int8, own=name)], f"{name}_sum")
    return own.model(made)


@pytest.mark.parametrize("names", ["a", "ab", "abc"])
def test_all_twins_are_told_apart(names, of, images):
    proto = several_twins(of, names)
    before = of.run(proto, images, optimized=False)
    assert RULES["twin-pairs"].repair(proto) == len(names) and not findings("twin-pairs", proto)
    assert np.array_equal(of.run(proto, images, optimized=False), before)


def test_a_twin_that_has_the_first_axis_gets_another(of):
    proto = several_twins(of, "ab")
    for name in ("x_q", "a_q", "b_q"):
        next(node for node in proto.graph.node if node.output[0] == name).attribute.append(
            helper.make_attribute("axis", 0))
    RULES["twin-pairs"].repair(proto)
    assert not findings("twin-pairs", proto)
    onnx.checker.check_model(proto, full_check=True)


@pytest.mark.parametrize("rule", ["twin-pairs", "float-weights-quantized"])
def test_below_opset_13_no_pair_gets_an_axis(rule, of):
    own = of.graph(opset=12)
    weights = own.random.normal(size=(4, 3, 1, 1)).astype(np.float32)
    weights[0] *= 1000
    layer = own.add("Conv", [own.pair("x", 0.02, 128), own.constant("w", weights)], "layer")
    own.pair("x", 0.02, 128, own="twin")
    proto = own.model(own.add("Concat", [own.pair(layer, 0.05, 128), "twin_dq"], "joined", axis=1))
    assert findings(rule, proto) and RULES[rule].repair(proto) == 0
    onnx.checker.check_model(proto, full_check=True)


def moved(proto, name, operator, **attributes):
    """The initializer `name` behind a node, as torch's exporter leaves equal constants and types of zero points."""
    for node in proto.graph.node:
        node.input[:] = [f"{own}_moved" if own == name else own for own in node.input]
    proto.graph.node.add().CopyFrom(helper.make_node(operator, [name], [f"{name}_moved"], **attributes))
    sort_topologically(proto)
    return proto


@pytest.mark.parametrize(("name", "operator", "attributes"), [
    ("x_zero", "Identity", {}), ("x_scale", "Identity", {}), ("w", "Identity", {}),
    ("x_zero", "Cast", {"to": TensorProto.UINT8})])
def test_constants_behind_nodes_are_constants(name, operator, attributes, of, images):
    plain = of.layer()
    proto = moved(of.layer(), name, operator, **attributes)
    onnx.checker.check_model(proto, full_check=True)
    for rule in RULES:
        assert findings(rule, proto) == findings(rule, plain)
    before = of.run(proto, images, optimized=False)
    assert RULES["zero-point-refused"].repair(proto) and not findings("zero-point-refused", proto)
    assert np.allclose(of.run(proto, images, optimized=False), before, atol=1e-5)
