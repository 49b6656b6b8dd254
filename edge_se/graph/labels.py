"""Whether a graph has the precision and the target that a manifest names: a file may have been renamed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from numpy.typing import NDArray

from edge_se.graph.joined import is_joined
from edge_se.graph.targets.base import WEIGHTED, Target
from edge_se.graph.targets.table import TARGETS
from edge_se.graph.view import GraphView

NARROW = 64  # the largest weight of a target of seven bits


def mislabelled(model: onnx.ModelProto, precision: str, target: str, *, quantized: bool = True) -> str | None:
    """Why `model` is no file of `precision` for `target`, in words; None when nothing speaks against it.

    `quantized` False: the manifest itself says that nothing of an INT8 file is in INT8.
    """
    view, halves = GraphView(model), _halves(model)
    kinds = {node.op_type for node in model.graph.node}
    if precision != "int8":
        if "QuantizeLinear" in kinds or "DequantizeLinear" in kinds:
            return "it is quantized"
        return None if halves is (precision == "fp16") else f"its floats are {'FP16' if halves else 'FP32'}"
    ways = kinds.intersection(("QuantizeLinear", "DynamicQuantizeLinear"))
    if not ways:
        return "nothing in it is quantized" if quantized else None
    if target not in TARGETS:
        return f"nobody knows a target '{target}'"
    if ways != {"QuantizeLinear" if TARGETS[target].calibrated else "DynamicQuantizeLinear"}:
        return f"its ranges are {'not ' if TARGETS[target].calibrated else ''}in the file"
    return _foreign(view, TARGETS[target], halves)


def _foreign(view: GraphView, target: Target, halves: bool) -> str | None:
    if halves is not target.half_floats:
        return f"its floats are {'FP16' if halves else 'FP32'}"
    points = list(_zero_points(view))
    types = {str(point.dtype) for _, point in points}
    allowed = {"uint8": {"uint8"}, "int8": {"int8"}, "int8-symmetric": {"int8"}, "by-sign": {"uint8", "int8"},
               "dynamic": set[str]()}
    if types - allowed[target.activations]:
        return f"its activations are {' and '.join(sorted(types))}"
    if target.activations in ("int8-symmetric", "by-sign") and any(
            point.any() for name, point in points if not (point.dtype == np.uint8 and is_joined(name, view))):
        return "its activations have a zero point"
    if target.activations == "by-sign" and _signed_behind_relu(view):
        return "its activations behind a ReLU are int8"
    constants = [value for value in map(view.constant, _dequantized(view)) if value is not None]
    integers = any(value.dtype == np.int32 for value in constants)
    if integers and not target.quantized_bias:
        return "its biases are int32"
    if target.quantized_bias and not integers and _has_float_bias(view):
        return "its biases are float"
    largest = max((int(np.abs(value.astype(np.int16)).max()) for value in constants
                   if value.dtype == np.int8 and value.size), default=0)
    if largest and (largest <= NARROW) is not (target.weight_bits == 7):
        return f"its weights reach {largest}"
    return None


def _halves(model: onnx.ModelProto) -> bool:
    return any(item.data_type == onnx.TensorProto.FLOAT16 and len(item.dims) > 0 for item in model.graph.initializer)


def _zero_points(view: GraphView) -> Iterator[tuple[str, NDArray[np.generic]]]:
    """(tensor, its zero point) of what the graph quantizes as it runs, which are activations."""
    for node in view.graph.node:
        if node.op_type == "QuantizeLinear" and len(node.input) > 2 and view.constant(node.input[0]) is None:
            point = view.constant(node.input[2])
            if point is not None:
                yield node.input[0], point


def _signed_behind_relu(view: GraphView) -> bool:
    """Whether a tensor that is never below zero is quantized as one that is."""
    return any(node.op_type == "QuantizeLinear" and len(node.input) > 2
               and (maker := view.producer.get(node.input[0])) is not None and maker.op_type == "Relu"
               and (point := view.constant(node.input[2])) is not None and point.dtype == np.int8
               for node in view.graph.node)


def _has_float_bias(view: GraphView) -> bool:
    """Whether a bias behind quantized weights is a constant of floats."""
    return any(node.op_type in WEIGHTED and len(node.input) > 2 and view.constant(node.input[2]) is not None
               and (maker := view.producer.get(node.input[1])) is not None and maker.op_type == "DequantizeLinear"
               for node in view.graph.node)


def _dequantized(view: GraphView) -> Iterator[str]:
    return (node.input[0] for node in view.graph.node if node.op_type == "DequantizeLinear")
