"""The figures of the files of an export: accuracy, agreement with FP32, counts, and what calibrated them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from edge_se.core.artifacts import Artifact
from edge_se.core.progress import Progress
from edge_se.data.images import Images
from edge_se.evaluation.accuracy import TOP, among_first, flips, logits_of, predicted, share_of
from edge_se.evaluation.judges import measured_by
from edge_se.graph.counting import count
from edge_se.graph.tflite.flatbuffer import tflite_name
from edge_se.quantization.ranges import Statistics
from edge_se.quantization.table import FILE as TABLE
from edge_se.steps.export_files import Made


def measured(made: Sequence[Made], images: Images, progress: Progress, *, labelled: bool) -> tuple[Artifact, ...]:
    """Agreement with FP32 of each graph on `images` and, when these are `labelled` to be judged on, its accuracy."""
    reference, artifacts = None, []
    for item in made:
        with progress.task(f"evaluating {item.model.file_name} on {images.name}", len(images)) as advance:
            logits = logits_of(item.model, images, advance)
        reference = logits if reference is None else reference
        artifacts.append(_artifact(item, images, flips(logits, reference)))
        if labelled and images.labels is not None:
            first, interval = share_of(predicted(logits) == images.labels)
            artifacts[-1] = replace(artifacts[-1], top1=first, top1_n=len(images), top1_ci=interval)
            if logits.shape[1] > TOP:
                among, interval = share_of(among_first(logits, images.labels, TOP))
                artifacts[-1] = replace(artifacts[-1], top5=among, top5_ci=interval)
    return tuple(artifacts)


def _artifact(item: Made, images: Images, flipped: int) -> Artifact:
    model, counts = item.model, count(item.model.proto)
    params = model.metadata.params if model.metadata and model.metadata.params else counts.params
    return Artifact(
        precision=model.precision, target=model.target, file=model.file_name, sha256=model.sha256,
        parent_sha256=model.parent_sha256, bytes=len(model.content), params=params, macs=counts.macs,
        flops=counts.flops, int8_mac_share=counts.int8_mac_share, placement=item.placement, method=item.method,
        top1=None, top1_n=None, top1_ci=None, dataset=images.name,
        agreement_with_fp32=100 * (1 - flipped / len(images)), flips=flipped, flips_n=len(images),
        seconds=round(item.seconds, 3), measured_by=measured_by(model), tflite=_tflite(item))


def _tflite(item: Made) -> dict[str, Any] | None:
    """What the manifest says of the file that LiteRT reads."""
    if item.tflite is None:
        return None
    return {"file": tflite_name(item.model.file_name), "sha256": hashlib.sha256(item.tflite).hexdigest(),
            "bytes": len(item.tflite)}


def described(statistics: Statistics, table: bytes, images: Images | None, *, method: str, effort: str,
              over_budget: Sequence[str]) -> dict[str, Any]:
    """What calibrated the INT8 files, for the manifest. `images` is None where a table of an earlier run did.

    `over_budget` names the targets of which no placement surely keeps accuracy.
    """
    # A table does not tell how many calibration images differ.
    different = images.different if images else 0
    seen: dict[str, Any] = {"different": different} if images and different != len(images) else {}
    if images and images.skipped:
        seen["skipped"] = images.skipped
    if statistics.contents:
        seen["contents"] = statistics.contents
    return {"name": statistics.calibration, "images": statistics.images, "sha256": statistics.calibration_sha256,
            "split": statistics.split, "method": method, "table": TABLE,
            "table_sha256": hashlib.sha256(table).hexdigest(), "effort": effort, **seen,
            **({"over_budget": list(over_budget)} if over_budget else {})}
