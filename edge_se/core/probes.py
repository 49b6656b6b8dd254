"""Runs code that may crash Python, each piece in a process of its own, so that a broken library is an answer."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

TIMEOUT_S = 60.0  # for all questions together; torch on a cold disk takes half of it
AT_ONCE = 4       # processes; each may take some hundred MB
_MARK = "edge-se-answer:"  # packages print what they like when they are imported
# The same search path as here, whatever a site or a virtual environment would add; the answer is the variable `value`.
_FRAME = """import json, sys
sys.path[:] = json.loads(sys.argv[1])
{code}
print({mark!r} + json.dumps(value), flush=True)
import os
os._exit(0)  # some libraries crash when they are unloaded, which says nothing about their use
"""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The value that the code set, or in one line why it failed."""

    value: Any = None
    failure: str | None = None


def ask(questions: Mapping[str, str], timeout: float = TIMEOUT_S) -> dict[str, Answer]:
    """Runs each piece of code, which sets `value` to something that JSON can hold; `timeout` in seconds is for all.

    Nothing that the code does raises here: an exception, a crash, an exit and a hang are failures of its answer.
    """
    end, names, answers = time.monotonic() + timeout, list(questions), dict[str, Answer]()
    for start in range(0, len(names), AT_ONCE):
        running = {name: _started(questions[name]) for name in names[start : start + AT_ONCE]}
        try:
            for name, process in running.items():
                answers[name] = _answer(process, max(1.0, end - time.monotonic()))
        finally:
            for process in running.values():
                _end(process)
    return answers


def _started(code: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _FRAME.format(code=code, mark=_MARK), json.dumps(sys.path)]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            encoding="utf-8", errors="replace", start_new_session=True)


def _answer(process: subprocess.Popen[str], seconds: float) -> Answer:
    try:
        out, said = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        return Answer(failure=f"does not answer within {seconds:.0f} s")
    lines = [line for line in out.splitlines() if line.startswith(_MARK)]
    if lines:
        with suppress(ValueError):
            return Answer(value=json.loads(lines[-1].removeprefix(_MARK)))
    if process.returncode < 0:
        return Answer(failure=f"crashes at import ({_signal_name(-process.returncode)})")
    last = next((line for line in reversed(said.splitlines()) if line.strip()), f"ends with code {process.returncode}")
    return Answer(failure=_printable(last))


def _end(process: subprocess.Popen[str]) -> None:
    """Kills the process if it still runs, and all that it started."""
    if process.poll() is None:
        with suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text).strip()[:200]
