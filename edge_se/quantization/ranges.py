"""Activation statistics, collected once from one FP32 graph and shared by every target, method and placement."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edge_se.core.errors import CalibrationError, did_you_mean
from edge_se.data.images import Images
from edge_se.data.preprocessing import Preprocessing
from edge_se.data.splits import filled
from edge_se.graph.onnx_model import OnnxModel
from edge_se.quantization.histograms import Histogram
from edge_se.quantization.methods import METHODS
from edge_se.quantization.targets import Activations, is_symmetric

FLOATS_PER_RUN = 64 * 2**20  # 256 MiB of activations at once, for every net and number of images
LARGEST_BATCH = 32


@dataclass(frozen=True, kw_only=True)
class Ranges:
    """(low, high) of each tensor by one method."""

    method: str
    model_sha256: str
    calibration: str
    bounds: dict[str, tuple[float, float]]


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """A histogram of each activation, and what it was collected from."""

    model_sha256: str
    calibration: str
    calibration_sha256: str
    images: int
    split: str
    preprocessing: Preprocessing
    histograms: dict[str, Histogram]
    contents: str = ""  # of the images (edge_se.data.leaks); of a bundled set the name says enough

    def ranges(self, method: str, activations: Activations) -> Ranges:
        """The ranges that `method` chooses for activations of this type."""
        if method not in METHODS:
            raise CalibrationError(f"unknown method '{method}'", where="--method", fix=did_you_mean(method, METHODS))
        return Ranges(method=method, model_sha256=self.model_sha256, calibration=self.calibration,
                      bounds={name: METHODS[method](histogram, is_symmetric(activations, histogram.low))
                              for name, histogram in self.histograms.items()})


def collect(model: OnnxModel, images: Images, advance: Callable[[int], None] = lambda images: None) -> Statistics:
    """Runs `images` through the FP32 graph in one pass; `advance` hears of each batch.

    Memory does not grow with the number of images, unlike with onnxruntime's entropy and percentile calibrators
    (microsoft/onnxruntime#10503). Raises CalibrationError for images that must not or cannot be used.
    """
    if images.split in ("test", "validation"):
        raise CalibrationError(f"images of the {images.split} split must not set ranges", where=images.name,
                               fix="calibrate on training images")
    histograms: dict[str, Histogram] = {}
    for batch, values in watched(model, images):
        for name, value in {model.input_name: batch, **values}.items():
            histograms.setdefault(name, Histogram()).add(value)
        advance(len(batch))
    return Statistics(model_sha256=model.sha256, calibration=images.name, calibration_sha256=images.sha256,
                      images=len(images), split=images.split, preprocessing=images.preprocessing,
                      histograms=histograms)


def watched(model: OnnxModel, images: Images, names: Sequence[str] | None = None
            ) -> Iterator[tuple[NDArray[np.float32], dict[str, NDArray[np.float32]]]]:
    """Batches of inputs with the tensors `names` of each (None: every float activation), all finite.

    A fixed batch is filled up with copies of its last image. They change no extremes; averages must leave them out.
    """
    _require_shape(model, images)
    session, names = _session_with_outputs(model, names)
    fixed = model.input_shape[0]
    for batch in images.batches(fixed or _batch_size(model)):
        values = dict(zip(names, session.run(names, {model.input_name: filled(batch, fixed)})))
        for name, value in values.items():
            _require_finite(name, value)
        yield batch, values


def _session_with_outputs(model: OnnxModel, wanted: Sequence[str] | None) -> tuple[Any, list[str]]:
    """A session that also returns the tensors `wanted` (None: every float activation), and their names."""
    import onnxruntime

    proto = model.copy()
    declared = {value.name for value in proto.graph.output}
    types = _element_types(proto)
    names = list(wanted) if wanted is not None else [
        output for node in proto.graph.node for output in node.output
        if output and types.get(output) == onnx.TensorProto.FLOAT]
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in declared)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session, names


def _element_types(proto: onnx.ModelProto) -> dict[str, int]:
    inferred = onnx.shape_inference.infer_shapes(proto)
    return {value.name: value.type.tensor_type.elem_type
            for value in (*inferred.graph.value_info, *inferred.graph.output)}


def _batch_size(model: OnnxModel) -> int:
    """As many images as fit FLOATS_PER_RUN, at most LARGEST_BATCH."""
    inferred = onnx.shape_inference.infer_shapes(model.proto)
    floats = sum(math.prod(dim.dim_value or 1 for dim in value.type.tensor_type.shape.dim)
                 for value in inferred.graph.value_info)
    return max(1, min(LARGEST_BATCH, FLOATS_PER_RUN // max(1, floats)))


def _require_shape(model: OnnxModel, images: Images) -> None:
    if not images.fits(model.input_shape[1:]):
        raise CalibrationError(f"images are {images.shape}, the model takes {model.input_shape[1:]}",
                               where=images.name,
                               fix="give --calibration with images of the model's own size")


def _require_finite(name: str, values: NDArray[np.float32]) -> None:
    if not np.isfinite(values.sum(dtype=np.float64)):
        raise CalibrationError(f"tensor '{name}' is not finite on these images", where="calibration",
                               fix="the model overflows: check its weights and the normalisation")
