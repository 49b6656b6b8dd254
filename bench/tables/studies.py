"""Pages of studies in docs/studies from bench/results/study-*.json: `python -m bench.tables.studies`.

From a checkout. A test fails when a page and its JSON differ.
"""

from __future__ import annotations

from pathlib import Path

from bench.tables.measured import ROOT, made, measured
from edge_se.core.files import write_text
from edge_se.studies.tables import page

DOCS = ROOT / "docs"
FIGURES = DOCS / "figures" / "studies"
PREFIX = "study-"


def pages() -> dict[Path, str]:
    """Each page with its text, for the studies that were run."""
    return {DOCS / "studies" / f"{name.removeprefix(PREFIX)}.md":
            page(measured(name), figures="../figures/studies/") for name in made(PREFIX)}


def main() -> None:
    """Writes every page."""
    for path, text in pages().items():
        write_text(path, text)


if __name__ == "__main__":
    main()
