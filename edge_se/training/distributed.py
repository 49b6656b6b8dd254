"""Several processes as `torchrun` starts them: their ranks, sums over all of them, one net over one global batch.

Batch norms see the statistics of the global batch, so that n processes train what one does.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from edge_se.core.errors import TrainingError, UnavailableError


@dataclass(frozen=True, kw_only=True)
class Group:
    """One process, number `rank` of `size`; `local_rank` counts those of its machine. The first one writes files."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0

    def rows(self, count: int) -> torch.Tensor | None:
        """Positions (count / size,) of a batch that this process computes; None: all of them."""
        if self.size == 1:
            return None
        if count % self.size:
            raise TrainingError(f"batch_size {count} does not divide by {self.size} processes", where="torchrun",
                                fix="change batch_size, or start another number with --nproc-per-node")
        share = count // self.size
        return torch.arange(self.rank * share, (self.rank + 1) * share)

    def sums(self, values: Sequence[float], device: torch.device) -> list[float]:
        """Each value summed over the processes; every process gets the same sums."""
        if self.size == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64, device=device)
        dist.all_reduce(total)
        sums: list[float] = total.tolist()
        return sums


ALONE = Group()


def own_process() -> Group:
    """Reads rank and size of this process from torchrun's environment; ALONE without torchrun."""
    try:
        rank, size, local = (int(os.environ.get(name, default))
                             for name, default in (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0")))
    except ValueError as error:
        raise UnavailableError(f"RANK, WORLD_SIZE and LOCAL_RANK are not numbers ({error})", where="torchrun",
                               fix="unset them, or start with torchrun") from error
    return Group(rank=rank, size=size, local_rank=local) if size > 1 else ALONE


@contextmanager
def joined(device: torch.device) -> Iterator[Group]:
    """The group of this process for the block: NCCL between GPUs, else gloo; UnavailableError when none forms."""
    group = own_process()
    if group.size == 1:
        yield group
        return
    try:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    except (ValueError, RuntimeError) as error:
        raise UnavailableError(f"the {group.size} processes do not find each other ({str(error).splitlines()[0]})",
                               where="torchrun", fix="start them with torchrun, or unset WORLD_SIZE") from error
    try:
        yield group
    finally:
        dist.destroy_process_group()


def shared(net: nn.Module, group: Group, device: torch.device) -> nn.Module:
    """`net` over the group: gradients averaged, batch norms synchronised; the parameters stay those of `net`."""
    if group.size == 1:
        return net
    if device.type == "cuda":
        net = nn.SyncBatchNorm.convert_sync_batchnorm(net)  # type: ignore[no-untyped-call]
    else:  # torch's own class is for GPUs alone
        for module in net.modules():
            if type(module) is nn.BatchNorm2d:
                module.__class__ = SharedBatchNorm
    return nn.parallel.DistributedDataParallel(net, device_ids=[device] if device.type == "cuda" else None)


class SharedBatchNorm(nn.BatchNorm2d):
    """Batch norm over the batches of all processes, which are equally large."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) -> the same shape."""
        if not self.training:
            return super().forward(x)
        wide = x.float()
        own_variance, own_mean = torch.var_mean(wide, (0, 2, 3), correction=0)
        sums = _Sum.apply(torch.stack([own_mean, own_variance, own_mean.square()]))  # type: ignore[no-untyped-call]
        averages: torch.Tensor = sums / dist.get_world_size()
        mean, variance = averages[0], averages[1] + (averages[2] - averages[0].square()).clamp(min=0)
        self._remember(mean.detach(), variance.detach(), dist.get_world_size() * x.numel() // x.shape[1])
        scale = self.weight * torch.rsqrt(variance + self.eps)
        shift = self.bias - mean * scale
        normalised: torch.Tensor = wide * scale[:, None, None] + shift[:, None, None]
        return normalised.to(x.dtype)

    def _remember(self, mean: torch.Tensor, variance: torch.Tensor, count: int) -> None:
        assert self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None
        assert self.momentum is not None
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * (count / max(1, count - 1)), self.momentum)
        self.num_batches_tracked.add_(1)


class _Sum(torch.autograd.Function):
    """Sum over the processes; its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor) -> torch.Tensor:
        total = values.detach().clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        total = gradients[0].contiguous().clone()
        dist.all_reduce(total)
        return total
