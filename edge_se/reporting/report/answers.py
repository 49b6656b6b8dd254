"""Results from the answers of a build's files: paired drops and verdicts, drops by class, flipped images."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edge_se.core.artifacts import Artifact, Build
from edge_se.evaluation.accuracy import predicted
from edge_se.evaluation.classes import class_drops
from edge_se.evaluation.doubts import above_chance
from edge_se.evaluation.gate import judge
from edge_se.evaluation.judges import measured_by
from edge_se.evaluation.statistics import drop_interval, pair, wilson_interval
from edge_se.reporting.report.inputs import Material, Predictions

GALLERY = 24
SEVERITY = {"not judged": -1, "pass": 0, "inconclusive": 1, "fail": 2}


def files_of(material: Material, margin_pp: float, alpha: float) -> list[dict[str, Any]]:
    """Each file with its accuracy and, where there are predictions, drop against FP32, interval and verdict."""
    fp32, given = material.build.find("fp32"), material.predictions
    rows = []
    for item in material.build.artifacts:
        row = {"file": item.file, "label": item.label, "precision": item.precision, "target": item.target,
               "sha256": item.sha256, "parent_sha256": item.parent_sha256, "bytes": item.bytes,
               "int8_mac_share": item.int8_mac_share, "placement": item.placement, "method": item.method,
               **_accuracy(material.build, item, given), "flips": item.flips, "flips_n": item.flips_n,
               "flips_on": item.dataset,
               "drop_pp": None, "ci_pp": None, "broken": None, "fixed": None, "mcnemar_p": None,
               "verdict": "not judged"}
        if given and fp32 and item is not fp32:
            row |= _drop(given, fp32, item, margin_pp, alpha)
        rows.append(row)
    return rows


def _accuracy(build: Build, item: Artifact, given: Predictions | None) -> dict[str, Any]:
    """Accuracy from the manifest (same bytes), else from the predictions; a manifest of before told no runtime.

    The manifest's is of the images that the export had. Where those of the drop are others, it would not fit that.
    """
    others = given is not None and build.data is not None and build.data.get("sha256") != given.images.sha256
    if given is None or (item.top1 is not None and item.measured_by and not others):
        return {"top1": item.top1, "top1_ci": list(item.top1_ci) if item.top1_ci else None, "top1_n": item.top1_n,
                "measured_by": item.measured_by}
    n, right = len(given.images), int((predicted(given.logits[item.file]) == given.images.labels).sum())
    low, high = wilson_interval(right, n)
    return {"top1": 100 * right / n, "top1_ci": [100 * low, 100 * high], "top1_n": n,
            "measured_by": measured_by(item)}


def _drop(given: Predictions, fp32: Artifact, item: Artifact, margin_pp: float, alpha: float) -> dict[str, Any]:
    assert given.images.labels is not None
    answers = {file: predicted(given.logits[file]) for file in (fp32.file, item.file)}
    judgement = judge(pair(answers[fp32.file], answers[item.file], given.images.labels), margin_pp, alpha)
    right = int((answers[fp32.file] == given.images.labels).sum())
    above = above_chance(right, given.images.labels, given.logits[fp32.file].shape[1], alpha)
    return {"drop_pp": judgement.drop_pp, "ci_pp": list(judgement.ci_pp), "broken": judgement.paired.broken,
            "fixed": judgement.paired.fixed, "mcnemar_p": judgement.mcnemar_p,
            "verdict": judgement.verdict if above else "inconclusive", "fp32_above_chance": above,
            "flips": int((answers[fp32.file] != answers[item.file]).sum()), "flips_n": len(given.images),
            "flips_on": given.images.name}


def worst_of(files: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The INT8 file with the gravest verdict and, among these, the largest possible drop; None without INT8 files."""
    judged = [row for row in files if row["precision"] == "int8" and row["ci_pp"]]
    return max(judged, key=lambda row: (SEVERITY[row["verdict"]], row["ci_pp"][1]), default=None)


def classes_of(material: Material, alpha: float) -> list[dict[str, Any]]:
    """For each file but FP32 and each class: drop in points with its interval; [] without predictions.

    Ten classes are ten chances of a false alarm: `significant` goes by exact McNemar tests that are adjusted for all
    classes of the file, never by an interval alone.
    """
    given, fp32 = material.predictions, material.build.find("fp32")
    if given is None or fp32 is None or given.images.labels is None:
        return []
    reference = predicted(given.logits[fp32.file])
    by_file = []
    for item in material.build.artifacts:
        if item is fp32:
            continue
        drops = class_drops(reference, predicted(given.logits[item.file]), given.images.labels, material.build.labels,
                            2 * alpha)
        rows = []
        for one in drops:
            if one.paired is not None:
                low, high = drop_interval(one.paired, alpha)
                rows.append({"class": one.name, "n": one.paired.n, "drop_pp": 100 * one.paired.drop,
                             "ci_pp": [100 * low, 100 * high], "broken": one.paired.broken, "fixed": one.paired.fixed,
                             "p_holm": one.p_holm, "significant": one.significant})
        by_file.append({"file": item.file, "label": item.label, "precision": item.precision, "classes": rows})
    return by_file


def gallery_of(material: Material, limit: int = GALLERY) -> dict[str, Any] | None:
    """At most `limit` images that INT8 and FP32 answer differently; those that most files change come first.

    Images are base64 PNGs of the data set's own size. None without predictions.
    """
    given, fp32 = material.predictions, material.build.find("fp32")
    int8 = [item for item in material.build.artifacts if item.precision == "int8"]
    if given is None or fp32 is None or not int8:
        return None
    chances = {item.file: _softmax(given.logits[item.file]) for item in (fp32, *int8)}
    answers = {file: chance.argmax(1) for file, chance in chances.items()}
    changed = np.array([answers[item.file] != answers[fp32.file] for item in int8])
    counts, confidence = changed.sum(0), chances[fp32.file].max(1)
    order = [int(index) for index in np.lexsort((-confidence, -counts)) if counts[index]]
    return {"images": given.images.name, "flipped": len(order), "shown": [
        {"index": index, "label": _name(material, None if given.images.labels is None else given.images.labels[index]),
         "png": _png(given.images.image(index)), "fp32": _answer(material, chances[fp32.file][index]),
         "int8": [{"file": item.label, **_answer(material, chances[item.file][index])}
                  for item, differs in zip(int8, changed[:, index]) if differs]}
        for index in order[:limit]]}


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    raised = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    return np.asarray(raised / raised.sum(1, keepdims=True))


def _answer(material: Material, chances: NDArray[np.float64]) -> dict[str, Any]:
    best = int(chances.argmax())
    return {"answer": _name(material, best), "confidence": float(np.nan_to_num(chances[best]))}


def _name(material: Material, number: int | np.integer[Any] | None) -> str | None:
    return None if number is None else material.build.labels[int(number)]


def _png(pixels: NDArray[np.uint8]) -> str:
    content = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0))).save(content, "PNG", optimize=True)
    return base64.b64encode(content.getvalue()).decode()
