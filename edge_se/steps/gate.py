"""`gate`: fails when accuracy drops under quantization, on paired predictions of the same test images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edge_se.core.artifacts import Artifact, check_file, locate_build, read_build
from edge_se.core.errors import ArtifactError
from edge_se.core.progress import SILENT, Progress
from edge_se.data import cifar10, splits
from edge_se.evaluation.accuracy import logits_of
from edge_se.evaluation.gate import Judgement, judge, margin_of
from edge_se.evaluation.statistics import pair
from edge_se.graph.onnx_model import OnnxModel

SCHEMA = "edge-se/gate/1"
MAX_DROP = 0.5
ALPHA = 0.025
SEVERITY = {"pass": 0, "inconclusive": 1, "fail": 2}


def gate(model: str | None = None, *, max_drop: float | None = None, preset: str | None = None, alpha: float = ALPHA,
         data: Path | None = None, progress: Progress = SILENT) -> dict[str, Any]:
    """The document of `gate --json`: the worst INT8 file's verdict on top, all of them under `targets`."""
    build = read_build(locate_build(model))
    fp32 = build.find("fp32")
    candidates = [artifact for artifact in build.artifacts if artifact.precision == "int8"]
    if fp32 is None or not candidates:
        raise ArtifactError("the gate compares INT8 with FP32; this build lacks one of them", where=build.folder,
                            fix=f"run `edge-se export --model {build.model} --int8`")
    if build.labels != cifar10.CLASSES:
        raise ArtifactError("is no CIFAR-10 classifier, and the gate judges on CIFAR-10", where=build.folder,
                            fix="gate a CIFAR-10 model")
    test = splits.load("test", cifar10.require(data))
    assert test.labels is not None
    predictions = {}
    for artifact in (fp32, *candidates):
        loaded = OnnxModel.read(check_file(build, artifact), precision=artifact.precision, target=artifact.target)
        with progress.task(f"evaluating {artifact.file}", len(test)) as advance:
            predictions[artifact.file] = logits_of(loaded, test, advance).argmax(1)
    reference = predictions[fp32.file]
    fp32_top1 = 100 * float((reference == test.labels).mean())
    margin = margin_of(preset, fp32_top1) if preset else MAX_DROP if max_drop is None else max_drop
    results = [(artifact, judge(pair(reference, predictions[artifact.file], test.labels), margin, alpha))
               for artifact in candidates]
    worst = max(results, key=lambda result: (SEVERITY[result[1].verdict], result[1].ci_pp[1]))
    return {"schema": SCHEMA, "model": build.model, "dataset": test.name, "fp32_top1": fp32_top1, "alpha": alpha,
            "confidence": 1 - 2 * alpha, "interval": "Tango score", "preset": preset, **_row(*worst),
            "targets": [_row(*result) for result in results]}


def _row(artifact: Artifact, judgement: Judgement) -> dict[str, Any]:
    return {"verdict": judgement.verdict, "target": artifact.target, "file": artifact.file, "sha256": artifact.sha256,
            "n": judgement.paired.n, "margin_pp": judgement.margin_pp, "drop_pp": judgement.drop_pp,
            "ci_pp": list(judgement.ci_pp), "mcnemar_p": judgement.mcnemar_p, "broken": judgement.paired.broken,
            "fixed": judgement.paired.fixed}
