"""A line at least every ten seconds where there is no terminal, so that a log does not look hung."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from edge_se.core.progress import Advance

EVERY_S = 10.0


class Heartbeat:
    """Writes lines to `stream`. After `every_s` seconds without a line it writes what is being done, and how far it is.

    Another thread writes, since no step promises to report progress in time. It ends with `stop`.
    """

    def __init__(self, stream: TextIO, every_s: float = EVERY_S) -> None:
        self._stream, self._every_s = stream, every_s
        self._lock, self._over = threading.Lock(), threading.Event()
        self._begun = self._spoken = time.monotonic()
        self._doing: list[list[str | int]] = []  # tasks within tasks: what, units done, units in all
        self._thread = threading.Thread(target=self._beat, name="progress", daemon=True)
        self._thread.start()

    def say(self, line: str) -> None:
        """`line` at once."""
        with self._lock:
            self._write(line)

    @contextmanager
    def task(self, what: str, total: int) -> Iterator[Advance]:
        """While the block runs, `what` is being done; call what it yields with the units done."""
        item: list[str | int] = [what, 0, total]
        self._doing.append(item)

        def advance(units: int) -> None:
            item[1] = int(item[1]) + units

        try:
            yield advance
        finally:
            self._doing.remove(item)

    def stop(self) -> None:
        """Stops the lines; does not wait for the thread."""
        self._over.set()

    def _beat(self) -> None:
        wait = self._every_s
        while not self._over.wait(wait):
            with self._lock:
                silent = time.monotonic() - self._spoken
                if silent >= self._every_s:
                    self._write(self._state())
                    silent = 0.0
            wait = self._every_s - silent

    def _state(self) -> str:
        seconds = f"{time.monotonic() - self._begun:.0f} s"
        if not self._doing:
            return f"still working, {seconds}"
        what, done, total = self._doing[-1]
        return f"{what}: {done:,} of {total:,}, {seconds}"

    def _write(self, line: str) -> None:
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except (OSError, ValueError):  # whoever read it is gone; the work goes on
            self._over.set()
        self._spoken = time.monotonic()
