"""How a net's training is told: its top-1, and what is shipped of it."""

from __future__ import annotations

from edge_se.reporting.tables import DASH


def top1_text(test: float | None, validation: float | None) -> str:
    """Test top-1; of a card that has none the validation figure, which says so: its images chose the epoch."""
    if test is not None:
        return f"{test:.2f}"
    return DASH if validation is None else f"{validation:.2f} (validation)"


def weights_text(weights: bool, card: bool) -> str:
    """What comes with edge-se of a net's training."""
    return "bundled" if weights else "card" if card else "none"
