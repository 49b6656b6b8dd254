"""Hard swishes that exporters of opset 13 and below write out, each turned into the operator that it is.

Written out it is an Add, a Clip, a Mul and a Div: four passes over a map in onnxruntime, and four roundings in INT8.
OpenVINO knows it in both spellings, and as a HardSigmoid and a Mul, which opset 13 has, it does not.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper

from edge_se.graph.rewrites import raise_opset, remove_unused_initializers, remove_unused_nodes
from edge_se.graph.view import GraphView

OPSET = 14  # of HardSwish
SHIFT, TOP = 3.0, 6.0  # x * clip(x + 3, 0, 6) / 6


def with_hard_swishes(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model` (changed) with each x * clip(x + 3, 0, 6) / 6, in any order of the products, as a HardSwish.

    The opset is then at least 14; a model without any is as it was.
    """
    if not _written_out(model):
        return model
    model = raise_opset(model, OPSET)
    for last, source in _written_out(model):
        position = list(model.graph.node).index(last)
        swish = helper.make_node("HardSwish", [source], list(last.output), last.name)
        del model.graph.node[position]
        model.graph.node.insert(position, swish)
    remove_unused_nodes(model)
    remove_unused_initializers(model)
    return model


def _written_out(model: onnx.ModelProto) -> list[tuple[onnx.NodeProto, str]]:
    """The last node of each hard swish that is written out, and what it is of."""
    view = GraphView(model)
    sources = {clip.output[0]: source for clip in model.graph.node if (source := _source_of(clip, view)) is not None}
    return [(node, source) for node in model.graph.node for source in [_swish_of(node, view, sources)] if source]


def _source_of(clip: onnx.NodeProto, view: GraphView) -> str | None:
    """x, for clip(x + 3, 0, 6); None for anything else."""
    if clip.op_type != "Clip" or len(clip.input) != 3 or not (
            _is(clip.input[1], 0.0, view) and _is(clip.input[2], TOP, view)):
        return None
    add = view.producer.get(clip.input[0])
    if add is None or add.op_type != "Add":
        return None
    return next((x for x, shift in _orders(add) if _is(shift, SHIFT, view)), None)


def _swish_of(node: onnx.NodeProto, view: GraphView, sources: dict[str, str]) -> str | None:
    """x, where `node` is the last of its hard swish: a sixth of the product, or the product with a sixth."""
    whole = _sixth(node, view)
    if whole is not None:
        product = view.producer.get(whole)
        return _product_with(product, sources) if product is not None else None
    if node.op_type != "Mul":
        return None
    for one, other in _orders(node):
        sixth = view.producer.get(other)
        part = _sixth(sixth, view) if sixth is not None else None
        if part is not None and (sources.get(part) == one or sources.get(one) == part):
            return one if sources.get(part) == one else part
    return None


def _product_with(node: onnx.NodeProto, sources: dict[str, str]) -> str | None:
    """x, for x * clip(x + 3, 0, 6)."""
    if node.op_type != "Mul":
        return None
    return next((x for x, clip in _orders(node) if sources.get(clip) == x), None)


def _sixth(node: onnx.NodeProto, view: GraphView) -> str | None:
    """y, for y / 6 and for y * (1 / 6)."""
    if node.op_type == "Div" and _is(node.input[1], TOP, view):
        return str(node.input[0])
    if node.op_type == "Mul":
        return next((y for y, factor in _orders(node) if _is(factor, 1 / TOP, view)), None)
    return None


def _orders(node: onnx.NodeProto) -> list[tuple[str, str]]:
    one, other = node.input
    return [(one, other), (other, one)]


def _is(name: str, value: float, view: GraphView) -> bool:
    constant = view.constant(name)
    return constant is not None and constant.size == 1 and bool(np.isclose(constant.item(), value, rtol=1e-5, atol=0))
