"""Activation ranges: the smallest and largest value that each tensor took on the calibration images."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_se.core.errors import CalibrationError
from edge_se.data.splits import ImageSet
from edge_se.graph.onnx_model import OnnxModel

METHODS = ("minmax",)
BATCH = 32


@dataclass(frozen=True, kw_only=True)
class Ranges:
    """Per-tensor (low, high), collected once from one FP32 graph and shared by every target and placement."""

    method: str
    model_sha256: str
    calibration: str
    calibration_sha256: str
    images: int
    bounds: dict[str, tuple[float, float]]


def collect_ranges(model: OnnxModel, calibration: ImageSet, method: str = "minmax",
                   advance: Callable[[int], None] = lambda images: None) -> Ranges:
    """Runs the calibration images through the FP32 graph, batch by batch; `advance` hears of each batch.

    onnxruntime's min-max calibrator reduces inside the graph, so memory does not grow with the number of images
    as it does with its entropy and percentile calibrators (microsoft/onnxruntime#10503).
    """
    from onnxruntime.quantization.calibrate import CalibrationMethod, create_calibrator

    if calibration.split in ("test", "validation"):
        raise CalibrationError(f"images of the {calibration.split} split must not set ranges", where=calibration.name,
                               fix="calibrate on training images")
    if method not in METHODS:
        raise CalibrationError(f"unknown method '{method}'", where="--method", fix=f"known: {', '.join(METHODS)}")
    _require_shape(model, calibration)
    with tempfile.TemporaryDirectory() as folder:  # the calibrator works on files only
        source = Path(folder, "fp32.onnx")
        source.write_bytes(model.content)
        calibrator = create_calibrator(source, None, augmented_model_path=str(Path(folder, "augmented.onnx")),
                                       calibrate_method=CalibrationMethod.MinMax)
        calibrator.collect_data(_Reader(model, calibration, advance))
        data = calibrator.compute_data().data
    bounds = {name: (float(np.min(tensor.range_value[0])), float(np.max(tensor.range_value[1])))
              for name, tensor in data.items()}
    _require_finite(bounds)
    return Ranges(method=method, model_sha256=model.sha256, calibration=calibration.name,
                  calibration_sha256=calibration.sha256, images=len(calibration), bounds=bounds)


class _Reader:
    """The reader protocol of onnxruntime's calibrators over normalised batches."""

    def __init__(self, model: OnnxModel, calibration: ImageSet, advance: Callable[[int], None]) -> None:
        self._name, self._advance = model.input_name, advance
        self._batches: Iterator[NDArray[np.float32]] = calibration.batches(model.input_shape[0] or BATCH)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """The next batch, or None at the end."""
        batch = next(self._batches, None)
        if batch is None:
            return None
        self._advance(len(batch))
        return {self._name: batch}


def _require_shape(model: OnnxModel, calibration: ImageSet) -> None:
    wanted, given = model.input_shape[1:], calibration.pixels.shape[1:]
    if any(size is not None and size != have for size, have in zip(wanted, given)):
        raise CalibrationError(f"images are {given}, the model takes {wanted}", where=calibration.name,
                               fix="give --calibration with images of the model's own size")


def _require_finite(bounds: dict[str, tuple[float, float]]) -> None:
    for name, (low, high) in bounds.items():
        if not (np.isfinite(low) and np.isfinite(high)):
            raise CalibrationError(f"tensor '{name}' took the value {low if np.isfinite(high) else high}",
                                   where="calibration", fix="the model overflows on these images: check its weights "
                                   "and the normalisation")
