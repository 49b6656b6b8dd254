"""`data check`: does the model see images as it was trained to, and are these its classes? On a few hundred of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_se.core.arguments import PathLike, path_of, text_of
from edge_se.core.progress import SILENT, Progress
from edge_se.data.classes import require_near_count
from edge_se.data.dataset import Dataset, open_dataset
from edge_se.data.images import Images
from edge_se.data.splits import ImageSet
from edge_se.evaluation.alternatives import options_between
from edge_se.evaluation.detective import Alternative, effort, investigate
from edge_se.graph.source import SourceOptions, load_source
from edge_se.steps.export_images import outputs_of, tell_of_skipped

SCHEMA = "edge-se/data-check/1"
IMAGES = 300


def check(model: PathLike, data: PathLike, *, images: int = IMAGES, skip_broken: bool = False,
          preprocessing: SourceOptions | None = None, progress: Progress = SILENT) -> dict[str, Any]:
    """The document of `data check --json`: the model's own way, what explains the labels best, and all that was tried.

    `verdict` is `fits`, `wrong` (another way is surely better: `changes` in words, `fix` as options) or `unexplained`
    (nothing beats guessing). Raises EdgeSeError for a model or data that cannot be used.
    """
    source = load_source(text_of(model), None, preprocessing or SourceOptions())
    how, path = source.metadata.preprocessing, path_of(data)
    assert path is not None
    dataset = open_dataset(path, skip_broken=skip_broken)
    sample = dataset.sample(replace(how, labels=()), images)
    tell_of_skipped(sample, progress)
    outputs = outputs_of(source.model)
    if outputs is not None:
        require_near_count(dataset.classes, outputs, path)
    with progress.task(f"trying alternatives on {len(sample)} images", effort(len(sample))) as advance:
        finding = investigate(source.model, sample, _given(dataset, how.labels, sample), dataset.classes,
                              geometry=not isinstance(sample, ImageSet), advance=advance)
    own, best = finding.own, finding.best
    gain, interval = best.gain_over(own, finding.alpha)
    told = options_between(how, best.view.how)
    return {
        "schema": SCHEMA, "model": source.name, "data": dataset.name, "images": len(sample),
        "skipped": sample.skipped, "verdict": finding.verdict, "assumption": source.assumption,
        "own": _told(own), "best": _told(best), "changes": list(best.changes),
        "fix": "; ".join(part for part in (told, best.order.fix) if part), "gain_pp": gain, "ci_pp": list(interval),
        "by_chance": finding.by_chance, "alternatives": len(finding.others), "confidence": 1 - 2 * finding.alpha,
        "tried": [_row(item, own, finding.alpha) for item in finding.others]}


def _given(dataset: Dataset, wanted: tuple[str, ...], sample: Images) -> NDArray[np.int64]:
    """(classes,) outputs that the labels are held to be: by name where both sides have the same names."""
    if dataset.classes and set(wanted) == set(dataset.classes):
        return np.array([wanted.index(name) for name in dataset.classes])
    assert sample.labels is not None
    return np.arange(len(dataset.classes) or int(sample.labels.max()) + 1)


def _told(item: Alternative) -> dict[str, Any]:
    how = {key: value for key, value in item.view.how.document().items() if key != "labels"}
    return {"preprocessing": how, "classes": item.order.change or "as given", "top1": item.top1, "ci": list(item.ci)}


def _row(item: Alternative, own: Alternative, alpha: float) -> dict[str, Any]:
    gain, interval = item.gain_over(own, alpha)
    return {"changes": list(item.changes), "fix": "; ".join(part for part in (
        options_between(own.view.how, item.view.how), item.order.fix) if part),
        "n": len(item.right), "top1": item.top1, "gain_pp": gain, "ci_pp": list(interval)}
