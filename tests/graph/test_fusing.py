"""Graphs that take a camera's bytes: the same answers in every precision, and INT8 that sees pixels exactly."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edge_se.core.errors import ModelError
from edge_se.data.splits import ImageSet
from edge_se.device.agent.preprocess import Preprocessing, tensor
from edge_se.graph.fp16 import to_fp16
from edge_se.graph.fusing import normalised_bytes, with_fused_preprocessing
from edge_se.graph.metadata import ModelMetadata, write_metadata
from edge_se.graph.onnx_model import OnnxModel
from edge_se.quantization.placement import place
from edge_se.quantization.ranges import collect
from edge_se.quantization.sensitivity import sqnr_db
from edge_se.quantization.static import quantize
from edge_se.quantization.targets import TARGETS

SIZE = 16
IMAGENET = Preprocessing(size=(SIZE, SIZE), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
GREY = Preprocessing(size=(SIZE, SIZE), mean=(0.13,), std=(0.3,), colour="grey")
KINDS = {"NCHW": (IMAGENET, {}), "NHWC": (replace(IMAGENET, axes="NHWC"), {}), "grey": (GREY, {}),
         "no padding": (IMAGENET, {"pads": [0] * 4}), "uneven padding": (IMAGENET, {"pads": [0, 0, 1, 1]}),
         "same padding": (IMAGENET, {"auto_pad": "SAME_UPPER"}), "strides": (IMAGENET, {"pads": [3] * 4}),
         "BGR less a mean": (replace(IMAGENET, mean=(103.9, 116.8, 123.7), std=(1.0,) * 3, range="0-255",
                                     colour="BGR"), {"pads": [1] * 4}),
         "-1 to 1": (replace(IMAGENET, mean=(0.0,) * 3, std=(1.0,) * 3, range="-1-1"), {"pads": [1] * 4})}


@pytest.fixture(scope="module")
def net(graph_of):
    """(preprocessing, attributes of the first convolution, whether another reads the image too) -> a small net."""

    def make(how, attributes, twice=False):
        random = np.random.default_rng(0)
        shape = (how.channels, SIZE, SIZE) if how.axes == "NCHW" else (SIZE, SIZE, how.channels)
        kernel = 2 * attributes.get("pads", [1])[-1] + 1
        read = "x" if how.axes == "NCHW" else "t"
        nodes = [("Conv", [read, "w", "b"], ["c"], {"strides": [2, 2], **({"pads": [1] * 4} | attributes if
                  "auto_pad" not in attributes else attributes)})]
        nodes += [("Conv", [read, "w", "b"], ["d"], nodes[0][3]), ("Add", ["c", "d"], ["e"])] if twice else [
            ("Identity", ["c"], ["e"])]
        moved = [("Transpose", ["x"], ["t"], {"perm": [0, 3, 1, 2]})] if how.axes == "NHWC" else []
        proto = graph_of([*moved, *nodes, ("Relu", ["e"], ["r"]), ("Conv", ["r", "v"], ["s"], {"pads": [1] * 4}),
                          ("Relu", ["s"], ["u"]), ("GlobalAveragePool", ["u"], ["p"]), ("Flatten", ["p"], ["f"]),
                          ("Gemm", ["f", "g"], ["y"])],
                         {"w": random.standard_normal((16, how.channels, kernel, kernel)).astype(np.float32),
                          "b": random.standard_normal(16).astype(np.float32),
                          "v": random.standard_normal((16, 16, 3, 3)).astype(np.float32),
                          "g": random.standard_normal((16, 10)).astype(np.float32)}, x=("batch", *shape))
        write_metadata(proto, ModelMetadata(model="net", preprocessing=how))
        return OnnxModel.of(proto)
    return make


@pytest.fixture(scope="module")
def images():
    random = np.random.default_rng(1)
    blobs = random.integers(0, 256, (48, 3, 4, 4)).repeat(4, axis=2).repeat(4, axis=3)
    noise = random.integers(-40, 41, (48, 3, SIZE, SIZE))
    return ImageSet(name="blobs", split="calibration", pixels=np.clip(blobs + noise, 0, 255).astype(np.uint8),
                    labels=None)


@pytest.mark.parametrize("twice", [False, True], ids=["one reader", "two readers"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_answers_are_the_same(net, images, run_onnx, kind, twice):
    how, attributes = KINDS[kind]
    model = net(how, attributes, twice)
    fused = with_fused_preprocessing(model)
    own = fused.model.metadata.preprocessing
    bytes_ = tensor(images.pixels, own)
    assert fused.exact is not twice and bytes_.dtype == np.uint8 and bytes_.shape == (48, SIZE, SIZE, how.channels)
    np.testing.assert_allclose(normalised_bytes(bytes_, how), tensor(images.pixels, how), atol=1e-5)
    expected = run_onnx(model, tensor(images.pixels, how))[0]
    largest = np.abs(expected).max()
    np.testing.assert_allclose(run_onnx(fused.model, bytes_)[0], expected, atol=2e-6 * largest)
    np.testing.assert_allclose(run_onnx(to_fp16(fused.model), bytes_)[0], expected, atol=3e-3 * largest)
    assert (own.colour, own.resize, own.size) == (how.colour, how.resize, how.size)


def test_black_and_white_frames_are_right_at_the_border_too(net, run_onnx):
    model = net(*KINDS["strides"])
    fused = with_fused_preprocessing(model).model
    for value in (0, 128, 255):
        bytes_ = np.full((1, SIZE, SIZE, 3), value, np.uint8)
        expected = run_onnx(model, normalised_bytes(bytes_, IMAGENET))[0]
        np.testing.assert_allclose(run_onnx(fused, bytes_)[0], expected, atol=2e-6 * np.abs(expected).max())


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("target", [name for name in TARGETS if TARGETS[name].calibrated])
def test_int8_sees_pixels_exactly_and_answers_as_well(net, images, run_onnx, target, runtime):
    model, rules = net(*KINDS["NCHW"]), TARGETS[target]
    fused = with_fused_preprocessing(model).model
    dark = replace(images, pixels=images.pixels // 2)  # calibration never saw the bright half
    expected = run_onnx(model, tensor(images.pixels, IMAGENET))[0]
    files = {}
    for name, own in (("plain", model), ("fused", fused)):
        own_images = dark.seen_by(own.metadata.preprocessing)
        ranges = collect(own, own_images).ranges("minmax", rules.activations)
        files[name] = quantize(own, ranges, rules, place(own.proto, rules, "all"))
    graph = files["fused"].proto.graph
    constants = {value.name: numpy_helper.to_array(value) for value in graph.initializer}
    first = next(node for node in graph.node if node.op_type == "QuantizeLinear")
    zero = constants[first.input[2]] if len(first.input) > 2 else np.int8(0)
    assert constants[first.input[1]] == 1.0 and zero == (128 if zero.dtype == np.uint8 else 0)
    restored = -128 + np.arange(256)  # Q and DQ of every pixel less 128
    limits = np.iinfo(zero.dtype)
    np.testing.assert_array_equal(np.clip(restored + int(zero), limits.min, limits.max) - int(zero), restored)
    if runtime == "openvino":
        openvino = pytest.importorskip("openvino")
        core = openvino.Core()
        compiled = core.compile_model(core.read_model(files["fused"].content), "CPU",
                                      {"INFERENCE_PRECISION_HINT": "f32"})
        answers = compiled(tensor(dark.pixels, fused.metadata.preprocessing))[0]
    else:
        answers = run_onnx(files["fused"], tensor(dark.pixels, fused.metadata.preprocessing))[0]
    plain = run_onnx(files["plain"], tensor(dark.pixels, IMAGENET))[0]
    expected = run_onnx(model, tensor(dark.pixels, IMAGENET))[0]
    assert sqnr_db(expected, answers) > max(25, sqnr_db(expected, plain) - 3)


def test_what_takes_bytes_already_is_refused(net):
    once = with_fused_preprocessing(net(IMAGENET, {})).model
    with pytest.raises(ModelError, match="--fuse-preprocessing: takes uint8 pixels already"):
        with_fused_preprocessing(once)
    proto = once.copy()
    del proto.metadata_props[:]
    with pytest.raises(ModelError, match="does not say its preprocessing"):
        with_fused_preprocessing(OnnxModel.of(proto))


def test_names_of_the_net_are_kept_apart(net, images, run_onnx):
    model = net(IMAGENET, {})
    proto = model.copy()
    for node in proto.graph.node:
        for values in (node.input, node.output):
            for place_, name in enumerate(values):
                values[place_] = "fused_centred" if name == "r" else name
    del proto.graph.value_info[:]
    fused = with_fused_preprocessing(OnnxModel.of(onnx.shape_inference.infer_shapes(proto))).model
    np.testing.assert_allclose(run_onnx(fused, tensor(images.pixels, fused.metadata.preprocessing))[0],
                               run_onnx(model, tensor(images.pixels, IMAGENET))[0], rtol=1e-3, atol=1e-3)
