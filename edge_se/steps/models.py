"""`models`: what the zoo holds, from its table and the cards; needs no torch."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from edge_se.core.assets import asset
from edge_se.core.errors import ArtifactError
from edge_se.core.files import read_json
from edge_se.nets.zoo import MODELS, spec_of

SCHEMA = "edge-se/models/1"


def list_models() -> dict[str, Any]:
    """Every name with its figures."""
    return {"schema": SCHEMA, "models": [_summary(name) for name in MODELS]}


def show_model(name: str) -> dict[str, Any]:
    """One net: its spec and its whole card."""
    return {"schema": SCHEMA, "model": name, "architecture": asdict(spec_of(name)), "card": _card(name)}


def _card(name: str) -> dict[str, Any] | None:
    path = asset("models", name, "card.json")
    return read_json(path, ArtifactError) if path.is_file() else None


def _summary(name: str) -> dict[str, Any]:
    spec, card = MODELS[name], _card(name) or {}
    return {"name": name, "about": spec.about, "input": f"3x{spec.input_size}x{spec.input_size}",
            "classes": spec.classes, "params": card.get("params"), "macs": card.get("macs"),
            "weights": asset("models", name, "weights.safetensors").is_file(),
            "test_top1": card.get("test", {}).get("top1"), "test_n": card.get("test", {}).get("n")}
