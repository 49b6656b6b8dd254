"""One measurement at a time."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import time

from .errors import AgentError
from .system import read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Lock:
    """One measurement at a time: two would spoil both. A session that reconnects ends its own lost process."""

    def __init__(self, folder: str, token: str) -> None:
        path = os.path.join(folder, "lock")
        self._file = open(path, "a+")  # noqa: SIM115 - held as long as the process lives
        for attempt in range(50):
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if attempt == 0:
                    self._end_predecessor(token)
                time.sleep(0.1)  # a process whose host has just gone is about to end
        else:
            raise AgentError("busy", "process {} measures here for someone else".format(self._holder().get("pid")),
                             "wait for it, or end that process")
        self._file.seek(0)
        self._file.truncate()
        json.dump({"pid": os.getpid(), "token": token}, self._file)
        self._file.flush()

    def _holder(self) -> dict[str, Any]:
        self._file.seek(0)
        try:
            return dict(json.loads(self._file.read()))
        except ValueError:  # it is being written
            return {}

    def _end_predecessor(self, token: str) -> None:
        holder = self._holder()
        if holder.get("token") == token and "serve" in (read("/proc/{}/cmdline".format(holder.get("pid"))) or ""):
            with contextlib.suppress(OSError):
                os.kill(holder["pid"], signal.SIGKILL)
