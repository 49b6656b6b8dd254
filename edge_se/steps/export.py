"""`export`: one FP32 graph, its FP16 and INT8 versions, each with its figures, in a folder with a manifest."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from edge_se.backends.machines.choice import HERE, Place
from edge_se.core import environment
from edge_se.core.arguments import Names, PathLike, names_of, path_of, text_of
from edge_se.core.artifacts import BUILDS, MANIFEST, Build
from edge_se.core.files import alone_in, sweep, unfinished, write_bytes, write_json
from edge_se.core.memory import give_back
from edge_se.core.progress import SILENT, Progress
from edge_se.data.calibration import require_known
from edge_se.data.class_names import names_in
from edge_se.data.dataset import find_dataset
from edge_se.data.leaks import require_apart, require_not_calibrated_on
from edge_se.evaluation.doubts import calibration_doubts
from edge_se.evaluation.parity import parity
from edge_se.graph.fixed_batch import with_fixed_batch
from edge_se.graph.source import SourceOptions, load_source
from edge_se.graph.tflite.flatbuffer import tflite_name
from edge_se.quantization.effort import AUTO, EFFORTS, effort_of, require_method
from edge_se.quantization.placement import require_placement
from edge_se.quantization.search import Budget
from edge_se.quantization.table import FILE as TABLE
from edge_se.quantization.table import is_table, table_bytes
from edge_se.quantization.targets import targets_for
from edge_se.steps.bundle import left_out, write_bundle
from edge_se.steps.export_fidelity import with_fidelity
from edge_se.steps.export_figures import described, measured
from edge_se.steps.export_files import FOLDED, Made, Quantizing, fp16_of, fused, with_folded_excitations
from edge_se.steps.export_images import (
    calibration_images,
    described_images,
    held_out_images,
    judged_images,
    named_by,
    tell_of_skipped,
)
from edge_se.steps.export_notes import (
    tell_of_accuracy,
    tell_of_broken_rules,
    tell_of_cause,
    tell_of_doubts,
    tell_of_no_ranges,
    warn_of_old_versions,
    warn_of_slow,
)
from edge_se.steps.export_options import (
    require_batch,
    require_output,
    require_ranges,
    require_search,
    require_sensible,
    targets_there,
    writable,
)


def export(model: PathLike, *, weights: PathLike | None = None, fp16: bool = False, int8: bool = False,
           targets: Names | None = None, calibration: PathLike | None = None, effort: str = "default",
           method: str | None = None, placement: str | None = None, budget: Budget | None = None,
           data: PathLike | None = None, out: PathLike | None = None, accuracy: bool = True, bundle: bool = False,
           preprocessing: SourceOptions | None = None, untrained: bool = False, fold_excitations: bool = False,
           labels: PathLike | None = None, split: str | None = None, skip_broken: bool = False,
           fuse_preprocessing: bool = False, batch: int | None = None, place: Place = HERE,
           progress: Progress = SILENT) -> Build:
    """Writes `fp32.onnx` and what was asked for to `out` (build/NAME) and returns the manifest.

    Everything is made and measured in memory first and written at the end, so an interrupted or failed export
    leaves the old build. With `accuracy` False nothing is evaluated but agreement on the calibration images.
    `method` and `placement` take precedence over those of `effort`. With `untrained` a net of the zoo gets random
    weights, and NAME-untrained is what the build says everywhere. With `fold_excitations` every file is made from the
    graph whose excitations are constants where `budget` allows (edge_se.quantization.folding), and
    NAME-folded is what the build says; `source` then has what was folded and what it cost on held-out images.
    `data` is CIFAR-10 or labelled images of the user (edge_se.data.dataset): accuracy is measured on their test
    split, or on `split`, and they name the outputs of a model that has no names. `labels` is the file whose names
    `preprocessing` has: classes of the images may go by its other names. With `skip_broken` images that
    cannot be decoded are left out and counted. With `fuse_preprocessing` every file takes the bytes of a camera
    (edge_se.graph.fusing). With `batch` every file takes so many images at once and no other number.
    `place` times the candidates of `placement="auto"`; what it runs best is then the default of `targets`.
    """
    model, calibration, targets = text_of(model), text_of(calibration), names_of(targets)
    weights, data, out = path_of(weights), path_of(data), path_of(out)
    budget = budget or Budget()
    require_batch(batch)
    require_sensible(int8, {"--target": targets, "--method": method, "--placement": placement}, budget)
    chosen = effort_of(effort)
    placement = placement or chosen.placement
    require_search(place, placement if int8 else None, budget)
    wanted = writable(targets_for(targets, environment.cpu_flags()) if int8 else [], targets, progress)
    if placement is not None and placement != AUTO:
        require_placement(placement)
    dataset = find_dataset(data, names=names_in(text_of(labels)) if labels else (), split=split,
                           skip_broken=skip_broken)
    table = Path(calibration) if calibration and is_table(Path(calibration)) else None
    if calibration and not table:
        require_known(calibration)
    require_ranges(wanted, {"--method": method, "--calibration": table})
    method = require_method(method or chosen.method)
    started = time.monotonic()
    with progress.task("exporting to ONNX", 1) as advance:
        source = named_by(load_source(model, weights, preprocessing, untrained), dataset)
        if batch is not None:
            source = replace(source, model=with_fixed_batch(source.model, batch))
        source = fused(source, progress) if fuse_preprocessing else source
        advance(1)
    seconds = time.monotonic() - started
    give_back()
    if not place.here:
        wanted = targets_there(place, source.model, wanted if targets else None, progress)
    require_output(out or BUILDS / (f"{source.name}-{FOLDED}" if fold_excitations else source.name), model, bundle)
    if source.assumption:
        progress.note(source.assumption)
    judged = judged_images(source, dataset) if accuracy else None
    calibrated = any(target.calibrated for target in wanted)
    images = calibration_images(source, None if table else calibration, dataset, skip_broken=skip_broken,
                                needed=calibrated or not int8 or fold_excitations or placement == AUTO)
    for own in (images, judged):
        if own is not None:
            tell_of_skipped(own, progress)
    if judged is not None and int8 and not table:
        require_apart(images, judged)
    found_parity = parity(source, images)
    if fold_excitations:
        source = with_folded_excitations(source, images, held_out_images(source, images, dataset), budget, progress)
    made = [Made(model=source.model, seconds=seconds)]
    if fp16:
        made.append(fp16_of(source.model))
    statistics, quantizing = None, None
    if int8:
        quantizing = Quantizing(source.model, wanted, method, placement)
        statistics = quantizing.statistics(images, table, progress)
        if judged is not None and table:
            require_not_calibrated_on(statistics.contents, judged, table)
        if placement is None:
            quantizing.choose_placements(statistics, images, progress)
        quantizing.choose_methods(statistics, images, progress)
        if placement == AUTO:
            held_out = held_out_images(source, images, dataset)
            quantizing.search(statistics, held_out, budget, place, out or BUILDS / source.name, progress)
        made += quantizing.models(statistics)
        quantizing.tell_of_groups(progress)
        give_back()
    warn_of_old_versions(made, progress)
    tell_of_broken_rules(made, progress)
    tell_of_no_ranges(wanted, images, progress)
    if chosen is not EFFORTS["quick"]:
        warn_of_slow(made, progress)
    artifacts = measured(made, images if judged is None else judged, progress, labelled=judged is not None)
    if chosen is not EFFORTS["quick"] and not source.is_untrained:
        artifacts = with_fidelity(artifacts, made, images, progress)
    tell_of_doubts(artifacts, source, progress)
    tell_of_accuracy(source, dataset, progress)
    if judged is not None:
        tell_of_cause(source, artifacts[0], judged, progress)
    content, calibration_told = b"", None
    if statistics and quantizing and calibrated:
        content = table_bytes(statistics)
        calibration_told = described(statistics, content, None if table else images, method=method, effort=effort,
                                     over_budget=quantizing.over_budget)
        for doubt in calibration_doubts(calibration_told):
            progress.note(doubt)
    build = Build(
        model=source.name, out=str(out or BUILDS / source.name), source=source.origin,
        calibration=calibration_told,
        preprocessing=_but_labels(source.metadata.preprocessing.document()), labels=source.metadata.labels,
        parity=found_parity, artifacts=artifacts, placements=(quantizing and quantizing.searches) or None,
        data=None if judged is None else described_images(judged),
        environment={"versions": environment.versions(), "hardware": environment.hardware(),
                     "commit": environment.commit()})
    _write(build, made, content)
    if bundle:
        progress.note(f"{write_bundle(build)}: copy it to the device and run `python3 run.py IMAGE` in it")
        if lacking := left_out(build):
            progress.note(lacking)
    if quantizing is not None:
        quantizing.raise_failure(build.folder)
    return build


def _but_labels(document: dict[str, Any]) -> dict[str, Any]:
    """Labels stand in the manifest once, beside the preprocessing."""
    return {key: value for key, value in document.items() if key != "labels"}


def _write(build: Build, made: Sequence[Made], table: bytes) -> None:
    folder = build.folder
    with alone_in(folder):  # the build that is written last is whole
        sweep(folder)
        with unfinished(folder, MANIFEST):
            for item in made:
                write_bytes(folder / item.model.file_name, item.model.content)
                if item.tflite:
                    write_bytes(folder / tflite_name(item.model.file_name), item.tflite)
            if table:
                write_bytes(folder / TABLE, table)
            write_json(folder / MANIFEST, build.document())
