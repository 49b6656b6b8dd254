"""Finds the excitations of squeeze-and-excitation blocks in an ONNX graph, whoever exported it.

The pattern: u -> pool or mean -> conv/gemm/matmul -> activation -> conv/gemm/matmul -> (hard) sigmoid -> Mul with u,
with reshapes, transposes or a bias Add anywhere in between. A competitive one (CMPE-SE) reads a second pool too, of
the tensor that the product is added to, and has a third weighted layer: the second squeeze's or the re-image kernel.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx

from edge_se.graph.view import GraphView

SHAPE_ONLY = ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Identity", "Expand")
WEIGHTED = ("Conv", "Gemm", "MatMul")
ACTIVATIONS = ("Relu", "Clip", "LeakyRelu", "PRelu", "HardSwish", "Sigmoid", "Mul", "Add", "Div")
BOUNDED = ("Sigmoid", "HardSigmoid")
POOLS = ("GlobalAveragePool", "ReduceMean")
JOINS = ("Concat",)
LONGEST = 24  # nodes; a chain that is longer is no excitation


@dataclass(frozen=True, kw_only=True)
class Excitation:
    """`squeezes` pool u (and its shortcut), `inner` computes the excitation from them, `scale` multiplies u by it.

    Nodes by the name of their first output; that of u's pool comes first.
    """

    squeezes: tuple[str, ...]
    inner: tuple[str, ...]
    scale: str


def find_excitations(model: onnx.ModelProto) -> list[Excitation]:
    """All excitations in graph order."""
    view = GraphView(model)
    excitations = []
    for node in model.graph.node:
        if node.op_type == "Mul":
            for scaled, excitation in (tuple(node.input), tuple(reversed(node.input))):
                chain = _chain(excitation, view)
                squeezes = chain and _squeezes(chain, scaled, node, view)
                if chain and squeezes:
                    excitations.append(Excitation(squeezes=squeezes, inner=tuple(chain.inner), scale=node.output[0]))
                    break
    return excitations


@dataclass(kw_only=True)
class _Chain:
    """Nodes from an excitation back to the pools, and what each pool pools."""

    inner: list[str]
    pooled: dict[str, str]  # input of the pool -> its output
    weighted: int


def _chain(excitation: str, view: GraphView) -> _Chain | None:
    """What computes `excitation` from pools alone, or None where something else does."""
    node = _skip_shapes(excitation, view)
    if node is None or node.op_type not in BOUNDED:
        return None
    chain = _Chain(inner=[], pooled={}, weighted=0)
    pending = [excitation]
    while pending:
        producer = view.producer.get(pending.pop())
        if producer is None or len(chain.inner) > LONGEST:
            return None
        name = producer.output[0]
        if producer.op_type in POOLS:
            if chain.pooled.setdefault(producer.input[0], name) != name:
                return None
            continue
        if name in chain.inner:
            continue
        if producer.op_type not in (*SHAPE_ONLY, *WEIGHTED, *ACTIVATIONS, *BOUNDED, *JOINS):
            return None
        chain.weighted += producer.op_type in WEIGHTED
        chain.inner.append(name)
        # A shape that is computed from u (for the batch size) is no path of values.
        pending.extend(producer.input[:1] if producer.op_type in SHAPE_ONLY else view.data_inputs(producer))
    return chain


def _squeezes(chain: _Chain, scaled: str, scale: onnx.NodeProto, view: GraphView) -> tuple[str, ...]:
    """The pools of an excitation on `scaled`, none when `chain` is no excitation."""
    others = chain.pooled.keys() - {scaled}
    if scaled not in chain.pooled or chain.weighted != 2 + len(others) or others - {_added_to(scale.output[0], view)}:
        return ()
    return chain.pooled[scaled], *(chain.pooled[name] for name in others)


def _added_to(name: str, view: GraphView) -> str | None:
    """What the one Add that reads `name` adds to it."""
    add = view.only_consumer(name)
    if add is None or add.op_type != "Add":
        return None
    return next((other for other in add.input if other != name), None)


def _skip_shapes(name: str, view: GraphView) -> onnx.NodeProto | None:
    node = view.producer.get(name)
    while node is not None and node.op_type in SHAPE_ONLY:
        node = view.producer.get(node.input[0])
    return node
