"""The calibration table: the statistics of one graph in one file, to be used again without images or a forward pass.

An .npz: `counts` (tensors, BINS) int64, `extents` (tensors, 3) float64 of low, high and bin limit, and `about`, a JSON
text with the tensor names and the provenance. It is refused for another graph or other preprocessing: `mean` and `std`
of `about` are always there, `preprocessing` where the rest is not what is usual.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from edge_se.core.errors import CalibrationError
from edge_se.core.files import require_text, write_bytes
from edge_se.data.preprocessing import Preprocessing
from edge_se.graph.onnx_model import OnnxModel
from edge_se.quantization.histograms import BINS, Histogram
from edge_se.quantization.ranges import Statistics

SCHEMA = "edge-se/calibration/1"
FILE = "calibration.npz"
_TOLD = ("size", "mean", "std", "labels")


def is_table(path: Path) -> bool:
    """Whether `path` is an .npz that `write_table` wrote (and not an archive of images)."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return "about" in archive
    except Exception:  # whoever reads it next says what is wrong with it
        return False


def write_table(path: Path, statistics: Statistics) -> None:
    """Writes what `read_table` reads."""
    write_bytes(path, table_bytes(statistics))


def table_bytes(statistics: Statistics) -> bytes:
    """The content of the file; equal statistics give equal bytes."""
    names = sorted(statistics.histograms)
    histograms = [statistics.histograms[name] for name in names]
    how = statistics.preprocessing
    about = {"schema": SCHEMA, "tensors": names, "model_sha256": statistics.model_sha256,
             "calibration": statistics.calibration, "calibration_sha256": statistics.calibration_sha256,
             "images": statistics.images, "split": statistics.split, "mean": list(how.mean), "std": list(how.std)}
    if rest := how.beyond(*_TOLD):
        about["preprocessing"] = rest
    if statistics.contents:
        about["contents"] = statistics.contents
    content = io.BytesIO()
    np.savez_compressed(content, counts=np.stack([histogram.counts for histogram in histograms]),
                        extents=np.array([(item.low, item.high, item.limit) for item in histograms]),
                        about=np.array(json.dumps(about)))
    return content.getvalue()


def read_table(path: Path, model: OnnxModel, how: Preprocessing) -> Statistics:
    """The statistics in `path`, for `model` fed with images as `how` says."""
    about, counts, extents = _parts(path)
    if about["model_sha256"] != model.sha256:
        raise CalibrationError(f"was collected on another graph ({about['model_sha256'][:12]}, this is "
                               f"{model.sha256[:12]})", where=path, fix="calibrate this model with images")
    if (tuple(about["mean"]), tuple(about["std"])) != (how.mean, how.std):
        raise CalibrationError(f"was collected with mean {about['mean']} and std {about['std']}", where=path,
                               fix="use the same normalisation, or calibrate again")
    if about.get("preprocessing", {}) != how.beyond(*_TOLD):
        raise CalibrationError("was collected on images that were prepared otherwise", where=path,
                               fix="calibrate again")
    histograms = {name: Histogram(low=float(low), high=float(high), limit=float(limit), counts=row.astype(np.int64))
                  for name, row, (low, high, limit) in zip(about["tensors"], counts, extents)}
    return Statistics(model_sha256=about["model_sha256"], calibration=about["calibration"],
                      calibration_sha256=about["calibration_sha256"], images=int(about["images"]),
                      split=about["split"], preprocessing=how, histograms=histograms,
                      contents=str(about.get("contents", "")))


def _parts(path: Path) -> tuple[dict[str, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            about = json.loads(str(archive["about"]))
            require_text(about)
            counts, extents = archive["counts"], archive["extents"]
        missing = {"schema", "tensors", "model_sha256", "calibration", "calibration_sha256", "images", "split", "mean",
                   "std"} - about.keys()
    except FileNotFoundError as absent:
        raise CalibrationError("no such calibration table", where=path, fix="check the path") from absent
    except Exception as broken:  # zipfile, zlib, json and numpy each have their own ways to say "broken"
        raise CalibrationError(f"not a calibration table ({broken})", where=path, fix="calibrate again") from broken
    kinds = {"tensors": list, "model_sha256": str, "calibration": str, "calibration_sha256": str, "images": int,
             "split": str, "mean": list, "std": list}
    if missing or about["schema"] != SCHEMA or not all(isinstance(about[key], kind) for key, kind in kinds.items()) \
            or not all(isinstance(name, str) for name in about["tensors"]):
        raise CalibrationError(f"not a calibration table of schema {SCHEMA}", where=path, fix="calibrate again")
    expected = len(about["tensors"])
    if counts.shape != (expected, BINS) or extents.shape != (expected, 3) or extents.dtype.kind != "f" \
            or not np.isfinite(extents).all() or counts.dtype.kind != "i" or (counts < 0).any() \
            or (extents[:, 0] > extents[:, 1]).any() or (extents[:, 2] < np.abs(extents[:, :2]).max(1)).any():
        raise CalibrationError("its arrays do not fit its tensors: altered", where=path, fix="calibrate again")
    return about, counts, extents
