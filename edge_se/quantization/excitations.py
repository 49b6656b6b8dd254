"""Finds the excitations of squeeze-and-excitation blocks in an ONNX graph, whoever exported it.

The pattern: a bounded function of pools alone that scales what was pooled. Which layers, activations and shapes lie
between a pool and the bound does not matter: 1 x 1 convolutions, linear layers, Einsum, the 1-D convolution of ECA,
pools by mean and by maximum (CBAM), of rows and of columns (coordinate attention). A competitive excitation (CMPE-SE)
reads a pool of the tensor too that the product is added to. The spatial half of CBAM is not an excitation: it pools
over channels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import onnx

from edge_se.graph.view import GraphView, attribute

SHAPE_ONLY = ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Identity", "Expand", "Slice", "Gather",
              "Split")
WEIGHTED = ("Conv", "Gemm", "MatMul", "Einsum")
ACTIVATIONS = ("Relu", "Clip", "LeakyRelu", "PRelu", "HardSwish", "Elu", "Gelu", "Erf", "Mul", "Add", "Sub", "Div",
               "BatchNormalization")
BOUNDED = ("Sigmoid", "HardSigmoid", "Tanh", "Softmax")
POOLS = ("GlobalAveragePool", "GlobalMaxPool")
REDUCTIONS = ("ReduceMean", "ReduceMax")
JOINS = ("Concat",)
LONGEST = 40  # nodes; a chain that is longer is no excitation


@dataclass(frozen=True, kw_only=True)
class Excitation:
    """`squeezes` pool u (and its shortcut), `inner` computes the excitation from them, `scale` multiplies u by it.

    Nodes are named by their first output; the pool of u comes first. Where several factors of the same pools
    scale u in turn, `scale` is the first product and `inner` has the nodes of all.
    """

    squeezes: tuple[str, ...]
    inner: tuple[str, ...]
    scale: str


def find_excitations(model: onnx.ModelProto) -> list[Excitation]:
    """All excitations in graph order."""
    view = GraphView(model)
    excitations: list[Excitation] = []
    for node in model.graph.node:
        if node.op_type == "Mul":
            for scaled, factor in (tuple(node.input), tuple(reversed(node.input))):
                chain = _chain(factor, view)
                if chain is None:
                    continue
                if excitations and excitations[-1].scale == scaled \
                        and {pool for pools in chain.pooled.values() for pool in pools} <= {*excitations[-1].squeezes}:
                    more = [name for name in chain.inner if name not in excitations[-1].inner]
                    excitations[-1] = replace(excitations[-1], inner=(*excitations[-1].inner, *more))
                    break
                squeezes = _squeezes(chain, scaled, node, view)
                if squeezes:
                    excitations.append(Excitation(squeezes=squeezes, inner=tuple(chain.inner), scale=node.output[0]))
                    break
    return excitations


def factors(excitation: Excitation, view: GraphView) -> tuple[str, str]:
    """What `scale` multiplies: the features, and the excitation itself."""
    made = view.producer[excitation.inner[0]].output
    one, other = view.producer[excitation.scale].input
    return (other, one) if one in made else (one, other)


@dataclass(kw_only=True)
class _Chain:
    """Nodes from a factor back to the pools, and the pools of each tensor that is pooled."""

    inner: list[str]
    pooled: dict[str, list[str]]


def _chain(factor: str, view: GraphView) -> _Chain | None:
    """The nodes that compute `factor` from pools alone; None if it needs something else, or nothing bounds it."""
    if not _is_bounded(factor, view):
        return None
    chain = _Chain(inner=[], pooled={})
    pending = [factor]
    while pending:
        producer = view.producer.get(pending.pop())
        if producer is None or len(chain.inner) > LONGEST:
            return None
        name = producer.output[0]
        if name in chain.inner or any(name in pools for pools in chain.pooled.values()):
            continue
        if _is_pool(producer, view) and not _is_pool(_before(producer, view), view):  # a mean of means is inside
            chain.pooled.setdefault(behind_shapes(producer.input[0], view), []).append(name)
            continue
        if producer.op_type not in (*SHAPE_ONLY, *WEIGHTED, *ACTIVATIONS, *BOUNDED, *JOINS) \
                and not _is_pool(producer, view):
            return None
        chain.inner.append(name)
        # A shape that is computed from u (for the batch size) is no path of values.
        pending.extend(producer.input[:1] if producer.op_type in SHAPE_ONLY else view.data_inputs(producer))
    return chain


def _squeezes(chain: _Chain, scaled: str, scale: onnx.NodeProto, view: GraphView) -> tuple[str, ...]:
    """The pools of an excitation on `scaled`, none when `chain` is no excitation."""
    own = chain.pooled.get(behind_shapes(scaled, view))
    others = {name: pools for name, pools in chain.pooled.items() if pools is not own}
    if own is None or others.keys() - {_added_to(scale.output[0], view)}:
        return ()
    return *own, *(pool for pools in others.values() for pool in pools)


def _is_bounded(name: str, view: GraphView) -> bool:
    """Whether `name` stays in an interval for every image: constants only shift and stretch it."""
    node = _skip_shapes(name, view)
    if node is None:
        return False
    if node.op_type in ("Mul", "Add", "Sub", "Div"):
        computed = view.data_inputs(node)
        over_constant = node.op_type != "Div" or view.constant(node.input[1]) is not None
        return bool(computed) and over_constant and all(_is_bounded(one, view) for one in computed)
    return node.op_type in BOUNDED or (node.op_type == "Clip" and len(node.input) == 3 and all(node.input))


def _is_pool(node: onnx.NodeProto | None, view: GraphView) -> bool:
    """Whether `node` pools over rows, columns or both, and not over channels."""
    if node is None or node.op_type in POOLS:
        return node is not None
    if node.op_type not in REDUCTIONS:
        return False
    axes = attribute(node, "axes")  # an attribute up to opset 17, an input from 18 on
    if axes is None and len(node.input) > 1:
        axes = view.constant(node.input[1])
    return axes is not None and all(int(axis) not in (0, 1, -3, -4) for axis in np.atleast_1d(np.asarray(axes)))


def _before(node: onnx.NodeProto, view: GraphView) -> onnx.NodeProto | None:
    return _skip_shapes(node.input[0], view)


def _added_to(name: str, view: GraphView) -> str | None:
    """What the one Add that reads `name` adds to it."""
    add = view.only_consumer(name)
    if add is None or add.op_type != "Add":
        return None
    return next((other for other in add.input if other != name), None)


def behind_shapes(name: str, view: GraphView) -> str:
    """The tensor whose values `name` has, perhaps in another shape."""
    node = view.producer.get(name)
    while node is not None and node.op_type in ("Reshape", "Flatten", "Identity"):
        name = node.input[0]
        node = view.producer.get(name)
    return name


def _skip_shapes(name: str, view: GraphView) -> onnx.NodeProto | None:
    node = view.producer.get(name)
    while node is not None and node.op_type in SHAPE_ONLY:
        node = view.producer.get(node.input[0])
    return node
