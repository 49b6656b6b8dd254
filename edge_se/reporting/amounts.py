"""Numbers as cells: as many decimals as their column has, and more where a small one would be rounded away."""

from __future__ import annotations

import math

KILO = 2**20 / 10  # bytes; below, a tenth of a MiB says little of a file


def amount(value: float, decimals: int, *, figures: int = 1) -> str:
    """`1,234.5`, with more decimals where `decimals` leave fewer than so many significant figures: `0.0042`."""
    if not value or not math.isfinite(value):
        return f"{value:,.{decimals}f}"
    needed = figures - 1 - math.floor(math.log10(abs(value)))
    return f"{value:,.{max(decimals, needed)}f}"


def milliseconds(value: float) -> str:
    """To a microsecond, and to two figures where that is finer."""
    return amount(value, 3, figures=2)


def mebibytes(count: float) -> str:
    """Bytes for a column of MiB: `43.0`, and `23.4 kB` for what is less than a tenth of one."""
    return f"{count / 1000:.1f} kB" if count < KILO else f"{count / 2**20:.1f}"


def size(count: float) -> str:
    """Bytes in a sentence: `43.0 MiB`, `23.4 kB`."""
    text = mebibytes(count)
    return text if text.endswith("kB") else f"{text} MiB"
