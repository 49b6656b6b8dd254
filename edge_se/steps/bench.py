"""`bench`: latency and accuracy of every precision of one or several builds, interleaved, here or on a device."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edge_se.backends.machines.choice import machine_of, way_to
from edge_se.core import environment
from edge_se.core.arguments import Names, PathLike, names_of, path_of, text_of
from edge_se.core.artifacts import Artifact, Build, read_builds
from edge_se.core.errors import ArtifactError, EdgeSeError, did_you_mean
from edge_se.core.files import read_json
from edge_se.core.progress import SILENT, Progress
from edge_se.measure.timing import TimingPlan
from edge_se.steps.bench_accuracy import Judging, Labelled, accuracies
from edge_se.steps.bench_against import set_beside
from edge_se.steps.bench_rows import add_promises, add_why, mark_fastest, row_of, warn
from edge_se.steps.bench_run import Options, Run

__all__ = ["Options", "bench"]
SCHEMA = "edge-se/bench/1"
PRECISIONS = ("fp32", "fp16", "int8")


def bench(device: str, *, model: PathLike | Sequence[PathLike] | None = None,
          precisions: Names | None = None,
          options: Options | None = None, data: PathLike | None = None,
          skip_broken: bool = False, against: PathLike | None = None, progress: Progress = SILENT) -> dict[str, Any]:
    """The document of `bench --json`; with `against` an earlier one, whose figures stand beside the new ones.

    `model` is a build or several, whose files are then timed in turns: their ratios are of one run. With `skip_broken`
    images of `data` that cannot be decoded are left out.
    """
    options, precisions, data = options or Options(), names_of(precisions), path_of(data)
    names = text_of(model) if model is None or isinstance(model, (str, Path)) else [text_of(one) for one in model]
    earlier = read_json(Path(against), fix="give a file that `bench --out` wrote") if against else None
    here = way_to(device, options.host, options.python, options.web) is None  # before anything is opened
    options.require_possible(here)
    TimingPlan(min_duration=options.min_duration)
    chosen = [(build, _chosen(build, precisions)) for build in read_builds(names)]
    with machine_of(device, host=options.host, python=options.python, web=options.web, progress=progress) as machine:
        run = Run(machine, options, progress)
        entries = [entry for build, artifacts in chosen for entry in run.entries(build, artifacts)]
        labelled = Labelled(entries, data, skip_broken, progress)
        measured = run.measure(entries, None if here else Judging(labelled, options.accuracy, progress))
    known = accuracies([item.entry for item in measured], None if options.accuracy is False else labelled, progress)
    rows = [row_of(item, accuracy, machine) for item, accuracy in zip(measured, known)]
    mark_fastest(rows)
    document = {"schema": SCHEMA, "device": device, "measurements": rows,
                "environment": {"versions": environment.versions(), "hardware": environment.hardware(),
                                "commit": environment.commit(), "device": run.told()}}
    add_why([(row, item.profile) for row, item in zip(rows, measured)])
    add_promises([(row, item.profile, item.entry.model) for row, item in zip(rows, measured)])
    warn(document, device, options.explain, progress)
    if earlier is not None:
        set_beside(document, earlier, progress)
    return document


def _chosen(build: Build, precisions: Sequence[str] | None) -> list[Artifact]:
    have = sorted({artifact.precision for artifact in build.artifacts})
    for precision in precisions or ():
        if precision not in PRECISIONS:
            raise EdgeSeError(f"unknown precision '{precision}'", where="--precision",
                              fix=did_you_mean(precision, PRECISIONS))
        if precision not in have:
            raise ArtifactError(f"has no {precision} file", where=build.folder,
                                fix=f"it has {', '.join(have)}; export again with --{precision}")
    return [artifact for artifact in build.artifacts if not precisions or artifact.precision in precisions]
