"""Finds what the package ships: models/, calibration/, bench/.

In a wheel they lie inside the package; in a checkout beside it.
"""

from __future__ import annotations

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def asset(*parts: str) -> Path:
    """The path of a shipped file or folder; it need not exist."""
    inside = _PACKAGE.joinpath(*parts)
    return inside if _PACKAGE.joinpath(parts[0]).is_dir() else _PACKAGE.parent.joinpath(*parts)


def cache_dir() -> Path:
    """Where data and predictions are kept between runs: $EDGE_SE_CACHE, else the user's cache folder."""
    explicit = os.environ.get("EDGE_SE_CACHE")
    if explicit:
        return Path(explicit)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edge-se"
