"""How a step reports progress without knowing who shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

Advance = Callable[[int], None]


class Progress(Protocol):
    """Shown on stderr by the command line."""

    def task(self, what: str, total: int) -> AbstractContextManager[Advance]:
        """A bar for the block; call what it yields with the units done."""
        ...

    def note(self, message: str) -> None:
        """One line that the user should read."""
        ...


class SilentProgress:
    """Shows nothing."""

    @contextmanager
    def task(self, what: str, total: int) -> Iterator[Advance]:
        """No bar."""
        yield lambda units: None

    def note(self, message: str) -> None:
        """Ignored."""


SILENT = SilentProgress()
