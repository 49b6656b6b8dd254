"""Zeros in front of pools stay zeros: in onnxruntime before a MaxPool, in OpenVINO where an average counts them."""

import numpy as np
import onnx
import pytest

from edge_se.backends import openvino
from edge_se.backends.base import Device
from edge_se.backends.openvino import OpenVino
from edge_se.device.agent import OnnxRuntimeRunner
from edge_se.graph.foreign import normalised
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.zero_padding import with_negative_zeros, with_tiny_padding, without_offset_pools

RANDOM = np.random.default_rng(1)
IMAGES = RANDOM.normal(size=(2, 3, 8, 8)).astype(np.float32)
HALF = np.uint8(128)
AROUND = {"pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]), "wide": np.array([0, 0, 3, 3, 0, 0, 4, 4]),
          "zero": np.float32(0), "one": np.float32(1)}
THREE = {"kernel_shape": [3, 3]}
COUNTED = {**THREE, "count_include_pad": 1, "pads": [1] * 4}


@pytest.fixture
def padded(graph_of):
    """(inputs of the Pad, what follows, attributes of the Pad) -> logits of windows that are all below zero."""
    def make(told, following, **how):
        weights = RANDOM.normal(size=(147 if "wide" in told else 192, 5)).astype(np.float32)
        return graph_of(
            [("Sub", ["x", "far"], ["b"]), ("Pad", ["b", *told], ["p"], how), *following,
             ("Flatten", ["m"], ["f"]), ("MatMul", ["f", "w"], ["y"])],
            AROUND | {"far": np.float32(9), "w": weights})
    return make


@pytest.mark.parametrize(("told", "following", "changed"), [
    (["pads"], [("MaxPool", ["p"], ["m"], THREE)], 1),
    (["pads", "zero"], [("MaxPool", ["p"], ["m"], {**THREE, "pads": [0] * 4})], 1),
    (["pads"], [("Identity", ["p"], ["i"]), ("MaxPool", ["i"], ["m"], {**THREE, "pads": [0] * 4})], 1),
    (["pads", "one"], [("MaxPool", ["p"], ["m"], {**THREE, "pads": [0] * 4})], 0),
    (["wide"], [("AveragePool", ["p"], ["m"], {**THREE, "pads": [0] * 4, "strides": [2, 2]})], 1),
    (["pads"], [("AveragePool", ["p"], ["m"], {**THREE, "pads": [0] * 4})], 0),
    (["pads"], [("Relu", ["p"], ["r"]), ("MaxPool", ["r"], ["m"], {**THREE, "pads": [0] * 4})], 0),
], ids=["no value", "zero", "behind an Identity", "one", "a wide average", "an average", "behind a ReLU"])
def test_zeros_of_a_max_pool_stay(padded, run_onnx, told, following, changed):
    model = padded(told, following)
    written = OnnxRuntimeRunner(model.SerializeToString(), 1, as_written=True).run(IMAGES)
    assert with_negative_zeros(model) == changed
    onnx.checker.check_model(model, full_check=True)
    np.testing.assert_array_equal(OnnxRuntimeRunner(model.SerializeToString(), 1, as_written=True).run(IMAGES), written)
    np.testing.assert_allclose(run_onnx(model, IMAGES)[0], written, rtol=1e-4, atol=1e-4)


def test_reflected_pixels_are_no_zeros(padded):
    assert not with_negative_zeros(padded(["pads"], [("MaxPool", ["p"], ["m"], THREE)], mode="reflect"))


def test_a_users_file_keeps_its_numbers(padded, run_onnx, tmp_path):
    model = padded(["pads"], [("MaxPool", ["p"], ["m"], {**THREE, "pads": [0] * 4})])
    onnx.save(model, tmp_path / "net.onnx")
    written = OnnxRuntimeRunner(model.SerializeToString(), 1, as_written=True).run(IMAGES)
    made = normalised(OnnxModel.read(tmp_path / "net.onnx"), tmp_path / "net.onnx")
    np.testing.assert_allclose(run_onnx(made, IMAGES)[0], written, rtol=1e-4, atol=1e-4)


def test_a_name_that_is_taken_and_integers(padded, graph_of, run_onnx):
    model = padded(["pads", "p_value"], [("MaxPool", ["p"], ["m"], {**THREE, "pads": [0] * 4})])
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.float32(0), "p_value"))
    written = OnnxRuntimeRunner(model.SerializeToString(), 1, as_written=True).run(IMAGES)
    assert with_negative_zeros(model) == 1 and with_negative_zeros(model) == 0
    np.testing.assert_allclose(run_onnx(model, IMAGES)[0], written, rtol=1e-4, atol=1e-4)
    integers = graph_of(
        [("QuantizeLinear", ["x", "step", "point"], ["q"]), ("Pad", ["q", "pads"], ["p"]),
         ("MaxPool", ["p"], ["m"], {**THREE, "pads": [0] * 4}), ("DequantizeLinear", ["m", "step", "point"], ["y"])],
        AROUND | {"step": np.float32(0.03), "point": np.int8(0)}, opset=17)
    assert with_negative_zeros(integers) == 0  # no integer is a negative zero


# nodes from the integers `d` to the average `a`
BEFORE = {
    "its own padding": [("AveragePool", ["d"], ["a"], COUNTED)],
    "a Pad's": [("Pad", ["d", "pads"], ["p"]), ("AveragePool", ["p"], ["a"], THREE)],
    "both": [("Pad", ["d", "pads", "zero"], ["p"]), ("AveragePool", ["p"], ["a"], COUNTED)],
    "behind a MaxPool": [("MaxPool", ["d"], ["m"], {"kernel_shape": [2, 2]}), ("AveragePool", ["m"], ["a"], COUNTED)],
    "moved": [("Transpose", ["d"], ["t"], {"perm": [0, 1, 3, 2]}), ("AveragePool", ["t"], ["a"], COUNTED)],
    "joined": [("Concat", ["d", "d"], ["c"], {"axis": 1}), ("Slice", ["c", "from", "to", "axis"], ["s"]),
               ("AveragePool", ["s"], ["a"], COUNTED)],
    "behind an Identity": [("Pad", ["d", "pads"], ["p"]), ("Identity", ["p"], ["i"]),
                           ("AveragePool", ["i"], ["a"], THREE)],
    "by itself": [("AveragePool", ["d"], ["a"], {**THREE, "count_include_pad": 1, "auto_pad": "SAME_UPPER"})],
    "by itself, at one end": [("AveragePool", ["d"], ["a"], {
        **THREE, "count_include_pad": 1, "auto_pad": "SAME_LOWER", "strides": [2, 2]})],
    "wider at its ends": [("AveragePool", ["d"], ["a"], {**COUNTED, "pads": [0, 2, 0, 1], "strides": [2, 2]})]}
NOT = {
    "left out": [("AveragePool", ["d"], ["a"], {**THREE, "pads": [1] * 4})],
    "none": [("AveragePool", ["d"], ["a"], THREE)],
    "ones": [("Pad", ["d", "pads", "one"], ["p"]), ("AveragePool", ["p"], ["a"], THREE)],
    "behind a ReLU": [("Relu", ["d"], ["r"]), ("AveragePool", ["r"], ["a"], COUNTED)]}


@pytest.fixture
def net(graph_of):
    """(nodes from `d` to `a`, zero point) -> a pair in front of them, one behind, and an INT8 convolution."""
    def make(nodes, zero=HALF):
        return graph_of(
            [("QuantizeLinear", ["x", "step", "zero_point"], ["q"]),
             ("DequantizeLinear", ["q", "step", "zero_point"], ["d"]), *nodes,
             ("QuantizeLinear", ["a", "step", "zero_point"], ["aq"]),
             ("DequantizeLinear", ["aq", "step", "zero_point"], ["ad"]),
             ("DequantizeLinear", ["w", "scales", "zeros"], ["wd"], {"axis": 0}), ("Conv", ["ad", "wd"], ["y"])],
            AROUND | {"step": np.float32(0.03), "zero_point": zero, "scales": np.full(4, 0.003, np.float32),
                      "zeros": np.zeros(4, np.int8), "w": RANDOM.integers(-127, 128, (4, 3, 1, 1)).astype(np.int8),
                      "from": np.array([0]), "to": np.array([3]), "axis": np.array([1])}, opset=17)
    return make


@pytest.mark.parametrize("nodes", BEFORE.values(), ids=BEFORE)
def test_tiny_padding_keeps_the_numbers(net, run_onnx, nodes):
    model = net(nodes)
    changed = without_offset_pools(model)
    onnx.checker.check_model(changed, full_check=True)
    np.testing.assert_array_equal(run_onnx(changed, IMAGES)[0], run_onnx(model, IMAGES)[0])
    assert with_tiny_padding(model) == 1 and without_offset_pools(model) is model


def test_half_floats_are_padded_with_half_floats(net, run_onnx):
    model = net(BEFORE["both"])
    for constant in model.graph.initializer:
        if constant.data_type == onnx.TensorProto.FLOAT:
            value = onnx.numpy_helper.to_array(constant).astype(np.float16)
            constant.CopyFrom(onnx.numpy_helper.from_array(value, constant.name))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    model.opset_import[0].version, model.ir_version = 19, 9
    del model.graph.value_info[:]  # of floats
    changed = without_offset_pools(model)
    onnx.checker.check_model(changed, full_check=True)
    half = IMAGES.astype(np.float16)
    np.testing.assert_allclose(run_onnx(changed, half)[0], run_onnx(model, half)[0], rtol=1e-2, atol=1e-2)
    tiny = [onnx.numpy_helper.to_array(item) for item in changed.graph.initializer if item.name.endswith("_value")]
    assert len(tiny) == 2 and all(0 < value < 1e-6 for value in tiny)


@pytest.mark.parametrize("nodes", NOT.values(), ids=NOT)
def test_other_averages_are_left_alone(net, nodes):
    model = net(nodes)
    assert without_offset_pools(model) is model


def test_a_pool_that_pads_itself_by_an_unknown_size_is_left_alone(net):
    model = net(BEFORE["by itself"])
    for dim in model.graph.input[0].type.tensor_type.shape.dim[2:]:
        dim.dim_param = "any"
    del model.graph.value_info[:]
    before = model.SerializeToString()
    assert with_tiny_padding(model) == 0 and model.SerializeToString() == before


def test_the_pad_of_opset_10_is_left_alone(graph_of):
    """Its numbers are attributes."""
    pairs = [("QuantizeLinear", ["x", "step", "point"], ["q"]), ("DequantizeLinear", ["q", "step", "point"], ["d"])]
    for pool in ("AveragePool", "MaxPool"):
        model = graph_of([*pairs, ("Pad", ["d"], ["p"], {"pads": [0, 0, 1, 1] * 2}), (pool, ["p"], ["y"], THREE)],
                         {"step": np.float32(0.03), "point": HALF}, opset=10)
        assert with_negative_zeros(model) == with_tiny_padding(model) == 0


def test_zero_points_of_zero_are_left_alone(net):
    for kind in (np.int8, np.uint8):
        model = net(BEFORE["its own padding"], kind(0))
        assert without_offset_pools(model) is model


def shared(net):
    """Signed integers that the average and a convolution read."""
    model = net(BEFORE["its own padding"], np.int8(0))
    model.graph.node[-1].output[0] = "first"
    model.graph.node.extend([onnx.helper.make_node("Conv", ["d", "wd"], ["second"]),
                             onnx.helper.make_node("Add", ["first", "second"], ["y"])])
    return model


def test_signed_integers_of_a_convolution_get_a_zero_point(net, run_onnx):
    model = shared(net)
    changed = without_offset_pools(model)
    assert "Pad" in {node.op_type for node in changed.graph.node}
    np.testing.assert_array_equal(run_onnx(changed, IMAGES)[0], run_onnx(model, IMAGES)[0])


@pytest.mark.skipif(not openvino.installed(), reason=f"openvino is missing: {openvino.INSTALL}")
@pytest.mark.parametrize("nodes", [*BEFORE.values(), None], ids=[*BEFORE, "shared"])
def test_a_simulation_pads_with_zeros(net, nodes):
    content = (net(nodes) if nodes else shared(net)).SerializeToString()
    with OpenVino().open(OnnxModel(content=content, precision="int8", target="tensorrt"), Device(threads=1)) as session:
        got = session.run(IMAGES)
    said = OnnxRuntimeRunner(content, 1, as_written=True).run(IMAGES)
    assert np.abs(got - said).max() < 0.1 * np.abs(said).max()  # an edge between two steps may go to either
