"""Reductions whose axes are lost, or dropped in front of integers."""

from __future__ import annotations

from collections.abc import Iterator

import onnx

from edge_se.graph.explicit_pads import sizes_of
from edge_se.graph.kept_axes import dropping_axes, with_kept_axes
from edge_se.graph.reductions import losing_axes, spelled_out_reductions
from edge_se.quantization.lint.base import Finding, Rule, found
from edge_se.quantization.lint.qdq import QdqView


def over_some_axes(view: QdqView) -> Iterator[Finding]:
    """ReduceL1, ReduceLogSum and ReduceLogSumExp with axes as an attribute."""
    for node in losing_axes(view):
        yield found(node, "is made over all axes instead of its own")


def of_products(view: QdqView) -> Iterator[Finding]:
    """Means, sums and maxima of INT8 products of matrices, over axes in front of the last one, that drop these axes.

    The matrix has a scale for each output: with one for all of them OpenVINO is right.
    """
    sizes = sizes_of(view.model)
    for node, axes in dropping_axes(view.model):
        maker = view.producer.get(node.input[0])
        if maker is not None and maker.op_type == "Relu":
            maker = view.producer.get(maker.input[0])
        last = len(sizes.get(node.input[0], ())) + 1
        if maker is not None and maker.op_type == "MatMul" and _has_many_scales(maker, view) and not (
                {-1, last} & set(axes)):
            yield found(node, "drops the axes over which it reduces an INT8 product, in front of integers")


def _has_many_scales(product: onnx.NodeProto, view: QdqView) -> bool:
    """Whether both sides of a MatMul are integers, and one of them has several scales."""
    pairs = [view.producer.get(name) for name in product.input]
    scales = [view.scale(pair) if pair is not None and pair.op_type == "DequantizeLinear" else None for pair in pairs]
    return all(scale is not None for scale in scales) and any(scale is not None and scale.size > 1 for scale in scales)


def keep_axes(model: onnx.ModelProto) -> int:
    """Puts a Squeeze behind such reductions instead; returns how many. Changes `model`."""
    changed, count = with_kept_axes(model), sum(1 for _ in dropping_axes(model))
    if changed is not model:
        model.CopyFrom(changed)
    return count


RULES = (
    Rule(name="lost-axes", kind="wrong", runtime="openvino", versions="2026.4.1",
         instead="ReduceL1, ReduceLogSum and ReduceLogSumExp below opset 18 are made over all axes",
         fix="export with opset 18, or write ReduceSum with Abs, Log and Exp", find=over_some_axes,
         repair=spelled_out_reductions),
    Rule(name="dropped-axes", kind="wrong", runtime="openvino", versions="2026.4.1",
         instead="an INT8 product of matrices that a ReduceMean, ReduceMax or ReduceSum reduces over tokens with "
                 "keepdims=0, in front of integers: other numbers (10 to 13 dB)",
         fix="reduce with keepdims=1 and a Squeeze behind it", find=of_products, repair=keep_axes),
)
