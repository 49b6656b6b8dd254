"""Attention between Q/DQ pairs."""

from __future__ import annotations

from collections.abc import Iterator

from edge_se.graph.view import attribute
from edge_se.quantization.lint.base import Finding, Rule, found
from edge_se.quantization.lint.edits import TYPES
from edge_se.quantization.lint.qdq import LOWEST, QdqView

UNIFORM = 1.7  # times 1 / tokens; a largest probability above that keeps some of its steps
STEPS = 255  # of 8 bits


def uniform(view: QdqView) -> Iterator[Finding]:
    """Softmax between DequantizeLinear and QuantizeLinear whose largest probability is near that of a uniform one."""
    for node in view.graph.node:
        if node.op_type != "Softmax" or view.dequantizer(node.input[0]) is None:
            continue
        reader = view.only_consumer(node.output[0])
        scale = view.scale(reader) if reader is not None and reader.op_type == "QuantizeLinear" else None
        shape = view.shapes.get(node.output[0], [])
        axis = attribute(node, "axis", -1)
        if (reader is None or scale is None or view.kind(reader) not in TYPES or not shape
                or not isinstance(axis, int) or not shape[axis]):
            continue
        levels = LOWEST[view.kind(reader)] + STEPS - view.zero_point(reader)
        tokens, largest = shape[axis], float((levels * scale).max())
        if largest < UNIFORM / tokens:
            yield found(node, f"its largest probability over {tokens} tokens is {largest:.2g}")


def products(view: QdqView) -> Iterator[Finding]:
    """Products of two computed tensors of 8 bits."""
    for node in view.graph.node:
        if node.op_type != "MatMul":
            continue
        pairs = [view.dequantizer(name) for name in node.input]
        if all(pair is not None and view.kind(pair) in TYPES and not view.holds_weights(pair) for pair in pairs):
            yield found(node, "a product of two computed tensors, both in INT8")


RULES = (
    Rule(name="uniform-softmax", kind="wrong", runtime="onnxruntime", versions="1.31.1",
         instead="QLinearSoftmax computes from a table of integers, in which nearly uniform probabilities become 0 "
                 "(about 0 dB)", fix="leave Softmax in float: no Q/DQ around it", find=uniform),
    Rule(name="attention-products", kind="lossy", runtime="any", versions="onnxruntime 1.31.1, OpenVINO 2026.4.1",
         instead="scores and attention of 8 bits cost 2 to 8 dB, and hold few of the multiplications",
         fix="leave products of two computed tensors in float", find=products),
)
