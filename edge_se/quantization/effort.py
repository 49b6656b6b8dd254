"""How much work goes into a quantization. What each level brings is measured in docs/quantization.md."""

from __future__ import annotations

from dataclasses import dataclass

from edge_se.core.errors import CalibrationError, did_you_mean
from edge_se.core.progress import Progress
from edge_se.data.images import Images
from edge_se.evaluation.accuracy import logits_of
from edge_se.graph.onnx_model import OnnxModel
from edge_se.quantization.methods import METHODS
from edge_se.quantization.placement import Placement, measured_placements, place
from edge_se.quantization.ranges import Statistics
from edge_se.quantization.sensitivity import sqnr_db
from edge_se.quantization.static import quantize
from edge_se.quantization.targets import Target

AUTO = "auto"
PLACED_ON = 16  # images suffice: what placements of such nets lose differs by many decibels


@dataclass(frozen=True, kw_only=True)
class Effort:
    """A method of choosing ranges, and a placement. `auto` measures; placement None takes `default_placement`."""

    method: str
    placement: str | None
    about: str


EFFORTS = {
    "quick": Effort(method="minmax", placement="se-float", about="extremes, excitations in float; nothing is tried"),
    "default": Effort(method="mse", placement=None, about="least squared error, the ends in float if cheap"),
    "extensive": Effort(method=AUTO, placement=AUTO, about="methods and placements are measured, the best is taken"),
}


def effort_of(name: str) -> Effort:
    """An effort by name; raises CalibrationError with a suggestion."""
    if name not in EFFORTS:
        raise CalibrationError(f"unknown effort '{name}'", where="--effort", fix=did_you_mean(name, EFFORTS))
    return EFFORTS[name]


def require_method(name: str) -> str:
    """`name` when it is a method or `auto`; raises CalibrationError with a suggestion."""
    if name not in (*METHODS, AUTO):
        raise CalibrationError(f"unknown method '{name}'", where="--method", fix=did_you_mean(name, (*METHODS, AUTO)))
    return name


def best_method(model: OnnxModel, statistics: Statistics, target: Target, placement: Placement, images: Images,
                progress: Progress) -> str:
    """The method whose INT8 logits are nearest to FP32's on `images` (the highest SQNR); the first one of equals.

    No labels are needed. The calibration images will do: a method has no parameters that could overfit them.
    """
    reference, decibels = logits_of(model, images), dict[str, float]()
    with progress.task(f"choosing a method for {target.name}", len(METHODS)) as advance:
        for method in METHODS:
            quantized = quantize(model, statistics.ranges(method, target.activations), target, placement)
            decibels[method] = sqnr_db(reference, logits_of(quantized, images))
            advance(1)
    return max(decibels, key=lambda method: decibels[method])


def best_placement(model: OnnxModel, statistics: Statistics, target: Target, method: str, images: Images,
                   progress: Progress) -> Placement:
    """The default placement, or that with the highest SQNR on a few of `images` where no rule decides."""
    names = measured_placements(model.proto, target)
    if not names:
        return place(model.proto, target)
    images, ranges = images.sample(PLACED_ON), statistics.ranges(method, target.activations)
    reference, decibels = logits_of(model, images), dict[str, float]()
    with progress.task(f"choosing a placement for {target.name}", len(names)) as advance:
        for name in names:
            quantized = quantize(model, ranges, target, place(model.proto, target, name))
            decibels[name] = sqnr_db(reference, logits_of(quantized, images))
            advance(1)
    return place(model.proto, target, max(decibels, key=lambda name: decibels[name]))
