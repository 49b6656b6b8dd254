"""What a process that this one starts is given: where its modules are, and its share of the processors."""

from __future__ import annotations

import os
import sys

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
