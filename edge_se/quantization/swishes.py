"""Layers beside a hard swish that onnxruntime on x86 runs faster in float than in INT8.

Its FP32 convolutions carry the hard sigmoid within; its INT8 ones do not, so that a hard swish costs passes of its own
over the tensor. What INT8 saves grows with the width of a layer, what the hard swish costs does not: narrow layers
lose. A swish with a sigmoid costs FP32 as much, and INT8 stays faster (bench/swishes.py).
"""

from __future__ import annotations

from collections.abc import Container

import onnx

from edge_se.graph.view import GraphView

LEAST_WIDTH = 32  # see `_width`; a layer below it stays float beside a hard swish


def hard_swishes(model: onnx.ModelProto) -> dict[str, tuple[str, tuple[str, ...]]]:
    """By its output what each hard swish (HardSwish, or x times HardSigmoid(x)) reads, and the outputs of its nodes."""
    view, found = GraphView(model), dict[str, tuple[str, tuple[str, ...]]]()
    for node in model.graph.node:
        if node.op_type == "HardSwish":
            found[node.output[0]] = node.input[0], (node.output[0],)
        elif node.op_type == "Mul":
            for name in node.input:
                made = view.producer.get(name)
                if made is not None and made.op_type == "HardSigmoid" and made.input[0] in node.input:
                    found[node.output[0]] = made.input[0], (name, node.output[0])
    return found


def narrow_layers(model: onnx.ModelProto) -> tuple[list[str], list[str]]:
    """(nodes that stay float, the convolutions among them), by their first output.

    A convolution is beside a hard swish when it makes what that reads, or reads what it makes, also scaled by an
    excitation.
    """
    view, found = GraphView(model), hard_swishes(model)
    behind = dict(found.values())
    nodes: list[str] = []
    convolutions: list[str] = []
    for node in model.graph.node:
        weight = view.constant(node.input[1]) if node.op_type == "Conv" else None
        if weight is None or not (node.output[0] in behind or _reads_one(node, found, view)):
            continue
        if _width(weight.shape) < LEAST_WIDTH:
            nodes += [node.output[0], *behind.get(node.output[0], ())]
            convolutions.append(node.output[0])
    return nodes, convolutions


def _reads_one(node: onnx.NodeProto, found: Container[str], view: GraphView) -> bool:
    """Whether a convolution reads a hard swish, be it through the product with an excitation."""
    scaled = view.producer.get(node.input[0])
    return node.input[0] in found or (scaled is not None and scaled.op_type == "Mul"
                                      and any(name in found for name in scaled.input))


def _width(shape: tuple[int, ...]) -> float:
    """Multiplications for each value that a convolution reads or makes; half the channels of a square pointwise one.

    A depthwise convolution counts as the pointwise one beside it: half of its channels.
    """
    outputs, inputs, *kernel = shape
    if inputs == 1:
        return outputs / 2
    for size in kernel:
        inputs *= size
    return outputs * inputs / (outputs + inputs)
