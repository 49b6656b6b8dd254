"""The images of a gate, look by look: each INT8 file is judged at every look until its verdict is certain."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_se.core.artifacts import Artifact, Build, check_file
from edge_se.core.progress import Progress
from edge_se.data.images import Images, Labels
from edge_se.evaluation.accuracy import TOP, Compute, among_first, logits_of, predicted, share_of
from edge_se.evaluation.classes import ClassDrop, class_drops
from edge_se.evaluation.doubts import above_chance, doubts, doubts_of_images
from edge_se.evaluation.gate import MAX_DROP, Judgement, judge, margin_of
from edge_se.evaluation.judges import measured_by
from edge_se.evaluation.on_device import Answers, OnDevice, compared
from edge_se.evaluation.sequential import Look, parts
from edge_se.evaluation.settings import Settings
from edge_se.evaluation.statistics import pair
from edge_se.graph.onnx_model import OnnxModel

Predictions = NDArray[np.intp]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """The margin: in points, or by a preset from FP32's accuracy on the images seen."""

    max_drop: float
    preset: str | None

    @classmethod
    def of(cls, settings: Settings) -> Rule:
        """The margin of the settings, else the usual one."""
        return cls(max_drop=MAX_DROP if settings.max_drop is None else settings.max_drop, preset=settings.preset)

    def margin(self, fp32_top1: float) -> float:
        """The margin in percentage points."""
        return margin_of(self.preset, fp32_top1) if self.preset else self.max_drop


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One INT8 file at the look that decided it; `right` is (n,), in the order in which images were seen.

    `among` and `fp32_among` say whether the label is among the TOP likeliest classes; None where there are no more.
    """

    artifact: Artifact
    judgement: Judgement
    fp32_top1: float
    right: NDArray[np.bool_]
    among: NDArray[np.bool_] | None
    fp32_among: NDArray[np.bool_] | None
    classes: list[ClassDrop]
    class_level: float
    history: list[dict[str, Any]]
    above_chance: bool
    notes: list[str]
    measured_by: dict[str, Any]
    fp32_measured_by: dict[str, Any]
    on_device: dict[str, Any] | None = None

    def row(self) -> dict[str, Any]:
        """The fields of the document."""
        top1, interval = share_of(self.right)
        first: dict[str, Any] = {"top1": top1, "top1_ci": list(interval), "fp32_top1": self.fp32_top1}
        if self.among is not None and self.fp32_among is not None:
            top5, interval = share_of(self.among)
            first |= {"top5": top5, "top5_ci": list(interval), "fp32_top5": share_of(self.fp32_among)[0]}
        return {"target": self.artifact.target, "file": self.artifact.file, "sha256": self.artifact.sha256,
                **first, **_figures(self.judgement), "margin_pp": self.judgement.margin_pp,
                "mcnemar_p": self.judgement.mcnemar_p, "class_level": self.class_level,
                "classes": [_class_row(item) for item in self.classes], "looks": self.history,
                "fp32_above_chance": self.above_chance, "notes": self.notes, "measured_by": self.measured_by,
                "fp32_measured_by": self.fp32_measured_by,
                **({"on_device": self.on_device} if self.on_device else {})}


@dataclass(kw_only=True)
class _Seen:
    """A file that is evaluated, and its predictions so far: where it is judged and, if that is a device, here."""

    model: OnnxModel
    parts: list[Predictions] = field(default_factory=list)
    here: list[Predictions] = field(default_factory=list)
    among: list[NDArray[np.bool_]] = field(default_factory=list)  # of each part, where there are more than TOP classes
    history: list[dict[str, Any]] = field(default_factory=list)

    @property
    def predictions(self) -> Predictions:
        return np.concatenate(self.parts)

    def answers(self, there: OnDevice) -> Answers:
        return Answers(there=self.predictions, here=np.concatenate(self.here),
                       measured_by=there.measured_by(self.model))


def outcomes(build: Build, fp32: Artifact, candidates: list[Artifact], test: Images, schedule: tuple[Look, ...],
             rule: Rule, progress: Progress, compute: Compute, there: OnDevice | None = None,
             fp16: OnnxModel | None = None) -> list[Outcome]:
    """The outcome of every candidate, in their order. With several looks the images are shuffled.

    `compute` is that of `logits_of`. Where `there` is a device, the files are judged by its answers, and `fp16` is
    evaluated there beside them.
    """
    seen = {item.file: _Seen(model=OnnxModel.read(check_file(build, item), precision=item.precision,
                                                  target=item.target)) for item in (fp32, *candidates)}
    first = [seen[fp32.file], *([_Seen(model=fp16)] if fp16 else [])]
    order = np.concatenate(parts(len(test), len(schedule)))
    decided: dict[str, Outcome] = {}
    start = 0
    for look in schedule:
        part = test if look.n - start == len(test) else test.take(order[start : look.n])
        start = look.n
        open_ = [(item, seen[item.file]) for item in candidates if item.file not in decided]
        for one in (*first, *(one for _, one in open_)):
            _see(one, part, len(test), f"{look.n:,} of {len(test):,} images", progress, compute, there)
        assert test.labels is not None
        labels = test.labels[order[: look.n]]
        for item, one in open_:
            outcome = _judged(item, one, first[0], labels, look, rule, build)
            if there:
                told = [each.answers(there) for each in (one, *first)]
                outcome = replace(outcome, measured_by=told[0].measured_by, fp32_measured_by=told[1].measured_by,
                                  on_device=compared(labels, look.alpha, *told))
            if outcome.judgement.verdict != "inconclusive" or look is schedule[-1]:
                decided[item.file] = outcome
        if len(decided) == len(candidates):
            break
    shared = doubts_of_images(test)
    return [replace(decided[item.file], notes=decided[item.file].notes + shared) for item in candidates]


def _see(one: _Seen, part: Images, images: int, so_far: str, progress: Progress, compute: Compute,
         there: OnDevice | None) -> None:
    """Adds the answers of a file to `part`, of so many images."""
    with progress.task(f"evaluating {one.model.file_name}, {so_far}", len(part)) as advance:
        logits = (there.logits(one.model, part, advance, whole=len(part) == images) if there
                  else logits_of(one.model, part, advance, compute=compute))
    one.parts.append(predicted(logits))
    if logits.shape[1] > TOP and part.labels is not None:
        one.among.append(among_first(logits, part.labels, TOP))
    if there:
        with progress.task(f"{one.model.file_name} in onnxruntime here, {so_far}", len(part)) as advance:
            one.here.append(predicted(there.here(one.model, part, advance)))


def _judged(item: Artifact, one: _Seen, fp32: _Seen, labels: Labels, look: Look, rule: Rule,
            build: Build) -> Outcome:
    """Nothing is shown when FP32 is no better than chance, whatever the counts say."""
    reference = fp32.predictions
    predictions, fp32_top1 = one.predictions, 100 * float((reference == labels).mean())
    judgement = judge(pair(reference, predictions, labels), rule.margin(fp32_top1), look.alpha)
    above = above_chance(int((reference == labels).sum()), labels, len(build.labels), look.alpha)
    if not above:
        judgement = replace(judgement, verdict="inconclusive")
    one.history.append({**_figures(judgement), "alpha": look.alpha})
    level = 2 * look.spends  # over all looks these add up to 2 alpha, so stopping early finds no class by chance
    return Outcome(artifact=item, judgement=judgement, fp32_top1=fp32_top1, right=predictions == labels,
                   among=np.concatenate(one.among) if one.among else None,
                   fp32_among=np.concatenate(fp32.among) if fp32.among else None,
                   classes=class_drops(reference, predictions, labels, build.labels, level), class_level=level,
                   history=one.history, above_chance=above,
                   notes=doubts(build, item, reference, predictions, chance=not above),
                   measured_by=measured_by(one.model), fp32_measured_by=measured_by(fp32.model))


def _figures(judgement: Judgement) -> dict[str, Any]:
    return {"verdict": judgement.verdict, "n": judgement.paired.n, "broken": judgement.paired.broken,
            "fixed": judgement.paired.fixed, "drop_pp": judgement.drop_pp, "ci_pp": list(judgement.ci_pp)}


def _class_row(item: ClassDrop) -> dict[str, Any]:
    paired = item.paired
    return {"class": item.name, "n": paired.n if paired else 0, "broken": paired.broken if paired else 0,
            "fixed": paired.fixed if paired else 0, "drop_pp": 100 * paired.drop if paired else None,
            "mcnemar_p": item.p, "p_holm": item.p_holm, "significant": item.significant}
