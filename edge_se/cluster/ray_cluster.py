"""Workers on Ray (the extra `cluster`) that keep open what they work with, part after part."""

from __future__ import annotations

import itertools
import socket
from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any

from edge_se.cluster.joining import address_of, imported_ray, joined
from edge_se.cluster.parts import Part, Work
from edge_se.core import environment
from edge_se.core.children import path_for_workers, thread_variables
from edge_se.core.errors import EdgeSeError, UnavailableError

ATTEMPTS = 3  # workers that may end over one part
PATIENCE_SECONDS = 30.0  # without any worker, until a line says so
# Packages that decide the bits of an answer, beside edge-se: those of pixels, and of all runtimes that judge.
DECIDING = ("numpy", "pillow", "onnxruntime", "openvino", "ai-edge-litert")


@dataclass(frozen=True, kw_only=True)
class _Task:
    """A part on its way; `content` is Ray's reference, so that it can be sent again."""

    position: int
    name: str
    content: Any
    attempt: int = 1


class RayCluster:
    """Workers with their shares of the processors, on machines like this one. A context manager, which ends them.

    The first use joins the cluster. A worker whose processor or packages are others than here is not used: its results
    could differ in the last bits, and whoever asks tells of this machine's.
    """

    def __init__(self, workers: int | None = None, address: str | None = None,
                 note: Callable[[str], None] = lambda line: None) -> None:
        """`workers` of each machine, by default one for each processor.

        `address`: as `ray.init` takes it, else $RAY_ADDRESS, else a cluster of this machine. `note` is told what a user
        should read.
        """
        self._ray = imported_ray("--cluster", "leave --cluster out")
        processors = environment.cpu_count()
        if workers is not None and not 1 <= workers <= processors:
            raise EdgeSeError(f"{workers} workers do not fit {processors} processors", where="--workers",
                              fix=f"give 1 to {processors}")
        self.threads = processors // (workers or processors)
        self._processors = self.threads * (workers or processors)
        self._address, self._note = address_of(address), note
        self._stack, self._count, self._turns = ExitStack(), 0, itertools.count()
        self._make: Callable[[], Any] | None = None  # starts a worker; None until the cluster is joined
        self._starting: dict[Any, Any] = {}  # what it says of itself -> worker
        self._free: list[Any] = []
        self._running: dict[Any, tuple[Any, _Task]] = {}  # result -> worker and what it does
        self._left_out: list[str] = []

    def __enter__(self) -> RayCluster:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._stack.close()

    @property
    def workers(self) -> int:
        """How many there are at most; the first to ask joins the cluster."""
        if self._make is None:
            self._join()
        return max(1, self._count)

    def run(self, work: Work, parts: Iterable[Part]) -> Generator[tuple[int, Any], None, None]:
        """(position of a part, its result), as `Cluster` says."""
        self._gather()
        turn, opening = next(self._turns), self._ray.put(work)
        again, fresh = deque[_Task](), self._sent(parts)
        task = next(fresh, None)
        try:
            while task or self._running:
                if task and self._free:
                    worker = self._free.pop()
                    self._running[worker.do.remote(turn, [opening], task.content)] = worker, task
                    task = again.popleft() if again else next(fresh, None)  # read while the others compute
                    continue
                done = self._next_done()
                if done in self._starting:
                    self._greet(done)
                    continue
                worker, ended = self._running.pop(done)
                try:
                    result = self._ray.get(done)
                except self._ray.exceptions.RayTaskError:  # a bug of the work
                    raise
                except self._ray.exceptions.RayError as error:  # killed, out of memory, its machine gone
                    self._ray.kill(worker)  # one that only does not answer would go on
                    again.append(_next_attempt(ended, error))
                    task = task or again.popleft()
                    self._fill()
                    continue
                self._free.append(worker)
                if isinstance(result, EdgeSeError):
                    raise result
                yield ended.position, result
        finally:
            for worker, _ in self._running.values():
                self._ray.kill(worker)
            self._running.clear()

    def _join(self) -> None:
        self._stack.enter_context(joined(self._ray, self._address, self._processors, "--cluster"))
        self._stack.callback(self._end)
        variables = thread_variables(self.threads)
        if not self._address:  # other machines have their own installation
            variables["PYTHONPATH"] = path_for_workers()
        self._make = self._ray.remote(num_cpus=self.threads, runtime_env={"env_vars": variables})(_Worker).remote
        self._count = sum(int(node["Resources"].get("CPU", 0)) // self.threads for node in self._ray.nodes()
                          if node["Alive"])
        if not self._count:
            raise UnavailableError(f"no machine of the cluster has {self.threads} processors",
                                   where=self._address or "--cluster", fix="give more --workers: each takes fewer")
        self._fill()

    def _gather(self) -> None:
        """Greets those again that were free: their machine may have gone since."""
        if self._make is None:
            self._join()
        self._starting |= {worker.about.remote(): worker for worker in self._free}
        self._free.clear()
        self._fill()

    def _next_done(self) -> Any:
        """The next reference of `_running` or `_starting` that can be read."""
        if not self._running and not self._starting:
            raise self._nobody()
        waiting = [*self._running, *self._starting]
        done, _ = self._ray.wait(waiting, num_returns=1, timeout=None if self._running else PATIENCE_SECONDS)
        if not done:
            self._note("no worker has started yet: the cluster is busy, or lacks processors (`ray status`)")
            done, _ = self._ray.wait(waiting, num_returns=1)
        return done[0]

    def _sent(self, parts: Iterable[Part]) -> Generator[_Task, None, None]:
        for position, part in enumerate(parts):
            yield _Task(position=position, name=part.name, content=self._ray.put(part.content))

    def _fill(self) -> None:
        """Starts workers in the places of those that ended."""
        assert self._make
        for _ in range(self._count - len(self._free) - len(self._starting) - len(self._running)):
            worker = self._make()
            self._starting[worker.about.remote()] = worker

    def _greet(self, about: Any) -> None:
        """Takes a worker that says what it is, or leaves it out."""
        worker = self._starting.pop(about)
        try:
            machine, own = self._ray.get(about)
            here = _deciding()
            why = next((f"{machine} has {name} {own[name]}, and this machine {here[name]}" for name in here
                        if own[name] != here[name]), None)
        except self._ray.exceptions.RayError as error:
            why = f"a worker does not answer ({str(error).strip().splitlines()[-1]})"
        if why is None:
            self._free.append(worker)
            return
        self._ray.kill(worker)
        self._count -= 1
        if why not in self._left_out:
            self._left_out.append(why)
            self._note(f"left out of the cluster: {why}")

    def _end(self) -> None:
        """A cluster that goes on gets its processors back."""
        for worker in (*self._free, *self._starting.values()):
            self._ray.kill(worker)
        self._free.clear()
        self._starting.clear()
        self._make = None

    def _nobody(self) -> UnavailableError:
        own = environment.versions()["edge-se"]
        return UnavailableError(f"no worker can be used: {'; '.join(self._left_out)}",
                                where=self._address or "--cluster",
                                fix=f"run it on a machine of the cluster; all need edge-se {own} and equal packages")


class _Worker:
    """One process of the cluster."""

    def __init__(self) -> None:
        self._stack, self._turn = ExitStack(), -1
        self._do: Callable[[Any], Any]

    def about(self) -> tuple[str, dict[str, str | None]]:
        """The machine, and what decides the bits of its answers."""
        return socket.gethostname(), _deciding()

    def do(self, turn: int, opening: list[Any], content: Any) -> Any:
        """The result of a part, or the EdgeSeError. `opening` holds a reference, which is read once per `turn`."""
        import ray

        try:
            if turn != self._turn:
                self._stack.close()
                self._do = self._stack.enter_context(ray.get(opening[0]).opened())
                self._turn = turn
            return self._do(content)
        except EdgeSeError as error:
            return error


def _deciding() -> dict[str, str | None]:
    """Two machines that agree in these compute the same bits on as many threads."""
    return {"the processor": str(environment.hardware()["cpu"]), "the flags": " ".join(environment.cpu_flags()),
            "edge-se": environment.versions()["edge-se"],
            **{package: environment.version_of(package) for package in DECIDING}}


def _next_attempt(task: _Task, error: Exception) -> _Task:
    if task.attempt == ATTEMPTS:
        raise UnavailableError(f"{task.name} ended {ATTEMPTS} workers, one after the other ({type(error).__name__})",
                               where="--cluster", fix="give fewer --workers where memory is short, or leave --cluster "
                                                      "out to see what happens")
    return replace(task, attempt=task.attempt + 1)
