"""The graphs that an export writes: with folded excitations, in FP16, in INT8 for each target."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edge_se.backends.machines.choice import Place
from edge_se.backends.machines.machine import Here
from edge_se.core.errors import CalibrationError, EdgeSeError, ModelError
from edge_se.core.memory import give_back
from edge_se.core.progress import Progress
from edge_se.data.calibration import bundled
from edge_se.data.images import Images
from edge_se.data.leaks import contents_of
from edge_se.evaluation.accuracy import remember
from edge_se.graph.fusing import normalised_bytes, with_fused_preprocessing
from edge_se.graph.metadata import write_metadata
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.source import Source
from edge_se.graph.targets.base import Target
from edge_se.graph.tflite.conversion import to_tflite
from edge_se.quantization.as_written import REFERENCES
from edge_se.quantization.effort import AUTO, EFFORTS, PLACED_ON, best_method, best_placement
from edge_se.quantization.folding import fold_excitations
from edge_se.quantization.placement import Placement, narrow_groups, place
from edge_se.quantization.ranges import Statistics, collect
from edge_se.quantization.search import Budget, described_search, search
from edge_se.quantization.static import quantize
from edge_se.quantization.table import read_table
from edge_se.quantization.turns import runtime_there

FOLDED = "folded"


def with_folded_excitations(source: Source, images: Images, held_out: Images, budget: Budget,
                              progress: Progress) -> Source:
    """`source` with a graph of its own name; no net computes quite what that does."""
    if source.is_untrained:
        raise ModelError("excitations of random weights are not those of a trained net", where="--fold-excitations",
                         fix="leave --untrained or --fold-excitations out")
    model, folding = fold_excitations(source.model, images, held_out, max_drop_pp=budget.max_drop_pp,
                                         alpha=budget.alpha, progress=progress)
    name, proto, told = f"{source.name}-{FOLDED}", model.copy(), folding.document()
    # The parameters of the net are no longer those of the graph, which are counted then.
    write_metadata(proto, replace(source.metadata, model=name, params=None))
    low, high = told["ci_pp"]
    progress.note(f"{told['folded']} of {len(told['gates'])} excitations folded: {told['drop_pp']:+.2f} points lost "
                  f"({low:+.2f} to {high:+.2f}), {told['flips']} flips on {told['n']:,} images of {told['held_out']}")
    return replace(source, name=name, model=OnnxModel.of(proto), origin=source.origin | {"gates": told},
                   reference=None)


def fused(source: Source, progress: Progress) -> Source:
    """`source` with a graph that takes bytes; `origin` keeps the preprocessing that went into it."""
    how, made = source.metadata.preprocessing, with_fused_preprocessing(source.model)
    told = {key: value for key, value in how.document().items() if key != "labels"}
    if not made.exact:
        progress.note("the image is read by more than one convolution, so it is normalised in front of them: INT8 "
                      "rounds pixels there as it does without --fuse-preprocessing")
    before = source.reference
    return replace(source, model=made.model, origin=source.origin | {"fused_preprocessing": told},
                   reference=before and (lambda images: before(normalised_bytes(images, how))))


@dataclass(frozen=True, kw_only=True)
class Made:
    """A graph, how it was quantized and the seconds that making it took."""

    model: OnnxModel
    seconds: float
    placement: str | None = None
    method: str | None = None
    tflite: bytes | None = None  # the file that LiteRT reads in place of the graph


def fp16_of(model: OnnxModel) -> Made:
    """The graph with FP16 weights and activations."""
    from edge_se.graph.fp16 import to_fp16

    started = time.monotonic()
    return Made(model=to_fp16(model), seconds=time.monotonic() - started)


class Quantizing:
    """One Q/DQ graph per target, all from the same statistics."""

    def __init__(self, model: OnnxModel, targets: Sequence[Target], method: str, placement: str | None) -> None:
        self._model, self._share = model, 0.0
        self._failures: list[tuple[str, Exception]] = []
        self.over_budget: list[str] = []  # targets of which no candidate surely keeps accuracy
        self.searches: list[dict[str, Any]] = []  # what each target's search measured, for the manifest
        named = None if placement == AUTO else placement
        self._chosen = [(target, place(model.proto, target, named), method) for target in targets]

    def statistics(self, images: Images, table: Path | None, progress: Progress) -> Statistics:
        """Statistics of the calibration images, or those that an earlier run saved in `table`."""
        targets = [target for target, _, _ in self._chosen]
        if table:
            saved = read_table(table, self._model, images.preprocessing)
            if lacking := saved.lacks(self._model, targets):
                raise CalibrationError(f"was collected for other targets: it knows nothing of '{lacking[0]}'",
                                       where=table, fix="calibrate with images, for all targets at once")
            return saved
        started = time.monotonic()
        with progress.task(f"calibrating on {images.name}", len(images)) as advance:
            collected = collect(self._model, images, advance, targets=targets)
        if images.name not in bundled():
            collected = replace(collected, contents=contents_of(images))
        if collected.logits is not None:  # agreement and comparisons need no second pass
            remember(self._model, images, collected.logits)
            for count in (*REFERENCES, PLACED_ON):
                remember(self._model, images.sample(count), collected.logits[images.sampled(count)])
        give_back()
        self._share = (time.monotonic() - started) / len(self._chosen)
        return collected

    def choose_placements(self, statistics: Statistics, images: Images, progress: Progress) -> None:
        """Replaces the default placement by the best on `images` where no rule decides; methods come later."""
        self._each(lambda target, placement, method: (
            best_placement(self._model, statistics, target, EFFORTS["default"].method if method == AUTO else method,
                           images, progress), method))

    def choose_methods(self, statistics: Statistics, images: Images, progress: Progress) -> None:
        """Replaces the method `auto` of each target by the one that is nearest to FP32 on `images`."""
        def chosen(target: Target, placement: Placement, method: str) -> tuple[Placement, str]:
            if method != AUTO or not target.calibrated:
                return placement, method
            return placement, best_method(self._model, statistics, target, placement, images, progress)
        self._each(chosen)

    def search(self, statistics: Statistics, held_out: Images, budget: Budget, where: Place, folder: Path,
               progress: Progress) -> None:
        """Replaces each target's placement by the one that the search chose; the log goes to `folder`.

        Candidates are timed at `where`; those of a target that this machine does not run are timed if it was named.
        """
        def searched(target: Target, named: Placement, method: str) -> tuple[Placement, str]:
            timed = not where.here or runtime_there(self._model, target, Here(1))[0] is not None
            chosen, rows = search(self._model, statistics, target, held_out, method=method,
                                  where=where if timed else None, budget=budget,
                                  log=folder / f"candidates.{target.name}.json", progress=progress)
            self.searches.append(described_search(target, held_out, budget, rows))
            if not any(row.within_budget for row in rows):
                self.over_budget.append(target.name)
                progress.note(f"no placement for {target.name} surely loses at most {budget.max_drop_pp:g} points: the "
                              "most accurate one was taken")
            return chosen, method
        self._each(searched)

    def _each(self, choose: Callable[[Target, Placement, str], tuple[Placement, str]]) -> None:
        """Replaces the placement and the method of each target; a target of which that fails gets no file.

        The others keep theirs, and `raise_failure` tells of it; where all fail, the first failure is raised at once.
        """
        kept = []
        for target, placement, method in self._chosen:
            try:
                kept.append((target, *choose(target, placement, method)))
            except Exception as error:
                self._failures.append((target.name, error))
        if not kept:
            raise self._failures[0][1]
        self._chosen = kept

    def tell_of_groups(self, progress: Progress) -> None:
        """Tells how many grouped convolutions and narrow ones beside a hard swish stay in float for each target."""
        for target, chosen, _ in self._chosen:
            groups = set(narrow_groups(self._model.proto, target.narrow_group)).intersection(chosen.narrow_groups)
            widths = f"2 to {target.narrow_group} channels a group, or " if target.narrow_group > 1 else ""
            for count_of, kind in ((len(groups), f"grouped convolution{{}} ({widths}depthwise with more outputs)"),
                                   (len(set(chosen.narrow_groups) - groups),
                                    "narrow convolution{} beside a hard swish")):
                if count_of:
                    words = f"{kind.format('s')} stay" if count_of > 1 else f"{kind.format('')} stays"
                    progress.note(f"int8.{target.name}.onnx: {count_of} {words} FP32: INT8 takes longer there in "
                                  f"{target.runs_on.partition(' on ')[0]}")

    def models(self, statistics: Statistics) -> list[Made]:
        """The INT8 models. The seconds of each include its share of calibration."""
        made = []
        for target, chosen, method in self._chosen:
            started = time.monotonic()
            try:
                quantized = quantize(self._model, statistics.ranges(method, target.activations), target, chosen)
                tflite = to_tflite(quantized) if target.litert else None
            except Exception as error:  # `raise_failure` tells of it when the files of the others are written
                self._failures.append((target.name, error))
                continue
            made.append(Made(model=quantized, placement=chosen.name, method=method if target.calibrated else None,
                             tflite=tflite, seconds=self._share + time.monotonic() - started))
        if not made:
            raise self._failures[0][1]
        return made

    def raise_failure(self, folder: Path) -> None:
        """Raises what the targets without a file failed with, if any did: the exit code tells of it.

        A bug comes first and keeps its traceback; refusals of several targets are one message, with the first's fix.
        """
        refused = [(name, error) for name, error in self._failures if isinstance(error, EdgeSeError)]
        for _, error in self._failures:
            if not isinstance(error, EdgeSeError):
                raise error
        if refused:
            first = refused[0][1]
            told = "; ".join(f"int8.{name}.onnx was not made ({error.what})" for name, error in refused)
            raise type(first)(f"{told}; the other files are in {folder}", where=first.where, fix=first.fix) from first
