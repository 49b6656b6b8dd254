"""A runtime that computes something else than its INT8 file says is told, with the node at which that begins."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_se.backends.onnxruntime import OnnxRuntime
from edge_se.backends.openvino import OpenVino, installed
from edge_se.backends.tflite import LiteRt
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.rewrites import sort_topologically
from edge_se.quantization import as_written
from edge_se.quantization.as_written import BOUND_DB, fidelity
from edge_se.quantization.placement import place
from edge_se.quantization.ranges import collect
from edge_se.quantization.static import quantize
from edge_se.quantization.targets import TARGETS

node = helper.make_node


def files(nodes, constants, pairs):
    """(FP32 graph, its Q/DQ graph with `pairs`: tensor -> (scale, zero point)) of 3 x 16 x 16 pixels."""
    def graph(pairs):
        own = [onnx.NodeProto.FromString(item.SerializeToString()) for item in nodes]
        values = dict(constants)
        for item in own:
            item.input[:] = [f"{name}_restored" if name in pairs else name for name in item.input]
        for name, (scale, zero) in pairs.items():
            values |= {f"{name}_scale": np.float32(scale), f"{name}_zero": np.uint8(zero)}
            own += [node("QuantizeLinear", [name, f"{name}_scale", f"{name}_zero"], [f"{name}_quantized"]),
                    node("DequantizeLinear", [f"{name}_quantized", f"{name}_scale", f"{name}_zero"],
                         [f"{name}_restored"])]
        made = helper.make_graph(
            own, "g", [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 16, 16])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)],
            [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()])
        proto = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        sort_topologically(proto)
        return proto

    fp32 = OnnxModel.of(graph({}))
    return fp32, OnnxModel.of(graph(pairs), precision="int8", target="cpu", parent=fp32)


@pytest.fixture
def uniform_attention():
    """Nearly uniform attention over 256 tokens, of which onnxruntime's QLinearSoftmax keeps little."""
    rng = np.random.default_rng(0)
    constants = {"w": (rng.standard_normal((4, 3, 1, 1)) * 0.05).astype(np.float32), "shape": np.array([0, 4, 256]),
                 "v": rng.standard_normal((256, 8)).astype(np.float32)}
    nodes = [node("Conv", ["image", "w"], ["scores"], "score"),
             node("Reshape", ["scores", "shape"], ["tokens"], "flat"),
             node("Softmax", ["tokens"], ["weights"], "attend", axis=-1),
             node("MatMul", ["weights", "v"], ["mixed"], "mix"),
             node("Flatten", ["mixed"], ["logits"], "out")]
    return files(nodes, constants, {"tokens": (1.2 / 255, 128), "weights": (0.0065 / 255, 0)})


@pytest.fixture
def unlike_float_weights():
    """A float convolution between Q/DQ whose channels are unlike: onnxruntime rounds its weights by one scale.

    In the convolution's own output the one large channel hides it; it shows where the channels are made even.
    """
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((8, 3, 3, 3)).astype(np.float32)
    weight[1:] *= 0.004
    constants = {"w": weight, "gain": np.array([1e-3] + [1] * 7, np.float32).reshape(1, 8, 1, 1)}
    nodes = [node("Conv", ["image", "w"], ["wide"], "first", pads=[1, 1, 1, 1]),
             node("Mul", ["wide", "gain"], ["even"], "evened"),
             node("GlobalAveragePool", ["even"], ["pool"], "pool"), node("Flatten", ["pool"], ["logits"], "out")]
    # A scale this fine clips the large channel, which counts little.
    return files(nodes, constants, {"image": (4.5 / 255, 128), "wide": (0.4 / 255, 128)})


@pytest.mark.parametrize(("pair", "kind", "name"), [("uniform_attention", "Softmax", "attend"),
                                                    ("unlike_float_weights", "Mul", "evened")])
def test_the_node_is_told(pair, kind, name, request, random_images):
    fp32, int8 = request.getfixturevalue(pair)
    told = fidelity(fp32, int8, random_images(40, size=16), OnnxRuntime())
    assert told.node == f"{kind} node '{name}'" and told.runtime == "onnxruntime"
    assert told.run_db < told.written_db - BOUND_DB


@pytest.mark.skipif(not installed(), reason="needs OpenVINO")
def test_another_runtime_computes_the_same_file(uniform_attention, random_images):
    told = fidelity(*uniform_attention, random_images(8, size=16), OpenVino())
    assert told.node is None and told.runtime == "openvino" and abs(told.run_db - told.written_db) < 0.5


@pytest.mark.parametrize("target", ["cpu", "arm", "tensorrt", "tensorrt-fp16"])
def test_files_of_edge_se_have_no_gap(target, tiny_onnx, random_images):
    images = random_images(16)
    target = TARGETS[target]
    int8 = quantize(tiny_onnx, collect(tiny_onnx, images).ranges("mse", target.activations), target,
                    place(tiny_onnx.proto, target))
    told = fidelity(tiny_onnx, int8, images, OnnxRuntime())
    assert told.node is None and told.run_db > 15


def test_a_fixed_batch(uniform_attention, random_images):
    """Images that do not fill the last batch count once."""
    fixed = []
    for model in uniform_attention:
        proto = model.copy()
        proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 3
        fixed.append(OnnxModel.of(proto, precision=model.precision, target=model.target))
    told = fidelity(*fixed, random_images(4, size=16), OnnxRuntime())
    assert told.node == "Softmax node 'attend'"
    free = fidelity(*uniform_attention, random_images(4, size=16), OnnxRuntime())
    assert told.run_db == pytest.approx(free.run_db, abs=0.2)


def test_a_gap_of_litert_is_looked_for_in_the_order_of_the_graph(tiny_plain_onnx, random_images, monkeypatch):
    """Its features have their channels last; the graph's, which they are compared with, first."""
    pytest.importorskip("ai_edge_litert", reason="ai-edge-litert is not installed")
    target, images = TARGETS["litert"], random_images(4)
    ranges = collect(tiny_plain_onnx, images, targets=[target]).ranges("minmax", target.activations)
    int8 = quantize(tiny_plain_onnx, ranges, target, place(tiny_plain_onnx.proto, target, "all"))
    compared, at = [], as_written._Compared.at

    def told(self, tensor):
        compared.append(at(self, tensor))
        return compared[-1]
    monkeypatch.setattr(as_written, "BOUND_DB", -1e3)  # whatever it computes is called a gap
    monkeypatch.setattr(as_written._Compared, "at", told)
    assert fidelity(tiny_plain_onnx, int8, images, LiteRt()).node is not None
    assert len(compared) > 3 and all(abs(each.run_db - each.written_db) < 3 for each in compared)
