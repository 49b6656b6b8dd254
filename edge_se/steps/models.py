"""`models`: what the zoo holds, from its table and the cards; needs no torch."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from edge_se.core.assets import asset
from edge_se.core.errors import ArtifactError
from edge_se.core.files import read_json
from edge_se.nets.arithmetic import size_of
from edge_se.nets.zoo import MODELS, spec_of

SCHEMA = "edge-se/models/1"


def list_models() -> dict[str, Any]:
    """Every name with its figures."""
    return {"schema": SCHEMA, "models": [_summary(name) for name in MODELS]}


def show_model(name: str) -> dict[str, Any]:
    """One net: its spec, its size at its own resolution and at 224 pixels, and its whole card (None: never trained)."""
    spec = spec_of(name)
    own = size_of(spec)
    return {"schema": SCHEMA, "model": name, "architecture": asdict(spec), "params": own.params, "macs": own.macs,
            "macs_at_224": size_of(spec, 224).macs, "card": _card(name)}


def _card(name: str) -> dict[str, Any] | None:
    path = asset("models", name, "card.json")
    return read_json(path, ArtifactError) if path.is_file() else None


def _summary(name: str) -> dict[str, Any]:
    spec, card = MODELS[name], _card(name) or {}
    size = size_of(spec)
    return {"name": name, "about": spec.about, "input": f"3x{spec.input_size}x{spec.input_size}",
            "classes": spec.classes, "params": size.params, "macs": size.macs,
            "weights": asset("models", name, "weights.safetensors").is_file(),
            "test_top1": card.get("test", {}).get("top1"), "test_n": card.get("test", {}).get("n")}
