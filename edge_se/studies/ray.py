"""Jobs on a Ray cluster (the extra `cluster`): a running one by its address, or a local one for the study.

Every node must see the runs folder at the same path, because results of jobs lie there.
"""

from __future__ import annotations

import sys
from collections.abc import Generator, Sequence
from contextlib import ExitStack, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any

from edge_se.cluster.joining import address_of, imported_ray, joined
from edge_se.core import environment
from edge_se.core.children import path_for_workers, thread_variables
from edge_se.studies.executor import ATTEMPTS, ENDED, Job, Outcome, Work, answer

PATIENCE_SECONDS = 60.0  # for an interrupted task to save its checkpoint


class RayExecutor:
    """A Ray task per job. `address`: as `ray.init` takes it, else $RAY_ADDRESS, else a cluster of this machine."""

    name = "ray"

    def __init__(self, workers: int | None = None, jobs: int = 1, address: str | None = None, gpus: int = 0) -> None:
        """A local cluster runs `workers` tasks at once; a running cluster decides by its processors and GPUs."""
        self._ray = imported_ray("--executor ray", "use --executor local")
        self._address = address_of(address)
        processors = environment.cpu_count()
        self.workers = min(workers or max(1, min(processors, jobs)), processors)
        self.threads, self._gpus = processors // self.workers, gpus

    def run(self, jobs: Sequence[Job]) -> Generator[Outcome, None, None]:
        """An outcome per job, in the order in which they end."""
        with ExitStack() as stack:
            stack.enter_context(redirect_stdout(sys.stderr))  # Ray tells of a killed worker on stdout
            stack.enter_context(joined(self._ray, self._address, self.workers * self.threads, "--executor ray"))
            task = self._ray.remote(
                num_cpus=self.threads, num_gpus=self._gpus, max_retries=0,
                max_calls=1,  # a fresh process per job, as elsewhere: threads are set before libraries are read in
                runtime_env={"env_vars": thread_variables(self.threads) | self._path()})(_logged_answer)
            pending = {self._submit(task, job): (job, 1) for job in jobs}
            stack.callback(self._cancel, pending)
            while pending:
                done, _ = self._ray.wait(list(pending), num_returns=1)
                job, attempt = pending.pop(done[0])
                try:
                    answer = self._ray.get(done[0])
                except self._ray.exceptions.RayError as error:  # killed, out of memory, its node gone
                    if attempt < ATTEMPTS:
                        pending[self._submit(task, job)] = (job, attempt + 1)
                        continue
                    answer = {"result": None, "error": f"{ENDED} {attempt} times ({type(error).__name__}); "
                                                      f"see {job.log}"}
                yield Outcome(job=job, result=answer["result"], error=answer["error"], attempts=attempt)

    def _submit(self, task: Any, job: Job) -> Any:
        return task.remote(job.work, job.arguments, str(job.log))

    def _cancel(self, pending: dict[Any, Any]) -> None:
        """Interrupts what still runs, as Ctrl-C would, and waits until it has saved what it did."""
        for reference in pending:
            with suppress(self._ray.exceptions.RayError):
                self._ray.cancel(reference, force=False)
        if pending:
            self._ray.wait(list(pending), num_returns=len(pending), timeout=PATIENCE_SECONDS)

    def _path(self) -> dict[str, str]:
        """Workers on this machine find the modules of this process; other machines have their own installation."""
        return {} if self._address else {"PYTHONPATH": path_for_workers()}


def _logged_answer(work: Work, arguments: dict[str, Any], log: str) -> dict[str, Any]:
    """`answer`, with what it prints appended to the job's log."""
    path = Path(log)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a") as file, redirect_stdout(file), redirect_stderr(file):
        return answer(work, arguments)
