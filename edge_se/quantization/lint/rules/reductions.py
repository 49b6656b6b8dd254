"""Reductions whose axes are lost."""

from __future__ import annotations

from collections.abc import Iterator

from edge_se.graph.reductions import losing_axes, spelled_out_reductions
from edge_se.quantization.lint.base import Finding, Rule, found
from edge_se.quantization.lint.qdq import QdqView


def over_some_axes(view: QdqView) -> Iterator[Finding]:
    """ReduceL1, ReduceLogSum and ReduceLogSumExp with axes as an attribute."""
    for node in losing_axes(view):
        yield found(node, "is made over all axes instead of its own")


RULES = (
    Rule(name="lost-axes", kind="wrong", runtime="openvino", versions="2026.4.1",
         instead="ReduceL1, ReduceLogSum and ReduceLogSumExp below opset 18 are made over all axes",
         fix="export with opset 18, or write ReduceSum with Abs, Log and Exp", find=over_some_axes,
         repair=spelled_out_reductions),
)
