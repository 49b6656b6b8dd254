"""Finds squeeze-and-excitation gates in an ONNX graph, whoever exported it.

The pattern: u -> pool or mean -> conv/gemm/matmul -> activation -> conv/gemm/matmul -> (hard) sigmoid -> Mul with u,
with reshapes, transposes or a bias Add anywhere in between.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx

from edge_se.graph.view import GraphView

SHAPE_ONLY = ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Identity", "Expand")
WEIGHTED = ("Conv", "Gemm", "MatMul")
ACTIVATIONS = ("Relu", "Clip", "LeakyRelu", "PRelu", "HardSwish", "Sigmoid", "Mul", "Add", "Div")
GATES = ("Sigmoid", "HardSigmoid")
POOLS = ("GlobalAveragePool", "ReduceMean")
LONGEST_GATE = 24  # nodes; a chain that is longer is no SE gate


@dataclass(frozen=True, kw_only=True)
class SeGate:
    """One gate: `squeeze` pools u, `inner` computes the gate from it, `scale` multiplies u by it."""

    squeeze: str
    inner: tuple[str, ...]
    scale: str


def find_se_gates(model: onnx.ModelProto) -> list[SeGate]:
    """All gates in graph order; nodes are given by the name of their first output."""
    view = GraphView(model)
    found = []
    for node in model.graph.node:
        if node.op_type == "Mul":
            for scaled, gate in (tuple(node.input), tuple(reversed(node.input))):
                chain = _gate_chain(gate, scaled, view)
                if chain is not None:
                    found.append(SeGate(squeeze=chain[-1], inner=tuple(chain[:-1]), scale=node.output[0]))
                    break
    return found


def _gate_chain(gate: str, scaled: str, view: GraphView) -> list[str] | None:
    """Nodes from the gate back to the squeeze of `scaled`, or None when this is no SE gate."""
    node = _skip_shapes(gate, view)
    if node is None or node.op_type not in GATES:
        return None
    chain: list[str] = []
    pending, weighted, squeeze = [gate], 0, None
    while pending:
        producer = view.producer.get(pending.pop())
        if producer is None or len(chain) > LONGEST_GATE:
            return None
        name = producer.output[0]
        if producer.op_type in POOLS:
            if producer.input[0] != scaled or squeeze not in (None, name):
                return None
            squeeze = name
            continue
        if name in chain:
            continue
        if producer.op_type not in (*SHAPE_ONLY, *WEIGHTED, *ACTIVATIONS, *GATES):
            return None
        weighted += producer.op_type in WEIGHTED
        chain.append(name)
        # A shape that is computed from u (for the batch size) is no path of values.
        pending.extend(producer.input[:1] if producer.op_type in SHAPE_ONLY else view.data_inputs(producer))
    return [*chain, squeeze] if squeeze is not None and weighted == 2 else None


def _skip_shapes(name: str, view: GraphView) -> onnx.NodeProto | None:
    node = view.producer.get(name)
    while node is not None and node.op_type in SHAPE_ONLY:
        node = view.producer.get(node.input[0])
    return node
