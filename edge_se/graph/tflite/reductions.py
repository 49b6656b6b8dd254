"""Means, sums and extremes over some axes, as LiteRT's; the squeezes and the spatial gates of SE's relatives."""

from __future__ import annotations

import numpy as np
import onnx

from edge_se.core.errors import ModelError
from edge_se.graph.tflite.parts import numbers
from edge_se.graph.tflite.translation import FIX, LAST, Translation, Value, Writer, whole
from edge_se.graph.view import attribute, node_label

EXTREMES = ("REDUCE_MAX", "REDUCE_MIN")  # one of the numbers that are there: one scale on both sides


def reduced(code: str) -> Writer:
    """Over the axes that the node lists, in an attribute or in an input; SUM stays float."""
    def write(to: Translation, node: onnx.NodeProto) -> None:
        _write(to, node, code, _axes(to, node), kept=bool(whole(node, "keepdims", 1)))
    return write


def pooled_whole(code: str) -> Writer:
    """Over rows and columns."""
    def write(to: Translation, node: onnx.NodeProto) -> None:
        _write(to, node, code, list(range(2, len(to.shapes[node.input[0]]))), kept=True)
    return write


def length(to: Translation, node: onnx.NodeProto) -> None:
    """ReduceL2: the root of a sum of squares, in float."""
    axes, kept = _axes(to, node), bool(whole(node, "keepdims", 1))
    ending = to.ending(node, integer=False)
    value = to.value(node.input[0], ending)
    squares = to.between(value, f"{node.output[0]}_squares")
    to.flat.operator("MUL", 1, [value.tensor, value.tensor], squares.tensor, table="MulOptions")
    total = to.between(value, f"{node.output[0]}_sum", _one_at(axes, value.shape))
    _reduce(to, "SUM", squares, _places(to, value, axes), total)
    made = to.made(ending, value.order) if kept else to.between(total, f"{node.output[0]}_kept")
    to.flat.operator("SQRT", 1, [total.tensor], made.tensor)
    if not kept:
        to.drop_ones(made, ending)


def _axes(to: Translation, node: onnx.NodeProto) -> list[int]:
    rank = len(to.shapes[node.input[0]])
    listed = attribute(node, "axes")
    axes = sorted(axis % rank for axis in (
        listed if isinstance(listed, list) else numbers(to, node, 1, list(range(rank)))))
    if 0 in axes:
        raise ModelError("joins the images of a batch", where=node_label(node), fix=FIX)
    return axes


def _write(to: Translation, node: onnx.NodeProto, code: str, axes: list[int], *, kept: bool) -> None:
    ending = to.ending(node, same_steps=code in EXTREMES, integer=code != "SUM")
    value = to.value(node.input[0], ending)
    value = to.ordered(value, LAST if len(value.shape) == len(LAST) else value.order)
    places = _places(to, value, axes)
    made = (to.made(ending, value.order) if kept
            else to.add(f"{node.output[0]}_kept", _one_at(axes, value.shape), value.order, ending.steps))
    _reduce(to, code, value, places, made)
    if not kept:
        to.drop_ones(made, ending)


def _places(to: Translation, value: Value, axes: list[int]) -> int:
    """Where `axes` lie in the file, as a constant of it."""
    places = np.array([value.order.index(axis) for axis in axes], np.int32)
    return to.flat.constant(places, "rows_and_columns" if axes == [2, 3] else "axes")


def _reduce(to: Translation, code: str, value: Value, places: int, made: Value) -> None:
    to.flat.operator(code, 2 if made.steps else 1, [value.tensor, places], made.tensor, table="ReducerOptions",
                     keepDims=True)


def _one_at(axes: list[int], shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(1 if axis in axes else size for axis, size in enumerate(shape))
