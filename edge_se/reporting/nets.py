"""A net's training in words: its top-1, and what of it is shipped."""

from __future__ import annotations

from collections.abc import Iterable

from edge_se.reporting.tables import DASH


def top1_text(test: float | None, validation: float | None) -> str:
    """Test top-1. Without it, the validation figure, marked as such, because its images chose the epoch."""
    if test is not None:
        return f"{test:.2f}"
    return DASH if validation is None else f"{validation:.2f} (validation)"


def epochs_text(nets: Iterable[tuple[str, int]]) -> str:
    """Names and their epochs as one sentence: nets that were trained for unlike times cannot be compared."""
    groups: dict[int, list[str]] = {}
    for name, epochs in nets:
        groups.setdefault(epochs, []).append(name)
    told = (f"{epochs} epochs: {', '.join(names)}" for epochs, names in sorted(groups.items()))
    return f"trained for {'; '.join(told)}"


def weights_text(weights: bool, card: bool) -> str:
    """Which results of a net's training come with edge-se."""
    return "bundled" if weights else "card" if card else "none"
