"""Weights: unsigned ones, and float ones that are quantized unasked."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import TensorProto

from edge_se.graph.onnx_model import opset_of
from edge_se.graph.rewrites import add_constant
from edge_se.graph.view import attribute
from edge_se.quantization.lint.base import Finding, Rule, found
from edge_se.quantization.lint.edits import AXES_SINCE, SHIFT, set_zero_point, tidy
from edge_se.quantization.lint.qdq import QdqView

UNALIKE = 16  # the largest weight of one channel over that of another: four bits of eight are lost there


def unsigned(view: QdqView) -> Iterator[Finding]:
    """Layers with uint8 weights."""
    for layer in view.layers:
        if view.kind(layer.weights) == TensorProto.UINT8:
            yield found(layer.node, "its weights are uint8")


def to_signed(proto: onnx.ModelProto) -> int:
    """Makes uint8 weights int8, both they and their zero point 128 less."""
    view, changed = QdqView(proto), 0
    for pair in {layer.weights.output[0]: layer.weights for layer in view.layers}.values():
        value = view.constant(pair.input[0])
        if value is None or value.dtype != np.uint8:
            continue
        point = np.asarray(view.zero_point(pair) - SHIFT).astype(np.int8)
        pair.input[0] = add_constant(proto, f"{pair.input[0]}_signed", (value.astype(np.int16) - SHIFT).astype(np.int8))
        set_zero_point(proto, pair, point)
        changed += 1
    tidy(proto)
    return changed


def quantized_unasked(view: QdqView) -> Iterator[Finding]:
    """Convolutions with float weights between a DequantizeLinear of one scale and a QuantizeLinear."""
    for node, weights in _unasked(view):
        largest = np.abs(weights.reshape(len(weights), -1)).max(axis=1)
        ratio = largest.max() / max(largest[largest > 0].min(initial=np.inf), 1e-30)
        if ratio > UNALIKE and np.isfinite(ratio):
            yield found(node, f"its float weights differ {ratio:,.0f} times from channel to channel")


def with_scales_for_channels(proto: onnx.ModelProto) -> int:
    """Gives such a convolution a DequantizeLinear of its own, with the same scale for each channel: it stays float.

    Below opset 13 no DequantizeLinear has several scales.
    """
    if opset_of(proto) < AXES_SINCE:
        return 0
    view, changed = QdqView(proto), 0
    for node, weights in list(_unasked(view)):
        shared = view.producer[node.input[0]]
        scale = view.constant(shared.input[1])
        groups = attribute(node, "group", 1)
        assert scale is not None and isinstance(groups, int)
        channels = weights.shape[1] * groups
        own = f"{node.output[0]}_input"
        names = [add_constant(proto, f"{own}_scale", np.repeat(scale.reshape(1), channels))]
        if len(shared.input) > 2 and (point := view.constant(shared.input[2])) is not None:
            names.append(add_constant(proto, f"{own}_zero_point", np.repeat(point.reshape(1), channels)))
        place = list(proto.graph.node).index(node)
        proto.graph.node.insert(place, onnx.helper.make_node("DequantizeLinear", [shared.input[0], *names], [own],
                                                             f"{own}_DequantizeLinear", axis=1))
        proto.graph.node[place + 1].input[0] = own
        changed += 1
    tidy(proto)
    return changed


def _unasked(view: QdqView) -> Iterator[tuple[onnx.NodeProto, np.ndarray]]:
    for node in view.graph.node:
        data = view.dequantizer(node.input[0]) if node.op_type == "Conv" else None
        if data is None or view.element_type(node.input[1]) != TensorProto.FLOAT:
            continue
        scale, weights = view.scale(data), view.constant(node.input[1])
        readers = view.readers_through_relu(node.output[0])
        if (scale is not None and scale.size == 1 and weights is not None
                and [reader.op_type for reader in readers] == ["QuantizeLinear"]):
            yield node, weights


RULES = (
    Rule(name="float-weights-quantized", kind="wrong", runtime="onnxruntime", versions="1.31.1",
         instead="the pass WeightBiasQuantization makes the float weights of a convolution between Q/DQ int8, with one "
                 "scale for all channels",
         fix="give them a DequantizeLinear with a scale for each channel, or its input one of its own with the same "
             "scale for each channel", find=quantized_unasked, repair=with_scales_for_channels),
    Rule(name="uint8-weights", kind="slow", runtime="openvino", versions="2026.4.1",
         instead="right numbers, in float kernels", fix="write weights as int8", find=unsigned, repair=to_signed),
    Rule(name="uint8-weights-refused", kind="refused", runtime="tensorrt", versions="(parser of RTX 1.7.1)",
         instead="its parser takes no uint8 weights", fix="write weights as int8 with zero point 0", find=unsigned,
         repair=to_signed),
)
