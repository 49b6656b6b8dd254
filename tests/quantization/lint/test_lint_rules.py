"""Each rule is broken by one file and held by its like. What runtimes make of these files: test_lint_proofs.py."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from edge_se.core.errors import EdgeSeError
from edge_se.graph.metadata import ModelMetadata, write_metadata
from edge_se.graph.onnx_model import OnnxModel
from edge_se.quantization.lint.base import FAULTS, KINDS, RUNTIMES
from edge_se.quantization.lint.qdq import QdqView
from edge_se.quantization.lint.table import RULES, rules_for, runtimes_for
from edge_se.quantization.placement import narrow_groups

EMPTY = np.ones((8, 3, 3, 3), np.int8)
EMPTY[2] = 0
SMALL = np.random.default_rng(2).integers(-2, 3, (8, 3, 3, 3)).astype(np.int8)
SIGNED = (np.int8, 0.05, 0)


def float_weights(of, ratio):
    """A convolution with float weights between pairs; one channel's are `ratio` times the others'."""
    own = of.graph()
    weights = own.random.normal(size=(4, 3, 3, 3)).astype(np.float32)
    weights[0] *= ratio
    data = own.pair("x", 0.02, 128)
    return own.model(own.pair(own.add("Conv", [data, own.constant("w", weights)], "layer", pads=[1] * 4), 0.05, 128))


def concat(of, kind):
    own = of.graph()
    branches = []
    for name in ("a", "b"):
        integers = own.random.integers(-127, 128, (8, 3, 1, 1)).astype(np.int8)
        branches.append(own.add("Conv", ["x", own.weights(f"{name}w", integers, np.full(8, 0.003))], name))
    data = own.pair(own.add("Concat", branches, "joined", axis=1), 0.02, 0 if kind is np.int8 else 128, kind)
    integers = own.random.integers(-127, 128, (4, 16, 1, 1)).astype(np.int8)
    return own.model(own.add("Conv", [data, own.weights("w", integers, np.full(4, 0.003))], "layer"))


def gathered(of, kind, zero=0):
    own = of.graph()
    order = own.constant("order", np.array([2, 0, 1]))
    data = own.pair(own.add("Gather", [own.add("Relu", ["x"], "r"), order], "ordered", axis=1), 0.02, zero, kind)
    integers = own.random.integers(-127, 128, (4, 3, 1, 1)).astype(np.int8)
    return own.model(own.add("Conv", [data, own.weights("w", integers, np.full(4, 0.003))], "layer"))


def softmax(of, largest):
    own = of.graph()
    tokens = own.add("Reshape", ["x", own.constant("shape", np.array([1, 1, 192]))], "tokens")
    attended = own.add("Softmax", [own.pair(tokens, 0.01, 128)], "attention", axis=-1)
    return own.model(own.pair(attended, largest / 255, 0))


def products(of, computed):
    own = of.graph()
    tokens = own.add("Reshape", ["x", own.constant("shape", np.array([1, 3, 64]))], "tokens")
    left = own.pair(tokens, 0.02, 128)
    right = own.pair(own.add("Transpose", [tokens], "turned", perm=[0, 2, 1]), 0.02, 128) if computed else \
        own.weights("w", own.random.integers(-127, 128, (64, 3)).astype(np.int8), np.full(64, 0.01))
    return own.model(own.add("MatMul", [left, right], "scores"))


def twins(of, scale):
    own = of.graph()
    first, second = own.pair("x", 0.02, 0, np.int8), own.pair("x", scale, 0, np.int8, own="shortcut")
    integers = own.random.integers(-127, 128, (3, 3, 1, 1)).astype(np.int8)
    layer = own.add("Conv", [first, own.weights("w", integers, np.full(3, 0.01))], "layer")
    return own.model(own.add("Add", [layer, second], "sum"))


def twice(of, scale):
    own = of.graph()
    return own.model(own.pair(own.pair("x", 0.02, 128), scale, 128, own="again"))


def grouped(of, group):
    channels = 3 // group
    return of.layer(integers=np.ones((6, channels, 3, 3), np.int8), attributes={"group": group, "pads": [1] * 4})


def pixels(of, scale):
    own = of.graph()
    return own.model(own.pair("x", scale, 128))


def narrowed(of, points, producer="pytorch"):
    own = of.graph()
    name = "x"
    for position, point in enumerate(points):
        name = own.add("Identity", [own.pair(name, 0.1, point, own=f"p{position}")], f"i{position}")
    proto = own.model(name)
    proto.producer_name = producer
    return proto


def sixteen(of, kind=np.uint16, point=0, relu=False):
    own = of.graph(opset=21)
    name = own.add("Relu", ["x"], "relu") if relu else "x"
    return own.model(own.pair(name, 5 / 65535, point, kind))


def padded(of, pool, value=None):
    """A Pad of two pixels in front of `pool`; its value is left out for None."""
    own = of.graph()
    told = [own.constant("pads", np.array([0, 0, 2, 2, 0, 0, 2, 2]))]
    told += [] if value is None else [own.constant("value", np.float32(value))]
    below = own.add("Sub", ["x", own.constant("far", np.float32(9))], "below")
    return own.model(own.add(pool, [own.add("Pad", [below, *told], "padded")], "pooled", kernel_shape=[3, 3],
                             pads=[0] * 4))


def averaged(of, point, between=(), pad=False):
    """An INT8 convolution of an average that counts two rows of zeros: its own, or those of a Pad."""
    own = of.graph()
    name = own.pair("x", 0.03, point)
    for operator, *inputs in between:
        name = own.add(operator, [name, *(own.constant("half", np.float32(half)) for half in inputs)], operator.lower())
    if pad:
        name = own.add("Pad", [name, own.constant("pads", np.array([0, 0, 2, 2, 0, 0, 2, 2]))], "padded")
    name = own.pair(own.add("AveragePool", [name], "mean", kernel_shape=[3, 3], count_include_pad=1,
                            pads=[0 if pad else 2] * 4), 0.03, point)
    integers = own.random.integers(-127, 128, (4, 3, 1, 1)).astype(np.int8)
    return own.model(own.add("Conv", [name, own.weights("w", integers, np.full(4, 0.003))], "layer"))


def reduced(of, kind, opset=17):
    """Scales its input by a reduction over the channels."""
    own = of.graph(opset=opset)
    name = own.pair(own.add("Exp", ["x"], "positive"), 0.05, 0)
    axes = {"axes": [1]} if opset < 18 else {}
    inputs = [name, *([] if axes else [own.constant("axes", np.array([1]))])]
    return own.model(own.add("Mul", [name, own.add(kind, inputs, "reduced", **axes)], "scaled"))


def pooled_tokens(of, keepdims, outputs=16):
    """The mean over four tokens of an INT8 product, in 8 bits; the matrix has `outputs` scales."""
    own = of.graph()
    tokens = own.add("Reshape", ["x", own.constant("shape", np.array([0, 4, 48]))], "tokens")
    matrix = own.add("DequantizeLinear", [
        own.constant("w", own.random.integers(-127, 128, (48, 16)).astype(np.int8)),
        own.constant("w_scale", np.float32(own.random.uniform(0.0005, 0.002, outputs)).squeeze()),
        own.constant("w_zero", np.zeros(outputs, np.int8).squeeze())], "w_dq", axis=1)
    product = own.add("MatMul", [own.pair(tokens, 0.03, 0, np.int8), matrix], "product")
    mean = own.add("ReduceMean", [own.add("Relu", [product], "positive")], "mean", axes=[1], keepdims=keepdims)
    return own.model(own.pair(mean, 0.005, 0))


def rounded_up(of, pads, up=1):
    """A MaxPool of windows of 2 x 2 over 8 x 8 integers, the mean of what it finds."""
    own = of.graph()
    pooled = own.add("MaxPool", [own.pair("x", 0.03, 128)], "largest", kernel_shape=[2, 2], strides=[2, 2], pads=pads,
                     ceil_mode=up)
    return own.model(own.add("GlobalAveragePool", [pooled], "mean"))


def unpointed(of, point):
    own = of.graph()
    return own.model(own.pair("x", 0.02, point, np.int8))


def of_opset(of, opset):
    proto = of.layer(opset=21)
    proto.opset_import[0].version = opset
    return proto


# rule -> (file that breaks it, its like that does not); each takes the functions of conftest.py
CASES = {
    "gemm-bias-scale": (lambda of: of.layer("Gemm", bias="int32", bias_scale=0.005),
                        lambda of: of.layer("Gemm", bias="int32")),
    "bias-beyond-fp16": (lambda of: of.layer(bias="int32", bias_value=np.full(8, 14.0)),
                         lambda of: of.layer(bias="int32", bias_value=np.full(8, 13.0))),
    "float-bias-rounded": (
        lambda of: of.layer(relu=True, behind=(np.int8, 0.03, 0), scale=0.5, step=0.1, integers=SMALL),
        lambda of: of.layer(relu=True, behind=None, scale=0.5, step=0.1, integers=SMALL)),
    "fp16-scales": (lambda of: of.layer(half=True, opset=19, step=1e-4), lambda of: of.layer(half=True, opset=19)),
    "empty-channel-bias": (
        lambda of: of.layer(bias="int32", integers=EMPTY, step=np.where(np.arange(8) == 2, 1, 0.001)),
        lambda of: of.layer(bias="int32", integers=EMPTY, step=0.001)),
    "int32-bias": (lambda of: of.layer(bias="int32"), lambda of: of.layer()),
    "float-weights-quantized": (lambda of: float_weights(of, 1000), lambda of: float_weights(of, 1)),
    "scales-along-inputs": (lambda of: of.product((64, 64), 0), lambda of: of.product((64, 64), 1)),
    "matrix-scales": (lambda of: of.product((64, 24), 0), lambda of: of.product((64, 24), 1)),
    "uint8-weights": (lambda of: of.layer(integers=np.full((8, 3, 3, 3), 200, np.uint8), weights_point=128),
                      lambda of: of.layer()),
    "unsigned-read-as-int8": (lambda of: of.layer(point=0), lambda of: of.layer(kind=np.int8, point=0)),
    "zero-point-left-out": (lambda of: unpointed(of, None), lambda of: unpointed(of, 0)),
    "zero-point-refused": (lambda of: of.layer(), lambda of: of.layer(kind=np.int8, point=0, behind=SIGNED)),
    "signed-behind-concat": (lambda of: concat(of, np.int8), lambda of: concat(of, np.uint8)),
    "gathered-channels": (lambda of: gathered(of, np.int8), lambda of: gathered(of, np.uint8, 1)),
    "zeros-before-pool": (lambda of: padded(of, "MaxPool"), lambda of: padded(of, "MaxPool", -0.0)),
    "lost-axes": (lambda of: reduced(of, "ReduceL1"), lambda of: reduced(of, "ReduceL2")),
    "dropped-axes": (lambda of: pooled_tokens(of, 0), lambda of: pooled_tokens(of, 1)),
    "window-of-padding": (lambda of: rounded_up(of, [0, 0, 1, 1]), lambda of: rounded_up(of, [1, 1, 1, 1])),
    "padded-average-pool": (lambda of: averaged(of, 128), lambda of: averaged(of, 0)),
    "sixteen-bits-without-relu": (sixteen, lambda of: sixteen(of, relu=True)),
    "sixteen-bits-slow": (sixteen, lambda of: twice(of, 0.02)),
    "uniform-softmax": (lambda of: softmax(of, 0.007), lambda of: softmax(of, 0.1)),
    "attention-products": (lambda of: products(of, True), lambda of: products(of, False)),
    "twin-pairs": (lambda of: twins(of, 0.02), lambda of: twins(of, 0.03)),
    "quantized-twice": (lambda of: twice(of, 0.03), lambda of: twice(of, 0.02)),
    "relu-in-front": (lambda of: of.layer(relu=True, behind=(np.uint8, 0.05, 0)),
                      lambda of: of.layer(relu=True, behind=SIGNED)),
    "narrow-groups": (lambda of: grouped(of, 3), lambda of: grouped(of, 1)),
    "pixels-on-ties": (lambda of: pixels(of, 2 / 255), lambda of: pixels(of, 2 / 254)),
    "narrowed-range-lost": (lambda of: narrowed(of, (64, 60, 0)), lambda of: narrowed(of, (64, 60, 128))),
    "opset-too-new": (lambda of: of_opset(of, 27), lambda of: of_opset(of, 26)),
    "opset-too-new-for-tensorrt": (lambda of: of_opset(of, 21), lambda of: of_opset(of, 20)),
}
CASES |= {"uint8-weights-refused": CASES["uint8-weights"], "wide-depthwise": CASES["narrow-groups"],
          "sixteen-bits-float": CASES["sixteen-bits-slow"], "sixteen-bits-refused": CASES["sixteen-bits-slow"]}


def findings(name, proto):
    return list(RULES[name].find(QdqView(proto)))


def test_every_rule_has_its_case():
    assert CASES.keys() == RULES.keys()


@pytest.mark.parametrize("name", RULES)
def test_a_rule_finds_what_breaks_it_and_not_its_like(name, of):
    broken, sound = (make(of) for make in CASES[name])
    told = findings(name, broken)
    nodes = {output for node in broken.graph.node for output in node.output}
    assert told and all(item.tensor in nodes and item.detail for item in told)
    assert not findings(name, sound)


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.name)
def test_a_rule_says_what_happens_where_and_what_to_do(rule):
    assert rule.kind in KINDS and rule.runtime in RUNTIMES and any(letter.isdigit() for letter in rule.versions)
    assert len(rule.instead) > 20 and len(rule.fix) > 15
    assert not rule.instead.endswith(".") and not rule.fix.endswith(".")


@pytest.mark.parametrize("name", [name for name, rule in RULES.items() if rule.repair])
def test_a_repair_holds_the_rule_and_changes_no_number(name, of, images):
    proto = CASES[name][0](of)
    before = of.run(proto, images, optimized=False)
    assert RULES[name].repair(proto) == len(findings(name, CASES[name][0](of)))
    onnx.checker.check_model(proto, full_check=True)
    assert not findings(name, proto)
    assert np.allclose(of.run(proto, images, optimized=False), before, atol=1e-5)
    assert RULES[name].repair(proto) == 0


@pytest.mark.parametrize("name", [name for name, rule in RULES.items() if rule.computed])
def test_what_a_runtime_computes_instead_is_a_valid_graph_with_other_numbers(name, of, images):
    proto = CASES[name][0](of)
    before = of.run(proto, 4 * images, optimized=False)
    RULES[name].computed(proto)
    onnx.checker.check_model(proto, full_check=True)
    assert not np.allclose(of.run(proto, 4 * images, optimized=False), before, atol=1e-5)


def test_names_of_targets_and_runtimes():
    assert runtimes_for(["cpu", "arm", "openvino"]) == ["onnxruntime", "openvino", "any"]
    assert runtimes_for(["tensorrt-fp16", "tools"]) == ["tensorrt", "tools", "any"]
    assert {rule.runtime for rule in rules_for(runtimes_for(["opencv"]))} == {"opencv", "any"}
    assert rules_for(runtimes_for(None)) == list(RULES.values())
    with pytest.raises(EdgeSeError, match="--for: unknown target or runtime 'tensort'; did you mean 'tensorrt'"):
        runtimes_for(["tensort"])


def test_weights_that_a_quantizer_left_as_floats_behind_a_pair(of):
    """ModelOpt's files: constant floats, QuantizeLinear, DequantizeLinear; those pairs are no activations."""
    own = of.graph()
    data = own.pair("x", 0.02, 0, np.int8)
    weights = own.pair(own.constant("w", np.ones((4, 3, 1, 1), np.float32)), 0.01, 0, np.uint8)
    proto = own.model(own.add("Conv", [data, weights], "layer"))
    assert not findings("unsigned-read-as-int8", proto)
    assert [item.node for item in findings("uint8-weights", proto)] == ["Conv node 'layer'"]


def test_scales_in_constant_nodes_and_types_in_attributes(of):
    own = of.graph(opset=21)
    for name, value in (("s", np.float32(0.02)), ("z", np.uint8(0))):
        own.add("Constant", [], name, value=numpy_helper.from_array(np.asarray(value)))
    own.add("QuantizeLinear", ["x", "s", "z"], "xq")
    own.add("DequantizeLinear", ["xq", "s", "z"], "first")
    own.add("QuantizeLinear", ["first", "s"], "yq", output_dtype=TensorProto.INT8)
    own.add("DequantizeLinear", ["yq", "s"], "second")
    proto = own.model("second")
    assert [item.tensor for item in findings("unsigned-read-as-int8", proto)] == ["xq"]
    assert not findings("zero-point-left-out", proto) and findings("zero-point-left-out", unpointed(of, None))


@pytest.mark.parametrize(("group", "shape"), [(3, (6, 1, 3, 3)), (3, (3, 1, 3, 3)), (2, (4, 2, 1, 1)),
                                              (2, (4, 5, 1, 1)), (1, (4, 3, 1, 1))])
def test_narrow_groups_are_those_that_our_targets_leave_in_float(group, shape, of, graph_of):
    float_graph = graph_of([("Conv", ["x", "w"], ["layer"], {"group": group})], {"w": np.ones(shape, np.float32)},
                           x=(1, group * shape[1], 8, 8), outputs=("layer",))
    own = of.graph()
    own.add("Conv", [own.pair("x", 0.02, 0), own.weights("w", np.ones(shape, np.int8), np.ones(shape[0]))], "layer",
            group=group)
    for name, most in (("narrow-groups", 4), ("wide-depthwise", 1)):
        proto = onnx.ModelProto(graph=onnx.GraphProto(node=own.nodes, initializer=[
            numpy_helper.from_array(value, name) for name, value in own.constants.items()]))
        assert [item.tensor for item in findings(name, proto)] == narrow_groups(float_graph, most)


def test_pixels_are_those_of_the_files_own_preprocessing(of):
    proto = pixels(of, 2 / 255)
    assert "where they go from -1 to 1" in findings("pixels-on-ties", proto)[0].detail
    write_metadata(proto, ModelMetadata(model="m"))  # CIFAR-10's: other values, no ties
    assert not findings("pixels-on-ties", proto)


def test_no_image_no_pixels(of):
    proto = pixels(of, 2 / 255)
    proto.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 7
    assert not findings("pixels-on-ties", proto)


@pytest.mark.parametrize("operator", ["Conv", "Gemm"])
@pytest.mark.parametrize(("constant", "broken"), [(0.0, 0), (0.25, 1)])
def test_an_empty_channel_without_a_bias_lost_nothing(of, operator, constant, broken):
    integers = np.ones((8, 3, 3, 3) if operator == "Conv" else (8, 192), np.int8)
    integers[5] = 0
    proto = of.layer(operator, bias="int32", integers=integers, step=np.where(np.arange(8) == 5, 1, 0.001),
                     bias_value=np.where(np.arange(8) == 5, constant, 1.0))
    assert len(findings("empty-channel-bias", proto)) == broken


@pytest.mark.parametrize("constant", [0.0, 0.3])
def test_empty_channels_of_our_own_files_break_no_rule(graph_of, random_images, constant):
    """A class that no image has, and a pruned channel, with a bias and without."""
    from edge_se.quantization.placement import place
    from edge_se.quantization.ranges import collect
    from edge_se.quantization.static import quantize
    from edge_se.quantization.targets import TARGETS

    random = np.random.default_rng(0)
    constants = {"w": 0.003 * random.normal(size=(8, 3, 3, 3)), "b": np.full(8, 0.5),
                 "f": 0.003 * random.normal(size=(5, 8)), "g": np.full(5, 0.1)}
    constants["w"][2], constants["b"][2], constants["f"][4], constants["g"][4] = 0, constant, 0, constant
    model = OnnxModel.of(graph_of([
        ("Conv", ["x", "w", "b"], ["1"]), ("Relu", ["1"], ["2"]), ("GlobalAveragePool", ["2"], ["3"]),
        ("Flatten", ["3"], ["4"]), ("Gemm", ["4", "f", "g"], ["y"], {"transB": 1})],
        {name: value.astype(np.float32) for name, value in constants.items()}, x=("batch", 3, 32, 32)))
    own = TARGETS["cpu"]
    int8 = quantize(model, collect(model, random_images(8)).ranges("minmax", own.activations), own,
                    place(model.proto, own, "all"))
    assert not findings("empty-channel-bias", int8.proto)


@pytest.mark.parametrize("target", ["cpu", "cpu-avx2", "arm", "openvino", "tensorrt", "tensorrt-fp16"])
def test_files_of_edge_se_break_no_rule_of_their_runtime(target, tiny_onnx, random_images):
    from edge_se.quantization.placement import place
    from edge_se.quantization.ranges import collect
    from edge_se.quantization.static import quantize
    from edge_se.quantization.targets import TARGETS

    own = TARGETS[target]
    int8 = quantize(tiny_onnx, collect(tiny_onnx, random_images(16)).ranges("mse", own.activations), own,
                    place(tiny_onnx.proto, own, "all"))
    rules = rules_for(runtimes_for([target]))
    assert len(rules) > 8 and any(rule.kind in FAULTS for rule in rules)
    broken = {rule.name for rule in rules if findings(rule.name, OnnxModel.of(int8.copy()).proto)}
    assert not broken
