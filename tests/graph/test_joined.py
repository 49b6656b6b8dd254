"""What a Concat makes is given to OpenVINO as uint8 where a file is simulated there: the very same numbers."""

import numpy as np
import onnx
import pytest

from edge_se.backends import openvino
from edge_se.backends.base import Device
from edge_se.backends.openvino import OpenVino
from edge_se.device.agent import OnnxRuntimeRunner
from edge_se.graph.joined import with_unsigned_joins
from edge_se.graph.onnx_model import OnnxModel
from edge_se.quantization.placement import place
from edge_se.quantization.ranges import collect
from edge_se.quantization.sensitivity import sqnr_db
from edge_se.quantization.static import quantize
from edge_se.quantization.targets import TARGETS

RANDOM = np.random.default_rng(1)
CONSTANTS = {"a": RANDOM.normal(0, 0.3, (8, 3, 3, 3)).astype(np.float32), "scales": np.full(4, 0.003, np.float32),
             "b": RANDOM.normal(0, 0.3, (8, 3, 3, 3)).astype(np.float32), "step": np.float32(0.02),
             "w": RANDOM.integers(-127, 128, (4, 16, 3, 3)).astype(np.int8), "zeros": np.zeros(4, np.int8),
             "half": np.float32(0.5)}
IMAGES = RANDOM.normal(size=(2, 3, 8, 8)).astype(np.float32)
BRANCHES = [("Conv", ["x", "a"], ["1"]), ("Conv", ["x", "b"], ["2"])]
WEIGHTS = ("DequantizeLinear", ["w", "scales", "zeros"], ["wd"], {"axis": 0})
JOINED = {
    "alone": [("Concat", ["1", "2"], ["j"], {"axis": 1})],
    "moved and scaled": [("Concat", ["1", "2"], ["k"], {"axis": 1}),
                         ("MaxPool", ["k"], ["m"], {"kernel_shape": [2, 2]}), ("Mul", ["m", "half"], ["j"])],
    "behind a ReLU": [("Concat", ["1", "2"], ["k"], {"axis": 1}), ("Relu", ["k"], ["j"])],
    "scaled, behind a ReLU": [("Concat", ["1", "2"], ["k"], {"axis": 1}), ("Mul", ["k", "half"], ["m"]),
                              ("Relu", ["m"], ["j"])],
    "gathered": [("Concat", ["1", "2"], ["k"], {"axis": 1}), ("Gather", ["k", "order"], ["j"], {"axis": 1})],
    "gathered, behind a Sigmoid": [("Concat", ["1", "2"], ["k"], {"axis": 1}),
                                   ("Gather", ["k", "order"], ["g"], {"axis": 1}), ("Sigmoid", ["g"], ["j"])],
    "nested": [("Concat", ["1", "1"], ["k"], {"axis": 1}), ("Slice", ["k", "from", "to", "axis"], ["l"]),
               ("Concat", ["l", "2"], ["j"], {"axis": 1})]}
NOT_JOINED = {"added": [("Concat", ["1", "2"], ["k"], {"axis": 1}), ("Add", ["k", "k"], ["j"])],
              "rows": [("Gather", ["1", "rows"], ["j"], {"axis": 2})]}
SIGNED = np.int8(0)
SLICED = {"order": np.roll(np.arange(16)[::-1], 5), "rows": np.array([1, 0]),
          "from": np.array([0]), "to": np.array([8]), "axis": np.array([1])}


@pytest.fixture
def net(graph_of):
    """(nodes that join the branches, zero point) -> a pair behind them and an INT8 convolution that reads it."""
    def make(join, zero=SIGNED):
        return graph_of(
            [*BRANCHES, *join, ("QuantizeLinear", ["j", "step", "zero"], ["q"]),
             ("DequantizeLinear", ["q", "step", "zero"], ["d"]), WEIGHTS, ("Conv", ["d", "wd"], ["y"])],
            CONSTANTS | SLICED | {"zero": zero}, opset=17)
    return make


def types(model):
    return {value.name: value.type.tensor_type.elem_type
            for value in onnx.shape_inference.infer_shapes(model).graph.value_info}


@pytest.mark.parametrize("join", JOINED.values(), ids=JOINED)
def test_the_numbers_stay_to_the_bit(net, run_onnx, join):
    model = net(join)
    changed = with_unsigned_joins(model)
    onnx.checker.check_model(changed, full_check=True)
    assert (types(model)["q"], types(changed)["q"]) == (onnx.TensorProto.INT8, onnx.TensorProto.UINT8)
    for one, other in zip(run_onnx(model, IMAGES), run_onnx(changed, IMAGES)):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("join", "zero"), [
    (NOT_JOINED["added"], np.int8(0)), (NOT_JOINED["rows"], np.int8(0)), (JOINED["alone"], np.int8(3)),
    (JOINED["alone"], np.uint8(128))])
def test_other_pairs_are_left_alone(net, join, zero):
    model = net(join, zero)
    assert with_unsigned_joins(model) is model


@pytest.mark.parametrize("reader", [None, ("Cast", ["q"], ["z"], {"to": onnx.TensorProto.FLOAT}),
                                    ("Neg", ["q"], ["z"])], ids=["an output of the graph", "Cast", "Neg"])
def test_integers_that_are_read_as_such_stay_signed(net, reader):
    model = net(JOINED["alone"])
    if reader is None:
        model.graph.output.append(onnx.helper.make_tensor_value_info("q", onnx.TensorProto.INT8, None))
    else:
        model.graph.node.append(onnx.helper.make_node(*reader[:3], **(reader[3] if len(reader) > 3 else {})))
    assert with_unsigned_joins(model) is model


@pytest.mark.skipif(not openvino.installed(), reason=f"openvino is missing: {openvino.INSTALL}")
@pytest.mark.parametrize("join", JOINED.values(), ids=JOINED)
def test_a_simulation_computes_what_the_file_says(net, join):
    content = net(join).SerializeToString()
    model = OnnxModel(content=content, precision="int8", target="tensorrt")
    with OpenVino().open(model, Device(threads=1)) as session:
        got = session.run(IMAGES)
    said = OnnxRuntimeRunner(content, 1, as_written=True).run(IMAGES)
    assert np.abs(got - said).max() < 0.1 * np.abs(said).max()  # an edge between two steps may go to either


@pytest.mark.skipif(not openvino.installed(), reason=f"openvino is missing: {openvino.INSTALL}")
@pytest.mark.parametrize("before", [[("Relu", ["1"], ["r"])], [("Identity", ["1"], ["r"])]], ids=["ReLU", "signed"])
def test_files_for_openvino_give_gathered_channels_a_zero_point(graph_of, random_images, before):
    model = OnnxModel.of(graph_of(
        [BRANCHES[0], *before, ("Gather", ["r", "order"], ["g"], {"axis": 1}), ("Conv", ["g", "v"], ["y"])],
        {"a": CONSTANTS["a"], "order": np.array([3, 1, 0, 2, 7, 6, 5, 4]),
         "v": RANDOM.normal(0, 0.3, (4, 8, 3, 3)).astype(np.float32)}))
    target, images = TARGETS["openvino"], random_images(4, size=8)
    ranges = collect(model, images).ranges("minmax", target.activations)
    int8 = quantize(model, ranges, target, place(model.proto, target, "all"))
    batch = next(images.batches(4))
    said = OnnxRuntimeRunner(int8.content, 1, as_written=True).run(batch)
    with OpenVino().open(int8, Device(threads=1)) as session:
        assert sqnr_db(said, session.run(batch)) > 40
