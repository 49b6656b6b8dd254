"""Chains of an INT8 graph that some runtime has no kernel for."""

from __future__ import annotations

import onnx

from edge_se.graph.view import GraphView, attribute

SIGMOIDS = ("Sigmoid", "HardSigmoid")


def depthwise_swishes(model: onnx.ModelProto) -> list[str]:
    """Outputs of INT8 depthwise convolutions whose swish or hard swish goes into a QuantizeLinear.

    TensorRT 8.5 has a kernel after a ReLU, for float and for ordinary convolutions, so these are left out.
    """
    view = GraphView(model)
    swishes = []
    for node in model.graph.node:
        quantized = all((made := view.producer.get(name)) is not None and made.op_type == "DequantizeLinear"
                        for name in node.input[:2])
        if node.op_type == "Conv" and quantized and _is_depthwise(node, view):
            activated = _swish(node.output[0], view) or ""
            if any(reader.op_type == "QuantizeLinear" for reader in view.consumers[activated]):
                swishes.append(node.output[0])
    return swishes


def without_kernel(swishes: list[str]) -> str:
    """What to know of a file with these, one or more."""
    count = "a depthwise convolution" if len(swishes) == 1 else f"{len(swishes)} depthwise convolutions"
    return (f"TensorRT 8.5 (JetPack 5) has no INT8 kernel for {count} with a swish between Q/DQ (first {swishes[0]}), "
            "and builds no engine (NVIDIA/TensorRT#3385); later versions do. On 8.5 deploy FP16")


def _is_depthwise(node: onnx.NodeProto, view: GraphView) -> bool:
    weight = view.constant(view.producer[node.input[1]].input[0])
    return attribute(node, "group", 1) != 1 and weight is not None and weight.shape[1] == 1


def _swish(name: str, view: GraphView) -> str | None:
    """The tensor that holds the swish of `name`: HardSwish, or its product with its own (hard) sigmoid; else None."""
    readers = view.consumers[name]
    for reader in readers:
        if reader.op_type == "HardSwish":
            return str(reader.output[0])
        if reader.op_type == "Mul" and any(factor.op_type in SIGMOIDS and factor.output[0] in reader.input
                                           for factor in readers):
            return str(reader.output[0])
    return None
