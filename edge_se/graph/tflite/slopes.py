"""Activations that let something of negative numbers pass: LeakyReLU, PReLU, ELU."""

from __future__ import annotations

import onnx

from edge_se.core.errors import ModelError
from edge_se.graph.tflite.translation import FIX, Translation
from edge_se.graph.view import attribute, node_label


def leaky_relu(to: Translation, node: onnx.NodeProto) -> None:
    """LEAKY_RELU, also in int8, with any scales."""
    _one_slope(to, node, float(str(attribute(node, "alpha", 0.01))))


def prelu(to: Translation, node: onnx.NodeProto) -> None:
    """PRELU in float: XNNPACK has no int8 kernel for it, LiteRT's own is slow. One slope for all is a LEAKY_RELU."""
    slopes = to.reading.weights(node.input[1])
    if slopes is None:
        raise ModelError("has a slope that is computed", where=node_label(node), fix=FIX)
    if slopes.floats.size == 1:
        _one_slope(to, node, slopes.floats.item())
        return
    ending = to.ending(node, integer=False)
    value = to.value(node.input[0], ending)
    to.flat.operator("PRELU", 1, [value.tensor, to.constant(slopes.floats, node.input[1], value.order)],
                     to.made(ending, value.order).tensor)


def elu(to: Translation, node: onnx.NodeProto) -> None:
    """ELU, also in int8, with any scales."""
    if float(str(attribute(node, "alpha", 1.0))) != 1:
        raise ModelError("has another alpha than 1", where=node_label(node), fix=FIX)
    ending = to.ending(node)
    value = to.value(node.input[0], ending)
    to.flat.operator("ELU", 1, [value.tensor], to.made(ending, value.order).tensor)


def _one_slope(to: Translation, node: onnx.NodeProto, slope: float) -> None:
    ending = to.ending(node)
    value = to.value(node.input[0], ending)
    to.flat.operator("LEAKY_RELU", 1, [value.tensor], to.made(ending, value.order).tensor, table="LeakyReluOptions",
                     alpha=slope)
