"""`--placement auto`: a few candidates, each measured, and the fastest that keeps accuracy.

Candidates are the named placements and, for targets that quantize no outputs, `se-float` with those layers restored
that cost most (quantized alone). Where outputs are quantized a restored layer lies between a DequantizeLinear and a
QuantizeLinear, and onnxruntime quantizes its weights by itself after all. Accuracy is paired on held-out training
images; latency is measured on the runtime itself, all candidates in turns. What was measured is a log that a later run
reads, so an interrupted search goes on where it stopped.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from edge_se.backends.base import Backend
from edge_se.core import environment
from edge_se.core.errors import CalibrationError
from edge_se.core.files import read_json, write_json
from edge_se.core.progress import Progress
from edge_se.data.images import Images
from edge_se.evaluation.accuracy import drop_from, logits_of
from edge_se.evaluation.judges import judge_of
from edge_se.graph.onnx_model import OnnxModel
from edge_se.quantization.placement import PLACEMENTS, Placement, normalises, place
from edge_se.quantization.ranges import Statistics
from edge_se.quantization.sensitivity import between_layers, interleaved_medians, sqnr_db
from edge_se.quantization.static import quantize
from edge_se.quantization.targets import Target
from edge_se.quantization.units import Unit, only, units_of, with_float_units

SCHEMA = "edge-se/candidates/1"
RANKING_IMAGES = 500       # enough to rank units by SQNR; flips would need more
RESTORED = (1, 2, 4)       # how many of the costliest units a candidate leaves in float
TIE = 0.02                 # candidates within 2 % of the fastest are equally fast; the one with fewer flips wins


@dataclass(frozen=True, kw_only=True)
class Budget:
    """`max_drop_pp` must hold with confidence 1 - alpha; `seconds` bounds the search (None: no bound)."""

    max_drop_pp: float = 0.5
    alpha: float = 0.025
    seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One placement as measured; `p50_ms` is None where the target's runtime is not here."""

    name: str
    float_units: tuple[str, ...]
    sha256: str
    n: int
    drop_pp: float
    ci_pp: tuple[float, float]
    flips: int
    sqnr_db: float
    p50_ms: float | None
    within_budget: bool
    on_front: bool = False
    chosen: bool = False


def search(model: OnnxModel, statistics: Statistics, target: Target, images: Images, *, method: str,
           backend: Backend | None, budget: Budget, log: Path | None, progress: Progress
           ) -> tuple[Placement, list[Candidate]]:
    """The chosen placement and every candidate.

    Without labels the drop is unknown, but it cannot exceed the share of flips, which is then kept within the budget.
    Raises CalibrationError for images of the test set, and when no candidate is faster than FP32.
    """
    if images.split == "test":
        raise CalibrationError("the test set chooses nothing", where=images.name,
                               fix="point --data at CIFAR-10: its held-out training images serve")
    if images.labels is None:
        progress.note(f"no labelled images to choose on: placements are judged by their flips on {images.name}")
    ranges = statistics.ranges(method, target.activations)
    ends = time.monotonic() + budget.seconds if budget.seconds else None
    key = log_key(model, statistics, target, images, budget.alpha)
    known = _read_log(log, key)
    plans = _plans(model, statistics, target, images, method, ends, progress)
    reference = logits_of(model, images)
    graphs: list[OnnxModel] = []
    measured: list[Candidate] = []
    kept: list[Placement] = []
    for placement, units in plans:
        if ends is not None and time.monotonic() > ends and measured:
            progress.note(f"time budget spent: {len(plans) - len(measured)} candidates were not measured")
            break
        graph = quantize(model, ranges, target, placement)
        if graph.sha256 in {other.sha256 for other in graphs}:
            continue  # a plain net has no excitations: `all` and `se-float` are one
        row = known.get(graph.sha256) or _accuracy(graph, placement, units, reference, images, budget, progress)
        graphs.append(graph)
        measured.append(row)
        kept.append(placement)
        _write_log(log, key, measured)
    times: Sequence[float | None] = [None] * len(graphs)
    if backend is not None:
        fp32, *times = interleaved_medians([model, *graphs], backend, progress)
        _require_faster(graphs, times, fp32, target)
    candidates = _decided([_replaced(row, p50_ms=p50) for row, p50 in zip(measured, times)], budget)
    _write_log(log, key, candidates)
    return kept[next(index for index, row in enumerate(candidates) if row.chosen)], candidates


def _plans(model: OnnxModel, statistics: Statistics, target: Target, images: Images, method: str,
           ends: float | None, progress: Progress) -> list[tuple[Placement, list[Unit]]]:
    """Named placements first: they are there when the time runs out."""
    named: list[tuple[Placement, list[Unit]]] = [(place(model.proto, target, name), []) for name in PLACEMENTS
                                                 if name != "sums-float" or normalises(model.proto)]
    if target.quantized_outputs:
        return named
    ranked = _costliest(model, statistics, target, images.first(RANKING_IMAGES), method, ends, progress)
    base = place(model.proto, target, "se-float")
    restored = [(with_float_units(base, ranked[:count], f"se-float-{count}"), ranked[:count])
                for count in RESTORED if count <= len(ranked)]
    return named + restored


def _costliest(model: OnnxModel, statistics: Statistics, target: Target, images: Images, method: str,
               ends: float | None, progress: Progress) -> list[Unit]:
    """Layers by SQNR of the logits when quantized alone, worst first; empty when the time ran out."""
    ranges = statistics.ranges(method, target.activations)
    everything, reference = place(model.proto, target, "all"), logits_of(model, images)
    units = [unit for unit in units_of(model.proto, target) if unit.kind == "layer"]
    costs = []
    with progress.task("ranking layers", len(units)) as advance:
        for unit in units:
            if ends is not None and time.monotonic() > ends:
                return []
            alone = quantize(model, ranges, target, only(unit, model.proto, everything))
            costs.append(sqnr_db(reference, logits_of(alone, images)))
            advance(1)
    return [unit for _, unit in sorted(zip(costs, units), key=lambda item: item[0])]


def _accuracy(graph: OnnxModel, placement: Placement, units: list[Unit], reference: Any, images: Images,
              budget: Budget, progress: Progress) -> Candidate:
    with progress.task(f"evaluating {placement.name}", len(images)) as advance:
        logits = logits_of(graph, images, advance)
    lost = drop_from(reference, logits, images.labels, budget.alpha)
    return Candidate(name=placement.name, float_units=tuple(unit.name for unit in units), sha256=graph.sha256,
                     n=lost.n, drop_pp=100 * lost.drop, ci_pp=(100 * lost.low, 100 * lost.high), flips=lost.flips,
                     sqnr_db=sqnr_db(reference, logits), p50_ms=None,
                     within_budget=100 * lost.high <= budget.max_drop_pp)


def _require_faster(graphs: Sequence[OnnxModel], times: Sequence[float | None], fp32: float, target: Target) -> None:
    fastest, graph = min((time, position) for position, time in enumerate(times) if time is not None)
    if fastest >= fp32:
        raise CalibrationError(
            f"no placement is faster than FP32 on this machine ({fastest:.2f} against {fp32:.2f} ms): "
            f"{between_layers(graphs[graph])}", where=f"--placement auto, target {target.name}",
            fix="use the FP32 file, another --target, or name a placement to get the INT8 file all the same")


def _decided(rows: list[Candidate], budget: Budget) -> list[Candidate]:
    """Marks the Pareto front of (flips, latency) and the choice; without times the fewest flips win."""
    rows = [_replaced(row, within_budget=row.ci_pp[1] <= budget.max_drop_pp) for row in rows]
    # When none is surely within the budget, the most accurate is the honest answer; the gate will say so again.
    eligible = [row for row in rows if row.within_budget] or [min(rows, key=lambda row: (row.ci_pp[1], row.flips))]
    fastest = min((row.p50_ms for row in eligible if row.p50_ms is not None), default=None)
    tied = [row for row in eligible if fastest is None or row.p50_ms is None or row.p50_ms <= fastest * (1 + TIE)]
    chosen = min(tied, key=lambda row: (row.flips, -row.sqnr_db))
    return [_replaced(row, chosen=row is chosen, on_front=not any(_beats(other, row) for other in rows))
            for row in rows]


def _beats(other: Candidate, row: Candidate) -> bool:
    one, two = (other.flips, other.p50_ms or 0.0), (row.flips, row.p50_ms or 0.0)
    return all(a <= b for a, b in zip(one, two)) and one != two


def _replaced(row: Candidate, **changes: Any) -> Candidate:
    return Candidate(**(asdict(row) | changes))


def log_key(model: OnnxModel, statistics: Statistics, target: Target, images: Images, alpha: float) -> dict[str, Any]:
    """All that the accuracy of a candidate depends on beside its file, whose hash is in each row."""
    judge = judge_of(OnnxModel(content=model.content, precision="int8", target=target.name))
    return {"schema": SCHEMA, "model_sha256": model.sha256, "calibration_sha256": statistics.calibration_sha256,
            "target": target.name, "images_sha256": images.sha256, "labelled": images.labels is not None,
            "preprocessing": repr(replace(images.preprocessing, labels=())), "alpha": alpha,
            "onnxruntime": environment.version_of("onnxruntime"), "cpu_flags": list(environment.cpu_flags()),
            "judge": judge.name, "judge_version": environment.version_of(judge.module)}


def _write_log(log: Path | None, key: dict[str, Any], rows: list[Candidate]) -> None:
    if log is not None:
        write_json(log, key | {"candidates": [asdict(row) for row in rows]})


def _read_log(log: Path | None, key: dict[str, Any]) -> dict[str, Candidate]:
    """Candidates of an earlier run by the hash of their graph; a log of something else is not used."""
    if log is None or not log.is_file():
        return {}
    document = read_json(log, CalibrationError, fix="remove it to search anew")
    if any(document.get(name) != value for name, value in key.items()):
        return {}
    try:
        rows = TypeAdapter(list[Candidate]).validate_python(document.get("candidates"))
    except ValidationError as invalid:
        field = ".".join(str(part) for part in invalid.errors()[0]["loc"])
        raise CalibrationError(f"not a log of candidates ({field or 'candidates'}: {invalid.errors()[0]['msg']})",
                               where=log, fix="remove it to search anew") from invalid
    return {row.sha256: row for row in rows}
