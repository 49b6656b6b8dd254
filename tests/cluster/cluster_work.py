"""Work of tests, which workers import. Marks in a folder tell a test what ran."""

import os
import signal
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edge_se.core.environment import cpu_count
from edge_se.core.errors import DataError


@dataclass
class Squares:
    """Numbers to their squares. `killed`: number -> how many workers end over it."""

    marks: str
    killed: dict

    @contextmanager
    def opened(self):
        (Path(self.marks) / f"opened-{os.getpid()}").touch()

        def square(number):
            tried = len(list(Path(self.marks).glob(f"{number}-*")))
            (Path(self.marks) / f"{number}-{tried}").touch()
            if tried < self.killed.get(number, 0):
                os.kill(os.getpid(), signal.SIGKILL)
            if number < 0:
                raise DataError("has no square", where=f"number {number}", fix="give another")
            if number == 0:
                raise ZeroDivisionError("a bug")
            time.sleep(0.05)  # so that every worker gets one
            return number * number, os.getpid(), cpu_count()
        yield square
