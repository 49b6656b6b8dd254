"""What the command line shows: results on stdout, progress and notes on stderr. Rich is imported where it draws."""

from __future__ import annotations

import io
import json
import sys
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from textwrap import fill
from typing import Any

from edge_se.core.progress import Advance
from edge_se.reporting.heartbeat import Heartbeat

WIDEST = 400
NARROW = 100  # columns of a sentence


class ConsoleProgress:
    """Bars and notes on stderr; without a terminal notes, and a line every ten seconds while nothing else is said."""

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._console: Any = None  # one for all bars, since tasks run within tasks
        self._beat: Heartbeat | None = None
        if not quiet and not sys.stderr.isatty():
            self._beat = Heartbeat(sys.stderr)
            weakref.finalize(self, self._beat.stop)  # the command is over: nobody holds its progress

    @contextmanager
    def task(self, what: str, total: int) -> Iterator[Advance]:
        """A bar that disappears when done."""
        if self._beat is not None:
            with self._beat.task(what, total) as advance:
                yield advance
            return
        if self._quiet:
            yield lambda units: None
            return
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        if self._console is None:
            self._console = Console(stderr=True, highlight=False)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
                   TimeRemainingColumn())
        with Progress(*columns, console=self._console, transient=True) as bars:
            task = bars.add_task(what, total=total)
            yield lambda units: bars.advance(task, units)

    def note(self, message: str) -> None:
        """One line."""
        if self._beat is not None:
            self._beat.say(message)
        elif not self._quiet:
            sys.stderr.write(message + "\n")


def print_json(document: Any) -> None:
    """One JSON document on stdout; NaN never leaves this program."""
    sys.stdout.write(json.dumps(document, indent=2, allow_nan=False) + "\n")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> None:
    """An aligned table on stdout; the first `left` columns are text, the others numbers."""
    sys.stdout.write(table_text(columns, rows, left=left))


def table_text(columns: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """The lines that `print_table` prints. A terminal that is too narrow wraps them; no figure is cut short."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for position, column in enumerate(columns):
        table.add_column(column, justify="left" if position < left else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    text = io.StringIO()
    Console(file=text, width=WIDEST, highlight=False, markup=False).print(table)
    return "".join(line.rstrip() + "\n" for line in text.getvalue().splitlines())


def print_sentence(text: str) -> None:
    """A sentence below a table, in lines that are no wider than tables are."""
    sys.stdout.write(fill(text, NARROW, break_on_hyphens=False, break_long_words=False) + "\n")


def print_line(text: str, *, stderr: bool = False) -> None:
    """One line of the result; on stderr where stdout holds one document."""
    (sys.stderr if stderr else sys.stdout).write(text + "\n")
