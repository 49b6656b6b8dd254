"""How cells are run: jobs in, outcomes out as they end. Executors know nothing of nets; a job names its work."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from edge_se.core.errors import EdgeSeError, did_you_mean

Work = Callable[..., dict[str, Any]]
ATTEMPTS = 2  # a job whose worker was killed is tried once more
ENDED = "its worker ended without an answer"
EXECUTORS = ("local", "ray")


@dataclass(frozen=True, kw_only=True)
class Job:
    """`work`, a function of a module, to be called with `arguments` (JSON) in a process of its own, which writes to
    `log`; that process imports the module anew.

    Work must keep what it has done by itself: a job that is run again goes on from there.
    """

    name: str
    work: Work
    arguments: dict[str, Any]
    log: Path


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a job: a JSON document, or why there is none. `attempts`: workers that it took."""

    job: Job
    result: dict[str, Any] | None
    error: str | None
    attempts: int


class Executor(Protocol):
    """Runs `workers` jobs at a time, each on `threads` threads.

    All processes end with the iteration, also when it is closed early or interrupted.
    """

    name: str
    workers: int
    threads: int

    def run(self, jobs: Sequence[Job]) -> Generator[Outcome, None, None]:
        """An outcome per job, in the order in which they end; a failed job fails no other."""
        ...


def answer(work: Work, arguments: dict[str, Any]) -> dict[str, Any]:
    """Calls the work: `result`, or `error` with one line for what a user can fix and a traceback for a bug."""
    try:
        return {"result": work(**arguments), "error": None}
    except EdgeSeError as error:
        return {"result": None, "error": str(error)}
    except Exception:
        return {"result": None, "error": traceback.format_exc()}


def require_executor(name: str) -> str:
    """`name` if there is such an executor; EdgeSeError with a suggestion otherwise."""
    if name not in EXECUTORS:
        raise EdgeSeError(f"unknown executor '{name}'", where="--executor", fix=did_you_mean(name, EXECUTORS))
    return name
