"""`export`: one FP32 graph, its FP16 and INT8 versions, each with its figures, in a folder with a manifest."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edge_se.backends.base import Device
from edge_se.backends.table import first_that_runs
from edge_se.core import environment
from edge_se.core.arguments import Names, PathLike, names_of, path_of, text_of
from edge_se.core.artifacts import BUILDS, MANIFEST, Artifact, Build
from edge_se.core.errors import EdgeSeError, ModelError
from edge_se.core.files import alone_in, sweep, unfinished, write_bytes, write_json
from edge_se.core.outputs import require_folder
from edge_se.core.progress import SILENT, Progress
from edge_se.data import calibration as calibration_sets
from edge_se.data import cifar10, splits
from edge_se.data.preprocessing import CIFAR10
from edge_se.data.splits import ImageSet
from edge_se.evaluation.accuracy import flips, logits_of, top1
from edge_se.evaluation.doubts import calibration_doubts, doubts_of
from edge_se.evaluation.parity import parity
from edge_se.evaluation.statistics import wilson_interval
from edge_se.graph.counting import count
from edge_se.graph.metadata import write_metadata
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.source import Source, SourceOptions, load_source
from edge_se.graph.targets.base import Target
from edge_se.quantization.chains import NO_KERNEL, depthwise_swishes
from edge_se.quantization.effort import AUTO, EFFORTS, best_method, effort_of, require_method
from edge_se.quantization.folding import fold_excitations as fold_excitations_of
from edge_se.quantization.placement import place, require_placement
from edge_se.quantization.ranges import Statistics, collect
from edge_se.quantization.search import Budget, search
from edge_se.quantization.sensitivity import between_layers, interleaved_medians
from edge_se.quantization.static import quantize
from edge_se.quantization.table import FILE as TABLE
from edge_se.quantization.table import is_table, read_table, table_bytes
from edge_se.quantization.targets import TARGETS, targets_for
from edge_se.steps.bundle import FILE as BUNDLE_FILE
from edge_se.steps.bundle import FOLDER as BUNDLE
from edge_se.steps.bundle import write_bundle

ENLARGED = 32  # images that suffice for an untrained net
FOLDED = "folded"
SLOWER = 1.05  # within five percent is as fast
NOT_MEASURED = ("accuracy was not measured: CIFAR-10 is not here. Agreement with FP32 is on the calibration images.\n"
                "To measure it: " + cifar10.HOW_TO_GET)
UNTRAINED = ("untrained: the weights are random, so accuracy was not measured and agreement with FP32 says nothing. "
             "Structure, size and latency are those of the trained net.")


def export(model: PathLike, *, weights: PathLike | None = None, fp16: bool = False, int8: bool = False,
           targets: Names | None = None, calibration: PathLike | None = None, effort: str = "default",
           method: str | None = None, placement: str | None = None, budget: Budget | None = None,
           data: PathLike | None = None, out: PathLike | None = None, accuracy: bool = True, bundle: bool = False,
           preprocessing: SourceOptions | None = None, untrained: bool = False, fold_excitations: bool = False,
           progress: Progress = SILENT) -> Build:
    """Writes `fp32.onnx` and what was asked for to `out` (build/NAME) and returns the manifest.

    Everything is made and measured in memory first and written at the end, so an interrupted or failed export
    leaves the old build. With `accuracy` False nothing is evaluated but agreement on the calibration images.
    `method` and `placement` take precedence over those of `effort`. With `untrained` a net of the zoo gets random
    weights, and NAME-untrained is what the build says everywhere. With `fold_excitations` every file is made from the
    graph whose excitations are constants where `budget` allows (edge_se.quantization.folding), and
    NAME-folded is what the build says; `source` then has what was folded and what it cost on held-out images.
    """
    model, calibration, targets = text_of(model), text_of(calibration), names_of(targets)
    weights, data, out = path_of(weights), path_of(data), path_of(out)
    budget = budget or Budget()
    _require_sensible(int8, {"--target": targets, "--method": method, "--placement": placement}, budget)
    chosen = effort_of(effort)
    method, placement = require_method(method or chosen.method), placement or chosen.placement
    wanted = targets_for(targets, environment.cpu_flags()) if int8 else []
    if placement is not None and placement != AUTO:
        require_placement(placement)
    cifar = cifar10.find(data)
    table = Path(calibration) if calibration and is_table(Path(calibration)) else None
    started = time.monotonic()
    with progress.task("exporting to ONNX", 1) as advance:
        source = load_source(model, weights, preprocessing, untrained)
        advance(1)
    seconds = time.monotonic() - started
    _require_output(out or BUILDS / (f"{source.name}-{FOLDED}" if fold_excitations else source.name), model, bundle)
    if source.assumption:
        progress.note(source.assumption)
    images = _calibration_images(source, None if table else calibration, cifar)
    found_parity = parity(source, images)
    if fold_excitations:
        source = _with_folded_excitations(source, images, _held_out(source, images, cifar), budget, progress)
    made = [_Made(model=source.model, seconds=seconds)]
    if fp16:
        made.append(_fp16(source.model))
    statistics, quantizing = None, None
    if int8:
        quantizing = _Quantizing(source.model, wanted, method, placement)
        statistics = quantizing.statistics(images, table, progress)
        quantizing.choose_methods(statistics, images, progress)
        if placement == AUTO:
            held_out = _held_out(source, images, cifar)
            quantizing.search(statistics, held_out, budget, out or BUILDS / source.name, progress)
        made += quantizing.models(statistics)
        quantizing.tell_of_groups(progress)
    _warn_of_old_versions(made, progress)
    if chosen is not EFFORTS["quick"]:
        _warn_of_slow(made, progress)
    judged = splits.load("test", cifar) if cifar and accuracy and source.is_cifar10 else images
    artifacts = _measured(made, judged, progress)
    for item in artifacts:
        if item.precision == "int8" and not source.is_untrained:
            for doubt in doubts_of(item):
                progress.note(f"{item.file}: {doubt}")
    if source.is_untrained:
        progress.note(UNTRAINED)
    elif not source.is_cifar10:
        progress.note(f"accuracy was not measured: {_no_figure(source)}. Agreement with FP32 is on the calibration "
                      "images.")
    elif cifar is None:
        progress.note(NOT_MEASURED)
    content = table_bytes(statistics) if statistics else b""
    described = None
    if statistics:
        # A table does not tell how many calibration images differ.
        different = len({image.tobytes() for image in images.pixels})
        seen = {} if table or different == len(images) else {"different": different}
        over = {"over_budget": quantizing.over_budget} if quantizing and quantizing.over_budget else {}
        described = _described(statistics, method, content) | {"effort": effort} | seen | over
        for doubt in calibration_doubts(described):
            progress.note(doubt)
    build = Build(
        model=source.name, out=str(out or BUILDS / source.name), source=source.origin,
        calibration=described,
        preprocessing=_but_labels(source.metadata.preprocessing.document()), labels=source.metadata.labels,
        parity=found_parity, artifacts=artifacts,
        environment={"versions": environment.versions(), "hardware": environment.hardware(),
                     "commit": environment.commit()})
    _write(build, [item.model for item in made], content)
    if bundle:
        progress.note(f"{write_bundle(build)}: copy it to the device and run `python3 run.py IMAGE` in it")
    if quantizing is not None:
        quantizing.raise_failure(build.folder)
    return build


def _require_sensible(int8: bool, of_int8: dict[str, str | Sequence[str] | None], budget: Budget) -> None:
    """Refuses options that are invalid or that nothing reads, before anything takes time."""
    for option, value in of_int8.items():
        if value is not None and not value:
            raise EdgeSeError("names nothing", where=option, fix=f"leave {option} out, or name something")
        if value is not None and not int8:
            raise EdgeSeError("says how INT8 files are made, and none is asked for", where=option,
                              fix=f"add --int8, or leave {option} out")
    if not 0 <= budget.max_drop_pp <= 100:
        raise EdgeSeError(f"{budget.max_drop_pp:g} is no loss in percentage points", where="--max-drop",
                          fix="give a number from 0 to 100")
    if budget.seconds is not None and not budget.seconds > 0:
        raise EdgeSeError(f"{budget.seconds:g} seconds bound no search", where="--search-seconds",
                          fix="give a number above 0")


def _calibration_images(source: Source, name: str | None, cifar: cifar10.Cifar10 | None) -> ImageSet:
    """The calibration set at the model's size, with the model's preprocessing."""
    how = source.metadata.preprocessing
    if source.is_untrained and name is None and how.size != CIFAR10.size:
        return calibration_sets.enlarged(calibration_sets.load(None, None).first(ENLARGED), how)
    return calibration_sets.load(name, cifar, how)


def _but_labels(document: dict[str, Any]) -> dict[str, Any]:
    """Labels stand in the manifest once, beside the preprocessing."""
    return {key: value for key, value in document.items() if key != "labels"}


def _no_figure(source: Source) -> str:
    """Why the accuracy is unknown."""
    if source.metadata.labels:
        return "this is no CIFAR-10 classifier"
    return "nothing says which classes its outputs are (--labels FILE, or --labels cifar10, tells)"


def _held_out(source: Source, images: ImageSet, cifar: cifar10.Cifar10 | None) -> ImageSet:
    """What placements and foldings are chosen on: validation images, or the calibration images where none are here."""
    return splits.load("validation", cifar) if cifar and source.is_cifar10 else images


def _with_folded_excitations(source: Source, images: ImageSet, held_out: ImageSet, budget: Budget,
                              progress: Progress) -> Source:
    """`source` with a graph of its own name; no net computes quite what that does."""
    if source.is_untrained:
        raise ModelError("excitations of random weights are not those of a trained net", where="--fold-excitations",
                         fix="leave --untrained or --fold-excitations out")
    model, folding = fold_excitations_of(source.model, images, held_out, max_drop_pp=budget.max_drop_pp,
                                         alpha=budget.alpha, progress=progress)
    name, proto, told = f"{source.name}-{FOLDED}", model.copy(), folding.document()
    # The parameters of the net are no longer those of the graph, which are counted then.
    write_metadata(proto, replace(source.metadata, model=name, params=None))
    low, high = told["ci_pp"]
    progress.note(f"{told['folded']} of {len(told['gates'])} excitations folded: {told['drop_pp']:+.2f} points lost "
                  f"({low:+.2f} to {high:+.2f}), {told['flips']} flips on {told['n']:,} images of {told['held_out']}")
    return replace(source, name=name, model=OnnxModel.of(proto), origin=source.origin | {"gates": told},
                   reference=None)


@dataclass(frozen=True, kw_only=True)
class _Made:
    """A graph, how it was quantized and the seconds that making it took."""

    model: OnnxModel
    seconds: float
    placement: str | None = None
    method: str | None = None


def _fp16(model: OnnxModel) -> _Made:
    from edge_se.graph.fp16 import to_fp16

    started = time.monotonic()
    return _Made(model=to_fp16(model), seconds=time.monotonic() - started)


class _Quantizing:
    """One Q/DQ graph per target, all from the same statistics."""

    def __init__(self, model: OnnxModel, targets: Sequence[Target], method: str, placement: str | None) -> None:
        self._model, self._share = model, 0.0
        self._failures: list[tuple[str, Exception]] = []
        self.over_budget: list[str] = []  # targets of which no candidate surely keeps accuracy
        named = None if placement == AUTO else placement
        self._chosen = [(target, place(model.proto, target, named), method) for target in targets]

    def statistics(self, images: ImageSet, table: Path | None, progress: Progress) -> Statistics:
        """Statistics of the calibration images, or those that an earlier run saved in `table`."""
        if table:
            return read_table(table, self._model, images.preprocessing)
        started = time.monotonic()
        with progress.task(f"calibrating on {images.name}", len(images)) as advance:
            collected = collect(self._model, images, advance)
        self._share = (time.monotonic() - started) / len(self._chosen)
        return collected

    def choose_methods(self, statistics: Statistics, images: ImageSet, progress: Progress) -> None:
        """Replaces the method `auto` of each target by the one that is nearest to FP32 on `images`."""
        self._chosen = [(target, chosen, method if method != AUTO else
                         best_method(self._model, statistics, target, chosen, images, progress))
                        for target, chosen, method in self._chosen]

    def search(self, statistics: Statistics, held_out: ImageSet, budget: Budget, folder: Path,
               progress: Progress) -> None:
        """Replaces each target's placement by the one that the search chose; the log goes to `folder`."""
        for position, (target, _, method) in enumerate(self._chosen):
            runnable = OnnxModel(content=self._model.content, precision="int8", target=target.name)
            backend, _ = first_that_runs(runnable, Device())
            chosen, rows = search(self._model, statistics, target, held_out, method=method, backend=backend,
                                  budget=budget, log=folder / f"candidates.{target.name}.json", progress=progress)
            if not any(row.within_budget for row in rows):
                self.over_budget.append(target.name)
                progress.note(f"no placement for {target.name} surely loses at most {budget.max_drop_pp:g} points: the "
                              "most accurate one was taken")
            self._chosen[position] = (target, chosen, method)

    def tell_of_groups(self, progress: Progress) -> None:
        """Tells how many grouped convolutions each target leaves in float, and why."""
        for target, chosen, _ in self._chosen:
            if count_of := len(chosen.narrow_groups):
                progress.note(f"int8.{target.name}.onnx: {count_of} grouped convolution{'s' * (count_of > 1)} "
                              f"(2 to {target.narrow_group} channels a group, or depthwise with more outputs) "
                              "stay FP32: INT8 takes longer there in onnxruntime")

    def models(self, statistics: Statistics) -> list[_Made]:
        """The INT8 models. The seconds of each include its share of calibration."""
        made = []
        for target, chosen, method in self._chosen:
            started = time.monotonic()
            try:
                quantized = quantize(self._model, statistics.ranges(method, target.activations), target, chosen)
            except Exception as error:  # `raise_failure` tells of it when the files of the others are written
                self._failures.append((target.name, error))
                continue
            made.append(_Made(model=quantized, placement=chosen.name, method=method,
                              seconds=self._share + time.monotonic() - started))
        if not made:
            raise self._failures[0][1]
        return made

    def raise_failure(self, folder: Path) -> None:
        """Raises what the first target without a file failed with, if one did: the exit code tells of it."""
        for name, error in self._failures:
            if isinstance(error, EdgeSeError):
                raise type(error)(f"int8.{name}.onnx was not made ({error.what}); the other files are in {folder}",
                                  where=error.where, fix=error.fix) from error
            raise error


def _warn_of_old_versions(made: list[_Made], progress: Progress) -> None:
    """Warns of each INT8 file that the oldest version promised by its target does not read or build."""
    for model in (item.model for item in made if item.model.target in TARGETS):
        for runtime, version in TARGETS[model.target].oldest.items():
            reason = TARGETS[model.target].runs_in(runtime, version, opset=model.opset)
            if reason:
                progress.note(f"{model.file_name} is not for every {runtime}: {reason}")
        chains = depthwise_swishes(model.proto) if TARGETS[model.target].oldest.get("tensorrt") == "8.5" else []
        if chains:
            progress.note(f"{model.file_name}: {', '.join(chains[:3])}{', ...' if chains[3:] else ''}: {NO_KERNEL}")


def _warn_of_slow(made: list[_Made], progress: Progress) -> None:
    """Warns of each INT8 file that is slower than FP32 in its own runtime, if that is installed."""
    for item in made:
        backend, _ = first_that_runs(item.model, Device()) if item.model.precision == "int8" else (None, [])
        if backend is None:
            continue
        fp32, int8 = interleaved_medians([made[0].model, item.model], backend, progress)
        if int8 > SLOWER * fp32:
            progress.note(f"{item.model.file_name} is slower than FP32 on this machine ({int8:.2f} against {fp32:.2f} "
                          f"ms, {backend.name}): {between_layers(item.model)}. `--placement auto` looks for a faster "
                          "one and refuses when there is none.")


def _measured(made: list[_Made], images: ImageSet, progress: Progress) -> tuple[Artifact, ...]:
    """Accuracy (when the images are labelled test images) and agreement with FP32 of each graph."""
    reference, artifacts = None, []
    for item in made:
        with progress.task(f"evaluating {item.model.file_name} on {images.name}", len(images)) as advance:
            logits = logits_of(item.model, images, advance)
        reference = logits if reference is None else reference
        artifacts.append(_artifact(item, images, flips(logits, reference)))
        if images.split == "test" and images.labels is not None:
            right = round(len(images) * top1(logits, images.labels) / 100)
            low, high = wilson_interval(right, len(images))
            artifacts[-1] = replace(artifacts[-1], top1=100 * right / len(images), top1_n=len(images),
                                    top1_ci=(round(100 * low, 4), round(100 * high, 4)))
    return tuple(artifacts)


def _artifact(item: _Made, images: ImageSet, flipped: int) -> Artifact:
    model, counts = item.model, count(item.model.proto)
    params = model.metadata.params if model.metadata and model.metadata.params else counts.params
    return Artifact(
        precision=model.precision, target=model.target, file=model.file_name, sha256=model.sha256,
        parent_sha256=model.parent_sha256, bytes=len(model.content), params=params, macs=counts.macs,
        flops=counts.flops, int8_mac_share=counts.int8_mac_share, placement=item.placement, method=item.method,
        top1=None, top1_n=None, top1_ci=None, dataset=images.name,
        agreement_with_fp32=100 * (1 - flipped / len(images)), flips=flipped, flips_n=len(images),
        seconds=round(item.seconds, 3))


def _described(statistics: Statistics, method: str, table: bytes) -> dict[str, Any]:
    return {"name": statistics.calibration, "images": statistics.images, "sha256": statistics.calibration_sha256,
            "split": statistics.split, "method": method, "table": TABLE,
            "table_sha256": hashlib.sha256(table).hexdigest()}


def _require_output(folder: Path, model: str, bundle: bool) -> None:
    """Raises ArtifactError when a user's own file would be overwritten, above all `model`."""
    require_folder(folder, {MANIFEST: "export"}, ("fp32.onnx", "fp16.onnx", "int8.*.onnx", TABLE), sources=(model,))
    if bundle:
        require_folder(folder / BUNDLE, {BUNDLE_FILE: "bundle"}, ("*",), sources=(model,))


def _write(build: Build, models: list[OnnxModel], table: bytes) -> None:
    folder = build.folder
    with alone_in(folder):  # the build that is written last is whole
        sweep(folder)
        with unfinished(folder, MANIFEST):
            for model in models:
                write_bytes(folder / model.file_name, model.content)
            if table:
                write_bytes(folder / TABLE, table)
            write_json(folder / MANIFEST, build.document())
