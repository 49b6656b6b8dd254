"""What INT8 costs and brings, unit by unit: each is quantized alone, everything else stays FP32.

Restoring one unit of a quantized net to float would not show its time: between a DequantizeLinear and a QuantizeLinear
onnxruntime quantizes float weights by itself (its WeightBiasQuantization pass) and runs the INT8 kernel after all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_se.backends.base import Backend, Device, Session
from edge_se.core.progress import Progress
from edge_se.data.images import Images
from edge_se.evaluation.accuracy import flips, logits_of
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.trial import random_input
from edge_se.measure.timing import TimingPlan, order_of_turn
from edge_se.quantization.placement import place
from edge_se.quantization.ranges import Statistics
from edge_se.quantization.static import quantize
from edge_se.quantization.targets import WEIGHTED, Target
from edge_se.quantization.units import Unit, only, units_of

MOST_DB = 150.0
ROUNDS = 7
PLAN = TimingPlan(min_duration=0.01, min_runs=5, warmup=0.01)


@dataclass(frozen=True, kw_only=True)
class UnitSensitivity:
    """With this unit alone in INT8: SQNR and flips of the logits, and how much faster than FP32 (negative: slower)."""

    unit: Unit
    sqnr_db: float
    flips: int
    brings_ms: float | None


def sensitivity(model: OnnxModel, statistics: Statistics, target: Target, images: Images, *, method: str,
                backend: Backend | None, progress: Progress) -> list[UnitSensitivity]:
    """One entry per unit in graph order; times only where `backend` runs files of this target."""
    units, ranges = units_of(model.proto, target), statistics.ranges(method, target.activations)
    everything = place(model.proto, target, "all")
    reference = logits_of(model, images)
    costs, graphs = [], []
    with progress.task(f"quantizing {len(units)} units one by one", len(units)) as advance:
        for unit in units:
            alone = quantize(model, ranges, target, only(unit, model.proto, everything))
            logits = logits_of(alone, images)
            graphs.append(alone)
            costs.append((sqnr_db(reference, logits), flips(logits, reference)))
            advance(1)
    times: Sequence[float | None] = [None] * len(units)
    if backend is not None:
        full, *others = interleaved_medians([model, *graphs], backend, progress)
        times = [full - other for other in others]
    return [UnitSensitivity(unit=unit, sqnr_db=cost[0], flips=cost[1], brings_ms=time)
            for unit, cost, time in zip(units, costs, times)]


def sqnr_db(reference: NDArray[np.float32], logits: NDArray[np.float32]) -> float:
    """Signal to quantization-noise ratio of logits in decibels, from -150 to 150, where nothing differs.

    It is -150 where there is no number: the worst of all, since the highest is chosen.
    """
    noise = float(((logits - reference).astype(np.float64) ** 2).sum())
    signal = float((reference.astype(np.float64) ** 2).sum())
    if noise == 0:
        return MOST_DB
    if not np.isfinite(noise) or signal == 0:
        return -MOST_DB
    return float(np.clip(10 * np.log10(signal / noise), -MOST_DB, MOST_DB))


def between_layers(model: OnnxModel) -> str:
    """What lies between the weighted layers, most frequent first: the usual reason why INT8 is not faster."""
    others = Counter(node.op_type for node in model.proto.graph.node
                     if node.op_type not in (*WEIGHTED, "QuantizeLinear", "DequantizeLinear"))
    named = ", ".join(f"{count} {kind}" for kind, count in others.most_common(3))
    return f"between its {sum(node.op_type in WEIGHTED for node in model.proto.graph.node)} layers run {named}"


def interleaved_medians(models: Sequence[OnnxModel], backend: Backend, progress: Progress,
                        settled: Callable[[list[float]], bool] = lambda medians: False) -> list[float]:
    """Median latency in milliseconds of each model: batch 1 (or the one that is fixed), one thread, all in turns.

    No further round follows one after whose medians `settled` says that no more are needed.
    """
    with ExitStack() as stack, progress.task(f"timing {len(models)} graphs", ROUNDS * len(models)) as advance:
        sessions: list[Session] = [stack.enter_context(backend.open(model, Device(threads=1))) for model in models]
        batch, *sizes = models[0].input_shape
        images = random_input((batch or 1, *(size or 32 for size in sizes)), models[0].input_dtype)
        medians: list[list[float]] = [[] for _ in models]
        for turn in range(ROUNDS):
            for position in order_of_turn(turn, len(sessions)):
                medians[position].append(sessions[position].time(images, PLAN).percentile(50))
                advance(1)
            now = [float(np.median(own)) for own in medians]
            if settled(now):
                break
    return now
