"""Histograms of activations as a report shows them, with the range that 8 bits cover."""

from __future__ import annotations

from typing import Any

import numpy as np

from edge_se.quantization.histograms import Histogram
from edge_se.quantization.methods import METHODS
from edge_se.quantization.targets import TARGETS, is_symmetric
from edge_se.reporting.report.inputs import Material

BINS = 48


def calibration_of(material: Material) -> dict[str, Any] | None:
    """Every tensor of the calibration table, the most clipped first; None without a table or an INT8 file.

    Ranges are those of the build's first INT8 file: its method, and how its target stores activations.
    """
    statistics = material.statistics
    file = next((item for item in material.build.artifacts if item.precision == "int8" and item.method in METHODS
                 and item.target in TARGETS), None)
    if statistics is None or file is None or file.method is None:
        return None
    activations = TARGETS[file.target].activations
    bounds = statistics.ranges(file.method, activations).bounds
    tensors = [_tensor(name, histogram, bounds[name], is_symmetric(activations, histogram.low))
               for name, histogram in statistics.histograms.items()]
    return {"file": file.file, "method": file.method, "activations": activations, "images": statistics.images,
            "calibration": statistics.calibration, "calibration_sha256": statistics.calibration_sha256,
            "tensors": sorted(tensors, key=lambda tensor: (-tensor["clipped_share"], tensor["name"]))}


def _tensor(name: str, histogram: Histogram, bounds: tuple[float, float], symmetric: bool) -> dict[str, Any]:
    low, high = histogram.low, histogram.high
    border = max(abs(bounds[0]), abs(bounds[1]))
    covered = (-border, border) if symmetric else (min(bounds[0], 0.0), max(bounds[1], 0.0))
    centres = np.clip(histogram.centres, low, high)
    counts, _ = np.histogram(centres, BINS, (low, high if high > low else low + 1), weights=histogram.counts)
    outside = histogram.counts[(centres < covered[0]) | (centres > covered[1])].sum()
    return {"name": name, "low": low, "high": high, "covered": [float(border) for border in covered],
            "clipped_share": float(outside / max(1, histogram.counts.sum())), "counts": [int(one) for one in counts]}
