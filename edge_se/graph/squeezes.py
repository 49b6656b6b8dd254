"""Squeezes as exporters spell them, each turned into one GlobalAveragePool (or GlobalMaxPool)."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper

from edge_se.graph.shapes import inferred
from edge_se.graph.view import GraphView, attribute

Shapes = dict[str, list[int]]  # unknown sizes are 0


def spelled_out_squeezes(model: onnx.ModelProto) -> int:
    """Rewrites means over height and width that are no ReduceMean over both; returns how many were rewritten.

    These are an AveragePool whose kernel is the whole map, a mean over one axis of a mean over the other, and a mean
    over the last axis of a Reshape or Flatten to (N, C, H x W). A MaxPool over the whole map becomes a GlobalMaxPool.
    """
    view, shapes = GraphView(model), _shapes(model)
    nodes: list[onnx.NodeProto] = []
    rewritten = 0
    for node in model.graph.node:
        source = _of_whole_map(node, shapes) or _double_mean(node, view, shapes) or _flat_mean(node, view, shapes)
        rank = len(shapes.get(node.output[0], ())) if node.output else 0
        if source is None or rank not in (2, 4):
            nodes.append(node)
            continue
        rewritten += 1
        kind = "GlobalMaxPool" if node.op_type == "MaxPool" else "GlobalAveragePool"
        if rank == 4:
            nodes.append(helper.make_node(kind, [source], list(node.output), node.name))
        else:
            pooled = f"{node.output[0]}_pooled"
            nodes.append(helper.make_node("GlobalAveragePool", [source], [pooled], f"{node.name}_pool"))
            nodes.append(helper.make_node("Flatten", [pooled], list(node.output), node.name, axis=1))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return rewritten


def _of_whole_map(node: onnx.NodeProto, shapes: Shapes) -> str | None:
    shape = shapes.get(node.input[0], []) if node.input else []
    whole = len(shape) == 4 and all(shape[2:]) and attribute(node, "kernel_shape") == shape[2:]
    pads = attribute(node, "pads") or [0]
    plain = attribute(node, "auto_pad", b"NOTSET") in (b"NOTSET", b"VALID") and pads == [0] * len(pads)  # type: ignore[arg-type]
    dilated = attribute(node, "dilations", [1, 1]) != [1, 1]
    fits = node.op_type in ("AveragePool", "MaxPool") and whole and plain and not dilated and len(node.output) == 1
    return str(node.input[0]) if fits else None


def _double_mean(node: onnx.NodeProto, view: GraphView, shapes: Shapes) -> str | None:
    inner = view.producer.get(node.input[0]) if node.op_type == "ReduceMean" else None
    if inner is None or inner.op_type != "ReduceMean" or view.only_consumer(node.input[0]) is None:
        return None
    first, second = _axes(inner, view, 4), _axes(node, view, len(shapes.get(node.input[0], ())))
    if len(shapes.get(inner.input[0], ())) != 4:
        return None
    kept = bool(attribute(inner, "keepdims", 1))
    return str(inner.input[0]) if (first, second) in (([3], [2]), ([2], [3] if kept else [2])) else None


def _flat_mean(node: onnx.NodeProto, view: GraphView, shapes: Shapes) -> str | None:
    flat = view.producer.get(node.input[0]) if node.op_type == "ReduceMean" else None
    if flat is None or flat.op_type not in ("Reshape", "Flatten") or _axes(node, view, 3) != [2]:
        return None
    before, after = shapes.get(flat.input[0], []), shapes.get(node.input[0], [])
    if len(before) != 4 or len(after) != 3 or not all((*before[1:], *after[1:])):
        return None
    return str(flat.input[0]) if after[1:] == [before[1], before[2] * before[3]] else None


def _axes(node: onnx.NodeProto, view: GraphView, rank: int) -> list[int]:
    """The axes of a reduction, counted from the front; empty where they are not known."""
    axes = attribute(node, "axes")  # an attribute up to opset 17, an input from 18 on
    if axes is None and len(node.input) > 1:
        axes = view.constant(node.input[1])
    if axes is None or not rank:
        return []
    return sorted(int(axis) % rank for axis in np.atleast_1d(np.asarray(axes)))


def _shapes(model: onnx.ModelProto) -> Shapes:
    shaped = inferred(model, data_prop=True).graph
    values = (*shaped.input, *shaped.value_info, *shaped.output)
    return {value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in values
            if value.type.tensor_type.HasField("shape")}
