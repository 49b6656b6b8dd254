"""Cards: the record of a net's training, in models/NAME (with or without weights) and in a run's folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edge_se.core.assets import asset
from edge_se.core.errors import ArtifactError
from edge_se.core.files import read_json, sha256_of
from edge_se.core.measured_by import sound

CARD, WEIGHTS = "card.json", "weights.safetensors"  # beside each other wherever both are


def card_of(name: str) -> dict[str, Any] | None:
    """The card of the net `name` that comes with edge-se; None when there is none."""
    path = asset("models", name, CARD)
    return read_json(path, ArtifactError) if path.is_file() else None


def weights_of(name: str) -> Path:
    """Where the weights of the net `name` lie, if they come with edge-se."""
    return asset("models", name, WEIGHTS)


def card_beside(weights: Path) -> dict[str, Any] | None:
    """The card of the run that wrote `weights`; None where none lies beside them, or one of other weights."""
    path = weights.with_name(CARD)
    if not path.is_file():
        return None
    card = read_json(path, ArtifactError)
    told = card.get("weights")
    return card if isinstance(told, dict) and told.get("sha256") == sha256_of(weights) else None


def has_weights(name: str) -> bool:
    """Whether the weights of the net `name` come with edge-se."""
    return weights_of(name).is_file()


def measured_by_of(card: dict[str, Any] | None, split: str) -> dict[str, Any] | None:
    """What computed the accuracy on "test" or "validation"; None when the card does not say."""
    told = ((card or {}).get(split) or {}).get("measured_by")
    return told if sound(told) else None


def top1_of(card: dict[str, Any] | None, split: str) -> tuple[float | None, int | None]:
    """Top-1 in percent and the number of images of "test" or "validation"; None when the card does not say."""
    accuracy = (card or {}).get(split) or {}
    return accuracy.get("top1"), accuracy.get("n")
