"""What a training run tells while it runs: a bar per epoch, a note per finished one, TensorBoard if asked."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from edge_se.core.progress import Advance, Progress
from edge_se.core.recipes import Recipe

if TYPE_CHECKING:
    from edge_se.training.logs import TensorBoard


class Watch:
    """A bar per epoch and a note per finished one, with the time that is left."""

    def __init__(self, progress: Progress, recipe: Recipe, board: TensorBoard | None = None) -> None:
        self._progress, self._recipe, self._board = progress, recipe, board
        self._stack, self._bar, self._epoch, self._done = ExitStack(), None, -1, 0
        self._started, self._pixels = None, 0

    _bar: Advance | None
    _started: float | None

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        if self._board is not None:
            self._board.close()

    def step(self, epoch: int, step: int, steps_per_epoch: int, loss: float) -> None:
        """Advances the bar; a resumed epoch starts where it was left."""
        if epoch != self._epoch:
            self._epoch, self._done, self._steps_per_epoch = epoch, 0, steps_per_epoch
            what = f"epoch {epoch + 1}/{self._recipe.epochs} at {self._recipe.resolutions[epoch]} px"
            self._bar = self._stack.enter_context(self._progress.task(what, steps_per_epoch))
        assert self._bar is not None
        self._bar(step - self._done)
        self._done = step
        if self._started is None:  # the first step may have compiled, which those after it do not
            self._started = time.monotonic()
        else:
            self._pixels += self._recipe.resolutions[epoch] ** 2

    def epoch(self, row: dict[str, float]) -> None:
        """One line per epoch, for terminals and logs alike."""
        self._stack.close()
        if self._board is not None:
            self._board.epoch(row)
        left = self.seconds_left()
        self._progress.note(
            f"epoch {row['epoch']}/{self._recipe.epochs}  {row['resolution']} px  loss {row['loss']:.3f}  "
            f"validation top-1 {row['validation_top1']:.2f} %  {row['seconds'] / 60:.1f} min"
            + (f", about {left / 60:.1f} min left" if left else ""))

    def seconds_left(self) -> float | None:
        """Time for the epochs after this one at the pace so far, in pixels: they may be of another resolution.

        None before there are two steps to tell by, and in the last epoch.
        """
        coming = self._recipe.resolutions[self._epoch + 1 :]
        if self._started is None or not self._pixels or not coming:
            return None
        pixels = self._steps_per_epoch * sum(resolution**2 for resolution in coming)
        return (time.monotonic() - self._started) * pixels / self._pixels
