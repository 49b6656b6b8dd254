"""Tables that fit a terminal: columns that a reader can do without are left out, and shown with `--wide`.

Sentences that do not fit are told below the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH = 100  # columns of a terminal that nobody needs to widen
GAP = 2  # between two columns
BELOW = "(see below)"


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A table of at most WIDTH columns if possible. `constant`: values that were left out and are equal in all rows."""

    columns: list[str]
    rows: list[list[str]]
    left: int
    left_out: list[str]
    constant: dict[str, str]

    @property
    def words(self) -> str:
        """What is not shown, in one line; empty when all is shown."""
        if not self.left_out:
            return ""
        same = ", ".join(f"{name} {value}" for name, value in self.constant.items())
        return f"(all rows: {same}; more columns with --wide)" if same else "(more columns with --wide)"


def width_of(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    """Characters of the widest line."""
    return sum(max(len(cell) for cell in column) for column in zip(columns, *rows)) + GAP * (len(columns) - 1)


def fitted(columns: Sequence[str], rows: Sequence[Sequence[str]], *, left: int, spare: Sequence[str],
           conditions: Sequence[str] = (), width: int = WIDTH) -> Fitted:
    """The table without as many of the columns `spare`, in their order, as it takes to fit.

    One of the `conditions` is left out only if it is the same in all rows, and is then told in words. The first
    `left` columns are text.
    """
    kept, out, constant = list(range(len(columns))), list[str](), dict[str, str]()

    def shown() -> tuple[list[str], list[list[str]]]:
        return [columns[index] for index in kept], [[row[index] for index in kept] for row in rows]

    for name in spare:
        if width_of(*shown()) <= width or name not in columns:
            continue
        index = list(columns).index(name)
        values = {row[index] for row in rows}
        if name in conditions:
            if len(values) > 1:
                continue
            constant[name] = next(iter(values), "")
        kept.remove(index)
        out.append(name)
    names, cells = shown()
    return Fitted(columns=names, rows=cells, left=sum(index < left for index in kept), left_out=out, constant=constant)


def told_below(columns: Sequence[str], rows: Sequence[Sequence[str]], *, long: str,
               width: int = WIDTH) -> tuple[list[list[str]], list[str]]:
    """The rows with `BELOW` in place of the cells of the column `long` that do not fit, and what these cells hold.

    The first column names a row; the texts stand in the order of the rows, empty where the cell fits.
    """
    index = list(columns).index(long)
    others = [name for name in columns if name != long]
    room = width - GAP - width_of(others, [[cell for at, cell in enumerate(row) if at != index] for row in rows])
    cut = [list(row) if len(row[index]) <= room else [*row[:index], BELOW, *row[index + 1 :]] for row in rows]
    return cut, ["" if len(row[index]) <= room else row[index] for row in rows]
