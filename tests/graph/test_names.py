"""Whatever a network calls its tensors and nodes, its INT8 and FP16 files compute the same."""

import numpy as np
import onnx
import pytest

from edge_se.graph.fp16 import to_fp16
from edge_se.graph.names import NeutralNames
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.rewrites import checked
from edge_se.quantization.placement import place
from edge_se.quantization.ranges import collect
from edge_se.quantization.static import quantize
from edge_se.quantization.targets import TARGETS

RANDOM = np.random.default_rng(0)


def net(graph_of, *, inner="inner", features="feat", scale="gamma", size=()):
    weights = {name: (random_of(name).standard_normal(shape) * 0.3).astype(np.float32)
               for name, shape in (("w0", (8, 3, 3, 3)), ("w1", (8, 8, 3, 3)), ("f", (8, 5)), ("b", (8,)))}
    graph = graph_of(
        [("Conv", ["x", "w0", "b"], ["c0"], {"pads": [1] * 4}), ("Relu", ["c0"], [inner]),
         ("Conv", [inner, "w1", "b"], ["c1"], {"pads": [1] * 4}), ("Relu", ["c1"], [features]),
         ("Mul", [features, scale], ["m"]), ("Add", ["m", inner], ["a"]), ("GlobalAveragePool", ["a"], ["p"]),
         ("Flatten", ["p"], ["t"]), ("Gemm", ["t", "f"], ["y"])],
        {**weights, scale: np.full(size, 0.7, np.float32)}, x=("batch", 3, 32, 32))
    return OnnxModel.of(checked(graph))


def random_of(name):
    return np.random.default_rng(sum(name.encode()))


def int8(model, target, images):
    ranges = collect(model, images).ranges("minmax", TARGETS[target].activations)
    return quantize(model, ranges, TARGETS[target], place(model.proto, TARGETS[target], "all"))


NAMES = {
    "a scale, in the shape of one": {"scale": "feat_scale"},
    "a scale of channels": {"scale": "feat_scale", "size": (1, 8, 1, 1)},
    "a scale of the input": {"scale": "x_scale"},
    "zero points": {"inner": "feat_scale", "scale": "feat_zero_point"},
    "a quantized weight": {"inner": "w1_quantized"},
    "a copy of a shared bias": {"inner": "b0"},
    "outputs of Q and DQ": {"features": "inner_DequantizeLinear_Output", "scale": "inner_QuantizeLinear_Output"},
    "neutral names": {"inner": "#v000001#", "scale": "#v000002#_scale"},
}


@pytest.mark.parametrize("target", ["cpu", "openvino", "tensorrt", "tensorrt-fp16"])
@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES.keys())
def test_int8_does_not_depend_on_names(graph_of, run_onnx, random_images, target, names):
    images = random_images(8)
    batch = next(images.batches(8))
    plain, named = net(graph_of, size=names.get("size", ())), net(graph_of, **names)
    expected = run_onnx(int8(plain, target, images), batch)[0]
    made = int8(named, target, images)
    np.testing.assert_array_equal(run_onnx(made, batch)[0], expected)


@pytest.mark.parametrize("name", ["graph_input_cast0", "graph_input_cast_0", "graph_output_cast0"])
def test_fp16_does_not_depend_on_names(graph_of, run_onnx, random_images, name):
    batch = next(random_images(4).batches(4))
    expected = run_onnx(to_fp16(net(graph_of)), batch)[0]
    np.testing.assert_array_equal(run_onnx(to_fp16(net(graph_of, inner=name)), batch)[0], expected)


def test_names_come_back(tiny_onnx):
    proto = tiny_onnx.copy()
    names = NeutralNames(proto)
    assert proto.graph.input[0].name == names[tiny_onnx.input_name] != tiny_onnx.input_name
    assert names["elsewhere"] == "elsewhere"
    onnx.checker.check_model(proto, full_check=True)
    names.restore(proto)
    assert OnnxModel.of(proto).content == tiny_onnx.content


def test_names_that_were_derived_are_numbered_where_they_are_taken(graph_of):
    model = net(graph_of, scale="feat_scale").copy()
    names = NeutralNames(model)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.float32(1), f"{names['feat']}_scale"))
    model.graph.node.append(onnx.helper.make_node("Relu", [names["feat"]], [f"{names['feat']}_more"], "more"))
    names.restore(model)
    assert [value.name for value in model.graph.initializer][-2:] == ["feat_scale", "feat_scale_1"]
    assert list(model.graph.node[-1].output) == ["feat_more"]


@pytest.mark.parametrize("opset", [19, 20, 22])
def test_a_strongly_typed_file_keeps_an_opset_above_its_own(graph_of, run_onnx, random_images, opset):
    graph = graph_of([("Conv", ["x", "w"], ["c"]), ("Gelu" if opset >= 20 else "Relu", ["c"], ["r"]),
                      ("GlobalAveragePool", ["r"], ["p"]), ("Flatten", ["p"], ["y"])],
                     {"w": RANDOM.standard_normal((4, 3, 1, 1)).astype(np.float32)}, x=("n", 3, 32, 32), opset=opset)
    graph.ir_version = 10
    images = random_images(4)
    made = int8(OnnxModel.of(checked(graph)), "tensorrt-fp16", images)
    assert made.opset == opset
    assert run_onnx(made, next(images.batches(4)))[0].shape == (4, 4)
