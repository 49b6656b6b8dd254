"""Layers of an engine as its builder logs them, in the form of layer information (edge_se.measure.layers).

TensorRT for RTX loads an engine on its GPU alone, so nothing inspects one that was built ahead of time; the builder
tells the layers all the same, one a line.
"""

from __future__ import annotations

import re
from typing import Any

_LAYER = re.compile(
    r"Name: (?P<name>.*), LayerType: (?P<kind>\w*), Inputs: \[(?P<inputs>.*?)\](?:, Constants: .*)?"
    r", Outputs: \[(?P<outputs>.*?)\], TacticName: (?P<tactic>.*?), StreamId: .*?Metadata: (?P<nodes>.*)")
_TENSOR = re.compile(r"\{ Name: (?P<name>.*?), Dimensions: \[(?P<shape>[-\d,]*)\], .*?Datatype: (?P<type>\w+), "
                     r"Format: (?P<format>.*?) \}")


def layers_in(log: str) -> list[dict[str, Any]]:
    """The layers that the lines of `log` tell, in their order; other lines are passed over."""
    return [{"Name": found["name"], "LayerType": found["kind"], "Inputs": _tensors(found["inputs"]),
             "Outputs": _tensors(found["outputs"]), "TacticName": found["tactic"], "Metadata": found["nodes"]}
            for found in map(_LAYER.fullmatch, log.splitlines()) if found]


def _tensors(text: str) -> list[dict[str, Any]]:
    return [{"Name": found["name"], "Dimensions": [int(size) for size in found["shape"].split(",") if size],
             "Datatype": found["type"], "Format": found["format"]} for found in _TENSOR.finditer(text)]
