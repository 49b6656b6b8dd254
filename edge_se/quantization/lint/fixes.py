"""Repairs that change no number."""

from __future__ import annotations

import json
from collections.abc import Iterable

from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.rewrites import checked
from edge_se.quantization.lint.base import Rule
from edge_se.quantization.lint.qdq import QdqView

MARK = "edge_se.repaired"  # key of the metadata


def repaired(model: OnnxModel, rules: Iterable[Rule]) -> tuple[OnnxModel, dict[str, int]]:
    """A copy in which what breaks `rules` is repaired where it can be, and how many places of each were changed.

    The copy says so in its metadata. Raises ModelError where it is no valid graph.
    """
    proto, changes = model.copy(), dict[str, int]()
    for rule in rules:
        if rule.repair is not None and any(True for _ in rule.find(QdqView(proto))):
            count = rule.repair(proto)
            if count:
                changes[rule.name] = count
    for entry in [entry for entry in proto.metadata_props if entry.key == MARK]:
        proto.metadata_props.remove(entry)
    proto.metadata_props.add(key=MARK, value=json.dumps(changes))
    return OnnxModel.of(checked(proto), precision=model.precision, target=model.target), changes
