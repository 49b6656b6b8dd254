"""The Q/DQ graphs have the shape that each target needs, and nearly the numbers of FP32."""

import logging

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edge_se.core.errors import CalibrationError
from edge_se.graph.counting import count, macs_by_node
from edge_se.graph.view import GraphView
from edge_se.quantization.excitations import find_excitations
from edge_se.quantization.placement import PLACEMENTS, place
from edge_se.quantization.ranges import collect
from edge_se.quantization.static import quantize
from edge_se.quantization.targets import TARGETS

FLOAT_EXCITATIONS = [name for name in PLACEMENTS if name != "all"]
QDQ = ("QuantizeLinear", "DequantizeLinear")


@pytest.fixture(scope="module", params=["se", "none"])
def source(request, tiny_onnx, tiny_plain_onnx):
    return tiny_onnx if request.param == "se" else tiny_plain_onnx


@pytest.fixture(scope="module")
def statistics(source, random_images):
    return collect(source, random_images(64))


@pytest.fixture(scope="module")
def quantized(source, statistics):
    """(target, placement) -> the INT8 model."""
    made = {}

    def make(target, placement="se-float"):
        if (target, placement) not in made:
            rules = TARGETS[target]
            made[target, placement] = quantize(source, statistics.ranges("minmax", rules.activations),
                                               rules, place(source.proto, rules, placement))
        return made[target, placement]
    return make


@pytest.fixture(params=TARGETS)
def target(request):
    return request.param


def constant(view, name):
    value = view.constant(name)
    assert value is not None, name
    return value


def dequantized_constants(view):
    """(DequantizeLinear node, its constant) for weights and biases."""
    return [(node, view.constant(node.input[0])) for node in view.graph.node
            if node.op_type == "DequantizeLinear" and view.constant(node.input[0]) is not None]


def is_dequantized(name, view):
    return name in view.producer and view.producer[name].op_type == "DequantizeLinear"


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_it_is_a_valid_graph_that_says_what_it_is(quantized, source, target, placement):
    model = quantized(target, placement)
    onnx.checker.check_model(model.proto, full_check=True)
    assert (model.precision, model.target, model.parent_sha256) == ("int8", target, source.sha256)
    assert model.file_name == f"int8.{target}.onnx"
    assert model.metadata == source.metadata
    assert (model.input_name, model.input_shape) == (source.input_name, source.input_shape)
    assert [(entry.domain, entry.version) for entry in model.proto.opset_import] == [("", TARGETS[target].opset)]
    assert model.proto.ir_version == (9 if target == "tensorrt-fp16" else source.proto.ir_version)
    assert {item.elem_type for value in (*model.proto.graph.input, *model.proto.graph.output)
            for item in [value.type.tensor_type]} == {onnx.TensorProto.FLOAT}


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_cpu_has_uint8_activations_int8_weights_and_int32_biases(quantized, placement):
    view = GraphView(quantized("cpu", placement).proto)
    activations = [node for node in view.graph.node if node.op_type == "QuantizeLinear"]
    assert activations
    for node in activations:
        assert constant(view, node.input[2]).dtype == np.uint8
    kinds = {value.dtype.name for _, value in dequantized_constants(view)}
    assert kinds == {"int8", "int32"}
    for node, _ in dequantized_constants(view):
        assert not np.any(constant(view, node.input[2])) if len(node.input) > 2 else True


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_arm_has_int8_activations_that_use_all_levels(quantized, placement):
    view = GraphView(quantized("arm", placement).proto)
    zero_points = [constant(view, node.input[2]) for node in view.graph.node if node.op_type == "QuantizeLinear"]
    assert {value.dtype.name for value in zero_points} == {"int8"}
    assert any(value == -128 for value in zero_points)  # behind a ReLU
    assert {value.dtype.name for _, value in dequantized_constants(view)} == {"int8", "int32"}


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_openvino_is_symmetric_int8_below_zero_and_uint8_elsewhere(quantized, statistics, placement):
    view = GraphView(quantized("openvino", placement).proto)
    kinds = set()
    for node in view.graph.node:
        if node.op_type == "QuantizeLinear":
            zero_point = constant(view, node.input[2])
            assert zero_point == 0
            histogram = statistics.histograms[node.input[0].removesuffix("_QuantizeLinear_Input")]
            assert zero_point.dtype == (np.int8 if histogram.low < 0 else np.uint8)
            kinds.add(zero_point.dtype.name)
    assert "uint8" in kinds


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_biases_for_openvino_are_floats_that_f16_holds(quantized, placement):
    """OpenVINO at f16 converts an int32 bias to FP16 before it scales it: above 65504 it saturates."""
    view = GraphView(quantized("openvino", placement).proto)
    assert {value.dtype.name for _, value in dequantized_constants(view)} == {"int8"}
    biases = [constant(view, node.input[2]) for node in view.graph.node
              if node.op_type in ("Conv", "Gemm") and len(node.input) > 2]
    assert biases and {bias.dtype.name for bias in biases} == {"float32"}
    assert max(float(np.abs(bias).max()) for bias in biases) < 65504


def test_without_vnni_weights_have_7_bits(quantized):
    for target, bound in (("cpu", 127), ("cpu-avx2", 64)):
        values = [value for _, value in dequantized_constants(GraphView(quantized(target).proto))
                  if value.dtype == np.int8]
        assert max(np.abs(value.astype(int)).max() for value in values) == bound


def test_half_floats_surround_int8(quantized):
    view = GraphView(quantized("tensorrt-fp16").proto)
    floats = {constant.data_type for constant in view.graph.initializer} - {onnx.TensorProto.INT8}
    assert floats == {onnx.TensorProto.FLOAT16}
    assert sum(node.op_type == "Cast" for node in view.graph.node) == 2  # at the input and at the output


@pytest.mark.parametrize("target", ["tensorrt", "tensorrt-fp16"])
@pytest.mark.parametrize("placement", PLACEMENTS)
def test_tensorrt_is_int8_with_zero_points_0_and_float_biases(quantized, target, placement):
    view = GraphView(quantized(target, placement).proto)
    pairs = [node for node in view.graph.node if node.op_type in QDQ]
    assert pairs
    for node in pairs:
        zero_point = constant(view, node.input[2])
        assert zero_point.dtype == np.int8 and not zero_point.any()
    assert {value.dtype.name for _, value in dequantized_constants(view)} == {"int8"}
    for node in view.graph.node:
        if node.op_type in ("Conv", "Gemm") and len(node.input) > 2:
            assert constant(view, node.input[2]).dtype == (np.float32 if target == "tensorrt" else np.float16)


def test_weights_are_per_output_channel_and_nearly_the_originals(quantized, source, target):
    view = GraphView(quantized(target, "all").proto)
    originals = {item.name: numpy_helper.to_array(item) for item in source.proto.graph.initializer}
    found = 0
    for node in view.graph.node:
        if node.op_type not in ("Conv", "Gemm"):
            continue
        weight = view.producer[node.input[1]]
        values, scales = constant(view, weight.input[0]), constant(view, weight.input[1])
        original = originals[weight.input[0].removesuffix("_quantized")]
        axis = next((item.i for item in weight.attribute if item.name == "axis"), 1)
        outputs = original.shape[0]  # Gemm has transB = 1
        assert (scales.shape, axis, values.dtype) == ((outputs,), 0, np.int8)
        largest = 127 if TARGETS[target].weight_bits == 8 else 64
        assert values.min() >= -largest  # symmetric: -128 has no opposite
        scales = scales.astype(np.float32).reshape(-1, *[1] * (original.ndim - 1))
        np.testing.assert_allclose(values * scales, original, atol=float(0.55 * scales.max()))
        assert (np.abs(values.reshape(outputs, -1)).max(1) >= largest - 1).all()  # each channel uses its whole range
        found += 1
    assert found == sum(item.op_type in ("Conv", "Gemm") for item in source.proto.graph.node)


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_the_share_of_int8_macs(quantized, source, target, placement):
    counts = count(quantized(target, placement).proto)
    assert (counts.macs, counts.params) == (count(source.proto).macs, count(source.proto).params)
    spared = place(source.proto, TARGETS[target], placement).float_nodes
    in_float = sum(macs for name, macs in macs_by_node(source.proto).items() if name in spared)
    assert counts.int8_macs == counts.macs - in_float


@pytest.mark.parametrize("placement", [name for name in PLACEMENTS if name != "conv-only"])
def test_each_residual_input_has_a_dequantization_of_its_own(quantized, source, placement):
    rules = TARGETS["tensorrt"]
    view = GraphView(quantized("tensorrt", placement).proto)
    plan = place(source.proto, rules, placement)
    assert len(plan.residual_inputs) == 4
    for output, name in plan.residual_inputs:
        restored = [read for read in view.producer[output].input if is_dequantized(read, view)]
        assert len(restored) == 1  # the other input comes from the convolution that the Add is fused with
        assert [reader.output[0] for reader in view.consumers[restored[0]]] == [output]
        (quantizer,) = [node for node in view.consumers[name] if node.op_type == "QuantizeLinear"]
        assert view.producer[restored[0]].input[0] == quantizer.output[0]  # the tensor is in INT8 once
        assert view.producer[restored[0]].input[1:] == quantizer.input[1:]


def test_conv_only_leaves_adds_in_float(quantized):
    view = GraphView(quantized("tensorrt", "conv-only").proto)
    for node in view.graph.node:
        if node.op_type == "Add":
            residual = [read for read in node.input if is_dequantized(read, view)]
            assert all(len(view.consumers[read]) > 1 for read in residual)  # shared with a convolution at most


@pytest.mark.parametrize("placement", FLOAT_EXCITATIONS)
def test_nothing_is_quantized_inside_an_excitation(quantized, source, target, placement):
    view = GraphView(quantized(target, placement).proto)
    for excitation in find_excitations(source.proto):
        for name in excitation.inner:
            node = view.producer[name]
            for read in node.input:
                value = view.constant(read)
                assert (value.dtype in (np.float32, np.float16)) if value is not None else (
                    read in excitation.inner or is_dequantized(read, view) or read in excitation.squeezes), read
            if name != excitation.inner[0]:  # the excitation's own output may be quantized for the Mul on the CPU
                assert all(reader.op_type not in QDQ for reader in view.consumers[name])


@pytest.mark.parametrize("placement", FLOAT_EXCITATIONS)
def test_on_tensorrt_an_excitation_is_float_from_its_pool_to_its_scale(quantized, source, placement):
    view = GraphView(quantized("tensorrt", placement).proto)
    for excitation in find_excitations(source.proto):
        for name in (*excitation.squeezes, *excitation.inner, excitation.scale):
            assert not any(is_dequantized(read, view) for read in view.producer[name].input)
            assert all(reader.op_type not in QDQ for reader in view.consumers[name])


def test_on_the_cpu_pool_and_scale_stay_int8(quantized, source):
    view = GraphView(quantized("cpu", "se-float").proto)
    for excitation in find_excitations(source.proto):
        assert is_dequantized(view.producer[excitation.squeezes[0]].input[0], view)
        assert all(is_dequantized(read, view) for read in view.producer[excitation.scale].input)


def sqnr(exact, approximate):
    """Signal to quantization noise of the logits in decibels, each class's mean left out."""
    return 10 * np.log10((exact - exact.mean(0)).var() / np.mean((exact - approximate) ** 2))


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_logits_are_nearly_those_of_fp32(quantized, source, target, placement, random_images, run_onnx):
    images = next(random_images(200, "test", seed=1).batches(200))
    exact, approximate = run_onnx(source, images)[0], run_onnx(quantized(target, placement), images)[0]
    assert sqnr(exact, approximate) > 15
    assert np.mean(exact.argmax(1) == approximate.argmax(1)) >= 0.9


@pytest.mark.parametrize("batch", [1, 3])
def test_the_batch_is_still_dynamic(quantized, target, run_onnx, batch):
    assert run_onnx(quantized(target), np.zeros((batch, 3, 32, 32), np.float32))[0].shape == (batch, 10)


def test_equal_inputs_give_equal_bytes_and_the_source_is_untouched(quantized, source, statistics, target):
    before = source.proto.SerializeToString(deterministic=True)
    rules = TARGETS[target]
    again = quantize(source, statistics.ranges("minmax", rules.activations), rules,
                     place(source.proto, rules, "se-float"))
    assert again.sha256 == quantized(target).sha256
    assert source.proto.SerializeToString(deterministic=True) == before


def test_ranges_of_another_model_are_refused(tiny_onnx, tiny_plain_onnx, random_images):
    ranges = collect(tiny_onnx, random_images(2)).ranges("minmax", "uint8")
    with pytest.raises(CalibrationError, match="these ranges were collected on another model; calibrate this model"):
        quantize(tiny_plain_onnx, ranges, TARGETS["cpu"], place(tiny_plain_onnx.proto, TARGETS["cpu"]))


def test_nodes_without_names_and_silent_tensors(graph_of, random_images, run_onnx, target):
    """Files from elsewhere may leave node names out; a tensor may be zero on every calibration image."""
    from edge_se.graph.onnx_model import OnnxModel

    random = np.random.default_rng(0)
    graph = graph_of(
        [("Conv", ["x", "w"], ["c"]), ("Relu", ["c"], ["r"]), ("Conv", ["r", "v"], ["d"]), ("Add", ["d", "c"], ["a"]),
         ("GlobalAveragePool", ["a"], ["p"]), ("Flatten", ["p"], ["y"])],
        {"w": -np.abs(random.standard_normal((3, 3, 1, 1), np.float32)),
         "v": random.standard_normal((3, 3, 1, 1), np.float32)})
    model = OnnxModel.of(graph)
    images = random_images(4, size=8)
    bright = type(images)(name="b", split="calibration", pixels=images.pixels // 8 + 200, labels=None)
    rules = TARGETS[target]
    ranges = collect(model, bright).ranges("minmax", rules.activations)
    assert not rules.calibrated or ranges.bounds["r"] == (0, 0)
    int8 = quantize(model, ranges, rules, place(model.proto, rules, "all"))
    batch = next(bright.batches(4))
    np.testing.assert_allclose(run_onnx(int8, batch)[0], run_onnx(model, batch)[0], rtol=0.05, atol=0.05)


def test_logging_is_left_as_it_was(source, statistics):
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.INFO)
    try:
        quantize(source, statistics.ranges("minmax", "uint8"), TARGETS["cpu"],
                 place(source.proto, TARGETS["cpu"]))
        assert root.level == logging.INFO
    finally:
        root.setLevel(before)
