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

from .power import power_sources

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

SAMPLE_S = 0.05
# Where this package lies instead of the working directory, in which anything may lie.
_PROGRAM = f"import sys; sys.path[0] = sys.argv.pop(1); from {__package__}.main import main; sys.exit(main())"


def _home() -> str:
    """The folder or zipapp that this package is imported from."""
    path = os.path.abspath(__file__)
    for _ in range(len((__package__ or "").split(".")) + 1):
        path = os.path.dirname(path)
    return path


class Sampler:
    """Samples in a process of its own, so that the one that measures is left alone; it goes on until `stop`."""

    def __init__(self, sources: list[str], seconds: float = SAMPLE_S) -> None:
        self._samples: list[dict[str, Any]] = []
        command = ["tegrastats", "--interval", str(int(1000 * seconds))] if "tegrastats" in sources else [
            sys.executable, "-c", _PROGRAM, _home(), "sample", str(seconds)]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                         stderr=subprocess.DEVNULL, text=True)
        self._thread = threading.Thread(target=self._collect, daemon=True)
        self._thread.start()

    def _collect(self) -> None:
        for line in self._process.stdout or ():
            if line.startswith("{"):
                with contextlib.suppress(ValueError):
                    self._samples.append(json.loads(line))
            elif line.strip():
                self._samples.append({"t": time.monotonic(), "tegrastats": line.strip()})

    def take(self, start: float, end: float) -> list[dict[str, Any]]:
        """Those from `start` to `end` on the monotonic clock, in the order of time; earlier ones are forgotten."""
        taken = [one for one in list(self._samples) if start <= one["t"] <= end]
        self._samples[:] = [one for one in list(self._samples) if one["t"] > end]
        return taken

    def stop(self) -> None:
        """Ends its process."""
        self._process.kill()
        self._process.wait()
        self._thread.join(5)
        if self._process.stdout:
            self._process.stdout.close()


_SAMPLERS: list[Sampler] = []  # the one of this process, once power was asked for and can be told


def sampled(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `work` returns, the `power` samples of its timed window and the seconds of that, `window_s`.

    Work that tells no `window` counts as a whole.
    """
    sources = power_sources() if not _SAMPLERS else []
    if sources:
        with contextlib.suppress(OSError):
            _SAMPLERS.append(Sampler(sources))
            atexit.register(stop_sampling)
    start = time.monotonic()
    done = dict(work())
    first, last = done.pop("window", None) or (start, time.monotonic())
    return dict(done, window_s=last - first, power=_SAMPLERS[0].take(first, last) if _SAMPLERS else [])


def stop_sampling() -> None:
    """Ends the process that samples, if there is one."""
    while _SAMPLERS:
        _SAMPLERS.pop().stop()


def idle(seconds: float) -> list[dict[str, Any]]:
    """Samples of a device that does nothing; at once and empty where power cannot be read."""
    def rest() -> dict[str, Any]:
        time.sleep(seconds)
        return {}
    return list(sampled(rest)["power"]) if power_sources() else []
