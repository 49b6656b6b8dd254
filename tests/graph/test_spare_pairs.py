"""Which Q/DQ pairs round a tensor that no product reads, and that OpenVINO rounds there as the file says."""

import numpy as np
import pytest

from edge_se.backends import openvino
from edge_se.backends.base import Device
from edge_se.backends.openvino import OpenVino
from edge_se.device.agent import OnnxRuntimeRunner
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.spare_pairs import spare_pairs

STEP = np.float32(0.5)  # of the shortcut: coarse, so that it shows where it is left out
PAIR = [("QuantizeLinear", ["c", "step", "zero"], ["cq"]), ("DequantizeLinear", ["cq", "step", "zero"], ["cd"])]
LAYER = [("QuantizeLinear", ["x", "fine", "zero"], ["xq"]), ("DequantizeLinear", ["xq", "fine", "zero"], ["xd"]),
         ("DequantizeLinear", ["w", "scales", "zeros"], ["wd"], {"axis": 0}), ("Conv", ["xd", "wd", "b"], ["c"])]
END = [("QuantizeLinear", ["e", "fine", "zero"], ["eq"]), ("DequantizeLinear", ["eq", "fine", "zero"], ["y"])]
CONSTANTS = {"step": STEP, "fine": np.float32(0.05), "zero": np.int8(0), "zeros": np.zeros(3, np.int8),
             "scales": np.full(3, 0.01, np.float32), "b": np.float32([0.1, -0.2, 0.3]),
             "w": np.int8([[90, -30, 60], [10, 127, -70], [-50, 20, 100]]).reshape(3, 3, 1, 1)}


@pytest.fixture
def block(graph_of):
    """(nodes between the layer's pair and the last one) -> the graph."""
    return lambda *between: graph_of([*LAYER, *PAIR, *between, *END], CONSTANTS)


@pytest.mark.parametrize(("between", "spare"), [
    ([("Add", ["cd", "x"], ["e"])], ["cd"]),
    ([("Add", ["x", "cd"], ["a"]), ("Relu", ["a"], ["e"])], ["cd"]),
    ([("Conv", ["cd", "wd", "b"], ["e"])], []),
    ([("Conv", ["cd", "wd", "b"], ["d"]), ("Add", ["cd", "d"], ["e"])], []),
    ([("DequantizeLinear", ["cq", "step", "zero"], ["again"]), ("Add", ["cd", "again"], ["e"])], []),
])
def test_which_are_spare(block, between, spare):
    assert spare_pairs(block(*between)) == spare


@pytest.mark.skipif(not openvino.installed(), reason=f"openvino is missing: {openvino.INSTALL}")
@pytest.mark.parametrize("between", [
    [("Add", ["cd", "x"], ["e"])],
    [("Add", ["x", "cd"], ["a"]), ("Relu", ["a"], ["e"])],
    [("Mul", ["x", "cd"], ["e"])],
])
def test_openvino_simulates_them(block, between):
    model = OnnxModel.of(block(*between), precision="int8", target="tensorrt")
    images = np.random.default_rng(0).normal(0, 2, (4, *model.input_shape[1:])).astype(np.float32)
    expected = OnnxRuntimeRunner(model.content, 1, as_written=True).run(images)
    with OpenVino("f32").open(model, Device(threads=1)) as session:
        for logits in (session.run(images), np.concatenate(list(session.answers([images[:3], images[3:]])))):
            assert (np.abs(logits - expected) > STEP / 20).mean() < 0.01  # but for ties
