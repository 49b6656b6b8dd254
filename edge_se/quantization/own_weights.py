"""Constants as layers of INT8 read them: one for each way of reading, and one scale for a stack of matrices.

onnxruntime's quantizer rounds a constant once for all that read it, with scales along the axis that the last one wants,
and 8 bits where an Add reads it. In a layer whose outputs are another axis onnxruntime and OpenVINO take those scales
for its outputs' (findings/scales_along_inputs.sh).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import onnx
from onnx import numpy_helper

from edge_se.graph.rewrites import add_constant
from edge_se.graph.view import GraphView, attribute
from edge_se.quantization.placement import Placement
from edge_se.quantization.targets import WEIGHTED

BIAS, OTHER = "bias", "other"
Way = int | str  # the axis of a layer's outputs in its weights, BIAS, or OTHER: no weight of an INT8 layer


def with_own_weights(proto: onnx.ModelProto, placement: Placement) -> None:
    """Gives a weight or bias of an INT8 layer that is read in another way, too, a copy for each. Changes `proto`.

    Weights tied to a layer transposed, to one that stays float, or to an operator without weights are such.
    """
    view, ways = GraphView(proto), defaultdict[str, dict[Way, list[tuple[onnx.NodeProto, int]]]](dict)
    layers = {node.output[0] for node in _layers(proto, placement)}
    for node in proto.graph.node:
        for position, name in enumerate(node.input):
            if name in view.initializers:
                way = _way(node, position) if node.output[0] in layers else OTHER
                ways[name].setdefault(way, []).append((node, position))
    for name, found in ways.items():
        for readers in list(found.values())[1:]:
            copy = add_constant(proto, f"{name}_copy", numpy_helper.to_array(view.initializers[name]))
            for node, position in readers:
                node.input[position] = copy


def stacked(proto: onnx.ModelProto, placement: Placement) -> list[str]:
    """Constants of more than two axes that MatMul nodes of INT8 read.

    onnxruntime does not run scales along any of their axes, OpenVINO computes wrong numbers from those of the outputs.
    """
    view = GraphView(proto)
    return [name for node in _layers(proto, placement) if node.op_type == "MatMul" for name in node.input
            if name in view.initializers and len(view.initializers[name].dims) > 2]


def _layers(proto: onnx.ModelProto, placement: Placement) -> Iterator[onnx.NodeProto]:
    """Nodes that have weights and run in INT8."""
    left = set(placement.float_nodes)
    return (node for node in proto.graph.node if node.op_type in WEIGHTED and node.op_type in placement.operators
            and node.output[0] not in left)


def _way(node: onnx.NodeProto, position: int) -> Way:
    if position == 2:
        return BIAS
    if node.op_type == "MatMul":
        return 1
    if position != 1:
        return OTHER
    return 1 if node.op_type == "Gemm" and not attribute(node, "transB", 0) else 0
