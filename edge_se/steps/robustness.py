"""`robustness`: does INT8 lose more than FP32 when images are noisy, blurred or compressed?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_se.cluster.parts import Cluster
from edge_se.core import environment
from edge_se.core.arguments import Names, PathLike, names_of, path_of, text_of
from edge_se.core.artifacts import Artifact, Build, check_file, locate_build, read_build
from edge_se.core.errors import EdgeSeError, ModelError
from edge_se.core.progress import SILENT, Progress
from edge_se.core.whole import require_whole
from edge_se.data.class_names import names_in
from edge_se.data.contents import TRAIN
from edge_se.data.corrupted_images import corrupted
from edge_se.data.corruptions import CORRUPTIONS, SEVERITIES, corruption_of, published_for
from edge_se.data.dataset import require_dataset
from edge_se.data.images import Images, Labels
from edge_se.evaluation.accuracy import Compute, logits_of, predicted
from edge_se.evaluation.judges import measured_by
from edge_se.evaluation.on_cluster import compute_on
from edge_se.evaluation.statistics import drop_interval, pair, wilson_interval
from edge_se.graph.onnx_model import OnnxModel
from edge_se.steps.judged import judged_images

SCHEMA = "edge-se/robustness/1"
CLEAN = "clean"
ALPHA = 0.025  # of either end of an interval
TELLING = 10  # images; of fewer that are not all equal a normal interval would be too short
Predictions = NDArray[np.intp]
Condition = tuple[str, int]  # (corruption, severity); (CLEAN, 0) is the image as it is


def robustness(model: PathLike | None = None, *, split: str | None = None, images: int | None = None,
               corruptions: Names | None = None, severities: Sequence[int] | None = None, seed: int = 0,
               data: PathLike | None = None, labels: PathLike | None = None, skip_broken: bool = False,
               cluster: Cluster | None = None, progress: Progress = SILENT) -> dict[str, Any]:
    """The document of `robustness --json`: top-1 of each file of a build on clean and on corrupted images.

    `data` is CIFAR-10 or labelled images of the user. `split` is `test` (the default where there is one) for final
    figures or `validation` to choose by; `images`: how many, the first of CIFAR-10 or an equal share of each class of a
    folder; default all. Drops are against FP32 on the same corrupted images, whose strengths are those published for
    the nearest size. Images are evaluated in shards on `cluster`, where there is one. Raises EdgeSeError before
    anything is evaluated.
    """
    conditions, data = _conditions(names_of(corruptions), severities), path_of(data)
    _require_sensible(split, images, seed)
    build = read_build(locate_build(text_of(model)))
    models = _models(build)
    dataset = require_dataset(data, names=names_in(str(labels)) if labels else (), split=split,
                              skip_broken=skip_broken)
    build, whole = judged_images(build, dataset, "images are corrupted", progress)
    chosen = whole.sample(images or len(whole))
    assert chosen.labels is not None
    hashes, answers = _answers(build, models, chosen, conditions, seed, compute_on(cluster), progress)
    fp32, *others = sorted(build.artifacts, key=lambda item: item.label != "fp32")
    items = (fp32, *others)
    return {"schema": SCHEMA, "model": build.model, "split": chosen.split, "dataset": chosen.name,
            "dataset_sha256": chosen.sha256, "n": len(chosen), "seed": seed,
            "strengths_of": published_for(chosen.shape[1:]), "confidence": 1 - 2 * ALPHA,
            "intervals": {"top1": "Wilson score", "drop": "Tango score",
                          "overall": "normal, of the means of each image over all conditions"},
            "files": [{"file": item.file, "label": item.label, "precision": item.precision, "target": item.target,
                       "sha256": item.sha256, "measured_by": measured_by(item)} for item in items],
            "strengths": {name: CORRUPTIONS[name].about for name, _ in conditions if name != CLEAN},
            "conditions": [{
                "corruption": name, "severity": severity, "images_sha256": hashes[name, severity],
                "strength": [] if name == CLEAN else list(CORRUPTIONS[name].strength(severity, chosen.shape[1:])),
                "files": [_row(item, fp32, answers[name, severity], chosen.labels) for item in items],
            } for name, severity in conditions],
            "overall": [_overall(item, fp32, answers, chosen.labels) for item in items],
            "environment": {"versions": environment.versions() | _versions("pillow"),
                            "hardware": environment.hardware(), "commit": environment.commit()}}


def _versions(*packages: str) -> dict[str, str]:
    """Versions of the packages that decide how an image looks."""
    return {name: version for name in packages if (version := environment.version_of(name))}


def _conditions(names: Sequence[str] | None, severities: Sequence[int] | None) -> list[Condition]:
    """Clean first, then every corruption at every severity, each once and in a fixed order."""
    wanted = tuple(CORRUPTIONS) if names is None else names
    for name in wanted:
        corruption_of(name)
    levels = sorted(set(SEVERITIES if severities is None else severities))
    if not wanted or not levels or not set(levels) <= set(SEVERITIES):
        raise EdgeSeError("names no corruption" if not wanted else f"severities {levels} are not between 1 and 5",
                          where="--severities" if wanted else "--corruptions",
                          fix="write 1,3,5" if wanted else f"known: {', '.join(CORRUPTIONS)}")
    return [(CLEAN, 0), *((name, level) for name in CORRUPTIONS if name in wanted for level in levels)]


def _require_sensible(split: str | None, images: int | None, seed: int) -> None:
    if split == TRAIN:
        raise EdgeSeError(f"'{split}' is no split to judge on", where="--split", fix="give test or validation")
    if images is not None and images < 1:
        raise EdgeSeError(f"{images} images cannot be judged on", where="--images", fix="give at least 1")
    if seed < 0:
        raise EdgeSeError(f"{seed} is negative", where="--seed", fix="give 0 or more")


def _models(build: Build) -> dict[str, OnnxModel]:
    """Every file of the build, checked against its hash; ArtifactError when drops cannot be computed."""
    require_whole(build)
    return {item.file: OnnxModel.read(check_file(build, item), precision=item.precision, target=item.target)
            for item in build.artifacts}


def _answers(build: Build, models: dict[str, OnnxModel], images: Images, conditions: list[Condition], seed: int,
             compute: Compute, progress: Progress
             ) -> tuple[dict[Condition, str], dict[Condition, dict[str, Predictions]]]:
    """SHA-256 of the images of each condition, and what each file answers to them."""
    hashes, answers = {}, {}
    work = len(conditions) * len(models) * len(images)
    with progress.task(f"{len(conditions)} conditions x {len(models)} files", work) as advance:
        for name, severity in conditions:
            shown = images if name == CLEAN else corrupted(images, name, severity, seed=seed)
            hashes[name, severity], own = shown.sha256, {}
            for file, model in models.items():
                logits = logits_of(model, shown, advance, compute=compute)
                if logits.shape[1] != len(build.labels):
                    raise ModelError(f"answers with {logits.shape[1]} classes, its manifest names {len(build.labels)}",
                                     where=build.folder / file, fix="export again")
                own[file] = predicted(logits)
            answers[name, severity] = own
    return hashes, answers


def _row(item: Artifact, fp32: Artifact, answers: dict[str, Predictions], labels: Labels) -> dict[str, Any]:
    """One file under one condition. Percent and percentage points; FP32 has no drop."""
    own, n = answers[item.file], len(labels)
    right = int((own == labels).sum())
    low, high = wilson_interval(right, n, 1 - 2 * ALPHA)
    row: dict[str, Any] = {"file": item.file, "top1": 100 * right / n, "top1_ci": [100 * low, 100 * high],
                           "drop_pp": None, "ci_pp": None, "broken": None, "fixed": None, "flips": None}
    if item is not fp32:
        paired = pair(answers[fp32.file], own, labels)
        low, high = drop_interval(paired, ALPHA)
        row |= {"drop_pp": 100 * paired.drop, "ci_pp": [100 * low, 100 * high], "broken": paired.broken,
                "fixed": paired.fixed, "flips": int((answers[fp32.file] != own).sum())}
    return row


def _overall(item: Artifact, fp32: Artifact, answers: dict[Condition, dict[str, Predictions]],
             labels: Labels) -> dict[str, Any]:
    """Means over all corrupted conditions; `excess_pp`: points lost on these beyond those lost on clean images.

    An image is one unit, however many conditions it is seen under: its answers depend on each other.
    """
    def right(file: str) -> NDArray[np.float64]:
        rights = [own[file] == labels for (name, _), own in answers.items() if name != CLEAN]
        return np.asarray(np.mean(rights, axis=0))

    top1, interval = _mean(right(item.file))
    row: dict[str, Any] = {"file": item.file, "top1": top1, "top1_ci": interval, "drop_pp": None, "ci_pp": None,
                           "excess_pp": None, "excess_ci_pp": None}
    if item is not fp32:
        drops, clean = right(fp32.file) - right(item.file), answers[CLEAN, 0]
        before = (clean[fp32.file] == labels).astype(np.float64) - (clean[item.file] == labels)
        row["drop_pp"], row["ci_pp"] = _mean(drops)
        row["excess_pp"], row["excess_ci_pp"] = _mean(drops - before)
    return row


def _mean(values: NDArray[np.float64]) -> tuple[float, list[float] | None]:
    """100 x the mean, with its normal interval; None for the interval where too few images are unlike the others."""
    from scipy.stats import norm

    mean, (_, often) = float(values.mean()), np.unique(values, return_counts=True)
    if len(values) - often.max() < TELLING:
        return 100 * mean, None
    width = float(norm.isf(ALPHA)) * float(values.std(ddof=1)) / len(values) ** 0.5
    return 100 * mean, [100 * (mean - width), 100 * (mean + width)]
