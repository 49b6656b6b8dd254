"""Tensors that a Concat or a Gather of channels makes: OpenVINO must not be given them as signed int8."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from edge_se.graph.view import GraphView, attribute

SHIFT = 128  # from int8 to uint8

# What OpenVINO moves a quantization through, or folds away, when only one of the inputs is computed.
PASSED = ("Add", "BatchNormalization", "Cast", "Div", "Dropout", "Flatten", "Identity", "MaxPool", "Mul", "Pad",
          "Reshape", "Resize", "Slice", "Squeeze", "Sub", "Transpose", "Unsqueeze", "Upsample")
ACTIVE = ("Clip", "Elu", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Sigmoid", "Tanh")  # and a Gather past these


def is_joined(name: str, view: GraphView) -> bool:
    """Whether a Concat makes `name`, or its input through ReLUs and nodes that only move or scale values.

    A convolution of OpenVINO 2026.4 computes wrong numbers from such a tensor in symmetric int8 (1 dB), and right ones
    from uint8 with a zero point. Of what a Gather of channels makes (`is_gathered`), too.
    """
    node = _maker(name, view, (*PASSED, "Relu"))
    return (node is not None and node.op_type == "Concat") or is_gathered(name, view)


def is_gathered(name: str, view: GraphView) -> bool:
    """Whether a Gather of channels makes `name`, or its input through activations and what `is_joined` passes.

    Then even uint8 gives wrong numbers where its zero point is 0 (findings/openvino_gathered_channels.sh).
    """
    node = _maker(name, view, (*PASSED, "Relu", *ACTIVE))
    return node is not None and node.op_type == "Gather" and attribute(node, "axis", 0) == 1


def _maker(name: str, view: GraphView, passed: tuple[str, ...]) -> onnx.NodeProto | None:
    node = view.producer.get(name)
    while node is not None and node.op_type in passed:
        inputs = view.data_inputs(node)
        node = view.producer.get(inputs[0]) if len(inputs) == 1 else None
    return node


def with_unsigned_joins(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model` with such tensors as uint8 with zero point 128 where they were symmetric int8: the very same numbers.

    It is a copy where anything changes.
    """
    view = GraphView(model)
    points = {node.output[0]: np.full_like(point, SHIFT, np.uint8) for node in model.graph.node
              if node.op_type == "QuantizeLinear" and len(node.input) == 3 and node.output[0] not in view.outputs
              and _is_symmetric_int8(point := view.constant(node.input[2])) and is_joined(node.input[0], view)
              and all(reader.op_type == "DequantizeLinear" for reader in view.consumers[node.output[0]])}
    if not points:
        return model
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for node in copy.graph.node:
        name = node.output[0] if node.op_type == "QuantizeLinear" else node.input[0] if node.input else ""
        if name in points:
            node.input[:] = [*node.input[:2], f"{name}_unsigned"]
    copy.graph.initializer.extend(numpy_helper.from_array(point, f"{name}_unsigned") for name, point in points.items())
    told = [value for value in copy.graph.value_info if value.name not in points]  # else as int8
    del copy.graph.value_info[:]
    copy.graph.value_info.extend(told)
    return copy


def _is_symmetric_int8(zero_point: NDArray[Any] | None) -> bool:
    return zero_point is not None and zero_point.dtype == np.int8 and not zero_point.any()
