"""Weights whose scales lie along another axis than that of their layer's outputs."""

from __future__ import annotations

from collections.abc import Iterator

import onnx
from onnx import TensorProto, helper

from edge_se.graph.view import attribute
from edge_se.quantization.lint.base import Finding, Rule, found
from edge_se.quantization.lint.edits import tidy
from edge_se.quantization.lint.qdq import Layer, QdqView

FIX = "quantize each layer's weights with scales of its own outputs, and a stack of matrices with one scale"


def for_onnxruntime(view: QdqView) -> Iterator[Finding]:
    """Layers of integer kernels with scales of their inputs, and stacks of matrices with several scales.

    A Gemm whose inputs and outputs are not as many gets no such kernel, nor does a convolution that no QuantizeLinear
    follows.
    """
    for layer, shape, axis, outputs in _scaled(view):
        behind = [reader.op_type for reader in view.readers_through_relu(layer.node.output[0])]
        fused = {"Conv": behind == ["QuantizeLinear"], "Gemm": shape[axis] == shape[outputs]}
        if _is_stack(layer, shape) or (axis != outputs and fused.get(layer.node.op_type, True)):
            yield _told(layer, shape, axis)


def of_outputs(proto: onnx.ModelProto) -> None:
    """What onnxruntime computes where a layer has as many inputs as outputs: the scales are those of the outputs."""
    view = QdqView(proto)
    for layer, shape, axis, outputs in list(_scaled(view)):
        if axis != outputs and shape[axis] == shape[outputs] and not _is_stack(layer, shape):
            name = f"{layer.node.output[0]}_weights"
            place = list(proto.graph.node).index(layer.node)
            proto.graph.node.insert(place, helper.make_node("DequantizeLinear", layer.weights.input, [name], name,
                                                            axis=outputs))
            layer.node.input[1] = name
    tidy(proto)


def for_openvino(view: QdqView) -> Iterator[Finding]:
    """Products of matrices with scales of their inputs, and stacks of matrices with scales of their outputs where the
    data are signed.
    """
    for layer, shape, axis, outputs in _scaled(view):
        signed = view.kind(layer.data) == TensorProto.INT8 and not view.zero_point(layer.data).any()
        wrong = (axis == outputs and signed) if _is_stack(layer, shape) else axis != outputs
        if layer.node.op_type != "Conv" and wrong:
            yield _told(layer, shape, axis)


def _scaled(view: QdqView) -> Iterator[tuple[Layer, list[int], int, int]]:
    """(layer, shape of its weights, axis of their scales, axis of its outputs) of each that has several scales."""
    for layer in view.layers:
        scale, shape = view.scale(layer.weights), view.shapes.get(layer.weights.input[0], [])
        axis = attribute(layer.weights, "axis", 1)
        if scale is None or scale.ndim != 1 or scale.size < 2 or len(shape) < 2 or not isinstance(axis, int):
            continue
        first = layer.node.op_type == "Conv" or bool(attribute(layer.node, "transB", 0))
        yield layer, shape, axis % len(shape), 0 if first else len(shape) - 1


def _is_stack(layer: Layer, shape: list[int]) -> bool:
    return layer.node.op_type == "MatMul" and len(shape) > 2


def _told(layer: Layer, shape: list[int], axis: int) -> Finding:
    return found(layer.node, f"its weights of {' x '.join(map(str, shape))} have a scale for each index of axis {axis}")


RULES = (
    Rule(name="scales-along-inputs", kind="wrong", runtime="onnxruntime", versions="1.31.1",
         instead="integer kernels take scales of a layer's inputs for those of its outputs (-2 to 2 dB); where these "
                 "are not as many, and for a stack of matrices with several scales, the session fails as it runs",
         fix=FIX, find=for_onnxruntime, computed=of_outputs),
    Rule(name="matrix-scales", kind="wrong", runtime="openvino", versions="2026.4.1",
         instead="wrong numbers (0 to 1 dB) from a matrix with scales of its inputs, and from a stack of matrices with "
                 "scales of its outputs and signed data", fix=FIX, find=for_openvino),
)
