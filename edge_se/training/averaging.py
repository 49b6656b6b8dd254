"""The exponential moving average of a net's weights and batch-norm statistics."""

from __future__ import annotations

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel


class MovingAverage(AveragedModel):
    """The average `module` of a net, whose tensors stay where they are, to be updated after each step.

    The decay grows to `decay` as (1 + n) / (10 + n) after n updates, as in TensorFlow's ExponentialMovingAverage:
    the random first weights are forgotten at once, and short runs can be averaged too.

    torch's own update looks every tensor up by name and sends its count to the GPU, where a rule that reads it waits
    for all steps before: a quarter of a step of `resnet18` on an H200. Here tensors are found once and the count stays.
    """

    def __init__(self, net: nn.Module, decay: float) -> None:
        with torch.no_grad():
            super().__init__(net, use_buffers=True)
        self._decay = decay
        pairs = [(own.detach(), of.detach()) for own, of in zip(_tensors(self.module), _tensors(net), strict=True)]
        self._floats = [pair for pair in pairs if pair[0].is_floating_point()]
        self._counts = [pair for pair in pairs if not pair[0].is_floating_point()]  # of batches: nothing to average

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Takes the present tensors of the net that it was made of in; `model` is that net."""
        count = int(self.n_averaged)
        averages, current = ([pair[side] for pair in self._floats] for side in (0, 1))
        if count:
            torch._foreach_lerp_(averages, current, 1 - min(self._decay, (1 + count) / (10 + count)))
        else:
            torch._foreach_copy_(averages, current)
        for average, now in self._counts:
            average.copy_(now)
        self.n_averaged += 1


def _tensors(net: nn.Module) -> list[torch.Tensor]:
    return [*net.parameters(), *net.buffers()]
