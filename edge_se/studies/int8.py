"""A trained net in INT8 by every combination of target, placement, method and calibration set, against its own FP32."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

from edge_se.backends.base import Device
from edge_se.backends.table import first_that_runs
from edge_se.core.progress import Progress
from edge_se.data import calibration, cifar10, splits
from edge_se.evaluation.accuracy import flips, logits_of, predicted
from edge_se.evaluation.judges import measured_by
from edge_se.evaluation.statistics import drop_interval, pair, wilson_interval
from edge_se.graph.onnx_model import OnnxModel
from edge_se.quantization.placement import place
from edge_se.quantization.ranges import Statistics, collect
from edge_se.quantization.sensitivity import interleaved_medians
from edge_se.quantization.static import quantize
from edge_se.quantization.targets import target_of
from edge_se.studies.collect import Figure

ALPHA = 0.025  # each side: 95 % intervals


def int8_figures(fp32: OnnxModel, settings: dict[str, Any], data: Path | None, progress: Progress) -> list[Figure]:
    """Top-1 (Wilson), drop in points (Tango, paired by image) and flips of each file on validation images.

    `settings` is `[evaluations.int8]` of a study. With `latency`, rows also have the median time of one image on one
    thread and its ratio to FP32, measured in turns, if a runtime for the target is installed.
    """
    cifar = cifar10.require(data)
    judged = splits.load("validation", cifar).first(settings["images"])
    figures: list[Figure] = []
    with progress.task("quantizing", len(settings["calibration"])) as advance:
        for name in settings["calibration"]:
            statistics = collect(fp32, calibration.load(name, cifar))
            for conditions, graph in _graphs(fp32, statistics, settings):
                figures += _judged(fp32, graph, judged, conditions | {"calibration": name})
            advance(1)
    if settings["latency"]:
        figures += _latencies(fp32, statistics, settings, progress)
    return figures


def _graphs(fp32: OnnxModel, statistics: Statistics,
            settings: dict[str, Any]) -> Iterator[tuple[dict[str, str | int], OnnxModel]]:
    for name, placement, method in product(settings["targets"], settings["placements"], settings["methods"]):
        target = target_of(name)
        yield ({"target": name, "placement": placement, "method": method},
               quantize(fp32, statistics.ranges(method, target.activations), target,
                        place(fp32.proto, target, placement)))


def _judged(fp32: OnnxModel, graph: OnnxModel, judged: splits.ImageSet,
            conditions: dict[str, str | int]) -> list[Figure]:
    assert judged.labels is not None  # validation images have them
    reference, logits, n = logits_of(fp32, judged), logits_of(graph, judged), len(judged)
    paired = pair(predicted(reference), predicted(logits), judged.labels)
    right = int((predicted(logits) == judged.labels).sum())

    def figure(measure: str, value: float, interval: tuple[float, float] | None = None) -> Figure:
        low, high = (None, None) if interval is None else (100 * interval[0], 100 * interval[1])
        return Figure(evaluation="int8", measure=measure, value=value, low=low, high=high, n=n, conditions=conditions,
                      measured_by=measured_by(graph))

    return [figure("top1", 100 * right / n, wilson_interval(right, n)),
            figure("drop_pp", 100 * paired.drop, drop_interval(paired, ALPHA)),
            figure("flips", float(flips(logits, reference)))]


def _latencies(fp32: OnnxModel, statistics: Statistics, settings: dict[str, Any],
               progress: Progress) -> list[Figure]:
    """Latency of each target and placement. Methods and calibration sets change only numbers in a file."""
    figures: list[Figure] = []
    for target in settings["targets"]:
        one = settings | {"targets": [target], "methods": settings["methods"][:1]}
        graphs = list(_graphs(fp32, statistics, one))
        backend, reasons = first_that_runs(graphs[0][1], Device())
        if backend is None:
            progress.note(f"latency of {target} is not measured: {'; '.join(reasons)}")
            continue
        first, *own = interleaved_medians([fp32, *(graph for _, graph in graphs)], backend, progress)
        for (conditions, _), p50 in zip(graphs, own):
            short = {key: value for key, value in conditions.items() if key != "method"}
            figures += [Figure(evaluation="int8", measure="p50_ms", value=p50, conditions=short),
                        Figure(evaluation="int8", measure="times_fp32", value=first / p50, conditions=short)]
    return figures
