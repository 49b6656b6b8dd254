"""Activation statistics, collected once from one FP32 graph and shared by every target, method and placement."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_se.core.errors import CalibrationError, did_you_mean
from edge_se.data.images import Images
from edge_se.data.preprocessing import Preprocessing
from edge_se.data.splits import filled
from edge_se.graph.onnx_model import OnnxModel
from edge_se.quantization.histograms import Histogram, of_images
from edge_se.quantization.methods import METHODS
from edge_se.quantization.targets import TARGETS, Activations, Target, is_symmetric
from edge_se.quantization.watching import Watch, quantizable, require_finite


@dataclass(frozen=True, kw_only=True)
class Ranges:
    """(low, high) of each tensor by one method."""

    method: str
    model_sha256: str
    calibration: str
    bounds: dict[str, tuple[float, float]]


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """A histogram of each activation that the targets quantize, and what it was collected from.

    `logits` are the graph's answers (N, classes) in the order of the images; None when nobody collected them.
    """

    model_sha256: str
    calibration: str
    calibration_sha256: str
    images: int
    split: str
    preprocessing: Preprocessing
    histograms: dict[str, Histogram]
    contents: str = ""  # of the images (edge_se.data.leaks); of a bundled set the name says enough
    logits: NDArray[np.float32] | None = None

    def ranges(self, method: str, activations: Activations) -> Ranges:
        """The ranges that `method` chooses for activations of this type; none where they are `dynamic`."""
        if activations == "dynamic":
            return Ranges(method=method, model_sha256=self.model_sha256, calibration=self.calibration, bounds={})
        if method not in METHODS:
            raise CalibrationError(f"unknown method '{method}'", where="--method", fix=did_you_mean(method, METHODS))
        return Ranges(method=method, model_sha256=self.model_sha256, calibration=self.calibration,
                      bounds={name: METHODS[method](histogram, is_symmetric(activations, histogram.low))
                              for name, histogram in self.histograms.items()})

    def lacks(self, model: OnnxModel, targets: Iterable[Target]) -> list[str]:
        """The activations of `model` that `targets` quantize and that were not collected."""
        return [name for name in quantizable(model.proto, targets) if name not in self.histograms]


def collect(model: OnnxModel, images: Images, advance: Callable[[int], None] = lambda images: None, *,
            targets: Iterable[Target] = tuple(TARGETS.values())) -> Statistics:
    """Runs `images` through the FP32 graph in one pass, in several threads; `advance` hears of each batch.

    What none of `targets` quantizes is not watched: it costs time, and keeps layers from being fused.

    Memory does not grow with the number of images, unlike with onnxruntime's entropy and percentile calibrators
    (microsoft/onnxruntime#10503). Raises CalibrationError for images that must not or cannot be used.
    """
    if images.split in ("test", "validation"):
        raise CalibrationError(f"images of the {images.split} split must not set ranges", where=images.name,
                               fix="calibrate on training images")
    watch = Watch(model, images, quantizable(model.proto, targets))
    histograms = {name: Histogram() for name in (model.input_name, *watch.names)}
    logits, lock = list[NDArray[np.float32]](), Lock()
    answer = model.proto.graph.output[0].name

    def count(first: int, batch: NDArray[Any], values: dict[str, NDArray[np.float32]]) -> None:
        if answer in values:
            own_logits = values[answer][:len(batch)]
            with lock:
                if not logits:  # one array: small ones that stay would break up the memory that batches need in turn
                    logits.append(np.empty((len(images), *own_logits.shape[1:]), np.float32))
            logits[0][first:][: len(own_logits)] = own_logits
        values[model.input_name] = filled(np.asarray(batch, np.float32), watch.fixed)
        while values:  # each is freed when it is counted
            name, value = values.popitem()
            own = of_images(value, first=first, batch=watch.fixed or len(batch), total=len(images),
                            at_least=histograms[name].limit)
            require_finite(name, own.low, own.high)
            with lock:
                histograms[name].merge(own)

    watch.each(count, advance)
    whole = logits[0] if logits else None
    return Statistics(model_sha256=model.sha256, calibration=images.name, calibration_sha256=images.sha256,
                      images=len(images), split=images.split, preprocessing=images.preprocessing,
                      histograms=histograms, logits=whole if whole is not None and whole.ndim == 2 else None)
