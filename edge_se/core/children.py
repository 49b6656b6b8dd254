"""Processes that this one starts: where their modules are, their share of the processors, and what they said."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass

from edge_se.core.environment import MOST_PROCESSORS


def path_for_workers() -> str:
    """A PYTHONPATH with which another process finds the same modules as this one."""
    return os.pathsep.join(entry for entry in sys.path if entry)


def thread_variables(threads: int) -> dict[str, str]:
    """Environment variables with which edge-se, and the libraries of numpy and torch, use `threads` threads.

    They are read at import.
    """
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", MOST_PROCESSORS)
    return dict.fromkeys(names, str(threads))


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A process that ended: what it wrote to stdout and stderr, and why it failed in one line, where it did."""

    out: str
    said: str
    failure: str | None = None


def run_module(name: str, *arguments: str, timeout: float) -> Ended:
    """Runs `python -m NAME ARGUMENTS` to its end, or for `timeout` seconds."""
    try:
        done = subprocess.run([sys.executable, "-m", name, *arguments], stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, errors="replace", timeout=timeout,
                              env=os.environ | {"PYTHONPATH": path_for_workers()})
    except subprocess.TimeoutExpired:
        return Ended(out="", said="", failure=f"took more than {timeout:g} s")
    failure = None
    if done.returncode != 0:
        failure = f"exit {done.returncode}: {(done.stderr.strip().splitlines() or ['no word'])[-1]}"
    return Ended(out=done.stdout, said=done.stderr, failure=failure)
