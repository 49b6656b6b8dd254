"""Tensors that a Concat makes: OpenVINO must not be given them as signed int8."""

from __future__ import annotations

from edge_se.graph.view import GraphView

# What OpenVINO moves a quantization through, or folds away, when only one of the inputs is computed.
PASSED = ("Add", "BatchNormalization", "Cast", "Div", "Dropout", "Flatten", "Identity", "MaxPool", "Mul", "Pad",
          "Reshape", "Resize", "Slice", "Squeeze", "Sub", "Transpose", "Unsqueeze", "Upsample")


def is_joined(name: str, view: GraphView) -> bool:
    """Whether a Concat makes `name`, or its input through nodes that only move or scale values.

    A convolution of OpenVINO 2026.4 computes wrong numbers from such a tensor in symmetric int8 (1 dB), and right ones
    from uint8 with a zero point.
    """
    node = view.producer.get(name)
    while node is not None and node.op_type in PASSED:
        inputs = view.data_inputs(node)
        node = view.producer.get(inputs[0]) if len(inputs) == 1 else None
    return node is not None and node.op_type == "Concat"
