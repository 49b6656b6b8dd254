"""A Pad that takes its values from the other side of the image, as a Concat of what is on both sides."""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from edge_se.graph.rewrites import add_constant, free_name
from edge_se.graph.view import GraphView, attribute

END = np.iinfo(np.int64).max


def spelled_out_wraps(model: onnx.ModelProto) -> int:
    """Replaces each Pad in mode `wrap` by Slices and Concats, which is what torch traces; returns how many.

    OpenVINO 2026.4 and LiteRT know no such mode, nor does opset 18, in which torch.export writes it all the same
    (findings/torch_onnx_wrap_in_opset_18.sh). One whose pads are computed, or are negative, stays. Changes `model`.
    """
    view, found = GraphView(model), 0
    for node in list(model.graph.node):
        sides = _sides(node, view)
        if sides is not None:
            position = list(model.graph.node).index(node)
            model.graph.node.remove(node)
            for offset, made in enumerate(_spelled_out(node, sides, model)):
                model.graph.node.insert(position + offset, made)
            found += 1
    return found


def _sides(node: onnx.NodeProto, view: GraphView) -> dict[int, tuple[int, int]] | None:
    """How much such a Pad adds before and behind, for each axis where it adds something; None for other nodes."""
    if node.op_type != "Pad" or attribute(node, "mode") != b"wrap":
        return None
    pads = view.constant(node.input[1])
    axes = view.constant(node.input[3]) if len(node.input) > 3 and node.input[3] else None
    if pads is None or pads.min() < 0 or (len(node.input) > 3 and node.input[3] and axes is None):
        return None
    before, behind = pads.reshape(2, -1)
    return {int(axis): (int(one), int(other)) for axis, one, other in zip(
        range(len(before)) if axes is None else axes, before, behind) if one or other}


def _spelled_out(pad: onnx.NodeProto, sides: dict[int, tuple[int, int]], model: onnx.ModelProto
                 ) -> list[onnx.NodeProto]:
    """One axis after the other, so that corners come from the opposite corner."""
    made, current = [], pad.input[0]
    for number, (axis, (before, behind)) in enumerate(sides.items(), 1):
        parts = [current]
        for amount, start, end in ((before, -before, END), (behind, 0, behind)):
            if amount:
                name = free_name(model.graph, f"{pad.output[0]}_{'behind' if start else 'before'}_{axis}")
                bounds = [add_constant(model, f"{name}_{what}", _list(value))
                          for what, value in (("start", start), ("end", end), ("axis", axis))]
                made.append(helper.make_node("Slice", [current, *bounds], [name], name))
                parts = [name, *parts] if start else [*parts, name]
        whole = pad.output[0] if number == len(sides) else free_name(model.graph, f"{pad.output[0]}_{axis}")
        made.append(helper.make_node("Concat", parts, [whole], whole, axis=axis))
        current = whole
    return made or [helper.make_node("Identity", [current], [pad.output[0]], pad.output[0])]


def _list(value: int) -> NDArray[np.int64]:
    return np.array([value], np.int64)
