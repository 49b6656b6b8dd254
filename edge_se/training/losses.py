"""The losses of the latest steps, which stay on the device until several are read at once."""

from __future__ import annotations

import math
from pathlib import Path

import torch

from edge_se.core.errors import TrainingError
from edge_se.training.checkpoint import Checkpoint
from edge_se.training.distributed import Group
from edge_se.training.interrupts import Interrupts

# Reading a number makes the processor wait until the GPU has come to it, and the GPU then wait for the next step's
# launches; with several processes it is a message to all besides. One read in 16 steps leaves a sixteenth of that, and
# a NaN, a signal to one of several processes or a checkpoint waits for 15 more steps at most. On the CPU the number is
# there anyway.
STEPS_PER_READ = {"cuda": 16}


class Losses:
    """Losses that nobody has read yet. A read sums and checks them, and lets the processes agree to stop.

    Each is added before its update. With one step per read a NaN loss therefore updates nothing. With more steps
    weights may be NaN while any loss is `waiting`, and must not be saved.
    """

    def __init__(self, group: Group, device: torch.device, folder: Path) -> None:
        self._group, self._device, self._folder = group, device, folder
        self._most = STEPS_PER_READ.get(device.type, 1)
        self._unread: list[torch.Tensor] = []

    @property
    def waiting(self) -> bool:
        """Whether any loss is unread."""
        return bool(self._unread)

    def add(self, loss: torch.Tensor, state: Checkpoint, interrupts: Interrupts, *, last: bool) -> list[float]:
        """Takes the loss () of the step after `state.step`; reads where enough wait, and after the `last` of an epoch.

        The same number of steps after a read in every process, since all of them read.
        """
        self._unread.append(loss.detach())
        return self.read(state, state.step + 1, interrupts) if last or len(self._unread) >= self._most else []

    def read(self, state: Checkpoint, step: int, interrupts: Interrupts) -> list[float]:
        """Reads the waiting losses up to `step` (from 1), each the mean over the processes, into `state.loss_sum`.

        TrainingError at one that is not finite.
        """
        unread: list[float] = torch.stack(self._unread).tolist()
        *sums, asked = self._group.sums((*unread, interrupts.asked), self._device)
        values = [value / self._group.size for value in sums]
        if self._group.size > 1:
            interrupts.agree(asked > 0)
        total, first = state.loss_sum, step + 1 - len(values)
        for number, value in enumerate(values, first):
            if not math.isfinite(value):
                read = f" (read with those of steps {first} to {step})" if step > first else ""
                raise TrainingError(f"the loss became {value} in epoch {state.epoch + 1}, step {number}{read}",
                                    where=self._folder, fix="lower optimizer.learning_rate, or set amp = \"off\"")
            total += value  # one by one: the same sum, bit for bit, however many are read at once
        self._unread, state.loss_sum = [], total
        return values
