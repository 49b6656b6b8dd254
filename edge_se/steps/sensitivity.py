"""`sensitivity`: which layers hurt, and which are worth it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from edge_se.backends.base import Device
from edge_se.backends.table import first_that_runs
from edge_se.core import environment
from edge_se.core.arguments import PathLike, path_of, text_of
from edge_se.core.artifacts import Build, check_file, locate_build, read_build
from edge_se.core.errors import ArtifactError
from edge_se.core.progress import SILENT, Progress
from edge_se.data import calibration as calibration_sets
from edge_se.data import cifar10
from edge_se.data.dataset import Dataset, find_dataset
from edge_se.data.images import Images
from edge_se.data.preprocessing import CIFAR10, Preprocessing
from edge_se.graph.onnx_model import OnnxModel
from edge_se.quantization.ranges import Statistics, collect
from edge_se.quantization.sensitivity import sensitivity as measure_units
from edge_se.quantization.table import FILE as TABLE
from edge_se.quantization.table import read_table
from edge_se.quantization.targets import Target, target_of
from edge_se.steps.export_images import outputs_of, tell_of_skipped

SCHEMA = "edge-se/sensitivity/1"
IMAGES = 1000
USUAL = "mse"  # the method where the build has no INT8 file


def sensitivity(model: PathLike | None = None, *, target: str = "cpu", method: str | None = None, images: int = IMAGES,
                calibration: PathLike | None = None, data: PathLike | None = None, skip_broken: bool = False,
                progress: Progress = SILENT) -> dict[str, Any]:
    """The document of `sensitivity --json`: each unit of a build quantized alone, against FP32.

    Ranges are those of the build's own calibration, by its own method unless `method` names another. Units are judged
    on `images` held-out images of `data`, which a CIFAR-10 classifier has by default where CIFAR-10 is at hand; without
    it on the images of `calibration`, else on those that the build was calibrated on, prepared as the build says.
    """
    data, build = path_of(data), read_build(locate_build(text_of(model)))
    fp32 = build.find("fp32")
    if fp32 is None:
        raise ArtifactError("holds no FP32 file", where=build.folder, fix="export again")
    loaded = OnnxModel.read(check_file(build, fp32))
    rules, dataset = target_of(target), find_dataset(data, skip_broken=skip_broken)
    how = loaded.metadata.preprocessing if loaded.metadata else CIFAR10
    method = _method(build, target) if method is None else method
    is_judged = dataset is not None and calibration is None and dataset.judges(replace(how, labels=build.labels))
    held_out = dataset.held_out(how, outputs_of(loaded)) if dataset and is_judged else None
    own_images = partial(_calibration_images, build, calibration, dataset, how, skip_broken)
    judged = held_out or own_images()
    tell_of_skipped(judged, progress)
    judged = judged.sample(images)
    statistics = _statistics(build, loaded, rules, own_images, how, progress)
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


def _method(build: Build, target: str) -> str:
    """That of the build's file for `target`, else of its other files, else the usual one."""
    own = [item.method for item in sorted(build.artifacts, key=lambda item: item.target != target) if item.method]
    return own[0] if own else USUAL


def _calibration_images(build: Build, named: PathLike | None, dataset: Dataset | None, how: Preprocessing,
                        skip_broken: bool) -> Images:
    """Those that are named, else those of the build where they are still what it was calibrated on."""
    cifar, told = dataset.cifar if dataset else None, build.calibration or {}
    if named is not None:
        return calibration_sets.load(str(named), cifar, how, skip_broken=skip_broken)
    if dataset and not cifar:
        return dataset.calibration(how)
    if told.get("name") in calibration_sets.bundled():
        return calibration_sets.load(str(told["name"]), cifar, how)
    if not told or (build.labels == cifar10.CLASSES and how.size == CIFAR10.size):  # trained on such images
        return calibration_sets.load(None, cifar, how)
    raise ArtifactError(f"was calibrated on '{told.get('name')}', which is not bundled", where=build.folder,
                        fix="give these or other images with --calibration")


def _statistics(build: Build, model: OnnxModel, target: Target, images_of: Callable[[], Images], how: Preprocessing,
                progress: Progress) -> Statistics:
    """What the export saved, else, or where it was for targets that quantize less, collected now of `images_of()`."""
    table = build.folder / TABLE
    if table.is_file() and not (saved := read_table(table, model, how)).lacks(model, [target]):
        return saved
    images = images_of()
    with progress.task(f"calibrating on {images.name}", len(images)) as advance:
        return collect(model, images, advance, targets=[target])
