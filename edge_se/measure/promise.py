"""Whether an engine runs in INT8 (or FP8) what its file asks to be: TensorRT may choose another type for a layer.

Strongly typed builders keep what the graph says or refuse; others drop a pair where no kernel fits or a float one is
faster, without a word (NVIDIA/TensorRT#4590, #4554).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from edge_se.graph.counting import macs_by_node
from edge_se.graph.targets.base import WEIGHTED
from edge_se.graph.view import GraphView
from edge_se.measure.causes import precision_of
from edge_se.measure.layers import Engine, nodes_in

GENERATED = "kgen"  # LayerType of what TensorRT's compiler writes


@dataclass(frozen=True, kw_only=True)
class Broken:
    """A node of the file that runs in another type than it asks for; `runs` None: no layer tells of it."""

    node: str
    asked: str
    runs: str | None
    macs: int


@dataclass(frozen=True, kw_only=True)
class Promise:
    """`share`: of the MACs that the file has in INT8, the part that the engine runs in INT8; None where it has none.

    A node that no layer names, or whose type is not told, counts as not in INT8: the share is never too large.
    """

    share: float | None
    broken: tuple[Broken, ...]

    def document(self) -> dict[str, Any]:
        """The fields of a row of `bench`."""
        return {"int8_mac_share_engine": self.share, "broken_promises": [
            {"node": item.node, "asked": item.asked, "runs": item.runs, "macs": item.macs} for item in self.broken]}


def promise_of(model: onnx.ModelProto, engine: Engine) -> Promise:
    """What the layers of `engine` tell of the convolutions and matrix products of the file that it was built from."""
    return kept_promise(model, _types(engine))


def kept_promise(model: onnx.ModelProto, runs: Mapping[str, str | None]) -> Promise:
    """The same from the type in which each node runs, by its name; one that is not there tells nothing."""
    macs, asked, broken, kept, total = macs_by_node(model), _asked(model), list[Broken](), 0, 0
    for node in model.graph.node:
        wanted = asked.get(node.output[0])
        if wanted is None:
            continue
        own = macs[node.output[0]]
        total += own if wanted == "int8" else 0
        if runs.get(node.name) == wanted:
            kept += own if wanted == "int8" else 0
        else:
            broken.append(Broken(node=node.name, asked=wanted, runs=runs.get(node.name), macs=own))
    return Promise(share=kept / total if total else None, broken=tuple(broken))


def _types(engine: Engine) -> dict[str, str | None]:
    """The type in which each node runs; None where no layer of it tells.

    The layer that bears the node's name computes it. Others mention it, too: what prepares its input, and what adds to
    its output. A generated kernel may quantize within, so the types of its inputs tell nothing.
    """
    named, mentioned = dict[str, str | None](), dict[str, str | None]()
    for layer in engine.layers:
        precision = None if layer.type == GENERATED else precision_of(layer)
        for node in layer.nodes:
            bears = layer.name.startswith(f"{node}_myl") or node in nodes_in(layer.name)
            types = named if bears else mentioned
            types[node] = types.get(node) or precision
    return mentioned | named


def _asked(model: onnx.ModelProto) -> Mapping[str, str]:
    """The type of each product whose two factors are dequantized, by the name of its output."""
    view = GraphView(model)
    asked = {}
    for node in model.graph.node:
        makers = [view.producer.get(name) for name in node.input[:2]] if node.op_type in WEIGHTED else []
        if len(makers) == 2 and all(maker is not None and maker.op_type == "DequantizeLinear" for maker in makers):
            types = {_type_of(maker, view) for maker in makers if maker is not None}
            asked[node.output[0]] = "fp8" if "fp8" in types else "int8"
    return asked


def _type_of(dequantize: onnx.NodeProto, view: GraphView) -> str:
    """`int8` or `fp8`, by the zero point; without one ONNX means uint8."""
    point = view.constant(dequantize.input[2]) if len(dequantize.input) > 2 else None
    return "int8" if point is None or np.issubdtype(point.dtype, np.integer) else "fp8"
