"""Reductions that drop axes in front of integers, which OpenVINO must be given with the axes kept."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from edge_se.graph.onnx_model import opset_of
from edge_se.graph.reductions import AXES_AS_INPUT
from edge_se.graph.rewrites import add_constant, free_name
from edge_se.graph.view import GraphView, attribute

REDUCTIONS = ("ReduceMax", "ReduceMean", "ReduceSum")


def with_kept_axes(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model` with a Squeeze behind each reduction that dropped axes in front of a QuantizeLinear: the same numbers.

    OpenVINO 2026.4 computes others (11 dB) where an INT8 product of matrices is reduced, as for a mean over tokens
    (findings/openvino_dropped_axes.sh). It is a copy where anything changes.
    """
    dropped = {node.output[0]: axes for node, axes in dropping_axes(model)}
    if not dropped:
        return model
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for node in [node for node in copy.graph.node if node.output[0] in dropped]:
        name = node.output[0]
        kept = free_name(copy.graph, f"{name}_kept")
        node.output[0] = kept
        node.attribute.remove(next(entry for entry in node.attribute if entry.name == "keepdims"))
        squeeze = helper.make_node("Squeeze", [kept, add_constant(copy, f"{kept}_axes", dropped[name])], [name],
                                   f"{name}_squeeze")
        copy.graph.node.insert(list(copy.graph.node).index(node) + 1, squeeze)
    return copy


def dropping_axes(model: onnx.ModelProto) -> Iterator[tuple[onnx.NodeProto, NDArray[np.int64]]]:
    """Such reductions, whatever they reduce, and their axes."""
    view = GraphView(model)
    for node in model.graph.node if opset_of(model) >= AXES_AS_INPUT else ():
        is_read = any(reader.op_type == "QuantizeLinear" for reader in view.consumers[node.output[0]])
        if node.op_type in REDUCTIONS and not attribute(node, "keepdims", 1) and is_read:
            axes = _axes(node, view)
            if len(axes):
                yield node, axes


def _axes(node: onnx.NodeProto, view: GraphView) -> NDArray[np.int64]:
    """The axes of a reduction; none where it reduces all, or where they are computed."""
    axes = attribute(node, "axes")  # an attribute up to opset 17, an input from 18 on; of ReduceSum since 13
    if axes is None and len(node.input) > 1:
        axes = view.constant(node.input[1])
    return np.atleast_1d(np.asarray([] if axes is None else axes, np.int64))
