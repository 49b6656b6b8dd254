"""Ctrl-C and SIGTERM wait for the end of a training step, where a checkpoint loses nothing."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class Interrupts:
    """`check` raises KeyboardInterrupt when a signal came since `deferred` began; a second signal raises at once.

    Several processes (`alone` false) must stop together, or the others would wait for ever. A signal counts when all
    have agreed on it. A second one, which torchrun sends after a Ctrl-C, changes nothing.
    """

    def __init__(self, alone: bool = True) -> None:
        self._alone, self._agreed = alone, False
        self.asked = False  # of this process

    def agree(self, anyone: bool) -> None:
        """Tells this process whether any process was asked to stop."""
        self._agreed = anyone

    def check(self) -> None:
        """Call it where stopping is safe."""
        if self._agreed or (self._alone and self.asked):
            raise KeyboardInterrupt

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Signals are noted within the block; only the main thread may handle any, elsewhere this does nothing."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before: dict[int, Any] = {number: signal.signal(number, self._note)
                                  for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.asked and self._alone:
            raise KeyboardInterrupt
        self.asked = True
