"""Work that is done in parts, and what a cluster of processes is to who hands it out. Nothing here knows Ray."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol


class Work(Protocol):
    """What each worker opens once, before its first part. It is pickled, as are contents of parts and results."""

    def opened(self) -> AbstractContextManager[Callable[[Any], Any]]:
        """In the worker: content of a part -> its result. EdgeSeError as everywhere."""
        ...


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part of a work; `name` is for messages."""

    name: str
    content: Any


class Cluster(Protocol):
    """Processes that each do one part at a time."""

    @property
    def workers(self) -> int:
        """How many there are at most."""
        ...

    def run(self, work: Work, parts: Iterable[Part]) -> Generator[tuple[int, Any], None, None]:
        """(position of a part, its result), in the order in which they end; `parts` are read as workers are free.

        A part whose worker ends is done again by another. EdgeSeError of the work itself, for a part that ended
        several workers, and where none is left. Work that is under way ends when the iteration is closed.
        """
        ...
