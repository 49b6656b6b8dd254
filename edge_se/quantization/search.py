"""`--placement auto`: a few candidates, each measured, and the fastest that keeps accuracy.

Candidates are the named placements and, for targets that quantize no outputs, `se-float` with those layers restored
that cost most (quantized alone). Where outputs are quantized a restored layer lies between a DequantizeLinear and a
QuantizeLinear, and onnxruntime quantizes its weights by itself after all. Accuracy is paired on held-out training
images; latency is measured in the runtime itself, here or on a device, each candidate in turns with a reference. What
was measured is a log that a later run reads, so an interrupted search goes on where it stopped.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from edge_se.backends.machines.choice import Place
from edge_se.core.errors import CalibrationError
from edge_se.core.progress import Progress
from edge_se.data.images import Images
from edge_se.evaluation.accuracy import drop_from, logits_of
from edge_se.graph.onnx_model import OnnxModel
from edge_se.quantization.candidates import Candidate, log_key, read_log, write_log
from edge_se.quantization.placement import PLACEMENTS, Placement, normalises, place
from edge_se.quantization.ranges import Statistics
from edge_se.quantization.sensitivity import sqnr_db
from edge_se.quantization.static import quantize
from edge_se.quantization.targets import Target
from edge_se.quantization.turns import Race
from edge_se.quantization.units import Unit, only, units_of, with_float_units

RANKING_IMAGES = 500       # enough to rank units by SQNR; flips would need more
RESTORED = (1, 2, 4)       # how many of the costliest units a candidate leaves in float
TIE = 0.02                 # candidates within 2 % of the fastest are equally fast, whatever their intervals
ACCURACY_SHARE = 0.5       # of a bound on the seconds, where times are to follow


@dataclass(frozen=True, kw_only=True)
class Budget:
    """`max_drop_pp` must hold with confidence 1 - alpha; `seconds` bounds the search (None: no bound).

    Where candidates are timed, accuracy gets half of the seconds and the machine that times what is left. What is begun
    is finished.
    """

    max_drop_pp: float = 0.5
    alpha: float = 0.025
    seconds: float | None = None


def search(model: OnnxModel, statistics: Statistics, target: Target, images: Images, *, method: str,
           where: Place | None, budget: Budget, log: Path | None, progress: Progress
           ) -> tuple[Placement, list[Candidate]]:
    """The chosen placement and every candidate. With `where` None nothing is timed.

    Without labels the drop is unknown, but it cannot exceed the share of flips, which is then kept within the budget.
    Raises CalibrationError for images of the test set, when no candidate is faster than the reference, and when a
    place that the user named has no runtime for the target.
    """
    if images.split == "test":
        raise CalibrationError("the test set chooses nothing", where=images.name,
                               fix="point --data at CIFAR-10: its held-out training images serve")
    if images.labels is None:
        progress.note(f"no labelled images to choose on: placements are judged by their flips on {images.name}")
    ranges = statistics.ranges(method, target.activations)
    started = time.monotonic()
    seconds = budget.seconds and budget.seconds * (ACCURACY_SHARE if where is not None else 1)
    ends = started + seconds if seconds else None
    key = log_key(model, statistics, target, images, budget.alpha)
    known = read_log(log, key)
    plans = _plans(model, statistics, target, images, method, ends, progress)
    reference = logits_of(model, images)
    graphs = dict[str, OnnxModel]()
    kept = dict[str, Placement]()
    measured = dict[str, Candidate]()
    for placement, units in plans:
        if ends is not None and time.monotonic() > ends and measured:
            progress.note(f"time budget spent: {len(plans) - len(measured)} candidates were not measured")
            break
        graph = quantize(model, ranges, target, placement)
        if graph.sha256 in graphs:
            continue  # a plain net has no excitations: `all` and `se-float` are one
        graphs[graph.sha256], kept[graph.sha256] = graph, placement
        measured[graph.sha256] = known.get(graph.sha256) or _accuracy(graph, placement, units, reference, images,
                                                                      budget, progress)
        write_log(log, key, known | measured)
    measured = {sha256: replace(row, within_budget=row.ci_pp[1] <= budget.max_drop_pp)
                for sha256, row in measured.items()}
    if where is None:
        measured = {sha256: row.untimed() for sha256, row in measured.items()}
    else:
        race = Race(model, graphs, target, started + budget.seconds if budget.seconds else None, progress)
        measured = race.run(where, measured, lambda rows: write_log(log, key, known | rows))
    candidates = _decided(list(measured.values()))
    write_log(log, key, {row.sha256: row for row in candidates})
    return kept[next(row.sha256 for row in candidates if row.chosen)], candidates


def described_search(target: Target, images: Images, budget: Budget, rows: Sequence[Candidate]) -> dict[str, Any]:
    """What a search measured, for the manifest; `timed_on` null: nothing was timed."""
    chosen = next(row for row in rows if row.chosen)
    return {"target": target.name, "dataset": images.name, "labelled": images.labels is not None,
            "max_drop_pp": budget.max_drop_pp, "alpha": budget.alpha, "timed_on": chosen.timed_on,
            "reference": chosen.reference, "candidates": [asdict(row) for row in rows]}


def _plans(model: OnnxModel, statistics: Statistics, target: Target, images: Images, method: str,
           ends: float | None, progress: Progress) -> list[tuple[Placement, list[Unit]]]:
    """Named placements first: they are there when the time runs out."""
    named: list[tuple[Placement, list[Unit]]] = [(place(model.proto, target, name), []) for name in PLACEMENTS
                                                 if name != "sums-float" or normalises(model.proto)]
    if target.quantized_outputs:
        return named
    ranked = _costliest(model, statistics, target, images.sample(RANKING_IMAGES), method, ends, progress)
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


def _decided(rows: list[Candidate]) -> list[Candidate]:
    """Marks the Pareto front of (flips, latency) and the choice; without times the fewest flips win.

    Candidates whose intervals overlap that of the fastest are equally fast: of them the fewest flips win, too.
    """
    pool = [row for row in rows if row.ratio is not None] or rows
    # When none is surely within the budget, the most accurate is the honest answer; the gate will say so again.
    surest = min((row.ci_pp[1], row.flips) for row in pool)
    eligible = [row for row in pool if row.within_budget] or [
        row for row in pool if (row.ci_pp[1], row.flips) == surest]
    fastest = min(eligible, key=lambda row: row.order)
    chosen = min((row for row in eligible if row is fastest or _equals(row, fastest)),
                 key=lambda row: (row.flips, -row.sqnr_db))
    return [replace(row, chosen=row is chosen, on_front=row in pool and not any(_beats(other, row) for other in pool))
            for row in rows]


def _equals(row: Candidate, fastest: Candidate) -> bool:
    """Whether it is as fast as the fastest, as far as was measured; never where it is slower than the reference."""
    if row.ratio is None or row.ratio_ci is None or fastest.ratio is None or fastest.ratio_ci is None:
        return True
    return row.ratio < 1 and (row.ratio <= fastest.ratio * (1 + TIE) or row.ratio_ci[0] <= fastest.ratio_ci[1])


def _beats(other: Candidate, row: Candidate) -> bool:
    one, two = (other.flips, other.order), (row.flips, row.order)
    return all(a <= b for a, b in zip(one, two)) and one != two
