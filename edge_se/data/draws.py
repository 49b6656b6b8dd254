"""Random numbers for a batch: drawn for all of it, used for the rows that this process computes."""

from __future__ import annotations

import torch


class Draws:
    """One number per image of a batch of `count`, in the order of the calls, from the caller's CPU generator.

    Drawing on the CPU makes a batch the same on every device; `rows` (m,) keeps the draws at these positions.
    """

    def __init__(self, count: int, generator: torch.Generator, rows: torch.Tensor | None, device: torch.device) -> None:
        self._count, self._generator, self._rows, self._device = count, generator, rows, device

    def integers(self, low: int, high: int, *shape: int) -> torch.Tensor:
        """int64 (*shape, m) in [low, high)."""
        return self._kept(torch.randint(low, high, (*shape, self._count), generator=self._generator))

    def uniform(self, low: float, high: float) -> torch.Tensor:
        """float32 (m,) in [low, high)."""
        return self._kept(low + (high - low) * torch.rand(self._count, generator=self._generator))

    def _kept(self, drawn: torch.Tensor) -> torch.Tensor:
        kept = drawn if self._rows is None else drawn[..., self._rows]
        if self._device.type != "cuda":
            return kept.to(self._device)
        # A copy from ordinary memory would wait until the GPU has done all steps before it.
        return kept.pin_memory().to(self._device, non_blocking=True)
