"""Learning rate as a function of the step: nothing to save, nothing to restore."""

from __future__ import annotations

import math

from edge_se.core.recipes import Schedule


def learning_rate_factor(schedule: Schedule, step: int, total: int) -> float:
    """Multiple of the peak learning rate for `step` in [0, total)."""
    warmup = schedule.warmup_fraction * total
    if step < warmup:
        return schedule.warmup_start + (1 - schedule.warmup_start) * step / warmup
    progress = (step - warmup) / max(1.0, total - warmup)
    match schedule.decay:
        case "linear":
            left = 1 - progress
        case "cosine":
            left = (1 + math.cos(math.pi * progress)) / 2
        case "constant":
            left = 1.0
        case "step":
            return schedule.gamma ** sum(step >= milestone * total for milestone in schedule.milestones)
    return schedule.final + (1 - schedule.final) * left
