"""`sensitivity`: which layers hurt, and which are worth it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edge_se.backends.base import Device
from edge_se.backends.table import first_that_runs
from edge_se.core import environment
from edge_se.core.arguments import PathLike, path_of, text_of
from edge_se.core.artifacts import check_file, locate_build, read_build
from edge_se.core.errors import ArtifactError
from edge_se.core.progress import SILENT, Progress
from edge_se.data import calibration as calibration_sets
from edge_se.data import cifar10, splits
from edge_se.data.preprocessing import CIFAR10
from edge_se.graph.onnx_model import OnnxModel
from edge_se.quantization.ranges import Statistics, collect
from edge_se.quantization.sensitivity import sensitivity as measure_units
from edge_se.quantization.table import FILE as TABLE
from edge_se.quantization.table import read_table
from edge_se.quantization.targets import target_of

SCHEMA = "edge-se/sensitivity/1"
IMAGES = 1000


def sensitivity(model: PathLike | None = None, *, target: str = "cpu", method: str = "minmax", images: int = IMAGES,
                data: PathLike | None = None, progress: Progress = SILENT) -> dict[str, Any]:
    """The document of `sensitivity --json`: each unit of a build quantized alone, against FP32.

    On the first `images` of the 5,000 validation images where CIFAR-10 is at hand, else on the calibration images.
    """
    data, build = path_of(data), read_build(locate_build(text_of(model)))
    fp32 = build.find("fp32")
    if fp32 is None:
        raise ArtifactError("holds no FP32 file", where=build.folder, fix="export again")
    loaded = OnnxModel.read(check_file(build, fp32))
    rules, cifar = target_of(target), cifar10.find(data)
    judged = splits.load("validation", cifar) if cifar else calibration_sets.load(None, None)
    judged = judged.first(images)
    statistics = _statistics(build.folder / TABLE, loaded, cifar, progress)
    runs_here = OnnxModel(content=loaded.content, precision="int8", target=target)
    backend, reasons = first_that_runs(runs_here, Device())
    if backend is None:
        progress.note(f"times are not measured: {'; '.join(reasons)}")
    rows = measure_units(loaded, statistics, rules, judged, method=method, backend=backend, progress=progress)
    return {"schema": SCHEMA, "model": build.model, "target": target, "method": method, "dataset": judged.name,
            "n": len(judged), "calibration": statistics.calibration, "sha256": loaded.sha256,
            "units": [{"name": row.unit.name, "kind": row.unit.kind, "macs": row.unit.macs, "sqnr_db": row.sqnr_db,
                       "flips": row.flips, "brings_ms": row.brings_ms} for row in rows],
            "environment": {"versions": environment.versions(), "hardware": environment.hardware(),
                            "commit": environment.commit()}}


def _statistics(table: Path, model: OnnxModel, cifar: cifar10.Cifar10 | None, progress: Progress) -> Statistics:
    """What the export saved, else collected now."""
    how = model.metadata.preprocessing if model.metadata else CIFAR10
    if table.is_file():
        return read_table(table, model, how)
    images = calibration_sets.load(None, cifar, how)
    with progress.task(f"calibrating on {images.name}", len(images)) as advance:
        return collect(model, images, advance)
