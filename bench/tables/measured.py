"""Reads what the scripts of bench/ measured, `bench/results/*.json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "bench" / "results"

Document = dict[str, Any]


def result_of(name: str) -> Path:
    """Where a measurement is kept; it need not have been made."""
    return RESULTS / f"{name}.json"


def made(prefix: str) -> list[str]:
    """The names of the measurements that begin so, in order."""
    return sorted(path.stem for path in RESULTS.glob(f"{prefix}*.json"))


def measured(name: str) -> Document:
    """The document of a measurement that was made."""
    document: Document = json.loads(result_of(name).read_text())
    return document


def measured_if_any(name: str) -> Document | None:
    """The document of a measurement; None where nobody made it yet."""
    return measured(name) if result_of(name).is_file() else None
