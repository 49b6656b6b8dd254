"""The one document behind HTML, Markdown and JSON: schema edge-se/report/1, described in docs/schema/report-1.json."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from edge_se.core import environment
from edge_se.core.artifacts import BUILDS, Build
from edge_se.data.cifar10 import CLASSES, HOW_TO_GET
from edge_se.evaluation.doubts import CHANCE
from edge_se.measure.timing import noise_in_words
from edge_se.reporting.report.answers import GALLERY, classes_of, files_of, gallery_of, worst_of
from edge_se.reporting.report.calibrated import calibration_of
from edge_se.reporting.report.inputs import Bench, Material, Robustness, Sensitivity
from edge_se.reporting.report.latencies import fastest_of, pareto_of, rows_of
from edge_se.reporting.report.robustness import robustness_of

SCHEMA = "edge-se/report/1"


def report_document(materials: Sequence[Material], *, benches: Sequence[tuple[str, Bench]] = (),
                    sensitivities: Sequence[tuple[str, Sensitivity]] = (),
                    robust: Sequence[tuple[str, Robustness]] = (), margin_pp: float, alpha: float) -> dict[str, Any]:
    """Everything that a report says. Documents come with a name for messages.

    `margin_pp`: percentage points that INT8 may lose; `alpha`: one-sided error rate of a verdict.
    """
    builds = [_build(material, margin_pp, alpha, GALLERY // len(materials)) for material in materials]
    rows, notes = rows_of(builds, benches)
    for build in builds:
        build["fastest"] = fastest_of(rows, build["name"])
        build["sensitivity"] = [_sensitivity(given) for _, given in sensitivities
                                if given.sha256 == build["fp32_sha256"]]
    known = {build["fp32_sha256"] for build in builds}
    notes += [f"{source}: was measured on another FP32 file than those of the builds here (by SHA-256) and was left "
              "out; run `edge-se sensitivity` again." for source, given in sensitivities if given.sha256 not in known]
    notes += robustness_of(builds, robust)
    notes += [f"{build['name']}: {CHANCE}." for build in builds
              if not all(file.get("fp32_above_chance", True) for file in build["files"])]
    noise = noise_in_words([row["cv"] for row in rows if row["cv"] is not None])
    notes = [f"Latencies: {noise}.", *notes] if noise else notes  # beside the speed-ups of the summary
    return {"schema": SCHEMA, "margin_pp": margin_pp, "alpha": alpha, "confidence": 1 - 2 * alpha,
            "interval": "Tango score", "builds": builds,
            "latency": {"rows": rows, "pareto": pareto_of(rows)}, "notes": notes,
            "missing": _missing(builds, [_named(material.build) for material in materials], rows),
            "environment": {"versions": environment.versions(), "hardware": environment.hardware(),
                            "commit": environment.commit()}}


def _build(material: Material, margin_pp: float, alpha: float, shown: int) -> dict[str, Any]:
    build, files = material.build, files_of(material, margin_pp, alpha)
    fp32 = next((row for row in files if row["label"] == "fp32"), None)
    worst = worst_of(files)
    smallest = min((row for row in files if row["precision"] == "int8"), key=lambda row: row["bytes"], default=None)
    return {
        "name": material.name, "model": build.model, "verdict": worst["verdict"] if worst else "not judged",
        "worst": worst["file"] if worst else None, "fp32_sha256": fp32["sha256"] if fp32 else None,
        "size_ratio": smallest["bytes"] / fp32["bytes"] if smallest and fp32 and fp32["bytes"] else None,
        "files": files, "judged_on": material.predictions.images.name if material.predictions else None,
        "cifar10": build.labels == CLASSES, "classes": classes_of(material, alpha),
        "gallery": gallery_of(material, max(1, shown)), "calibration": calibration_of(material),
        "provenance": {"source": build.source, "calibration": build.calibration, "preprocessing": build.preprocessing,
                       "parity": build.parity, "environment": build.environment}}


def _sensitivity(given: Sensitivity) -> dict[str, Any]:
    """Units that cost the most first."""
    units = sorted((unit.model_dump() for unit in given.units), key=lambda unit: float(unit["sqnr_db"]))
    return {"target": given.target, "method": given.method, "dataset": given.dataset, "n": given.n, "units": units}


def _named(build: Build) -> str:
    """What `--model` takes, without the path of a folder of this machine, and whether it needs `--data`."""
    name = shlex.quote(build.folder.name) if build.folder == BUILDS / build.folder.name else "FOLDER"
    return name if build.labels == CLASSES else f"{name} --data DIR"


def _missing(builds: list[dict[str, Any]], named: list[str], rows: list[dict[str, Any]]) -> list[dict[str, str]]:
    """The parts that the report lacks, each with one sentence on how to get it; `named` are the builds as options."""
    missing = []
    if any(build["judged_on"] is None and build["cifar10"] for build in builds):
        missing.append(("Verdicts, drops by class and flipped images", f"CIFAR-10 is not here: {HOW_TO_GET}."))
    foreign = [build["name"] for build in builds if build["judged_on"] is None and not build["cifar10"]]
    if foreign:
        missing.append(("Verdicts, drops by class and flipped images",
                        f"Give labelled images of {', '.join(foreign)} with --data."))
    if not rows:
        missing.append(("Latencies and Pareto", "Run `edge-se bench --model NAME --out bench.json` and give "
                        "`--bench bench.json`, or keep the file as bench.json in the build's folder."))
    for build, options in zip(builds, named):
        if not any(file["precision"] == "int8" for file in build["files"]):
            missing.append((f"INT8 of {build['name']}", f"Run `edge-se export --model {build['model']} --int8`."))
        elif build["calibration"] is None:
            missing.append((f"Calibration of {build['name']}", "Its folder holds no calibration.npz that fits: run "
                            f"`edge-se export --model {build['model']} --int8` again."))
        if not build["sensitivity"]:
            missing.append((f"Sensitivity of {build['name']}", f"Run `edge-se sensitivity --model {options} "
                            "--out sensitivity.json` and give `--sensitivity sensitivity.json`."))
        if not build["robustness"] and (build["cifar10"] or build["judged_on"]):
            missing.append((f"Robustness of {build['name']}", f"Run `edge-se robustness --model {options} --out "
                            "robustness.json` and give `--robustness robustness.json`."))
    return [{"section": section, "how": how} for section, how in missing]
