"""Padding as numbers: what `auto_pad`, `ceil_mode` and a Pad of -inf mean, held against onnxruntime's own answers."""

from itertools import product

import numpy as np
import onnx
import pytest

from edge_se.backends import openvino
from edge_se.backends.base import Device
from edge_se.backends.openvino import OpenVino
from edge_se.device.agent import OnnxRuntimeRunner
from edge_se.graph.counting import macs_by_node, shapes_of
from edge_se.graph.explicit_pads import explicit_pads
from edge_se.graph.foreign import normalised
from edge_se.graph.onnx_model import OnnxModel
from edge_se.quantization.ranges import collect

RANDOM = np.random.default_rng(0)
SHAPE = (1, 3, 8, 9)
IMAGES = RANDOM.standard_normal(SHAPE, np.float32)
ROUNDED = {"kernel_shape": [3, 3], "strides": [3, 3], "pads": [1, 1, 1, 1], "ceil_mode": 1}


def attributes_of(model):
    return {entry.name: onnx.helper.get_attribute_value(entry) for node in model.graph.node for entry in node.attribute}


def written(model):
    return OnnxRuntimeRunner(model.SerializeToString(), 1, as_written=True).run(IMAGES)


@pytest.mark.parametrize("operator", ["Conv", "MaxPool", "AveragePool"])
@pytest.mark.parametrize("how", ["SAME_UPPER", "SAME_LOWER"])
def test_layers_that_pad_themselves(graph_of, operator, how):
    for kernel, stride, counted in product((1, 2, 3, 5), (1, 2, 3), (0, 1) if operator == "AveragePool" else (0,)):
        attributes = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "auto_pad": how}
        attributes |= {"count_include_pad": 1} if counted else {}
        model = graph_of([(operator, ["x", "w"][: 1 + (operator == "Conv")], ["y"], attributes)],
                         {"w": RANDOM.standard_normal((4, 3, kernel, kernel), np.float32)}, x=SHAPE)
        crops = stride > kernel + (operator == "Conv")  # convolutions, that is; onnxruntime runs no such pool
        before = None if crops else written(model)
        explicit_pads(model)
        assert ("auto_pad" in attributes_of(model)) == (stride > kernel + 1)
        if before is not None:
            np.testing.assert_allclose(written(model), before, atol=1e-6)


@pytest.mark.parametrize("operator", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize("counted", [0, 1])
@pytest.mark.parametrize("pads", [[0, 0, 0, 0], [1, 1, 1, 1], [0, 0, 1, 1], [1, 0, 0, 1]])
def test_pools_that_round_up(graph_of, operator, counted, pads):
    for kernel, stride in product((2, 3, 4), (1, 2, 3, 5)):
        attributes = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": pads, "ceil_mode": 1}
        attributes |= {"count_include_pad": counted} if operator == "AveragePool" else {}
        model = graph_of([(operator, ["x"], ["y"], attributes)], x=SHAPE)
        before = written(model)
        explicit_pads(model)
        np.testing.assert_allclose(written(model), before, atol=1e-6)
        assert ("ceil_mode" not in attributes_of(model)) or stride > kernel


DROPS = [(2, 2, [1, 1, 1, 1]), (3, 3, [1, 1, 1, 1]), (2, 2, [0, 0, 1, 1]), (1, 3, [0, 0, 0, 0])]  # kernel, stride, pads


def rounded(kernel, stride, pads):
    return {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": pads, "ceil_mode": 1}


@pytest.mark.parametrize("operator", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize(("kernel", "stride", "pads"), DROPS)
def test_no_window_begins_in_the_padding_behind(graph_of, operator, kernel, stride, pads):
    nodes = [(operator, ["x"], ["a"], rounded(kernel, stride, pads)),
             ("MaxPool", ["a"], ["b"], rounded(kernel, stride, pads)),
             ("AveragePool", ["b"], ["y"], rounded(3, 2, [1, 1, 1, 1]))]
    for size in range(8, 20):  # onnx counts one window too many at some of them
        images = RANDOM.standard_normal((1, 3, size, size + 1), np.float32)
        model = graph_of(nodes, x=images.shape)
        before = OnnxRuntimeRunner(model.SerializeToString(), 1, as_written=True).run(images)
        assert shapes_of(model)["y"] == list(before.shape)
        explicit_pads(model)
        assert "ceil_mode" not in attributes_of(model) or kernel < stride
        after = OnnxRuntimeRunner(model.SerializeToString(), 1, as_written=True).run(images)
        np.testing.assert_allclose(after, before, atol=1e-6)


@pytest.mark.parametrize(("kernel", "stride", "pads"), DROPS[:3])
def test_such_a_pool_in_front_of_a_classifier(graph_of, tmp_path, kernel, stride, pads):
    for size in (8, 9, 10, 11):
        images = RANDOM.standard_normal((1, 3, size, size), np.float32)
        pool = ("MaxPool", ["x"], ["a"], rounded(kernel, stride, pads))
        wide = OnnxRuntimeRunner(graph_of([pool], x=images.shape, outputs=("a",)).SerializeToString(), 1,
                                 as_written=True).run(images)[0].size
        model = OnnxModel.of(graph_of([pool, ("Flatten", ["a"], ["f"]), ("Gemm", ["f", "w"], ["y"])],
                                      {"w": RANDOM.standard_normal((wide, 4), np.float32)}, x=images.shape,
                                      opset=22))  # onnxruntime itself loads none of an older one
        proto = normalised(model, tmp_path / "m.onnx")
        assert macs_by_node(proto) == {"y": wide * 4}
        before, after = (OnnxRuntimeRunner(content, 1, as_written=True).run(images)
                         for content in (model.content, proto.SerializeToString()))
        np.testing.assert_allclose(after, before, atol=1e-5)


def test_windows_that_onnx_counts_in_the_middle_of_a_net(graph_of, tmp_path):
    pool = rounded(2, 2, [1, 1, 1, 1])
    images = RANDOM.standard_normal((1, 3, 29, 29), np.float32)  # then 15, 8 and 5; onnx says 16, 9 and 5 in opset 17
    model = OnnxModel.of(graph_of(
        [("MaxPool", ["x"], ["a"], pool), ("MaxPool", ["a"], ["b"], pool),
         ("AveragePool", ["b"], ["c"], rounded(3, 2, [1, 1, 1, 1])), ("Flatten", ["c"], ["f"]),
         ("Gemm", ["f", "w"], ["y"])], {"w": RANDOM.standard_normal((75, 4), np.float32)}, x=images.shape))
    proto = normalised(model, tmp_path / "m.onnx")
    before, after = (OnnxRuntimeRunner(content, 1, as_written=True).run(images)
                     for content in (model.content, proto.SerializeToString()))
    np.testing.assert_allclose(after, before, atol=1e-5)
    assert shapes_of(proto)["b"] == [1, 3, 8, 8]


def test_a_dynamic_size_keeps_them(graph_of):
    for attributes in (ROUNDED, {"kernel_shape": [3, 3], "auto_pad": "SAME_UPPER"}):
        model = graph_of([("MaxPool", ["x"], ["y"], attributes)], x=("batch", 3, "height", "width"))
        before = model.SerializeToString()
        explicit_pads(model)
        assert model.SerializeToString() == before


AROUND = {"one": np.array([0, 0, 1, 1, 0, 0, 1, 1]), "end": np.array([0, 0, 0, 0, 0, 0, 2, 1]),
          "wide": np.array([0, 0, 3, 3, 0, 0, 3, 3]), "channels": np.array([0, 1, 1, 1, 0, 0, 1, 1])}
INF, LOWEST, HALF = -np.inf, np.finfo(np.float32).min, np.finfo(np.float16).min


@pytest.mark.parametrize(("pads", "value", "taken"), [
    ("one", INF, True), ("end", INF, True), ("one", LOWEST, True), ("one", HALF, True), ("one", -9, False),
    ("wide", INF, False), ("channels", INF, False)])
@pytest.mark.parametrize("own", [0, 1])
def test_a_pad_that_a_max_pool_leaves_out(graph_of, pads, value, taken, own):
    model = graph_of([("Pad", ["x", pads, "value"], ["p"]),
                      ("MaxPool", ["p"], ["y"], {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [own] * 4})],
                     {pads: AROUND[pads], "value": np.float32(value)}, x=SHAPE)
    before, taken = written(model), taken and AROUND[pads].max() + own < 3
    explicit_pads(model)
    assert (model.graph.node[1].input[0] == "x") == taken
    np.testing.assert_array_equal(written(model), before)


def test_such_a_file_is_calibrated(graph_of, random_images, tmp_path):
    """As timm's MaxPool2dSame is exported."""
    model = graph_of([("Conv", ["x", "w"], ["c"]), ("Pad", ["c", "end", "value"], ["p"]),
                      ("MaxPool", ["p"], ["m"], {"kernel_shape": [3, 3], "strides": [2, 2]}),
                      ("Flatten", ["m"], ["y"])],
                     {"w": RANDOM.standard_normal((4, 3, 1, 1), np.float32), "end": np.array([0] * 6 + [1, 1]),
                      "value": np.float32(INF)}, shape=("batch", 64))
    onnx.save(model, tmp_path / "net.onnx")
    made = OnnxModel.of(normalised(OnnxModel.read(tmp_path / "net.onnx"), tmp_path / "net.onnx"))
    assert [node.op_type for node in made.proto.graph.node] == ["Conv", "MaxPool", "Flatten"]
    assert all(np.isfinite(collect(made, random_images(4, size=8)).ranges("minmax", "uint8").bounds[name]).all()
               for name in ("c", "m"))


@pytest.mark.skipif(not openvino.installed(), reason=f"openvino is missing: {openvino.INSTALL}")
@pytest.mark.parametrize("kernel", [3, 4])
def test_openvino_divides_as_onnxruntime_does(graph_of, kernel):
    model = graph_of([("AveragePool", ["x"], ["y"], {**ROUNDED, "kernel_shape": [kernel] * 2, "count_include_pad": 1})],
                     x=("batch", 3, 9, 9))
    images = RANDOM.standard_normal((2, 3, 9, 9), np.float32)
    wanted = OnnxRuntimeRunner(model.SerializeToString(), 1, as_written=True).run(images)
    explicit_pads(model)
    with OpenVino().open(OnnxModel.of(model), Device(threads=1)) as session:
        np.testing.assert_allclose(session.run(images), wanted, atol=1e-6)
