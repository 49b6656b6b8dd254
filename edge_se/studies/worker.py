"""A worker of the local executor: `python -m edge_se.studies.worker ANSWER.json`, one job on stdin: its function and
arguments, pickled by the parent.

Stdin stays open as long as the parent lives. When it closes, the parent is gone, and the worker interrupts itself, so
that no orphan goes on training, and its checkpoint is kept.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
from pathlib import Path

from edge_se.core.files import write_json
from edge_se.studies.executor import answer

INTERRUPTED = 130


def main() -> None:
    """Does the job and writes its answer; an interrupted job writes none."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: training saves a checkpoint first
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background inherits SIG_IGN
    try:
        work, arguments = pickle.load(sys.stdin.buffer)
        threading.Thread(target=_follow_parent, daemon=True).start()
        write_json(Path(sys.argv[1]), answer(work, arguments))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _follow_parent() -> None:
    while os.read(sys.stdin.fileno(), 1 << 10):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
