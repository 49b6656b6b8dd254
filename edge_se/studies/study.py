"""`study`: a grid of nets, recipes and seeds, each cell trained once and measured, compared in pairs by seed."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_se.core import environment
from edge_se.core.arguments import PathLike, path_of
from edge_se.core.errors import EdgeSeError, UnavailableError
from edge_se.core.files import sha256_of, write_json, write_text
from edge_se.core.interrupts import telling
from edge_se.core.outputs import require_folder
from edge_se.core.progress import SILENT, Progress
from edge_se.data import cifar10
from edge_se.studies.cell import arguments, run
from edge_se.studies.collect import Figure, comparisons, csv_of, judges, summaries, tidy
from edge_se.studies.executor import Executor, Job, require_executor
from edge_se.studies.figures import draw
from edge_se.studies.finished import finished
from edge_se.studies.plan import Cell, Plan, read_plan
from edge_se.studies.tables import TITLES, page

SCHEMA = "edge-se/study/1"
CELLS, STUDIES = Path("runs/cells"), Path("runs/studies")
LOG = "worker.log"


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a study is run. `cells`: the folder that studies share, so that none trains what another has trained."""

    executor: str = "local"
    workers: int | None = None
    address: str | None = None
    device: str = "auto"
    cells: PathLike = CELLS


def study(file: PathLike, *, out: PathLike | None = None, options: Options | None = None, data: PathLike | None = None,
          progress: Progress = SILENT) -> dict[str, Any]:
    """The document of `study --json`; written to `out` (runs/studies/NAME) as JSON, CSV, Markdown and figures.

    Cells that are done are not run again; an interrupted one goes on from its checkpoint. When cells fail, the
    others' results are written before EdgeSeError tells which and why.
    """
    file, out, data = path_of(file), path_of(out), path_of(data)
    plan, settings = read_plan(file), options or Options()
    cells = path_of(settings.cells)
    folder = out or STUDIES / plan.study.name
    require_folder(folder, {"results.json": "study"}, ("results.csv", f"{plan.study.name}.md"), sources=(file,))
    cifar10.require(data)
    done: dict[str, dict[str, Any]] = {}
    for cell in plan.cells:
        result = finished(cell, plan.study.evaluations, cells / cell.folder)
        if result is not None:
            done[cell.key] = result
    jobs = [Job(name=cell.folder, work=run, log=(cells / cell.folder / LOG).resolve(),
                arguments=arguments(cell, plan.study.evaluations, cells / cell.folder,
                                    device=settings.device, data=data))
            for cell in plan.cells if cell.key not in done]
    executor = _executor(settings, len(jobs))
    progress.note(f"{plan.study.name}: {len(plan.cells)} cells, {len(done)} done already; "
                  f"{executor.workers} at a time")
    int8 = plan.study.evaluations.int8
    if int8 is not None and int8.latency and executor.workers > 1:
        progress.note("latencies will be those of a busy machine; for quiet ones use --workers 1")
    with telling(progress, lambda: f"{cells} keeps the cells that are done and the others' checkpoints: the same "
                                   "command goes on from there"):
        results, errors = _run(executor, jobs, progress)
    done |= {cell.key: results[cell.folder] for cell in plan.cells if cell.folder in results}
    document = _document(plan, file, done, errors, executor)
    if document["rows"]:
        _write(document, folder, progress)
    if errors:
        name, first = next(iter(errors.items()))
        why = first.strip().splitlines()[-1]
        raise EdgeSeError(f"{len(errors)} of {len(plan.cells)} cells failed, {name} for one: {why}", where=folder,
                          fix=f"see {cells / name / LOG}, then run it again: cells that are done are kept")
    return document | {"out": str(folder)}


def _executor(settings: Options, jobs: int) -> Executor:
    if require_executor(settings.executor) == "ray":
        from edge_se.studies.ray import RayExecutor

        return RayExecutor(settings.workers, jobs, settings.address, gpus=int(settings.device == "cuda"))
    from edge_se.studies.local import LocalExecutor

    return LocalExecutor(settings.workers, jobs)


def _run(executor: Executor, jobs: list[Job], progress: Progress) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """(results, errors) by name of job. A note for each job that ends tells the time left."""
    results: dict[str, dict[str, Any]] = {}
    errors: dict[str, str] = {}
    started = time.monotonic()
    with progress.task("cells", len(jobs)) as advance, closing(executor.run(jobs)) as outcomes:
        for count, outcome in enumerate(outcomes, 1):
            advance(1)
            left = (time.monotonic() - started) / count * (len(jobs) - count)
            tried = f", worker {outcome.attempts}" if outcome.attempts > 1 else ""
            if outcome.result is None:
                errors[outcome.job.name] = outcome.error or "no reason"
                says = f"failed: {errors[outcome.job.name].strip().splitlines()[-1]}"
            else:
                results[outcome.job.name] = outcome.result
                says = f"validation top-1 {outcome.result['figures'][0]['value']:.2f} %"
            progress.note(f"{count}/{len(jobs)}  {outcome.job.name}{tried}  {says}  about {left / 60:.0f} min left")
    return results, errors


def _document(plan: Plan, file: Path, done: dict[str, dict[str, Any]], errors: dict[str, str],
              executor: Executor) -> dict[str, Any]:
    figures = {cell.key: [Figure(**figure) for figure in done[cell.key]["figures"]]
               for cell in plan.cells if cell.key in done}
    rows = tidy((cell, figures[cell.key]) for cell in plan.cells if cell.key in done)
    return {"schema": SCHEMA, "name": plan.study.name, "question": plan.study.question,
            "study": plan.study.model_dump(mode="json"), "study_sha256": sha256_of(file),
            "executor": {"name": executor.name, "workers": executor.workers, "threads": executor.threads},
            "cells": [_cell(cell, done.get(cell.key), errors.get(cell.folder)) for cell in plan.cells],
            "measured_by": judges(figure for own in figures.values() for figure in own),
            "summary": summaries(rows), "comparisons": comparisons(rows, plan.study), "notes": _notes(done.values()),
            "environment": {"versions": environment.versions(), "hardware": environment.hardware(),
                            "commit": environment.commit()},
            "figures": [], "rows": rows}


def _cell(cell: Cell, result: dict[str, Any] | None, error: str | None) -> dict[str, Any]:
    known = {"cell": cell.folder, "model": cell.model, "recipe": cell.recipe, "seed": cell.seed, "key": cell.key,
             "error": error}
    return known | ({} if result is None else {key: value for key, value in result.items() if key != "figures"})


def _notes(results: Iterable[dict[str, Any]]) -> list[str]:
    """What a reader should know before comparing cells."""
    all_results = list(results)
    commits = {str(result["commit"]) for result in all_results}
    places = {(result["hardware"]["cpu"], result["device"]) for result in all_results}
    evaluators: dict[str, set[str | None]] = {}
    for result in all_results:
        for kind, commit in result["evaluated_by"].items():
            evaluators.setdefault(kind, set()).add(commit)
    return ([f"The cells were trained by {len(commits)} states of the code."] if len(commits) > 1 else []) + (
        [f"The cells were trained on {len(places)} kinds of hardware."] if len(places) > 1 else []) + [
        f"{TITLES[kind]}: the cells were evaluated by {len(codes)} states of the code."
        for kind, codes in evaluators.items() if len(codes) > 1]


def _write(document: dict[str, Any], folder: Path, progress: Progress) -> None:
    try:
        document["figures"] = [path.name for path in draw(document, folder)]
    except UnavailableError as missing:
        progress.note(f"no figures: {missing}")
    write_text(folder / "results.csv", csv_of(document["rows"]))
    write_text(folder / f"{document['name']}.md", page(document))
    write_json(folder / "results.json", document)
