"""Zero points and types of activations: what TensorRT reads as INT8, and what OpenVINO does behind a Concat."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import TensorProto

from edge_se.graph.joined import is_gathered, is_joined
from edge_se.quantization.lint.base import Finding, Rule, found
from edge_se.quantization.lint.edits import SHIFT, retype, set_zero_point
from edge_se.quantization.lint.qdq import QdqView


def unsigned(view: QdqView) -> Iterator[Finding]:
    """uint8 activations with zero point 0 that is written out."""
    for node in _unsigned(view):
        if _tells_zero_point(node):
            yield found(node, f"uint8 with zero point 0: {_upper_half(view, node)} is lost")


def without_zero_point(view: QdqView) -> Iterator[Finding]:
    """uint8 activations whose zero point is left out."""
    for node in _unsigned(view):
        if not _tells_zero_point(node):
            yield found(node, f"no zero point, which means uint8 in ONNX: {_upper_half(view, node)} is lost")


def read_as_signed(proto: onnx.ModelProto) -> None:
    """What TensorRT computes: int8 with zero point 0."""
    view = QdqView(proto)
    retype(proto, view, _unsigned(view), TensorProto.INT8, 0)


def with_zero_points(proto: onnx.ModelProto) -> int:
    """Writes the zero points that are left out."""
    view, changed = QdqView(proto), 0
    for node in view.quantizers:
        if view.kind(node) == TensorProto.UINT8 and not _tells_zero_point(node):
            set_zero_point(proto, node, view.zero_point(node).astype(np.uint8))
            changed += 1
    return changed


def nonzero(view: QdqView) -> Iterator[Finding]:
    """Zero points that are not 0, of activations and weights."""
    for node in (*view.quantizers, *(node for node in view.dequantizers if view.holds_weights(node))):
        points = view.zero_point(node)
        if points.any():
            yield found(node, f"its zero point is {points.reshape(-1)[np.flatnonzero(points)[0]]:.0f}")


def centred(proto: onnx.ModelProto) -> int:
    """Makes uint8 with zero point 128 int8 with zero point 0: the very same steps."""
    view = QdqView(proto)
    return retype(proto, view, [node for node in view.quantizers if view.kind(node) == TensorProto.UINT8
                                and (view.zero_point(node) == SHIFT).all()], TensorProto.INT8, -SHIFT)


def joined(view: QdqView) -> Iterator[Finding]:
    """What a Concat makes, in symmetric int8 in front of a quantized convolution."""
    for node in _joined(view):
        yield found(node, "symmetric int8 of what a Concat makes, read by a convolution")


def gathered(view: QdqView) -> Iterator[Finding]:
    """What a Gather of channels makes, with zero point 0 in front of a quantized convolution."""
    for node in _gathered(view):
        yield found(node, "channels of a Gather with zero point 0, read by a convolution")


def to_unsigned(proto: onnx.ModelProto) -> int:
    """Makes such tensors of int8 uint8 with zero point 128: the very same steps."""
    view = QdqView(proto)
    signed = [node for node in (*_joined(view), *_gathered(view)) if view.kind(node) == TensorProto.INT8]
    return retype(proto, view, signed, TensorProto.UINT8, SHIFT)


def _unsigned(view: QdqView) -> list[onnx.NodeProto]:
    return [node for node in view.quantizers
            if view.kind(node) == TensorProto.UINT8 and not view.zero_point(node).any()]


def _tells_zero_point(node: onnx.NodeProto) -> bool:
    return bool((*node.input, "")[2])


def _upper_half(view: QdqView, node: onnx.NodeProto) -> str:
    scale = view.scale(node)
    return "the upper half of its range" if scale is None else f"what is above {127 * scale.max():.3g}"


def _joined(view: QdqView) -> list[onnx.NodeProto]:
    return [node for node in _convolved(view) if view.kind(node) == TensorProto.INT8
            and is_joined(node.input[0], view) and not is_gathered(node.input[0], view)]


def _gathered(view: QdqView) -> list[onnx.NodeProto]:
    return [node for node in _convolved(view) if is_gathered(node.input[0], view)]


def _convolved(view: QdqView) -> list[onnx.NodeProto]:
    """Each QuantizeLinear with zero point 0 whose integers a quantized convolution reads."""
    read = {layer.data.input[0] for layer in view.layers if layer.node.op_type == "Conv"}
    return [node for node in view.quantizers if node.output[0] in read and not view.zero_point(node).any()]


RULES = (
    Rule(name="unsigned-read-as-int8", kind="wrong", runtime="tensorrt", versions="(parser of RTX 1.7.1)",
         instead="uint8 with zero point 0 is read as INT8 (-128 to 127), with a warning",
         fix="quantize activations as symmetric int8: --target tensorrt", find=unsigned, computed=read_as_signed),
    Rule(name="zero-point-left-out", kind="wrong", runtime="tensorrt", versions="(parser of RTX 1.7.1)",
         instead="a QuantizeLinear without zero point is read as INT8, where ONNX says uint8; without a warning",
         fix="write an int8 zero point of 0 at every Q and DQ, and calibrate to 127 steps", find=without_zero_point,
         computed=read_as_signed, repair=with_zero_points),
    Rule(name="zero-point-refused", kind="refused", runtime="tensorrt", versions="(parser of RTX 1.7.1)",
         instead="its parser takes no zero point but 0", fix="quantize symmetrically: --target tensorrt", find=nonzero,
         repair=centred),
    Rule(name="signed-behind-concat", kind="wrong", runtime="openvino", versions="2026.4.1",
         instead="a convolution computes wrong numbers from what a Concat makes in symmetric int8 (1 to 3 dB)",
         fix="quantize what a Concat makes as uint8 with zero point 128", find=joined, repair=to_unsigned),
    Rule(name="gathered-channels", kind="wrong", runtime="openvino", versions="2026.4.1",
         instead="a convolution computes wrong numbers from channels that a Gather orders, where their zero point is 0 "
                 "(0 dB)", fix="quantize them with another zero point, such as 1, or put the order into the weights",
         find=gathered, repair=to_unsigned),
)
