"""Operators that move numbers and compute none: parts of a tensor, and borders around one.

LiteRT has one scale on both sides of each, so they are integer where the graph has one.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from numpy.typing import NDArray

from edge_se.core.errors import ModelError
from edge_se.graph.tflite.translation import FIX, Translation, Value, whole
from edge_se.graph.view import attribute, node_label

REFLECT, SYMMETRIC = 0, 1  # of the schema; the second repeats the number at the border, too
MODES = (b"constant", b"reflect", b"edge")


def sliced(to: Translation, node: onnx.NodeProto) -> None:
    """Slice with constant bounds and steps forward."""
    ending = to.ending(node, same_steps=True)
    value = to.value(node.input[0], ending)
    starts, ends = (numbers(to, node, position) for position in (1, 2))
    axes, steps = numbers(to, node, 3, list(range(len(starts)))), numbers(to, node, 4, [1] * len(starts))
    if min(steps) < 1:
        raise ModelError("takes its numbers backwards", where=node_label(node), fix=FIX)
    cut = {axis % len(value.shape): slice(start, end, step)
           for axis, start, end, step in zip(axes, starts, ends, steps)}
    if 0 in cut:
        raise ModelError("takes a batch apart", where=node_label(node), fix=FIX)
    _part(to, value, to.made(ending, value.order), cut)


def split(to: Translation, node: onnx.NodeProto) -> None:
    """Split, as one slice for each output that something reads: XNNPACK takes these of any size and number."""
    axis = whole(node, "axis", 0) % len(to.shapes[node.output[0]])
    if axis == 0:
        raise ModelError("takes a batch apart", where=node_label(node), fix=FIX)
    start = 0
    for name in node.output:
        end = start + int(to.shapes[name][axis])
        if name in to.reading.view.consumers or name in to.reading.view.outputs:
            ending = to.ending(node, same_steps=True, output=name)
            value = to.value(node.input[0], ending)
            _part(to, value, to.made(ending, value.order), {axis: slice(start, end)})
        start = end


def padded(to: Translation, node: onnx.NodeProto) -> None:
    """Pad with a constant, with what lies behind the border (reflect), or with the number at the border (edge)."""
    ending = to.ending(node, same_steps=True)
    value = to.value(node.input[0], ending)
    mode, sides = attribute(node, "mode", b"constant"), _sides(to, node, len(value.shape))
    if mode not in MODES or sides.min() < 0:
        raise ModelError("pads in a way that LiteRT does not", where=node_label(node), fix=FIX)
    if mode == b"constant":
        fill = to.reading.weights(node.input[2]) if len(node.input) > 2 and node.input[2] else None
        if fill is None and len(node.input) > 2 and node.input[2]:
            raise ModelError("pads with a number that is computed", where=node_label(node), fix=FIX)
        bordered(to, value, to.made(ending, value.order), sides, 0.0 if fill is None else fill.floats.item())
        return
    # The number at the border is repeated once at a time: the second one from there would come next.
    rounds = [sides] if mode == b"reflect" else [np.clip(sides - done, 0, 1) for done in range(sides.max())]
    for number, added in enumerate(rounds, 1):
        shape = tuple(int(size) for size in np.array(value.shape) + added.sum(1))
        made = (to.made(ending, value.order) if number == len(rounds)
                else to.between(value, f"{node.output[0]}_{number}", shape))
        to.flat.operator("MIRROR_PAD", 2 if value.steps else 1, [value.tensor, _stored(to, value, added)], made.tensor,
                         table="MirrorPadOptions", mode=REFLECT if mode == b"reflect" else SYMMETRIC)
        value = made


def numbers(to: Translation, node: onnx.NodeProto, position: int, default: list[int] | None = None) -> list[int]:
    """The whole numbers of an input, which are constants; `default` where it is left out."""
    name = node.input[position] if len(node.input) > position else ""
    if not name and default is not None:
        return default
    value = to.reading.view.constant(name) if name else None
    if value is None:
        raise ModelError("has bounds that are no constants", where=node_label(node), fix=FIX)
    return [int(number) for number in value.reshape(-1)]


def bordered(to: Translation, value: Value, made: Value, sides: NDArray[np.int32], fill: float) -> None:
    """Writes `made`: `value` in a border of `fill`; `sides` (axes of the graph, 2) are the numbers before and after.

    Zeros of int8 are its zero point, for which LiteRT needs no constant and XNNPACK has a kernel.
    """
    tensors = [value.tensor, _stored(to, value, sides)]
    if fill == 0:
        to.flat.operator("PAD", 2 if value.steps else 1, tensors, made.tensor, table="PadOptions")
        return
    if value.steps is None:
        filling = to.constant(np.array([fill]), "fill")
    else:
        integer = np.clip(np.rint(fill / value.steps.scales[0]) + value.steps.zero_point, -128, 127)
        filling = to.flat.constant(np.array([integer], np.int8), "fill", value.steps)
    to.flat.operator("PADV2", 2 if value.steps else 1, [*tensors, filling], made.tensor, table="PadV2Options")


def gathered(to: Translation, node: onnx.NodeProto) -> None:
    """Gather by constant numbers: a slice for one of them, whose axis goes where it is no list, else GATHER."""
    wanted = to.reading.view.constant(node.input[1])
    if wanted is None or wanted.ndim > 1:
        raise ModelError("takes places that are computed, or a table of them", where=node_label(node), fix=FIX)
    ending = to.ending(node, same_steps=True)
    value = to.value(node.input[0], ending)
    axis = whole(node, "axis", 0) % len(value.shape)
    if axis == 0:
        raise ModelError("takes a batch apart", where=node_label(node), fix=FIX)
    places = (wanted.reshape(-1) % value.shape[axis]).astype(np.int32)
    shape = tuple(len(places) if own == axis else size for own, size in enumerate(value.shape))
    made = (to.made(ending, value.order) if wanted.ndim
            else to.between(value, f"{node.output[0]}_kept", shape))
    if len(places) == 1:
        _part(to, value, made, {axis: slice(int(places[0]), int(places[0]) + 1)})
    else:
        to.flat.operator("GATHER", 2 if value.steps else 1, [value.tensor, to.flat.constant(places, "places")],
                         made.tensor, table="GatherOptions", axis=value.order.index(axis))
    if not wanted.ndim:
        to.drop_ones(made, ending)


def _part(to: Translation, value: Value, made: Value, cut: Mapping[int, slice]) -> None:
    """STRIDED_SLICE, the one of LiteRT's operators for it that XNNPACK takes with a batch of any size.

    Axes that are not in `cut` stay whole; their bits in the masks say so.
    """
    bounds = [cut[axis].indices(value.shape[axis]) if axis in cut else (0, 0, 1) for axis in value.order]
    uncut = sum(1 << position for position, axis in enumerate(value.order) if axis not in cut)
    tensors = [to.flat.constant(np.array(own, np.int32), name)
               for own, name in zip(zip(*bounds), ("begin", "end", "strides"))]
    to.flat.operator("STRIDED_SLICE", 2 if value.steps else 1, [value.tensor, *tensors], made.tensor,
                     table="StridedSliceOptions", beginMask=uncut, endMask=uncut)


def _sides(to: Translation, node: onnx.NodeProto, rank: int) -> NDArray[np.int32]:
    """What a Pad adds, (axes of the graph, 2): before and after."""
    pads, axes = numbers(to, node, 1), numbers(to, node, 3, list(range(rank)))
    sides = np.zeros((rank, 2), np.int32)
    sides[axes] = np.array(pads).reshape(2, -1).T
    return sides


def _stored(to: Translation, value: Value, sides: NDArray[np.int32]) -> int:
    return to.flat.constant(np.ascontiguousarray(sides[list(value.order)], np.int32), "sides")
