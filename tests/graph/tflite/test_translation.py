"""The .tflite files say what their ONNX graphs say: LiteRT's own numbers against onnxruntime's."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from edge_se.core.errors import ModelError, UnavailableError
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.tflite import flatbuffer
from edge_se.graph.tflite.conversion import to_tflite
from edge_se.graph.tflite.reading import Reading
from edge_se.quantization.placement import place
from edge_se.quantization.ranges import collect
from edge_se.quantization.sensitivity import sqnr_db
from edge_se.quantization.static import quantize
from edge_se.quantization.targets import TARGETS

interpreter = pytest.importorskip("ai_edge_litert.interpreter", reason="ai-edge-litert is not installed")
RANDOM = np.random.default_rng(0)


def loaded(content, delegates=True):
    kinds = interpreter.OpResolverType
    return interpreter.Interpreter(model_content=content, num_threads=1, experimental_op_resolver_type=(
        kinds.AUTO if delegates else kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES))


def answered(content, images, delegates=True):
    """Images (N, C, H, W) through a file that takes (N, H, W, C)."""
    opened = loaded(content, delegates)
    image = opened.get_input_details()[0]["index"]
    opened.resize_tensor_input(image, [len(images), *images.shape[2:], images.shape[1]])
    opened.allocate_tensors()
    opened.set_tensor(image, np.ascontiguousarray(images.transpose(0, 2, 3, 1)))
    opened.invoke()
    return opened.get_tensor(opened.get_output_details()[0]["index"])


def operators(content):
    return Counter(one["op_name"] for one in loaded(content, delegates=False)._get_ops_details())


def weights(*shape):
    return RANDOM.normal(size=shape).astype(np.float32)


def conv(inputs=3, outputs=4, kernel=3, **attributes):
    groups = attributes.get("group", 1)
    return [("Conv", ["x", "w", "b"], ["f"], attributes), ("Flatten", ["f"], ["y"], {})], {
        "w": weights(outputs, inputs // groups, kernel, kernel), "b": weights(outputs)}


def behind(*nodes, **constants):
    """Nodes between a convolution, which makes negative numbers, too, and the output."""
    first, own = conv()
    return [first[0], *nodes, ("Flatten", [nodes[-1][2][0]], ["y"], {})], own | constants


GRAPHS = {
    "same padding": conv(pads=[1, 1, 1, 1]),
    "padding that LiteRT has not": conv(pads=[1, 1, 1, 1], strides=[2, 2]),
    "padding on one side": conv(pads=[0, 0, 1, 1], strides=[2, 2]),
    "valid, with holes": conv(dilations=[2, 2]),
    "depthwise": conv(outputs=3, group=3, pads=[1, 1, 1, 1]),
    "depthwise with more outputs": conv(outputs=6, group=3),
    "max pool of negative numbers": behind(("MaxPool", ["f"], ["p"], {
        "kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]})),
    "max pool behind a ReLU": behind(("Relu", ["f"], ["r"], {}), ("MaxPool", ["r"], ["p"], {
        "kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]})),
    "average that counts what it pads": behind(("AveragePool", ["f"], ["p"], {
        "kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1})),
    "average that does not": behind(("AveragePool", ["f"], ["p"], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]})),
    "batch norm and ReLU": behind(("BatchNormalization", ["f", "s", "t", "m", "v"], ["n"], {}),
                                  ("Relu", ["n"], ["r"], {}), s=weights(4), t=weights(4), m=weights(4),
                                  v=np.abs(weights(4)) + 1),
    "ReLU6": behind(("Clip", ["f", "low", "high"], ["c"], {}), low=np.float32(0), high=np.float32(6)),
    "ReLU6 with bounds in lists": behind(("Clip", ["f", "low", "high"], ["c"], {}), low=np.zeros(1, np.float32),
                                         high=np.full(1, 6, np.float32)),
    "clip to other bounds": behind(("Clip", ["f", "low", "high"], ["c"], {}), low=np.float32(-.5), high=np.float32(.7)),
    "hard sigmoid": behind(("HardSigmoid", ["f"], ["h"], {"alpha": 1 / 6, "beta": .5})),
    "hard swish": behind(("HardSwish", ["f"], ["h"], {})),
    "softmax over channels": behind(("Softmax", ["f"], ["s"], {"axis": 1})),
    "difference from a constant": behind(("Sub", ["k", "f"], ["d"], {}), k=weights(4, 1, 1)),
    "quotient by a constant": behind(("Div", ["f", "k"], ["d"], {}), k=np.abs(weights(1, 4, 1, 1)) + 1),
    "shuffled by transposing and reshaping": behind(
        ("Reshape", ["f", "to"], ["r"], {}), ("Transpose", ["r"], ["t"], {"perm": [0, 2, 1, 3]}),
        to=np.array([0, 2, 2, 36], np.int64)),
    "joined rows": behind(("Relu", ["f"], ["r"], {}), ("Concat", ["f", "r"], ["c"], {"axis": 2})),
    "joined channels": behind(("Relu", ["f"], ["r"], {}), ("Concat", ["f", "r"], ["c"], {"axis": 1})),
    "product with a matrix": ([("GlobalAveragePool", ["x"], ["p"], {}), ("Flatten", ["p"], ["f"], {}),
                               ("MatMul", ["f", "w"], ["y"], {})], {"w": weights(3, 5)}),
    "Gemm of columns": ([("GlobalAveragePool", ["x"], ["p"], {}), ("Flatten", ["p"], ["f"], {}),
                         ("Gemm", ["f", "w", "b"], ["y"], {})], {"w": weights(3, 5), "b": weights(5)}),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_a_float_graph_gives_the_numbers_of_onnxruntime(name, graph_of, run_onnx):
    nodes, constants = GRAPHS[name]
    model = OnnxModel.of(graph_of(nodes, constants))
    content = to_tflite(model)
    for count in (1, 3):
        images = RANDOM.normal(size=(count, 3, 8, 8)).astype(np.float32)
        for delegates in (True, False):
            np.testing.assert_allclose(answered(content, images, delegates), run_onnx(model, images)[0], atol=2e-5)


@pytest.mark.parametrize("attention", ["none", "se", "double_fc", "pair2x1", "folded"])
def test_a_net_gives_the_logits_of_onnxruntime(attention, family_onnx, run_onnx):
    model = family_onnx(attention)
    images = RANDOM.normal(size=(3, 3, 32, 32)).astype(np.float32)
    content = to_tflite(model)
    np.testing.assert_allclose(answered(content, images), run_onnx(model, images)[0], atol=1e-4)
    assert content == to_tflite(model)


@pytest.fixture(scope="module", params=["se-float", "ends-float", "all", "conv-only"])
def quantized(request, tiny_onnx, random_images):
    target = TARGETS["litert"]
    ranges = collect(tiny_onnx, random_images(32), targets=[target]).ranges("minmax", target.activations)
    return quantize(tiny_onnx, ranges, target, place(tiny_onnx.proto, target, request.param))


def test_an_int8_file_computes_what_its_graph_says(quantized, run_onnx):
    images = RANDOM.normal(size=(16, 3, 32, 32)).astype(np.float32)
    written, content = run_onnx(quantized, images)[0], to_tflite(quantized)
    assert sqnr_db(written, answered(content, images)) > 25  # ties and the order of sums
    made = operators(content)
    convolutions = [node for node in quantized.proto.graph.node if node.op_type == "Conv"]
    assert made["CONV_2D"] == len(convolutions)
    details = loaded(content, delegates=False).get_tensor_details()
    bits = Counter(str(np.dtype(one["dtype"])) for one in details if len(one["quantization_parameters"]["scales"]) > 1)
    quantized_layers = sum(node.op_type in ("Conv", "Gemm") and node.input[1].endswith("DequantizeLinear_Output")
                           for node in quantized.proto.graph.node)
    assert bits == {"int8": quantized_layers, "int32": quantized_layers}, "each integer layer has a scale per output"


def test_what_stays_float_is_float_in_the_file(tiny_onnx, random_images):
    target = TARGETS["litert"]
    ranges = collect(tiny_onnx, random_images(32), targets=[target]).ranges("minmax", target.activations)
    kinds = {}
    for name in ("all", "se-float"):
        content = to_tflite(quantize(tiny_onnx, ranges, target, place(tiny_onnx.proto, target, name)))
        kinds[name] = operators(content)
    assert kinds["se-float"]["DEQUANTIZE"] > kinds["all"]["DEQUANTIZE"] - kinds["all"]["LOGISTIC"]
    assert kinds["se-float"]["LOGISTIC"] == kinds["all"]["LOGISTIC"] > 0


@pytest.mark.parametrize("last", ["f", "p"])
def test_features_lie_as_in_the_graph(last, graph_of, run_onnx):
    """Where a graph is cut off to compare one of its tensors with onnxruntime's."""
    nodes, constants = GRAPHS["max pool of negative numbers"]
    kept = [node for node in nodes[:2] if node[2] == ["f"] or last == "p"]
    model = OnnxModel.of(graph_of(kept, constants, outputs=(last,)))
    images = RANDOM.normal(size=(2, 3, 8, 8)).astype(np.float32)
    np.testing.assert_allclose(answered(to_tflite(model), images), run_onnx(model, images)[0], atol=2e-5)


def test_a_constant_is_joined(graph_of, run_onnx):
    nodes, constants = behind(("Concat", ["k", "f"], ["c"], {"axis": 1}), k=weights(1, 2, 6, 6))
    model = OnnxModel.of(graph_of(nodes, constants, x=(1, 3, 8, 8)))
    images = RANDOM.normal(size=(1, 3, 8, 8)).astype(np.float32)
    np.testing.assert_allclose(answered(to_tflite(model), images), run_onnx(model, images)[0], atol=2e-5)


@pytest.mark.parametrize("shape", [(), (1,), (4, 1, 1)])
def test_a_constant_in_8_bits_is_read_whatever_its_shape(graph_of, shape):
    """The value that a Pad pads with has no axes."""
    model = graph_of([("DequantizeLinear", ["v", "s", "z"], ["d"]), ("Add", ["x", "d"], ["y"])],
                     {"v": np.full(shape, 64, np.int8), "s": np.float32(0.5), "z": np.int8(0)}, x=(1, 4, 8, 8))
    found = Reading(model).weights("d")
    np.testing.assert_array_equal(found.floats, np.full(shape, 32, np.float32))
    np.testing.assert_array_equal(found.scales, np.full(shape[:1] or 1, 0.5, np.float32))


def pruned(constants, layer):
    """Channels without weights and biases, in a layer whose others are small."""
    for name in (layer, f"{layer}b"):
        constants[name] *= 1e-4
        constants[name][1:3] = 0


def nearly_silent(constants, layer):
    """A layer of which hardly anything gets through the ReLU behind it."""
    constants[f"{layer}b"] -= 1e4


FEW = {"a pruned convolution": (pruned, "w"), "a pruned depthwise one": (pruned, "d"),
       "a pruned linear layer": (pruned, "g"), "a nearly silent layer": (nearly_silent, "w")}


@pytest.mark.parametrize(("change", "layer"), FEW.values(), ids=FEW)
def test_a_layer_that_makes_little_is_loaded(change, layer, graph_of, random_images, run_onnx):
    """XNNPACK refuses files in which a layer's results have far finer steps than its products."""
    constants = {"w": weights(4, 3, 3, 3), "d": weights(4, 1, 3, 3), "g": weights(5, 4)}
    constants |= {f"{name}b": weights(len(value)) for name, value in constants.items()}
    change(constants, layer)
    nodes = [("Conv", ["x", "w", "wb"], ["a"]), ("Relu", ["a"], ["b"]), ("Conv", ["b", "d", "db"], ["c"], {"group": 4}),
             ("GlobalAveragePool", ["c"], ["p"]), ("Flatten", ["p"], ["f"]),
             ("Gemm", ["f", "g", "gb"], ["y"], {"transB": 1})]
    model, target = OnnxModel.of(graph_of(nodes, constants)), TARGETS["litert"]
    ranges = collect(model, random_images(16, size=8), targets=[target]).ranges("minmax", target.activations)
    if change is nearly_silent:
        bounds = {name: (0.0, 1e-6) if name == "b" else own for name, own in ranges.bounds.items()}
        ranges = replace(ranges, bounds=bounds)
    int8 = quantize(model, ranges, target, place(model.proto, target, "all"))
    images = RANDOM.normal(size=(4, 3, 8, 8)).astype(np.float32)
    assert sqnr_db(run_onnx(int8, images)[0], answered(to_tflite(int8), images)) > 25


DYNAMIC = {
    "SAME, ReLU": behind(("Relu", ["f"], ["r"], {})),
    "padded elsewhere": conv(outputs=6, pads=[1, 1, 1, 1], strides=[2, 2]),
    "grouped": ([("Conv", ["x", "e"], ["a"], {}), ("Conv", ["a", "w", "b"], ["f"], {"group": 2}), conv()[0][1]],
                {"e": weights(6, 3, 1, 1), "w": weights(4, 3, 3, 3), "b": weights(4)}),
    "depthwise": conv(outputs=3, group=3, pads=[1, 1, 1, 1]),
    "product with a matrix": GRAPHS["product with a matrix"], "Gemm of columns": GRAPHS["Gemm of columns"],
}


@pytest.mark.parametrize("name", DYNAMIC)
def test_dynamic_ranges_are_those_of_each_image(name, graph_of, run_onnx, random_images):
    """In LiteRT also within a batch; onnxruntime takes one range for all that it is given."""
    nodes, constants = DYNAMIC[name]
    model, target = OnnxModel.of(graph_of(nodes, constants)), TARGETS["litert-dynamic"]
    statistics = collect(model, random_images(4, size=8), targets=[target])
    own = quantize(model, statistics.ranges("minmax", target.activations), target, place(model.proto, target, "all"))
    content = to_tflite(own)
    images = RANDOM.normal(size=(3, 3, 8, 8)).astype(np.float32) * np.float32([[[[1]]], [[[7]]], [[[0.1]]]])
    written = np.concatenate([run_onnx(own, image[None])[0] for image in images])
    for alone, together in zip(written, answered(content, images)):
        assert sqnr_db(alone, together) > 30
    kinds = {str(np.dtype(one["dtype"])) for one in loaded(content, delegates=False).get_tensor_details()
             if len(one["quantization_parameters"]["scales"]) > 0}
    assert kinds == (set() if name == "depthwise" else {"int8"}) and "QUANTIZE" not in operators(content)


@pytest.mark.parametrize("target", ["cpu", "openvino"])
def test_unsigned_activations_are_refused(target, tiny_onnx, random_images):
    own = TARGETS[target]
    ranges = collect(tiny_onnx, random_images(16), targets=[own]).ranges("minmax", own.activations)
    with pytest.raises(ModelError, match="other integers than signed int8"):
        to_tflite(quantize(tiny_onnx, ranges, own, place(tiny_onnx.proto, own, "se-float")))


@pytest.mark.parametrize(("nodes", "constants", "words"), [
    ([("Erf", ["x"], ["e"], {}), ("Flatten", ["e"], ["y"], {})], {}, "without this operator"),
    ([("MaxPool", ["x"], ["p"], {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}),
      ("Flatten", ["p"], ["y"], {})], {}, "whole windows"),
    ([("AveragePool", ["x"], ["p"], {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
      ("Flatten", ["p"], ["y"], {})], {}, "on other sides than LiteRT"),
    ([("MatMul", ["x", "x"], ["m"], {}), ("Flatten", ["m"], ["y"], {})], {}, "multiplies by what it computes"),
    ([("Add", ["x", "k"], ["a"], {}), ("Flatten", ["a"], ["y"], {})], {"k": weights(1, 1, 3, 8, 8)},
     "of different ranks"),
    ([("Mul", ["f", "k"], ["y"], {}), ("Flatten", ["x"], ["f"], {})], {"k": weights(1, 1, 192)}, "of different ranks"),
    ([("Gemm", ["f", "w"], ["y"], {"alpha": 2.0}), ("Flatten", ["x"], ["f"], {})], {"w": weights(192, 2)},
     "no product of data and a matrix"),
])
def test_what_has_no_form_there_is_refused_by_its_node(nodes, constants, words, graph_of):
    model = OnnxModel.of(graph_of(sorted(nodes, key=lambda node: node[2] == ["y"]), constants))
    with pytest.raises(ModelError, match=words) as raised:
        to_tflite(model)
    assert "--target litert" in raised.value.fix and "node" in str(raised.value.where)


def test_buffers_lie_where_small_cores_can_read_them(tiny_onnx):
    content = to_tflite(tiny_onnx)
    schema = flatbuffer.schema()
    assert flatbuffer.is_tflite(content) and not flatbuffer.is_tflite(tiny_onnx.content)
    model = schema.Model.GetRootAs(content, 0)
    filled = [model.Buffers(index) for index in range(model.BuffersLength()) if model.Buffers(index).DataLength()]
    starts = [np.frombuffer(content, np.uint8).ctypes.data, *(buffer.DataAsNumpy().ctypes.data for buffer in filled)]
    assert len(filled) > 10 and all((start - starts[0]) % flatbuffer.ALIGNMENT == 0 for start in starts)


def test_a_fixed_batch_stays_fixed(graph_of):
    nodes, constants = GRAPHS["same padding"]
    shapes = [loaded(to_tflite(OnnxModel.of(graph_of(nodes, constants, x=(batch, 3, 8, 8))))).get_input_details()[0]
              for batch in (2, "batch")]
    assert shapes[0]["shape"].tolist() == shapes[0]["shape_signature"].tolist() == [2, 8, 8, 3]
    assert shapes[1]["shape_signature"].tolist() == [-1, 8, 8, 3]


def test_without_the_package_one_message_says_what_brings_it(tiny_onnx, monkeypatch):
    monkeypatch.setattr(flatbuffer, "importable", lambda module: False)
    with pytest.raises(UnavailableError, match="not installed") as raised:
        to_tflite(tiny_onnx)
    assert "edge-se[litert]" in raised.value.fix
