"""What the command line shows: results on stdout, progress and notes on stderr."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from edge_se.core.progress import Advance

WIDEST = 400


class ConsoleProgress:
    """Bars and notes on stderr; without a terminal only notes."""

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._console = Console(stderr=True, highlight=False)

    @contextmanager
    def task(self, what: str, total: int) -> Iterator[Advance]:
        """A bar that disappears when done."""
        if self._quiet or not self._console.is_terminal:
            yield lambda units: None
            return
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
                   TimeRemainingColumn())
        with Progress(*columns, console=self._console, transient=True) as bars:
            task = bars.add_task(what, total=total)
            yield lambda units: bars.advance(task, units)

    def note(self, message: str) -> None:
        """One line."""
        if not self._quiet:
            self._console.print(message, soft_wrap=True, markup=False)


def print_json(document: Any) -> None:
    """One JSON document on stdout; NaN never leaves this program."""
    sys.stdout.write(json.dumps(document, indent=2, allow_nan=False) + "\n")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> None:
    """An aligned table on stdout; the first `left` columns are text, the others numbers."""
    sys.stdout.write(table_text(columns, rows, left=left))


def table_text(columns: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """The lines that `print_table` prints. A terminal that is too narrow wraps them; no figure is cut short."""
    table = Table(box=None, pad_edge=False)
    for position, column in enumerate(columns):
        table.add_column(column, justify="left" if position < left else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    text = io.StringIO()
    Console(file=text, width=WIDEST, highlight=False, markup=False).print(table)
    return "".join(line.rstrip() + "\n" for line in text.getvalue().splitlines())


def print_line(text: str, *, stderr: bool = False) -> None:
    """One line of the result; on stderr where stdout holds one document."""
    (sys.stderr if stderr else sys.stdout).write(text + "\n")
