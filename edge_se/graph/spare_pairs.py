"""Q/DQ pairs that round a tensor although no product reads it, such as those on the shortcut of a residual block."""

from __future__ import annotations

import onnx

from edge_se.graph.targets.base import WEIGHTED
from edge_se.graph.view import GraphView


def spare_pairs(model: onnx.ModelProto) -> list[str]:
    """The tensors behind such pairs. A pair whose integers are read elsewhere, too, is none."""
    view, found = GraphView(model), []
    for node in model.graph.node:
        if node.op_type != "QuantizeLinear":
            continue
        restored = view.only_consumer(node.output[0])
        if restored is None or restored.op_type != "DequantizeLinear" or restored.output[0] in view.outputs:
            continue
        if not any(reader.op_type in WEIGHTED for reader in view.consumers[restored.output[0]]):
            found.append(restored.output[0])
    return found
