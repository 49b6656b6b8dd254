"""`report`: everything that is known of builds, in one document and one HTML file that one opens and understands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edge_se.core.artifacts import Build, check_file, locate_build, read_build
from edge_se.core.errors import CalibrationError, EdgeSeError, ModelError
from edge_se.core.files import sha256_of, write_json, write_text
from edge_se.core.outputs import MARKDOWN, PAGE, require_file
from edge_se.core.outputs import document as document_kind
from edge_se.core.progress import SILENT, Progress
from edge_se.core.whole import require_whole
from edge_se.data import cifar10
from edge_se.data.class_names import names_in
from edge_se.data.dataset import Dataset, find_dataset
from edge_se.evaluation.accuracy import logits_of
from edge_se.evaluation.gate import ALPHA, MAX_DROP
from edge_se.graph.onnx_model import OnnxModel
from edge_se.quantization.ranges import Statistics
from edge_se.quantization.table import FILE as TABLE
from edge_se.quantization.table import read_table
from edge_se.reporting.report.document import report_document
from edge_se.reporting.report.inputs import (
    Bench,
    Material,
    Predictions,
    Robustness,
    Sensitivity,
    read_given,
)
from edge_se.reporting.report.page import page, require_page
from edge_se.reporting.report.text import text
from edge_se.steps.judged import judged_images

BENCH = "bench.json"
FLOAT32_LIMIT = 2.0**128


def report(builds: Sequence[str] = (), *, bench: Sequence[Path | Mapping[str, Any]] = (),
           sensitivity: Sequence[Path] = (), robustness: Sequence[Path] = (), html: Path | None = None,
           markdown: Path | None = None, out: Path | None = None, max_drop: float = MAX_DROP, alpha: float = ALPHA,
           data: Path | None = None, labels: Path | None = None, split: str | None = None, skip_broken: bool = False,
           progress: Progress = SILENT) -> dict[str, Any]:
    """The document of `report --json`, written to those of `html`, `markdown` and `out` (JSON) that are given.

    `bench`: files of `bench --out`, or such documents. Without, a bench.json in a build's folder is taken. Verdicts,
    drops by class and flipped images are made on labelled images: those of `data`, or CIFAR-10's for its classifiers.
    Raises EdgeSeError for what cannot be read, before anything is evaluated.
    """
    if not 0 <= max_drop <= 100:
        raise EdgeSeError(f"a margin of {max_drop} points is not between 0 and 100", where="--max-drop",
                          fix="give percentage points, 0.5 for instance")
    if html:
        require_page()
    given = (*bench, *sensitivity, *robustness)
    require_file(html, PAGE, "--html", sources=given)
    require_file(markdown, MARKDOWN, "--markdown", sources=given, beside=(html,))
    require_file(out, document_kind("report"), "--out", sources=given, beside=(html, markdown))
    opened = [read_build(_folder(name)) for name in builds] or [read_build(locate_build(None))]
    for build in opened:
        require_whole(build)
    benches = [(source.name if isinstance(source, Path) else BENCH, read_given(Bench, source))
               for source in bench or _beside(opened)]
    sensitivities = [(path.name, read_given(Sensitivity, path)) for path in sensitivity]
    robust = [(path.name, read_given(Robustness, path)) for path in robustness]
    dataset = find_dataset(data, names=names_in(str(labels)) if labels else (), split=split, skip_broken=skip_broken)
    materials = [_material(name, build, dataset, progress) for name, build in zip(_names(opened), opened)]
    document = report_document(materials, benches=benches, sensitivities=sensitivities, robust=robust,
                               margin_pp=max_drop, alpha=alpha)
    if html:
        write_text(html, page(document))
    if markdown:
        write_text(markdown, text(document))
    if out:
        write_json(out, document)
    return document


def _folder(name: str) -> Path:
    if Path(name).suffix in (".json", ".html", ".md"):
        raise EdgeSeError("is no build", where=name, fix="write the report with --html FILE, --markdown FILE or, as "
                          "JSON, --out FILE; `--json` prints it")
    if "," in name and not Path(name).exists():
        raise EdgeSeError("names several builds", where=name, fix="separate them by spaces")
    return locate_build(name)


def _beside(builds: list[Build]) -> list[Path]:
    return [build.folder / BENCH for build in builds if (build.folder / BENCH).is_file()]


def _names(builds: list[Build]) -> list[str]:
    """The models' names. Two builds of one model also get their folder's name, and a number if that is the same."""
    often = Counter(build.model for build in builds)
    names = [build.model if often[build.model] == 1 else f"{build.model} ({build.folder.name})" for build in builds]
    same = Counter(names)
    return [name if same[name] == 1 else f"{name} {position}" for position, name in enumerate(names, 1)]


def _material(name: str, build: Build, dataset: Dataset | None, progress: Progress) -> Material:
    """Every file is checked against its hash: a report on altered files would be worthless."""
    models = {item.file: OnnxModel.read(check_file(build, item), precision=item.precision, target=item.target)
              for item in build.artifacts}
    fp32 = build.find("fp32")
    predictions = None
    if dataset is not None and fp32 is not None and (dataset.cifar is None or build.labels == cifar10.CLASSES):
        (build, test), logits = judged_images(build, dataset, "verdicts are", progress), {}
        for file, model in models.items():
            with progress.task(f"evaluating {file} of {name}", len(test)) as advance:
                logits[file] = logits_of(model, test, advance)
            if logits[file].shape[1] != len(build.labels):
                raise ModelError(f"answers with {logits[file].shape[1]} classes, its manifest names "
                                 f"{len(build.labels)}", where=build.folder / file, fix="export again")
        predictions = Predictions(images=test, logits=logits)
    statistics = _statistics(build, models[fp32.file]) if fp32 is not None else None
    return Material(name=name, build=build, predictions=predictions, statistics=statistics)


def _statistics(build: Build, model: OnnxModel) -> Statistics | None:
    """The histograms of the build's own calibration table; None when it is missing or not the one in the manifest."""
    path, told = build.folder / TABLE, (build.calibration or {}).get("table_sha256")
    if not path.is_file() or sha256_of(path) != told:
        return None
    if model.metadata is None:
        return None
    statistics = read_table(path, model, model.metadata.preprocessing)
    if any(histogram.limit > FLOAT32_LIMIT for histogram in statistics.histograms.values()):
        raise CalibrationError("holds activations that no float32 can: altered", where=path, fix="export again")
    return statistics
