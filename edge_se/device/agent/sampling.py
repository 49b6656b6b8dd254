"""Samples that a process of its own takes while something runs."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import subprocess
import sys
import threading
import time

from .jetson import is_jetson
from .power import power_sources
from .system import program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

SAMPLE_S = 0.05
START_S = 10.0
# Where this package lies instead of the working directory, in which anything may lie.
_PROGRAM = f"import sys; sys.path[0] = sys.argv.pop(1); from {__package__}.main import main; sys.exit(main())"


def _home() -> str:
    """The folder or zipapp that this package is imported from."""
    path = os.path.abspath(__file__)
    for _ in range(len((__package__ or "").split(".")) + 1):
        path = os.path.dirname(path)
    return path


class Sampler:
    """Takes samples in processes of its own until `stop`, so that the process that measures is not disturbed.

    Clocks and counters of over-current always come from /sys: tegrastats tells the GPU's clock only to root, and no
    counters.
    """

    def __init__(self, sources: list[str], seconds: float = SAMPLE_S) -> None:
        self._samples: list[dict[str, Any]] = []
        tegrastats = program("tegrastats") if "tegrastats" in sources else None
        commands = [[sys.executable, "-c", _PROGRAM, _home(), "sample", str(seconds)]]
        if tegrastats:
            commands = [[*commands[0], "without-power"], [tegrastats, "--interval", str(int(1000 * seconds))]]
        self._processes = [subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                            stderr=subprocess.DEVNULL, text=True) for command in commands]
        self._begun = [threading.Event() for _ in self._processes]
        self._threads = [threading.Thread(target=self._collect, args=both, daemon=True)
                         for both in zip(self._processes, self._begun)]
        for thread in self._threads:
            thread.start()

    def _collect(self, process: subprocess.Popen[str], begun: threading.Event) -> None:
        for line in process.stdout or ():
            if line.startswith("{"):
                with contextlib.suppress(ValueError):
                    self._samples.append(json.loads(line))
            elif line.strip():
                self._samples.append({"t": time.monotonic(), "tegrastats": line.strip()})
            begun.set()
        begun.set()  # it ended

    def wait(self, seconds: float) -> None:
        """Waits for the first sample of each process, at most so long: a Python starts slowly, runs may be short."""
        end = time.monotonic() + seconds
        for begun in self._begun:
            begun.wait(max(0.0, end - time.monotonic()))

    def take(self, start: float, end: float) -> list[dict[str, Any]]:
        """Samples from `start` to `end` on the monotonic clock, in the order of time; earlier ones are forgotten."""
        taken = [one for one in list(self._samples) if start <= one["t"] <= end]
        self._samples[:] = [one for one in list(self._samples) if one["t"] > end]
        return sorted(taken, key=lambda one: float(one["t"]))

    def stop(self) -> None:
        """Ends its processes. What one of them has started may hold its output open: that is not waited for."""
        for process in self._processes:
            process.kill()
            process.wait()
        for process, thread in zip(self._processes, self._threads):
            thread.join(2)
            if process.stdout and not thread.is_alive():  # else closing would wait for the read
                process.stdout.close()


_SAMPLERS: list[Sampler] = []  # the one of this process, once power was asked for and can be told


def sampled(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The answer of `work`, with the `power` samples of its timed window and its length in seconds, `window_s`.

    Without a `window` in the answer, all of the work counts.
    """
    sources = power_sources() if not _SAMPLERS else []
    if sources or (is_jetson() and not _SAMPLERS):
        with contextlib.suppress(OSError):
            _SAMPLERS.append(Sampler(sources))
            atexit.register(stop_sampling)
            _SAMPLERS[0].wait(START_S)
    start = time.monotonic()
    done = dict(work())
    first, last = done.pop("window", None) or (start, time.monotonic())
    return dict(done, window_s=last - first, power=_SAMPLERS[0].take(first, last) if _SAMPLERS else [])


def stop_sampling() -> None:
    """Ends the process that samples, if there is one."""
    while _SAMPLERS:
        _SAMPLERS.pop().stop()


def idle(seconds: float) -> list[dict[str, Any]]:
    """Samples of an idle device; empty, and at once, when power cannot be read."""
    def rest() -> dict[str, Any]:
        time.sleep(seconds)
        return {}
    return list(sampled(rest)["power"]) if power_sources() else []
