"""The work of a study's cell: train its net, then measure what the study asks for. Each result is kept.

Heavy packages are imported when a cell runs, in its own process, whose environment says how many threads they use.
"""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edge_se.core import environment
from edge_se.core.cards import CARD, WEIGHTS
from edge_se.core.files import alone_in, sha256_of, write_bytes, write_json
from edge_se.core.progress import Progress
from edge_se.studies.collect import Figure
from edge_se.studies.finished import evaluation_file, evaluations_of, finished, is_evaluated
from edge_se.studies.plan import Cell, Evaluations

METHOD, PLACEMENT = "mse", "se-float"  # of the INT8 file that sees corrupted images
CHECKPOINT, GRAPH = "checkpoint.pt", "fp32.onnx"


def arguments(cell: Cell, evaluations: Evaluations, folder: Path, *, device: str, data: Path | None) -> dict[str, Any]:
    """The arguments of `run`, as JSON. Paths are absolute, since a worker may run in another folder."""
    return {"cell": asdict(cell) | {"recipe_file": str(cell.recipe_file.resolve())}, "device": device,
            "evaluations": evaluations.model_dump(mode="json"), "folder": str(folder.resolve()),
            "data": None if data is None else str(data.resolve())}


def run(cell: dict[str, Any], evaluations: dict[str, Any], folder: str, device: str,
        data: str | None) -> dict[str, Any]:
    """Does what is left to do in `folder` and returns the document of `finished`. A second process waits."""
    from edge_se.reporting.console import ConsoleProgress

    own = Cell(**cell | {"recipe_file": Path(cell["recipe_file"])})
    wanted, where, images = Evaluations.model_validate(evaluations), Path(folder), None if data is None else Path(data)
    with alone_in(where):
        progress = ConsoleProgress()
        if not (where / CARD).is_file():
            _train(own, where, device, images, progress)
        for kind, settings in evaluations_of(wanted):
            path, weights = evaluation_file(where, kind, settings), sha256_of(where / WEIGHTS)
            if not is_evaluated(path, weights):
                write_json(path, {"settings": settings, "weights_sha256": weights, "commit": environment.commit(),
                                  "figures": _EVALUATE[kind](own, settings, where, images, device, progress)})
        done = finished(own, wanted, where)
    assert done is not None  # everything it asks for was just written
    return done


def _train(cell: Cell, folder: Path, device: str, data: Path | None, progress: Progress) -> None:
    from edge_se.steps.train import train

    train(cell.model, recipe=cell.recipe_file, epochs=cell.epochs, seed=cell.seed, device=device, out=folder,
          resume=(folder / CHECKPOINT).is_file(), data=data, test=False, progress=progress)
    (folder / CHECKPOINT).unlink(missing_ok=True)  # of a finished run; a grid of them would fill the disk


def _test(cell: Cell, settings: dict[str, Any], folder: Path, data: Path | None, device: str,
          progress: Progress) -> list[dict[str, Any]]:
    from edge_se.steps.train import test_figure

    accuracy = test_figure(cell.model, folder, device=device, data=data, progress=progress)
    low, high = accuracy["ci95"]
    return [asdict(Figure(evaluation="test", measure="top1", value=accuracy["top1"], low=low, high=high,
                          n=accuracy["n"], measured_by=accuracy["measured_by"]))]


def _graph(cell: Cell, folder: Path) -> Path:
    """The cell's FP32 graph, exported from its weights once, for all evaluations."""
    from edge_se.graph.onnx_model import OnnxModel
    from edge_se.graph.source import load_source

    path = folder / GRAPH
    told = OnnxModel.read(path).metadata if path.is_file() else None
    if told is None or told.source_sha256 != sha256_of(folder / WEIGHTS):
        write_bytes(path, load_source(cell.model, folder / WEIGHTS).model.content)
    return path


def _int8(cell: Cell, settings: dict[str, Any], folder: Path, data: Path | None, device: str,
          progress: Progress) -> list[dict[str, Any]]:
    from edge_se.graph.onnx_model import OnnxModel
    from edge_se.studies.int8 import int8_figures

    fp32 = OnnxModel.read(_graph(cell, folder))
    return [asdict(figure) for figure in int8_figures(fp32, settings, data, progress)]


def _robustness(cell: Cell, settings: dict[str, Any], folder: Path, data: Path | None, device: str,
                progress: Progress) -> list[dict[str, Any]]:
    """Figures of FP32 and the target's INT8 file: top-1 (Wilson), drop in points (Tango, paired by image), flips."""
    from edge_se.steps.export import export
    from edge_se.steps.robustness import robustness

    with tempfile.TemporaryDirectory(prefix="edge-se-study-") as name:
        build = export(str(_graph(cell, folder)), int8=True, targets=[settings["target"]], effort="quick",
                       method=METHOD, placement=PLACEMENT, data=data, out=Path(name) / "build", accuracy=False,
                       progress=progress)
        document = robustness(build.out, split="validation", images=settings["images"], data=data, progress=progress,
                              corruptions=settings["corruptions"], severities=settings["severities"])
    judges = {item["file"]: item["measured_by"] for item in document["files"]}
    return [asdict(figure) for condition in document["conditions"] for row in condition["files"]
            for figure in _of_condition(condition, row, document["n"], judges[row["file"]])]


def _of_condition(condition: dict[str, Any], row: dict[str, Any], n: int, judge: dict[str, Any]) -> list[Figure]:
    where = {"file": row["file"], "corruption": condition["corruption"], "severity": condition["severity"]}

    def figure(measure: str, value: float, interval: list[float] | None) -> Figure:
        low, high = interval or (None, None)
        return Figure(evaluation="robustness", measure=measure, value=value, low=low, high=high, n=n, conditions=where,
                      measured_by=judge)

    top1 = figure("top1", row["top1"], row["top1_ci"])
    if row["drop_pp"] is None:  # FP32 itself
        return [top1]
    return [top1, figure("drop_pp", row["drop_pp"], row["ci_pp"]), figure("flips", float(row["flips"]), None)]


# What a study asks for, by its kind. Nets are scored on the device that trains; graphs run in onnxruntime.
_EVALUATE = {"test": _test, "int8": _int8, "robustness": _robustness}
