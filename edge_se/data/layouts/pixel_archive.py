"""An .npz with `pixels`, uint8 (N, 3, H, W), as `data synthesize` writes it."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_se.core.errors import CalibrationError
from edge_se.core.files import write_bytes
from edge_se.data.layout import Layout, Wanted
from edge_se.data.splits import ImageSet


def read_archive(path: Path, wanted: Wanted | None = None) -> ImageSet:
    """All of its images; CalibrationError when it is broken or holds something else."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            pixels = archive["pixels"]
    except FileNotFoundError as missing:
        raise CalibrationError("no such calibration set", where=path) from missing
    except Exception as broken:  # zipfile, zlib and numpy each raise other errors for a broken file
        raise CalibrationError(f"not an .npz with an array 'pixels' ({broken})", where=path) from broken
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1] != 3 or not len(pixels):
        raise CalibrationError(f"'pixels' is {pixels.dtype} {pixels.shape}, not uint8 (N, 3, H, W)", where=path)
    split = "synthetic" if path.stem.startswith("synthetic") else "calibration"
    return ImageSet(name=path.stem, split=split, pixels=pixels, labels=None,
                    preprocessing=(wanted or Wanted()).preprocessing)


def write_archive(path: Path, pixels: NDArray[np.uint8], provenance: dict[str, Any] | None = None) -> None:
    """Writes what `read_archive` reads, and where the images came from; equal content gives equal bytes."""
    content = io.BytesIO()
    np.savez_compressed(content, pixels=pixels, provenance=np.array(json.dumps(provenance or {}, sort_keys=True)))
    write_bytes(path, content.getvalue())


LAYOUT = Layout(name="pixel archive", about="an .npz of pixels", tells=lambda path: path.suffix == ".npz",
                calibration=read_archive)
