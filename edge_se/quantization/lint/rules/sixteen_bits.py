"""Q/DQ of 16 bits."""

from __future__ import annotations

from collections.abc import Iterator

import onnx
from onnx import TensorProto, helper

from edge_se.quantization.lint.base import Finding, Rule, found
from edge_se.quantization.lint.edits import restored, tidy
from edge_se.quantization.lint.qdq import NAMES, QdqView

SIXTEEN = (TensorProto.UINT16, TensorProto.INT16)
NEVER_NEGATIVE = ("Relu", "Sigmoid", "HardSigmoid", "Softmax", "Exp", "Abs", "Sqrt")


def wide(view: QdqView) -> Iterator[Finding]:
    """Activations of 16 bits."""
    for node in _wide(view):
        yield found(node, f"{NAMES[view.kind(node)]} activations")


def with_relu(view: QdqView) -> Iterator[Finding]:
    """Pairs of 16 bits whose range cuts off what is below zero."""
    for node in _cutting(view):
        yield found(node, f"{NAMES[view.kind(node)]} with its zero point at the end of its range cuts off what is "
                          "below zero")


def stripped(proto: onnx.ModelProto) -> None:
    """What OpenVINO computes: no pair of 16 bits."""
    view = QdqView(proto)
    for node in _wide(view):
        for pair in restored(view, node):
            for reader in view.consumers[pair.output[0]]:
                reader.input[:] = [node.input[0] if name == pair.output[0] else name for name in reader.input]
            for output in proto.graph.output:
                if output.name == pair.output[0]:
                    pair.op_type, pair.input[:] = "Identity", [node.input[0]]
                    del pair.attribute[:]
    tidy(proto)


def spelled_out(proto: onnx.ModelProto) -> int:
    """Writes a ReLU in front of such pairs."""
    cutting = _cutting(QdqView(proto))
    for node in cutting:
        name = f"{node.output[0]}_relu"
        place = list(proto.graph.node).index(node)
        proto.graph.node.insert(place, helper.make_node("Relu", [node.input[0]], [name], name))
        proto.graph.node[place + 1].input[0] = name
    return len(cutting)


def _wide(view: QdqView) -> list[onnx.NodeProto]:
    return [node for node in view.quantizers if view.kind(node) in SIXTEEN]


def _cutting(view: QdqView) -> list[onnx.NodeProto]:
    return [node for node in _wide(view) if view.cuts_below_zero(node)
            and getattr(view.producer.get(node.input[0]), "op_type", "") not in NEVER_NEGATIVE]


RULES = (
    Rule(name="sixteen-bits-without-relu", kind="wrong", runtime="openvino", versions="2026.4.1",
         instead="pairs of 16 bits are taken out with the ReLU that their range carried",
         fix="keep ReLU as a node of its own in front of such a pair, or quantize to 8 bits", find=with_relu,
         computed=stripped, repair=spelled_out),
    Rule(name="sixteen-bits-float", kind="slow", runtime="openvino", versions="2026.4.1",
         instead="pairs of 16 bits are taken out and what they surround runs in float", fix="quantize to 8 bits",
         find=wide),
    Rule(name="sixteen-bits-slow", kind="slow", runtime="onnxruntime", versions="1.31.1",
         instead="no integer kernels: 2.7 times FP32's time", fix="quantize to 8 bits", find=wide),
    Rule(name="sixteen-bits-refused", kind="refused", runtime="tensorrt", versions="(parser of RTX 1.7.1)",
         instead="its parser takes no 16-bit integers", fix="quantize to 8 bits: --target tensorrt", find=wide),
)
