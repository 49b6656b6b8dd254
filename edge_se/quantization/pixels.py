"""What is known of pixels before any image is seen: there are 256 of them, and their values in the graph.

Where the values are integers of 8 bits, the scale is 1 and INT8 sees pixels exactly, whatever calibration saw. Else
the scale must not put them on rounding ties, half-way between two integers. With mean 0.5 and std 0.5 the range is -1
to 1 and the scale 2/255: all 256 pixel values are ties. Runtimes round them differently, and half of the grey levels
are lost.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from numpy.typing import NDArray

from edge_se.device.agent.preprocess import Preprocessing
from edge_se.graph.image_input import PARTED, SCALED, image_forms
from edge_se.graph.view import GraphView, attribute

TIE = 0.001             # of a step; nearer to the half is a tie in one runtime or another
MOST_TIES = 1 / 16      # of a channel's 256 pixel values
STEPS = range(1, 12)    # how many steps of 255 the range is widened by at most
Levels = NDArray[np.float64]
Bounds = tuple[float, float]


def levels_of(how: Preprocessing) -> Levels:
    """(channels, 256): the values that the 256 pixels have at the input of a graph."""
    low, high = how.extremes
    mean, std = (np.asarray(values, np.float64)[:, None] for values in (how.mean, how.std))
    return np.asarray((low + np.arange(256) / 255 * (high - low) - mean) / std, np.float64)


def pixel_levels(model: onnx.ModelProto, how: Preprocessing) -> dict[str, Levels]:
    """The values of pixels in each tensor that is the image in some form; a channel that a Pad adds is left out."""
    view = GraphView(model)
    name, *others = image_forms(model)
    found, axes = {name: levels_of(how)}, dict[str, int | None]({name: 3 if how.axes == "NHWC" else 1})
    for output in others:
        node = view.producer[output]
        read, *more = view.data_inputs(node)
        if not all(one in found and np.array_equal(found[one], found[read]) for one in (read, *more)):
            continue
        axis = axes[read]
        if node.op_type in PARTED:
            found[output], axes[output] = found[read], None
        elif node.op_type == "Transpose" and axis is not None:
            order = attribute(node, "perm", [3, 2, 1, 0])
            assert isinstance(order, list)
            found[output], axes[output] = found[read], order.index(axis)
        elif node.op_type not in SCALED:
            found[output], axes[output] = found[read], axis
        elif (scaled := _scaled(node, found[read], axis, view)) is not None:
            found[output], axes[output] = scaled, axis
    return found


def bounds_of_pixels(model: onnx.ModelProto, how: Preprocessing, bounds: Mapping[str, Bounds],
                     symmetric: Mapping[str, bool]) -> dict[str, Bounds]:
    """Better bounds for the forms of the image that have `bounds`: exact for 8-bit integers, else without ties.

    `symmetric` says of each whether zero is the middle of its integers.
    """
    return {name: exact_bounds(levels, symmetric[name]) or without_ties(bounds[name], symmetric[name], levels)
            for name, levels in pixel_levels(model, how).items() if name in bounds}


def exact_bounds(levels: Levels, symmetric: bool) -> Bounds | None:
    """Bounds whose scale is 1 where all levels are integers of 8 bits; None for others.

    A symmetric range has 127 steps on each side; -128 fits as well, since quantizing saturates there.
    """
    low, high = (-128, 127) if symmetric else (min(levels.min(), 0.0), min(levels.min(), 0.0) + 255)
    if not np.array_equal(levels, np.round(levels)) or levels.min() < low or levels.max() > high:
        return None
    return (-127.0, 127.0) if symmetric else (float(low), float(high))


def share_of_ties(scale: float, levels: NDArray[np.float64]) -> float:
    """The share of the levels of one channel, (256,), that lie half-way between two integers."""
    steps = levels / scale
    return float((np.abs(np.abs(steps - np.floor(steps)) - 0.5) < TIE).mean())


def without_ties(bounds: Bounds, symmetric: bool, levels: Levels) -> Bounds:
    """`bounds` of pixels, widened by the least that takes them off ties; as they are where few are ties."""
    low, high = min(bounds[0], 0.0), max(bounds[1], 0.0)
    scale = max(-low, high) / 127 if symmetric else (high - low) / 255
    if scale <= 0:
        return bounds
    for step in (0, *STEPS):
        wider = 255 / (255 - step)
        if all(share_of_ties(scale * wider, channel) <= MOST_TIES for channel in levels):
            return bounds if step == 0 else (bounds[0] * wider, bounds[1] * wider)
    return bounds


def _scaled(node: onnx.NodeProto, levels: Levels, axis: int | None, view: GraphView) -> Levels | None:
    """The levels behind an Add, Sub, Mul or Div by a constant of one number, or of one for each channel on `axis`."""
    first = view.constant(node.input[0])
    constant = view.constant(node.input[1]) if first is None else first
    assert constant is not None  # `image_forms` asks for one
    shape = (1,) * (4 - constant.ndim) + constant.shape
    if any(size != 1 for place, size in enumerate(shape) if place != axis) or (
            axis is not None and shape[axis] not in (1, len(levels))):
        return None
    values = constant.astype(np.float64).reshape(-1, 1)
    left, right = (levels, values) if first is None else (values, levels)
    with np.errstate(divide="ignore", invalid="ignore"):
        result: Levels = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide}[node.op_type](
            left, right)
    return result if np.isfinite(result).all() else None
