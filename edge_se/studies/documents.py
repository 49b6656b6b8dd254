"""Pages of studies in docs/studies from bench/results/study-*.json: `python -m edge_se.studies.documents`.

From a checkout. A test fails when a page and its JSON differ.
"""

from __future__ import annotations

import json
from pathlib import Path

from edge_se.core.assets import asset
from edge_se.core.files import write_text
from edge_se.studies.tables import page

DOCS = Path(__file__).resolve().parents[2] / "docs"
FIGURES = DOCS / "figures" / "studies"
PREFIX = "study-"


def result_of(name: str) -> Path:
    """Where the JSON of a study is kept that the documents quote."""
    return asset("bench", "results", f"{PREFIX}{name}.json")


def pages() -> dict[Path, str]:
    """Each page with its text, for the studies that were run."""
    results = sorted(asset("bench", "results").glob(f"{PREFIX}*.json"))
    return {DOCS / "studies" / f"{path.stem.removeprefix(PREFIX)}.md":
            page(json.loads(path.read_text()), figures="../figures/studies/") for path in results}


def main() -> None:
    """Writes every page."""
    for path, text in pages().items():
        write_text(path, text)


if __name__ == "__main__":
    main()
