"""The runtimes' own answers: each does what its rules say, with the files that break them and not with their likes."""

import numpy as np
import onnx
import pytest

from edge_se.backends.tensorrt import parse_check
from edge_se.core import environment
from edge_se.graph.onnx_model import OnnxModel
from edge_se.quantization.lint.qdq import QdqView
from edge_se.quantization.lint.table import RULES

FAR, NEAR = 25, 60  # decibels
PASS = "WeightBiasQuantization"


@pytest.fixture
def files(request, of):
    """rule -> (file that breaks it, its like), from the table of test_lint_rules.py."""
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location("cases", request.path.with_name("test_lint_rules.py"))
    cases = module_from_spec(spec)
    spec.loader.exec_module(cases)
    return lambda name: tuple(make(of) for make in cases.CASES[name])


def computed(name, proto):
    changed = onnx.ModelProto.FromString(proto.SerializeToString())
    RULES[name].computed(changed)
    return changed


def repaired(name, proto):
    changed = onnx.ModelProto.FromString(proto.SerializeToString())
    assert RULES[name].repair(changed)
    return changed


@pytest.mark.parametrize(("name", "far"), [("gemm-bias-scale", FAR), ("float-bias-rounded", NEAR)])
def test_onnxruntime_computes_what_the_rule_says_instead(name, far, files, of, images):
    broken, sound = files(name)
    written, optimized = of.run(broken, images, optimized=False), of.run(broken, images)
    assert of.decibels(written, optimized) < far
    assert of.decibels(of.run(computed(name, broken), images, optimized=False), optimized) > NEAR
    assert of.decibels(of.run(sound, images, optimized=False), of.run(sound, images)) > NEAR


def test_the_pass_rounds_the_bias(files, of, images):
    broken, _ = files("float-bias-rounded")
    written = of.run(broken, images, optimized=False)
    assert of.decibels(written, of.run(broken, images, without=[PASS])) > NEAR


def test_a_bias_in_float_mends_a_gemm(files, of, images):
    broken, _ = files("gemm-bias-scale")
    written = of.run(broken, images, optimized=False)
    assert of.decibels(written, of.run(repaired("gemm-bias-scale", broken), images)) > 2 * FAR


def test_fp16_scales_in_a_default_session(files, of, images):
    broken, sound = files("fp16-scales")
    written = of.run(broken, images, optimized=False)
    assert of.decibels(written, of.run(broken, images)) < 10
    assert of.decibels(written, of.run(broken, images, without=[PASS])) > NEAR
    assert of.decibels(of.run(sound, images, optimized=False), of.run(sound, images)) > FAR


def test_float_weights_between_pairs(files, of, images):
    broken, sound = files("float-weights-quantized")
    written = of.run(broken, images, optimized=False)
    small = [of.decibels(written[:, 1:], of.run(proto, images)[:, 1:]) for proto in (
        broken, repaired("float-weights-quantized", broken))]
    assert small[0] < FAR < NEAR < small[1]
    assert of.decibels(of.run(sound, images, optimized=False)[:, 1:], of.run(sound, images)[:, 1:]) > FAR


def test_a_softmax_that_is_nearly_uniform(files, of):
    images = np.random.default_rng(0).normal(size=(1, 3, 8, 8)).astype(np.float32) * 0.05
    broken, sound = files("uniform-softmax")
    assert of.decibels(of.run(broken, images, optimized=False), of.run(broken, images)) < 10
    peaked = images.copy()
    peaked[0, 0, 0, 0] = 1.27
    assert of.decibels(of.run(sound, peaked, optimized=False), of.run(sound, peaked)) > 10


@pytest.mark.parametrize(("opset", "loads"), [(26, True), (27, False), (28, False)])
def test_opsets_that_onnxruntime_loads(opset, loads, of):
    proto = of.layer(opset=21)
    proto.opset_import[0].version = opset
    assert bool(list(RULES["opset-too-new"].find(QdqView(proto)))) is not loads
    if loads:
        of.session(proto)
    else:
        with pytest.raises(Exception, match="opset"):
            of.session(proto)


def test_sixteen_bits_have_no_integer_kernel_in_onnxruntime(of, tmp_path):
    """The same layer with 8 bits becomes a QLinearConv."""
    kernels = {}
    for kind, point in ((np.uint16, 32768), (np.uint8, 128)):
        of.session(of.layer(kind=kind, point=point, behind=(kind, 0.05, point), opset=21), saved=tmp_path / "o.onnx")
        kernels[kind] = {node.op_type for node in onnx.load(tmp_path / "o.onnx").graph.node}
    assert "QLinearConv" in kernels[np.uint8] and "QLinearConv" not in kernels[np.uint16]


def test_onnxruntimes_quantizer_makes_coarse_biases_of_empty_channels(tmp_path, graph_of, images):
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.left = [{"x": images}]

        def get_next(self):
            return self.left.pop() if self.left else None

    found = {}
    for weight in (0, 1e-12):
        weights = np.full((2, 3, 1, 1), 0.01, np.float32)
        weights[0] = weight
        constants = {"w": weights, "b": np.float32([0.259, 0])}
        onnx.save(graph_of([("Conv", ["x", "w", "b"], ["y"])], constants, x=(1, 3, 8, 8)), tmp_path / "float.onnx")
        quantize_static(tmp_path / "float.onnx", tmp_path / "int8.onnx", Reader(), quant_format=QuantFormat.QDQ,
                        per_channel=True, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)
        found[weight] = list(RULES["empty-channel-bias"].find(QdqView(onnx.load(tmp_path / "int8.onnx"))))
    assert len(found[0]) == 1 and not found[1e-12]


def test_pixels_on_ties_differ_and_lose_grey_levels(files, of):
    """Half of the levels are left in OpenVINO, and others in onnxruntime; off the ties both have all but one."""
    grey = np.zeros((4, 3, 8, 8), np.float32)
    grey[:, 0] = ((np.arange(256, dtype=np.float32) / 255 - np.float32(0.5)) / np.float32(0.5)).reshape(4, 8, 8)
    levels = []
    for proto in files("pixels-on-ties"):
        for answers in ([of.run(proto, image[None], False) for image in grey],
                        [of.openvino(proto, image[None])[0] for image in grey]):
            levels.append(len({value for answer in answers for value in answer[0, 0].ravel()}))
    assert levels[0] < 250 and levels[1] < 140 and levels[2:] == [255, 255]


def test_quantized_twice_is_another_file_than_once(files, of, images):
    once = files("quantized-twice")[1]
    assert of.decibels(of.run(once, images, False), of.run(files("quantized-twice")[0], images, False)) < 45


def test_products_of_eight_bits_lose_what_float_ones_keep(files, of, images):
    """Against the same products in float64, of tokens of which most are far smaller than the largest."""
    broken, _ = files("attention-products")
    tokens = (images * np.float32([1, 0.05, 0.002]).reshape(1, 3, 1, 1)).astype(np.float32)
    flat = tokens.astype(np.float64).reshape(1, 3, 64)
    small = (slice(None), slice(2, None), slice(2, None))
    right = (flat @ flat.transpose(0, 2, 1))[small]
    assert of.decibels(right, of.run(broken, tokens, False)[small]) < 10


# OpenVINO


def test_openvino_saturates_int32_biases_at_f16(files, of, images):
    broken, sound = files("bias-beyond-fp16")
    answer, _, floats = of.openvino(broken, images, "f16")
    if floats != "f16":
        pytest.skip(f"this processor computes {floats} where f16 is asked for")
    assert of.decibels(of.run(computed("bias-beyond-fp16", broken), images, False), answer) > 30
    assert of.decibels(of.run(sound, images, False), of.openvino(sound, images, "f16")[0]) > 30


def test_openvino_at_f32_does_not_saturate(files, of, images):
    broken, _ = files("bias-beyond-fp16")
    assert of.decibels(of.run(broken, images, False), of.openvino(broken, images)[0]) > 30


@pytest.mark.skipif(environment.version_of("openvino") != "2026.4.1", reason="needs OpenVINO 2026.4.1")
@pytest.mark.skipif("avx512_vnni" not in environment.processor_flags(), reason="needs a processor with VNNI")
@pytest.mark.parametrize("name", ["signed-behind-concat", "gathered-channels"])
def test_openvino_behind_a_concat_and_a_gather(files, of, images, name):
    broken, sound = files(name)
    right = of.run(broken, images, False)
    assert of.decibels(right, of.openvino(broken, images)[0]) < 10
    assert of.decibels(right, of.openvino(repaired(name, broken), images)[0]) > 30
    assert of.decibels(of.run(sound, images, False), of.openvino(sound, images)[0]) > 30


@pytest.mark.skipif(environment.version_of("openvino") != "2026.4.1", reason="needs OpenVINO 2026.4.1")
@pytest.mark.parametrize(("name", "far"), [("lost-axes", 20), ("window-of-padding", 0)])
def test_openvino_reads_a_reduction_and_a_pool_otherwise(files, of, images, name, far):
    broken, sound = files(name)
    right = of.run(broken, images, False)
    assert of.decibels(right, of.openvino(broken, images)[0]) < far
    assert of.decibels(right, of.openvino(repaired(name, broken), images)[0]) > NEAR
    assert of.decibels(of.run(sound, images, False), of.openvino(sound, images)[0]) > NEAR


@pytest.mark.skipif(environment.version_of("openvino") != "2026.4.1", reason="needs OpenVINO 2026.4.1")
@pytest.mark.skipif("avx512_vnni" not in environment.processor_flags(), reason="needs a processor with VNNI")
def test_openvino_reduces_a_product_otherwise(files, of, images):
    broken, sound = files("dropped-axes")
    right = of.run(broken, images, False)
    assert of.decibels(right, of.openvino(broken, images)[0]) < FAR
    assert of.decibels(right, of.openvino(repaired("dropped-axes", broken), images)[0]) > NEAR
    assert of.decibels(of.run(sound, images, False), of.openvino(sound, images)[0]) > NEAR


@pytest.mark.parametrize("kind", ["ReduceLogSum", "ReduceLogSumExp"])
def test_reductions_of_the_same_kind(files, of, images, kind):
    from edge_se.graph.reductions import losing_axes

    broken, _ = files("lost-axes")
    node = next(losing_axes(QdqView(broken)))
    node.op_type = kind
    np.testing.assert_allclose(of.run(repaired("lost-axes", broken), images), of.run(broken, images, False), rtol=1e-4)


@pytest.mark.skipif(environment.version_of("openvino") != "2026.4.1", reason="needs OpenVINO 2026.4.1")
def test_openvino_pads_an_average_with_the_integer_zero(files, of, images):
    broken, sound = files("padded-average-pool")
    right = of.run(broken, images, False)
    assert of.decibels(right, of.openvino(broken, images)[0]) < 0
    assert of.decibels(right, of.openvino(repaired("padded-average-pool", broken), images)[0]) > NEAR
    assert of.decibels(of.run(sound, images, False), of.openvino(sound, images)[0]) > NEAR


def test_onnxruntime_pads_a_max_pool_without_the_zeros(files, of, images):
    broken, sound = files("zeros-before-pool")
    assert not of.run(broken, images, False)[..., 0, 0].any()  # the zeros are the largest
    assert (of.run(broken, images)[..., 0, 0] < 0).all()
    for right in (sound, repaired("zeros-before-pool", broken)):
        np.testing.assert_array_equal(of.run(right, images), of.run(broken, images, False))


def test_openvino_takes_sixteen_bits_out_with_their_relu(files, of, images):
    name = "sixteen-bits-without-relu"
    broken, sound = files(name)
    answer = of.openvino(broken, images)[0]
    assert answer.min() < 0 == of.run(broken, images, False).min()
    assert of.decibels(of.run(computed(name, broken), images, False), answer) > NEAR
    for right in (sound, repaired(name, broken)):
        assert of.openvino(right, images)[0].min() == 0


def test_openvino_runs_uint8_weights_and_sixteen_bits_in_float(files, of, images):
    def precisions(proto):
        return of.openvino(proto, images)[1]["Convolution"]

    broken, sound = files("uint8-weights")
    assert precisions(sound) == precisions(repaired("uint8-weights", broken)) != {"f32"}
    assert precisions(broken) == {"f32"}
    assert precisions(of.layer(kind=np.uint16, point=32768, behind=None, opset=21)) == {"f32"}


# TensorRT for RTX: its parser, which needs no GPU


def refusal(proto):
    pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed: pip install 'edge-se[rtx]'")
    return parse_check(OnnxModel.of(proto))


def sound_for_tensorrt(of, **changes):
    return of.layer(**{"kind": np.int8, "point": 0, "behind": (np.int8, 0.05, 0)} | changes)


@pytest.mark.parametrize(("name", "changes"), [
    ("int32-bias", {"bias": "int32"}),
    ("uint8-weights-refused", {"integers": np.full((8, 3, 3, 3), 200, np.uint8), "weights_point": 128}),
    ("zero-point-refused", {"kind": np.uint8, "point": 128}),
    ("sixteen-bits-refused", {"kind": np.int16, "opset": 21}),
])
def test_its_parser_refuses_what_the_rule_finds_and_takes_the_repaired_file(name, changes, of, images):
    assert refusal(sound_for_tensorrt(of)) is None
    broken = sound_for_tensorrt(of, **changes)
    assert list(RULES[name].find(QdqView(broken))) and refusal(broken)
    if RULES[name].repair:
        mended = repaired(name, broken)
        assert refusal(mended) is None
        assert np.allclose(of.run(mended, images, False), of.run(broken, images, False), atol=1e-5)


@pytest.mark.parametrize("name", ["unsigned-read-as-int8", "zero-point-left-out"])
def test_its_parser_reads_unsigned_as_int8(name, of):
    rtx = pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed: pip install 'edge-se[rtx]'")
    own = of.graph()
    proto = own.model(own.pair("x", 0.02, 0 if name == "unsigned-read-as-int8" else None))
    assert list(RULES[name].find(QdqView(proto)))
    logger = rtx.Logger(rtx.Logger.ERROR)
    network = rtx.Builder(logger).create_network()
    assert rtx.OnnxParser(network, logger).parse(proto.SerializeToString())
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    assert [layer.get_output(0).dtype.name for layer in layers if layer.type == rtx.LayerType.QUANTIZE] == ["INT8"]
    bright = np.full((1, 3, 8, 8), 5, np.float32)
    assert of.run(proto, bright, False).max() == pytest.approx(5, abs=0.01)
    assert of.run(computed(name, proto), bright, False).max() == pytest.approx(2.54, abs=0.01)


# Tools that rewrite graphs, OpenCV, torch's exporter


def _optimize(proto):
    return pytest.importorskip("onnxscript.optimizer", reason="onnxscript is not installed").optimize(proto)


def _slim(proto):
    return pytest.importorskip("onnxslim", reason="onnxslim is not installed").slim(proto)


def _simplify(proto):
    return pytest.importorskip("onnxsim", reason="onnxsim is not installed").simplify(proto)[0]


@pytest.mark.parametrize("tool", [_optimize, _slim, _simplify], ids=["onnxscript", "onnxslim", "onnxsim"])
def test_tools_merge_twins_unless_they_are_told_apart(tool, files, of, images):
    broken, sound = files("twin-pairs")

    def pairs(proto):
        return sum(node.op_type == "QuantizeLinear" for node in tool(proto).graph.node)

    apart = repaired("twin-pairs", broken)
    assert (pairs(broken), pairs(sound), pairs(apart)) == (1, 2, 2)
    assert np.array_equal(of.run(apart, images), of.run(broken, images))


def test_opencv_keeps_a_convolution_with_a_relu_in_float(files, of):
    cv2 = pytest.importorskip("cv2", reason="opencv is not installed")
    if int(cv2.__version__.split(".")[0]) < 5:
        pytest.skip("needs OpenCV 5, which runs Q/DQ files")

    def layers(proto):
        net = cv2.dnn.readNetFromONNX(np.frombuffer(proto.SerializeToString(), np.uint8))
        return [net.getLayer(index).type for index in range(len(net.getLayerNames()))]

    broken, _ = files("relu-in-front")
    assert "Conv2Int8" not in layers(broken) and "Conv2Int8" in layers(repaired("relu-in-front", broken))


@pytest.mark.slow
def test_torchs_exporter_loses_a_narrowed_range(of):
    torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'edge-se[torch]'")

    pytest.importorskip("torch.ao.quantization.fx._decomposed", reason="this torch has no operators of PT2E")
    own = torch.ops.quantized_decomposed

    class Narrow(torch.nn.Module):
        def forward(self, x):
            for point in (64, 60):
                integers = own.quantize_per_tensor(x, 0.1, point, 0, 127, torch.uint8)
                x = 1 + own.dequantize_per_tensor(integers, 0.1, point, 0, 127, torch.uint8)
            return x

    images = torch.full((1, 3, 8, 8), 20.0)
    proto = torch.onnx.export(Narrow(), (images,), dynamo=True, input_names=["x"], verbose=False).model_proto
    assert list(RULES["narrowed-range-lost"].find(QdqView(proto)))
    assert of.run(proto, images.numpy(), False).max() > 10 > Narrow()(images).max()
