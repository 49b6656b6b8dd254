"""Units of placement: what can be INT8 or float on its own, named as its author would name it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import onnx

from edge_se.graph.counting import macs_by_node
from edge_se.graph.view import GraphView
from edge_se.quantization.excitations import find_excitations
from edge_se.quantization.placement import Placement, float_in_all
from edge_se.quantization.targets import WEIGHTED, Target


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A weighted layer, a whole excitation, or an operator without weights; nodes by the name of their first output."""

    name: str
    kind: str  # "layer", "se-gate" or "operator"
    nodes: tuple[str, ...]
    macs: int


def units_of(model: onnx.ModelProto, target: Target) -> list[Unit]:
    """All units that `target` would quantize, in graph order."""
    macs, view = macs_by_node(model), GraphView(model)
    excitations = {excitation.inner[0]: excitation for excitation in find_excitations(model)}
    inside = {*float_in_all(model), *(node for excitation in excitations.values() for node in excitation.inner)}
    units = []
    for node in model.graph.node:
        output = node.output[0]
        if output in excitations:
            inner = excitations[output].inner
            units.append(Unit(name=excitation_name(inner, view), kind="se-gate", nodes=inner,
                              macs=sum(macs.get(name, 0) for name in inner)))
        elif output not in inside and node.op_type in WEIGHTED:
            units.append(Unit(name=_layer_name(node), kind="layer", nodes=(output,), macs=macs[output]))
        elif output not in inside and target.quantized_outputs and node.op_type in ("Add", "Mul", "GlobalAveragePool"):
            units.append(Unit(name=f"{node.op_type} {node.name or output}", kind="operator", nodes=(output,), macs=0))
    return units


def with_float_units(placement: Placement, units: list[Unit], name: str) -> Placement:
    """`placement` with `units` left in float too."""
    more = tuple(node for unit in units for node in unit.nodes)
    return replace(placement, name=name, float_nodes=tuple(dict.fromkeys((*placement.float_nodes, *more))))


def only(unit: Unit, model: onnx.ModelProto, placement: Placement) -> Placement:
    """Everything in float but `unit`, so that the whole loss is its own."""
    others = tuple(node.output[0] for node in model.graph.node if node.output[0] not in unit.nodes)
    return Placement(name=f"only {unit.name}", operators=placement.operators, float_nodes=others, residual_inputs=())


def excitation_name(inner: tuple[str, ...], view: GraphView) -> str:
    """`layer1.0.se` from the weights of the layers of an excitation, else the name of its first output."""
    names = [_layer_name(view.producer[name]) for name in inner if view.producer[name].op_type in WEIGHTED]
    stems = {name.rpartition(".")[0] for name in names}
    return stems.pop() if len(stems) == 1 and "" not in stems else inner[0]


def _layer_name(node: onnx.NodeProto) -> str:
    weight = node.input[1].removesuffix(".weight") if len(node.input) > 1 else ""
    return weight if "." in node.input[1] else node.name or node.output[0]
