"""Activations that get their steps as the file runs, of targets that need no calibration."""

from __future__ import annotations

import onnx

from edge_se.graph.view import GraphView

ANY = (0.0, 1.0)  # onnxruntime's quantizer asks for a range of all that it quantizes; none of these stays in the file


def any_ranges(proto: onnx.ModelProto) -> dict[str, tuple[float, float]]:
    """A range for every tensor that the graph reads or computes."""
    return dict.fromkeys([*(value.name for value in proto.graph.input),
                          *(name for node in proto.graph.node for name in node.output)], ANY)


def with_dynamic_steps(proto: onnx.ModelProto) -> None:
    """Each QuantizeLinear becomes a DynamicQuantizeLinear, which also makes the scale and zero point behind it."""
    view, left = GraphView(proto), set[str]()
    for node in proto.graph.node:
        if node.op_type == "QuantizeLinear" and view.constant(node.input[0]) is None:
            steps = list(node.input[1:])
            left.update(steps)
            node.op_type = "DynamicQuantizeLinear"
            node.output.extend(steps)
            del node.input[1:]
    kept = [constant for constant in proto.graph.initializer if constant.name not in left]
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(kept)
