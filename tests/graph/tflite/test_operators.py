"""Parts, borders and slopes in .tflite files, float and int8: LiteRT's numbers against onnxruntime's."""

from collections import Counter

import numpy as np
import pytest

from edge_se.core.errors import ModelError
from edge_se.device.agent import LiteRtRunner
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.tflite.conversion import to_tflite
from edge_se.graph.view import GraphView
from edge_se.quantization.placement import place
from edge_se.quantization.ranges import collect
from edge_se.quantization.sensitivity import sqnr_db
from edge_se.quantization.static import quantize
from edge_se.quantization.targets import TARGETS

interpreter = pytest.importorskip("ai_edge_litert.interpreter", reason="ai-edge-litert is not installed")
RANDOM = np.random.default_rng(0)
SPLIT = ("two halves", "unequal parts", "rows split")  # in float, as what a Concat joins
BUILTIN = interpreter.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES


def weights(*shape):
    return RANDOM.normal(size=shape).astype(np.float32)


def whole(*numbers):
    return np.array(numbers, np.int64)


def pad(*sides, mode="constant", **value):
    """A border around rows and columns: (top, left, bottom, right)."""
    read = ["f", "sides", *value]
    return [("Pad", read, ["p"], {"mode": mode})], {
        "sides": whole(0, 0, *sides[:2], 0, 0, *sides[2:]), **{name: np.float32(own) for name, own in value.items()}}


def cut(starts, ends, axes, steps=None):
    constants = {"starts": whole(*starts), "ends": whole(*ends), "axes": whole(*axes)}
    if steps:
        constants["steps"] = whole(*steps)
    return [("Slice", ["f", *constants], ["p"], {})], constants


def halves(*sizes, axis=1):
    """The parts of a split, joined in another order, each behind an activation of its own."""
    names = [f"s{number}" for number in range(len(sizes))]
    joined = [("Relu", names[:1], ["r"], {}), ("Concat", [*names[1:], "r"], ["p"], {"axis": axis})]
    return [("Split", ["f", "sizes"], names, {"axis": axis}), *joined], {"sizes": whole(*sizes)}


def row(kernel, group=1, **attributes):
    """A convolution over rows and columns in one row."""
    nodes = [("Reshape", ["f", "long"], ["l"], {}), ("Conv", ["l", "v", "c"], ["k"], attributes | {"group": group}),
             ("Reshape", ["k", "square"], ["p"], {})]
    return nodes, {"long": whole(0, 6, -1), "square": whole(0, 6, 4, -1), "v": weights(6, 6 // group, kernel),
                   "c": weights(6)}


def alone(operator, *others, **attributes):
    return [(operator, ["f", *others], ["p"], attributes)], {}


# name: the nodes from `f` to `p` with their constants, and the operators that the file has for them
CASES = {
    "zeros around": (pad(1, 2, 0, 1), {"PAD": 1}),
    "a number around": (pad(1, 1, 1, 1, value=-0.7), {"PADV2": 1}),
    "reflected": (pad(2, 1, 0, 2, mode="reflect"), {"MIRROR_PAD": 1}),
    "the edge once": (pad(1, 1, 1, 0, mode="edge"), {"MIRROR_PAD": 1}),
    "the edge thrice": (pad(3, 1, 0, 2, mode="edge"), {"MIRROR_PAD": 3}),
    "channels added": (([("Pad", ["f", "sides"], ["p"], {})], {"sides": whole(0, 1, 0, 0, 0, 2, 0, 0)}), {"PAD": 1}),
    "some channels": (cut([1], [3], [1]), {"STRIDED_SLICE": 1}),
    "from the end": (cut([-4, 1], [2**62, -1], [-3, 3]), {"STRIDED_SLICE": 1}),
    "each second row": (cut([0, 1], [2**31 - 1, 6], [2, 3], [2, 2]), {"STRIDED_SLICE": 1}),
    "two halves": (halves(3, 3), {"STRIDED_SLICE": 2}),
    "unequal parts": (halves(1, 2, 3), {"STRIDED_SLICE": 3}),
    "rows split": (halves(2, 4, axis=2), {"STRIDED_SLICE": 2}),
    "LeakyReLU": (alone("LeakyRelu", alpha=0.1), {"LEAKY_RELU": 1}),
    "LeakyReLU of its default": (alone("LeakyRelu"), {"LEAKY_RELU": 1}),
    "LeakyReLU that grows below zero": (alone("LeakyRelu", alpha=1.5), {"LEAKY_RELU": 1}),
    "a slope for each channel": ((alone("PRelu", "slopes")[0], {"slopes": weights(6, 1, 1)}), {"PRELU": 1}),
    "a slope for all": ((alone("PRelu", "slopes")[0], {"slopes": np.float32([0.25])}), {"LEAKY_RELU": 1}),
    "ELU": (alone("Elu"), {"ELU": 1}),
    "mean of channels": (alone("ReduceMean", axes=[1]), {"MEAN": 1}),
    "mean of rows, its axis gone": (alone("ReduceMean", axes=[2], keepdims=0), {"MEAN": 1, "TRANSPOSE": 1}),
    "a sequence": (row(kernel=3, pads=[1, 1]), {"CONV_2D": 2}),
    "a sequence, each channel alone": (row(kernel=5, group=6, strides=[2]), {"DEPTHWISE_CONV_2D": 1}),
}
# the same of operators that stay in float
FLOATS = {
    "one channel, its axis gone": (alone("Gather", "one", axis=1), {"STRIDED_SLICE": 1}, {"one": np.array(2)}),
    "the last row as a list": (alone("Gather", "one", axis=-2), {"STRIDED_SLICE": 1}, {"one": whole(-1)}),
    "channels in another order": (alone("Gather", "order", axis=1), {"GATHER": 1}, {"order": whole(5, 0, -2, 0)}),
    "largest of channels": (alone("ReduceMax", axes=[1]), {"REDUCE_MAX": 1}, {}),
    "largest of all rows and columns": (alone("GlobalMaxPool"), {"REDUCE_MAX": 1}, {}),
    "least of columns": (alone("ReduceMin", axes=[-1]), {"REDUCE_MIN": 1}, {}),
    "sum of channels": (alone("ReduceSum", "axes"), {"SUM": 1}, {"axes": whole(1)}),
    "sum of all, axes gone": (alone("ReduceSum", "axes", keepdims=0), {"SUM": 1}, {"axes": whole(1, 2, 3)}),
    "length over channels": (alone("ReduceL2", axes=[1]), {"MUL": 1, "SUM": 1, "SQRT": 1}, {}),
    "length of rows, its axis gone": (alone("ReduceL2", axes=[2], keepdims=0), {"SUM": 1, "SQRT": 1}, {}),
    "sign": (alone("Sign"), {"SIGN": 1}, {}),
    "square": (alone("Pow", "two"), {"MUL": 1}, {"two": np.float32(2)}),
    "cube": (alone("Pow", "three"), {"POW": 1}, {"three": np.float32([3])}),
    "root of the amount": (([("Abs", ["f"], ["n"]), ("Sqrt", ["n"], ["p"])], {}), {"ABS": 1, "SQRT": 1}, {}),
    "half a power": (([("Abs", ["f"], ["n"]), ("Pow", ["n", "half"], ["p"])], {}), {"SQRT": 1},
                     {"half": np.float32(0.5)}),
    "logarithm of exponentials": (([("Exp", ["f"], ["e"]), ("Log", ["e"], ["l"]), ("Neg", ["l"], ["p"])], {}),
                                  {"EXP": 1, "LOG": 1, "NEG": 1}, {}),
    "larger of two": (alone("Max", "f"), {"MAXIMUM": 1}, {}),
    "smaller of it and its mean": (([("GlobalAveragePool", ["f"], ["m"]), ("Min", ["m", "f"], ["p"])], {}),
                                   {"MINIMUM": 1}, {}),
    "larger of it and a number a channel": (alone("Max", "k"), {"MAXIMUM": 1}, {"k": weights(6, 1, 1)}),
}


def model_of(case, graph_of, x=("batch", 3, 8, 8)):
    """The case behind a convolution, and before a sum, which has int8 on all sides."""
    nodes, constants = case
    return OnnxModel.of(graph_of(
        [("Conv", ["x", "w", "b"], ["f"]), *nodes, ("Add", ["p", "p"], ["a"]), ("Flatten", ["a"], ["y"])],
        constants | {"w": weights(6, 3, 3, 3), "b": weights(6)}, x=x))


def answered(content, images, delegates):
    """The output for images (N, C, H, W), by XNNPACK where it has a kernel, or by LiteRT's own kernels alone."""
    opened = interpreter.Interpreter(model_content=content, num_threads=1, experimental_op_resolver_type=(
        interpreter.OpResolverType.AUTO if delegates else BUILTIN))
    image, output = opened.get_input_details()[0]["index"], opened.get_output_details()[0]["index"]
    opened.resize_tensor_input(image, [len(images), *images.shape[2:], images.shape[1]])
    opened.allocate_tensors()
    opened.set_tensor(image, np.ascontiguousarray(images.transpose(0, 2, 3, 1)))
    opened.invoke()
    return opened.get_tensor(output)


def written(content):
    opened = interpreter.Interpreter(model_content=content, experimental_op_resolver_type=BUILTIN)
    return Counter(one["op_name"] for one in opened._get_ops_details())


@pytest.mark.parametrize("name", [*CASES, *FLOATS])
def test_a_float_graph_gives_the_numbers_of_onnxruntime(name, graph_of, run_onnx):
    (nodes, constants), expected, *beside = (CASES | FLOATS)[name]
    case = nodes, constants | dict(*beside)
    model = model_of(case, graph_of)
    content = to_tflite(model)
    assert expected.items() <= written(content).items()
    for count in (1, 3):
        images = RANDOM.normal(size=(count, 3, 8, 8)).astype(np.float32)
        for delegates in (True, False):
            np.testing.assert_allclose(answered(content, images, delegates), run_onnx(model, images)[0], rtol=1e-5,
                                       atol=1e-4 if "SQRT" in expected else 2e-5)


@pytest.mark.parametrize("name", CASES)
def test_an_int8_file_computes_what_its_graph_says(name, graph_of, random_images):
    case, expected = CASES[name]
    model, target = model_of(case, graph_of), TARGETS["litert"]
    method = "minmax" if "PADV2" in expected else "mse"  # a border of a number may have a range of its own
    ranges = collect(model, random_images(32, size=8), targets=[target]).ranges(method, target.activations)
    int8 = quantize(model, ranges, target, place(model.proto, target, "all"))
    content = to_tflite(int8)
    made = written(content)
    assert expected.items() <= made.items()
    assert made["DEQUANTIZE"] == (2 if made["PRELU"] or name in SPLIT else 1), "only the logits leave int8"
    told = LiteRtRunner(content, 1).nodes()
    slow = made["PADV2"] + made["MIRROR_PAD"] + (name == "each second row")
    assert told["nodes"] - told["xnnpack_nodes"] == slow
    view = GraphView(int8.proto)
    step = float(view.constant(view.producer["y"].input[1]))
    images = RANDOM.normal(size=(3, 3, 8, 8)).astype(np.float32)
    said = unoptimised(int8, images)
    for delegates in (True, False):
        steps = np.abs(answered(content, images, delegates) - said) / step
        assert steps.max() < 2.1 and (steps < 0.1).mean() > 0.8, "rounding, in front of the sum and behind it"


def unoptimised(model, images):
    """onnxruntime's answer, operator by operator."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.content, options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": images})[0]


def test_ranges_of_each_image_leave_them_in_float(graph_of, random_images):
    nodes = [("Split", ["f", "sizes"], ["s", "t"], {"axis": 1}), ("LeakyRelu", ["s"], ["l"], {}),
             ("Pad", ["l", "sides"], ["m"], {"mode": "reflect"}), ("Conv", ["m", "v"], ["p"], {})]
    constants = {"sizes": whole(2, 4), "sides": whole(0, 0, 1, 1, 0, 0, 1, 1), "v": weights(5, 2, 3, 3)}
    model, target = model_of((nodes, constants), graph_of), TARGETS["litert-dynamic"]
    ranges = collect(model, random_images(4, size=8), targets=[target]).ranges("minmax", target.activations)
    dynamic = quantize(model, ranges, target, place(model.proto, target, "all"))
    content, image = to_tflite(dynamic), RANDOM.normal(size=(1, 3, 8, 8)).astype(np.float32)
    made = written(content)
    assert made["STRIDED_SLICE"] == made["LEAKY_RELU"] == made["MIRROR_PAD"] == 1 and not made["DEQUANTIZE"]
    assert sqnr_db(unoptimised(dynamic, image), answered(content, image, delegates=True)) > 30


def test_a_part_that_nothing_reads_is_not_written(graph_of):
    nodes = [("Split", ["f", "sizes"], ["unread", "p", "too"], {"axis": 1})]
    assert written(to_tflite(model_of((nodes, {"sizes": whole(1, 2, 3)}), graph_of)))["STRIDED_SLICE"] == 1


@pytest.mark.parametrize(("case", "words"), [
    (cut([-1], [-(2**62)], [3], [-1]), "backwards"),
    (cut([0], [1], [0]), "takes a batch apart"),
    (pad(-1, 0, 0, 0), "pads in a way"),
    (alone("Elu", alpha=0.5), "another alpha"),
    (alone("PRelu", "f"), "a slope that is computed"),
    (alone("ReduceMax", axes=[0, 1]), "joins the images of a batch"),
    (alone("ReduceL2"), "joins the images of a batch"),
    (([("Gather", ["f", "one"], ["p"], {"axis": 0})], {"one": np.array(0)}), "takes a batch apart"),
    (([("Gather", ["f", "table"], ["p"], {"axis": 1})], {"table": np.zeros((2, 2), np.int64)}), "a table of them"),
    (halves(1, axis=0), "takes a batch apart"),
    (alone("Pow", "f"), "no single constant power"),
    (alone("Max", "f", "f"), "more than two"),
], ids=["backwards", "batch", "cropping Pad", "ELU", "computed slope", "batch reduced", "all reduced",
        "an image", "a table", "split batch", "computed power", "three of which the largest"])
def test_what_has_no_form_there_is_refused_by_its_node(case, words, graph_of):
    with pytest.raises(ModelError, match=words) as raised:
        to_tflite(model_of(case, graph_of))
    assert "--target litert" in raised.value.fix and "node" in str(raised.value.where)
