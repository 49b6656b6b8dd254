"""The optimiser that a recipe names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from edge_se.core.recipes import Muon, Recipe

ADAMW_SECOND_BETA = 0.999


def optimizer_of(net: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """SGD or AdamW over `net`, kernels of convolutions by Muon where the recipe has it; each group's `lr` is its peak.

    Weights of norms and biases do not decay unless the recipe says so. Fused, each parameter passes through memory once
    and not once per operation: half the time of an update on a CPU.
    """
    settings = recipe.optimizer
    kernels = [p for p in net.parameters() if p.ndim == 4] if settings.muon else []
    others = [p for p in net.parameters() if p.ndim != 4 or not settings.muon]
    decayed = [p for p in others if p.ndim > 1 or settings.decay_norm_and_bias]
    spared = [p for p in others if p.ndim <= 1 and not settings.decay_norm_and_bias]
    groups = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": spared, "weight_decay": 0.0}]
    groups = [group for group in groups if group["params"]]
    optimizer: torch.optim.Optimizer
    if settings.name == "adamw":
        optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate,
                                      betas=(settings.momentum, ADAMW_SECOND_BETA), fused=True)
    else:
        optimizer = torch.optim.SGD(groups, lr=settings.learning_rate, momentum=settings.momentum,
                                    nesterov=settings.nesterov and settings.momentum > 0, fused=True)
    return Together([optimizer, KernelMuon(kernels, settings.muon)]) if settings.muon and kernels else optimizer


class KernelMuon(torch.optim.Muon):
    """torch's Muon, which takes matrices alone, over `kernels` (O, I, H, W): each is the matrix (O, I x H x W)."""

    def __init__(self, kernels: Sequence[nn.Parameter], recipe: Muon) -> None:
        self._kernels = kernels
        super().__init__([_matrix(kernel.detach()) for kernel in kernels], lr=recipe.learning_rate,
                         momentum=recipe.momentum, weight_decay=recipe.weight_decay, ns_steps=recipe.steps)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Updates the kernels by their gradients."""
        matrices = self.param_groups[0]["params"]
        for kernel, matrix in zip(self._kernels, matrices):
            matrix.grad = None if kernel.grad is None else _matrix(kernel.grad)
        loss = super().step(closure)  # type: ignore[no-untyped-call]
        for matrix in matrices:
            matrix.grad = None  # else every gradient would live until the next step
        return loss


class Together(torch.optim.Optimizer):
    """Optimisers of different parameters as one: it has the groups of all, in order, and a state of each."""

    def __init__(self, parts: Sequence[torch.optim.Optimizer]) -> None:
        self._parts = parts
        super().__init__([group for part in parts for group in part.param_groups], {})

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """A step of each part; TypeError for a closure, which each would call."""
        if closure is not None:
            raise TypeError("takes no closure")
        for part in self._parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        """The states of the parts."""
        return {"parts": [part.state_dict() for part in self._parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Loads what `state_dict` gave."""
        for part, state in zip(self._parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self.param_groups = [group for part in self._parts for group in part.param_groups]  # the parts have new ones


def _matrix(kernel: torch.Tensor) -> torch.Tensor:
    """(O, I, H, W) as (O, the rest), sharing its memory in either layout. Muon does not mind the order of columns.

    A gradient has the strides of its parameter, so that both get the same order.
    """
    rows = kernel if kernel.is_contiguous() else kernel.permute(0, 2, 3, 1)
    return rows.view(len(kernel), -1)
