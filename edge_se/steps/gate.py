"""`gate`: fails when accuracy drops under quantization, on paired predictions of the same test images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edge_se.backends.machines.choice import HERE, Place
from edge_se.cluster.parts import Cluster
from edge_se.core.arguments import PathLike, path_of, text_of
from edge_se.core.artifacts import Artifact, Build, check_file, locate_build, read_build
from edge_se.core.errors import ArtifactError, EdgeSeError
from edge_se.core.measured_by import SHOWN
from edge_se.core.outputs import document, require_file
from edge_se.core.progress import SILENT, Progress
from edge_se.data.class_names import names_in
from edge_se.data.dataset import require_dataset
from edge_se.data.images import Images
from edge_se.evaluation import baseline as baselines
from edge_se.evaluation.detective import likely_cause
from edge_se.evaluation.gate import SEVERITY
from edge_se.evaluation.limits import (
    floor_verdicts,
    latency_verdicts,
    require_measured_there,
    share_verdicts,
    size_verdicts,
    worst,
)
from edge_se.evaluation.looks import Outcome, Rule, outcomes
from edge_se.evaluation.on_cluster import compute_on
from edge_se.evaluation.sequential import LOOKS, looks
from edge_se.evaluation.settings import NOTHING, Settings, given, read_settings
from edge_se.graph.onnx_model import OnnxModel
from edge_se.steps.export_images import described_images
from edge_se.steps.gate_device import judging
from edge_se.steps.judged import judged_images

SCHEMA = "edge-se/gate/1"


def gate(model: PathLike | None = None, *, max_drop: float | None = None, preset: str | None = None,
         alpha: float | None = None, wanted: Settings = NOTHING, config: PathLike | None = None,
         bench: PathLike | None = None, baseline: PathLike | None = None, update_baseline: bool = False,
         data: PathLike | None = None, labels: PathLike | None = None, split: str | None = None,
         skip_broken: bool = False, place: Place = HERE, cluster: Cluster | None = None,
         progress: Progress = SILENT) -> dict[str, Any]:
    """The document of `gate --json`: the worst INT8 file's verdict on top, all of them under `targets`.

    `max_drop`, `preset`, `alpha` and `wanted` win over the file `config`. Latency, size and baseline have verdicts of
    their own. `overall` is the worst of all and decides the exit code. `baseline` is compared with, or written;
    where it is a folder, the file of the model and the board in it.
    `data` is CIFAR-10 or labelled images of the user, judged on their test split or on `split`. `labels` is a file of
    the names of the outputs, for a build that has none. With `skip_broken` broken images are left out and counted.
    On the device of `place` files are judged by its runtimes, against FP32 there; `on_device` of each file compares
    with FP16 there and with the same file in onnxruntime here.
    Images are evaluated in shards on `cluster`, where there is one.
    """
    model, config, bench = text_of(model), path_of(config), path_of(bench)
    baseline, data = path_of(baseline), path_of(data)
    settings, source = read_settings(config, given(max_drop=max_drop, preset=preset, alpha=alpha).over(wanted))
    _require_whole(settings, bench, baseline, update_baseline)
    if cluster is not None and not place.here:
        raise EdgeSeError("a device judges its files itself", where="--cluster", fix="leave --cluster or --device out")
    build = read_build(locate_build(model))
    fp32, candidates = _files(build)
    if update_baseline and baseline is not None and not baseline.is_dir():  # a folder's file has the board's name
        require_file(baseline, document("gate-baseline"), "--baseline")
    dataset = require_dataset(data, names=names_in(str(labels)) if labels else (), split=split, skip_broken=skip_broken)
    with judging(place, build, candidates, progress) as (groups, device):  # before images are read, which may take long
        board = baselines.board_of(device)
        file = baselines.file_of(baseline, build.model, board) if baseline or update_baseline else None
        if update_baseline:
            require_file(file, document("gate-baseline"), "--baseline")
        if bench is not None and device is not None:
            require_measured_there(bench, board)
        judged = [item for item in candidates if any(item in group.files for group in groups)]
        beside = _limits(fp32, judged, settings, bench)
        build, test = judged_images(build, dataset, "the gate judges", progress)
        old = baselines.read_baseline(file, model=build.model, dataset_sha256=test.sha256, board=board) if (
            file and not update_baseline) else None
        plan = looks(len(test), settings.level, LOOKS if settings.sequential else 1)
        results = [outcome for group in groups for outcome in outcomes(
            build, fp32, group.files, test, plan, Rule.of(settings), progress, compute_on(cluster), group.there,
            group.fp16)]
    top = max(results, key=lambda outcome: (SEVERITY[outcome.judgement.verdict], outcome.judgement.ci_pp[1]))
    if old is not None:
        beside["baseline"] = _against(old, results, file)
    if settings.min_top1 is not None:
        rights = {outcome.artifact.file: outcome.right for outcome in results}
        beside["floor"] = floor_verdicts(rights, judged, settings.min_top1, settings.level)
    cause = likely_cause(OnnxModel.read(check_file(build, fp32)), test, top.fp32_top1, build.labels)
    if cause:
        progress.note(cause)
    overall = worst([top.judgement.verdict, *(row["verdict"] for rows in beside.values() for row in rows)])
    if update_baseline and file:
        _write_baseline(file, board, build, test, results, progress)
    return {"schema": SCHEMA, "model": build.model, "dataset": test.name, "fp32_top1": top.fp32_top1,
            "alpha": settings.level, "confidence": 1 - 2 * settings.level, "interval": "Tango score",
            "preset": settings.preset, "config": source, "design": "sequential" if len(plan) > 1 else "fixed",
            "images": len(test), "data": described_images(test), "overall": overall, **top.row(),
            "targets": [outcome.row() for outcome in results],
            **({"likely_cause": cause} if cause else {}), **({"device": device} if device else {}), **beside}


def _require_whole(settings: Settings, bench: Path | None, baseline: Path | None, update: bool) -> None:
    """Refuses options that exclude each other, before any image is evaluated."""
    if settings.sequential and (baseline or update):
        raise EdgeSeError("a baseline holds all images, and a sequential gate stops before", where="--sequential",
                          fix="leave one of them out")
    if settings.sequential and settings.min_top1 is not None:
        raise EdgeSeError("top-1 is judged on all images, and a sequential gate stops before", where="--sequential",
                          fix="leave --sequential or --min-top1 out")
    if settings.max_latency_ratio is not None and bench is None:
        raise EdgeSeError("no measurement to judge", where="--max-latency-ratio",
                          fix="give --bench with a document that `edge-se bench --out FILE` wrote")
    if settings.min_int8_share is not None and bench is None:
        raise EdgeSeError("no engine to judge", where="--min-int8-share",
                          fix="give --bench with a document that `edge-se bench --explain --out FILE` wrote")
    if bench is not None and settings.max_latency_ratio is None and settings.min_int8_share is None:
        raise EdgeSeError("no limit to judge it by", where="--bench", fix="give --max-latency-ratio or "
                          "--min-int8-share")


def _files(build: Build) -> tuple[Artifact, list[Artifact]]:
    fp32 = build.find("fp32")
    candidates = [artifact for artifact in build.artifacts if artifact.precision == "int8"]
    if fp32 is None or not candidates:
        raise ArtifactError("the gate compares INT8 with FP32; this build lacks one of them", where=build.folder,
                            fix=f"run `edge-se export --model {build.model} --int8`")
    return fp32, candidates


def _limits(fp32: Artifact, candidates: list[Artifact], settings: Settings,
            bench: Path | None) -> dict[str, list[dict[str, Any]]]:
    rows = {}
    if settings.max_latency_ratio is not None and bench is not None:
        rows["latency"] = latency_verdicts(fp32, candidates, settings.max_latency_ratio, settings.level, bench)
    if settings.min_int8_share is not None and bench is not None:
        rows["int8_share"] = share_verdicts(candidates, settings.min_int8_share, bench)
    if settings.max_size_ratio is not None:
        rows["size"] = size_verdicts(fp32, candidates, settings.max_size_ratio)
    return rows


def _against(old: baselines.Baseline, results: list[Outcome], path: Path | None) -> list[dict[str, Any]]:
    """One row per INT8 file: is it non-inferior to the baseline's of the same target, by the same margin?

    Answers of two runtimes are not compared: what differs then need not be the build.
    """
    rows = []
    for outcome in results:
        target = outcome.artifact.target
        judged = baselines.judge_against(old.rights, {target: outcome.right}, outcome.judgement.margin_pp,
                                         outcome.judgement.alpha)[target]
        row: dict[str, Any] = {"target": target, "file": outcome.artifact.file, "baseline": str(path)}
        then, now = old.runtimes.get(target), outcome.measured_by["runtime"]
        why = ("the baseline does not hold this target" if judged is None else
               f"the baseline was judged in {SHOWN.get(then, then)}, and this file in {SHOWN.get(now, now)}: use the "
               "same runtime, or write the baseline anew with --update-baseline" if then not in (None, now) else None)
        rows.append(row | ({"verdict": "inconclusive", "why": why} if judged is None or why else {
            "verdict": judged.verdict, "n": judged.paired.n, "margin_pp": judged.margin_pp, "drop_pp": judged.drop_pp,
            "ci_pp": list(judged.ci_pp), "mcnemar_p": judged.mcnemar_p, "broken": judged.paired.broken,
            "fixed": judged.paired.fixed}))
    return rows


def _write_baseline(path: Path, board: str | None, build: Build, test: Images, results: list[Outcome],
                    progress: Progress) -> None:
    """Writes the baseline, unless accuracy failed: a build that fails against FP32 is no baseline."""
    if any(outcome.judgement.verdict == "fail" for outcome in results):
        progress.note("the baseline was not written: the gate failed")
        return
    baselines.write_baseline(
        path, model=build.model, board=board, dataset=test.name, dataset_sha256=test.sha256,
        rights={outcome.artifact.target: outcome.right for outcome in results},
        files={outcome.artifact.target: {"file": outcome.artifact.file, "sha256": outcome.artifact.sha256,
                                         "bytes": outcome.artifact.bytes, "measured_by": outcome.measured_by}
               for outcome in results})
    progress.note(f"baseline written to {path}")
