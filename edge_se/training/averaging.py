"""The exponential moving average of a net's weights and batch-norm statistics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


def average_of(net: nn.Module, decay: float) -> AveragedModel:
    """An average of `net` to be updated after each step.

    The decay grows to `decay` as (1 + n) / (10 + n) after n updates, as in TensorFlow's ExponentialMovingAverage:
    the random first weights are forgotten at once, and short runs can be averaged too.
    """

    def update(averages: Any, current: Any, updates: Any) -> None:
        count = int(updates)
        now = min(decay, (1 + count) / (10 + count))
        rule: Callable[..., None] = get_ema_multi_avg_fn(now)  # type: ignore[no-untyped-call]
        rule(averages, current, updates)

    with torch.no_grad():
        return AveragedModel(net, multi_avg_fn=update, use_buffers=True)
