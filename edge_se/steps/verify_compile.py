"""`verify --compile`: what compilers for other machines make of the files of a build, on this one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_se.backends.tensorrt import compiled as build_engine
from edge_se.backends.tflm import tflm_check
from edge_se.backends.vela import vela_check
from edge_se.core.errors import UnavailableError
from edge_se.core.progress import Progress
from edge_se.data import calibration
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.targets.table import is_for

CHECK_IMAGES = 100
Told = dict[str, Any]


class Compilers:
    """The compilers that the files of one build ask for. One that is not installed is left out and told."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._missing: dict[str, UnavailableError] = {}
        self._asked: set[str] = set()

    def told_of(self, path: Path, model: OnnxModel, tflite: Path | None) -> Told:
        """What they say of one file, as fields of its entry. `tflite` is the file for LiteRT that was made of it."""
        if is_for(model.target, "tensorrt"):
            return self._ask("TensorRT", path, lambda: _engine(model))
        if tflite is None:
            return {}
        return (self._ask("TFLM", tflite, lambda: {"tflm": tflm_check(tflite.read_bytes(), _images(model))})
                | self._ask("vela", tflite, lambda: {"vela": vela_check(tflite.read_bytes())}))

    def left_out(self) -> list[str]:
        """Why some were not asked, each with what mends it; UnavailableError where none was and one was needed."""
        if self._missing and self._asked <= self._missing.keys():
            raise next(iter(self._missing.values()))
        return [str(error) for error in self._missing.values()]

    def _ask(self, name: str, path: Path, question: Callable[[], Told]) -> Told:
        self._asked.add(name)
        if name in self._missing:
            return {}
        try:
            with self._progress.task(f"{name}: {path.name}", 1) as advance:
                told = question()
                advance(1)
            return told
        except UnavailableError as error:
            self._missing[name] = error
            return {}


def _engine(model: OnnxModel) -> Told:
    refusal, promise = build_engine(model)
    if refusal is not None:
        return {"compiles": False, "refusal": refusal}
    return {"compiles": True} | (promise.document() if promise is not None and model.precision == "int8" else {})


def _images(model: OnnxModel) -> NDArray[Any]:
    """CHECK_IMAGES bundled images as a `.tflite` file takes them: (N, height, width, channels)."""
    assert model.metadata is not None  # `verify` has read it
    how = model.metadata.preprocessing
    batch = next(calibration.synthetic(how).first(CHECK_IMAGES).batches(CHECK_IMAGES))
    return batch if how.axes == "NHWC" else np.ascontiguousarray(batch.transpose(0, 2, 3, 1))
