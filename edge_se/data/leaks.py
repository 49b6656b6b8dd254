"""Whether images that are judged were calibrated or trained on: by their content, whatever file holds them."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_se.core.errors import CalibrationError
from edge_se.data.images import Images

_BYTES = 8  # of each hash that a manifest keeps: of a million images two agree by chance once in 37 million sets


def contents_of(images: Images) -> str:
    """The first bytes of each content hash, ascending and in base64, for a manifest."""
    return base64.b64encode(np.unique(_short(images)).astype(">u8").tobytes()).decode()


def require_apart(calibration: Images, judged: Images) -> None:
    """CalibrationError when images of `calibration` are among the judged ones."""
    _require_none(np.unique(_short(calibration)), judged, calibration.name,
                  "calibrate on training images that are not judged, too, or the figures that follow mean nothing")


def require_not_calibrated_on(contents: object, judged: Images, where: Path) -> None:
    """CalibrationError when a build with these `contents` in its manifest was calibrated on judged images.

    None (a manifest that does not tell) and what is no such text say nothing.
    """
    try:
        known = base64.b64decode(contents, validate=True) if isinstance(contents, str) else b""
    except (binascii.Error, ValueError):
        return
    if known and len(known) % _BYTES == 0:
        _require_none(np.frombuffer(known, ">u8").astype(np.uint64), judged, where,
                      "export again, calibrating on training images, or judge on another split with --split")


def copies(known: Images, judged: Images) -> int:
    """How many of the judged images are among the known ones."""
    return int(np.isin(_short(judged), _short(known)).sum())


def _require_none(known: NDArray[np.uint64], judged: Images, where: Path | str, fix: str) -> None:
    contents = _short(judged)
    shared = np.isin(known, contents).sum()
    if shared:
        first = int(np.flatnonzero(np.isin(contents, known))[0])
        raise CalibrationError(f"{shared:,} of the {len(known):,} images that it was calibrated on are among those "
                               f"that are judged ({judged.name}), as is {judged.called(first)}", where=where, fix=fix)


def _short(images: Images) -> NDArray[np.uint64]:
    return np.ascontiguousarray(images.hashes[:, :_BYTES]).view(">u8").reshape(-1).astype(np.uint64)
