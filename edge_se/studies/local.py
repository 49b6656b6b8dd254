"""Jobs in processes of this machine, one process per job, as many at a time as there are workers."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from edge_se.core import environment
from edge_se.core.children import path_for_workers, thread_variables
from edge_se.core.errors import ArtifactError, EdgeSeError
from edge_se.core.files import read_json
from edge_se.studies.executor import ATTEMPTS, ENDED, Job, Outcome

POLL_SECONDS = 0.1
PATIENCE_SECONDS = 60.0  # for an interrupted worker to save its checkpoint: a training step may take seconds


@dataclass(frozen=True, kw_only=True)
class _Running:
    """A job in its process. `processors`: which ones it may use; None where that cannot be set."""

    job: Job
    attempt: int
    process: subprocess.Popen[bytes]
    answer: Path
    processors: frozenset[int] | None


class LocalExecutor:
    """`workers` processes at a time, each on its share of the processors."""

    name = "local"

    def __init__(self, workers: int | None = None, jobs: int = 1) -> None:
        """`workers` None: one per processor, but no more than there are `jobs`."""
        processors = environment.cpu_count()
        if workers is not None and not 1 <= workers <= processors:
            raise EdgeSeError(f"{workers} workers do not fit {processors} processors", where="--workers",
                              fix=f"give 1 to {processors}")
        self.workers = workers or max(1, min(processors, jobs))
        self.threads = processors // self.workers

    def run(self, jobs: Sequence[Job]) -> Generator[Outcome, None, None]:
        """An outcome per job, in the order in which they end."""
        waiting = deque((job, 1) for job in jobs)
        running: list[_Running] = []
        with tempfile.TemporaryDirectory(prefix="edge-se-study-") as folder:
            try:
                while waiting or running:
                    while waiting and len(running) < self.workers:
                        job, attempt = waiting.popleft()
                        running.append(self._start(job, attempt, Path(folder), running))
                    for item in [item for item in running if item.process.poll() is not None]:
                        running.remove(item)
                        outcome = _outcome(item)
                        if outcome is None:
                            waiting.appendleft((item.job, item.attempt + 1))
                        else:
                            yield outcome
                    time.sleep(POLL_SECONDS)
            finally:
                _stop(running)

    def _start(self, job: Job, attempt: int, folder: Path, running: list[_Running]) -> _Running:
        processors = self._free_processors(running)
        answer = folder / f"{job.name}-{attempt}.json"
        job.log.parent.mkdir(parents=True, exist_ok=True)
        with open(job.log, "a") as log:
            # A session of its own: Ctrl-C reaches the parent alone, which tells each worker once.
            process = subprocess.Popen(
                [sys.executable, "-m", "edge_se.studies.worker", str(answer)], stdin=subprocess.PIPE, stdout=log,
                stderr=log, start_new_session=True,
                env=os.environ | thread_variables(self.threads) | {"PYTHONPATH": path_for_workers()})
        if processors is not None:
            with suppress(OSError):  # it may have ended, or a container may forbid it; then only the variables limit it
                os.sched_setaffinity(process.pid, processors)
        with suppress(BrokenPipeError):  # killed at once: found below
            pickle.dump((job.work, job.arguments), _stdin(process))  # the function by its name, not its code
            _stdin(process).flush()
        return _Running(job=job, attempt=attempt, process=process, answer=answer, processors=processors)

    def _free_processors(self, running: list[_Running]) -> frozenset[int] | None:
        """Processors of the next worker. onnxruntime uses all that its process may use and ignores the variables."""
        if not hasattr(os, "sched_getaffinity"):
            return None
        taken = frozenset[int]().union(*(item.processors or () for item in running))
        return frozenset(sorted(os.sched_getaffinity(0) - taken)[: self.threads]) or None


def _outcome(item: _Running) -> Outcome | None:
    """The outcome of a worker that ended; None when it was killed and its job is to be tried again."""
    with suppress(OSError):
        _stdin(item.process).close()
    if item.answer.exists():
        with suppress(ArtifactError):
            answer = read_json(item.answer)
            return Outcome(job=item.job, result=answer["result"], error=answer["error"], attempts=item.attempt)
    if item.attempt < ATTEMPTS:
        return None
    code = item.process.returncode
    how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    return Outcome(job=item.job, result=None, attempts=item.attempt,
                   error=f"{ENDED} {item.attempt} times ({how}); see {item.job.log}")


def _stop(running: list[_Running]) -> None:
    """Interrupts workers, waits until they have saved what they did, then kills what is left."""
    for item in running:
        item.process.terminate()
    deadline = time.monotonic() + PATIENCE_SECONDS
    for item in running:
        try:
            item.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            item.process.kill()
            item.process.wait()
        with suppress(OSError):
            _stdin(item.process).close()


def _stdin(process: subprocess.Popen[bytes]) -> IO[bytes]:
    assert process.stdin is not None  # asked for a pipe
    return process.stdin
