"""`bench`: latency and accuracy of every precision of a build, interleaved in one run, here or on a device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_se.backends.base import Backend, Session
from edge_se.backends.place import Place
from edge_se.backends.remote import RemoteRuntime
from edge_se.backends.table import first_that_runs
from edge_se.core import environment
from edge_se.core.artifacts import Artifact, Build, check_file, locate_build, read_build
from edge_se.core.errors import ArtifactError, EdgeSeError, did_you_mean
from edge_se.core.files import read_json
from edge_se.core.progress import SILENT, Progress
from edge_se.data import calibration as calibration_sets
from edge_se.data import cifar10, splits
from edge_se.evaluation.accuracy import flips, logits_of, top1
from edge_se.graph.onnx_model import OnnxModel
from edge_se.measure.conditions import conditions_of, require_comparable
from edge_se.measure.explain import explain
from edge_se.measure.power import energy_per_inference, mean_power
from edge_se.measure.timing import CV_WARNING, Latencies, TimingPlan
from edge_se.steps.places import place_of, way_to

SCHEMA = "edge-se/bench/1"
ROUNDS = 5  # each model is timed in this many turns, so that drift of the machine hits all alike
GPU_RUNS = 1000  # of an engine, which takes microseconds
IDLE_S = 3.0
CHECK_IMAGES = 256
KEY = ("model", "precision", "target", "backend", "batch", "threads")


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to measure; `threads` 0 means all processors of the device."""

    backend: str = "auto"
    batches: tuple[int, ...] = (1,)
    threads: int = 1
    min_duration: float = 2.0
    explain: bool = False
    host: str | None = None
    python: str | None = None


def bench(device: str, *, model: str | None = None, precisions: Sequence[str] | None = None,
          options: Options | None = None, data: Path | None = None, against: Path | None = None,
          progress: Progress = SILENT) -> dict[str, Any]:
    """The document of `bench --json`; with `against` an earlier one, whose figures stand beside the new ones."""
    options = options or Options()
    earlier = read_json(against, fix="give a file that `bench --out` wrote") if against else None
    way_to(device, options.host)  # refuses nonsense before anything is opened
    TimingPlan(min_duration=options.min_duration)
    build = read_build(locate_build(model))
    artifacts = _chosen(build, precisions)
    with place_of(device, host=options.host, python=options.python, threads=options.threads,
                  progress=progress) as place:
        run = _Run(build, place, options, progress)
        measured = run.measure(run.entries(artifacts))
    accuracies = _accuracies(build, [item.entry for item in measured], data, progress)
    rows = [_row(build, item, accuracy, options.threads, place) for item, accuracy in zip(measured, accuracies)]
    document = {"schema": SCHEMA, "device": device, "measurements": rows,
                "environment": {"versions": environment.versions(), "hardware": environment.hardware(),
                                "commit": environment.commit(), "device": run.told()}}
    _explain([(row, item.profile) for row, item in zip(rows, measured)])
    _warn(document, device, options.explain, progress)
    if earlier is not None:
        _set_beside(document, earlier)
    return document


def _chosen(build: Build, precisions: Sequence[str] | None) -> list[Artifact]:
    have = sorted({artifact.precision for artifact in build.artifacts})
    for precision in precisions or ():
        if precision not in have:
            raise ArtifactError(f"has no {precision} file", where=build.folder,
                                fix=f"it has {', '.join(have)}; export again with --{precision}")
    return [artifact for artifact in build.artifacts if not precisions or artifact.precision in precisions]


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """A file and the runtime that it is timed in."""

    artifact: Artifact
    model: OnnxModel
    backend: Backend


@dataclass(frozen=True, kw_only=True)
class _Measured:
    """What one file did at one batch size. `flips` are against onnxruntime on this machine."""

    entry: _Entry
    latencies: Latencies
    energy: dict[str, Any]
    flips: int | None
    engine: dict[str, Any] | None
    profile: dict[str, Any] | None


class _Run:
    """All files on one machine, from its state before to its state after."""

    def __init__(self, build: Build, place: Place, options: Options, progress: Progress) -> None:
        self._build, self._place, self._options, self._progress = build, place, options, progress
        self._conditions: dict[str, Any] = {}
        if options.backend not in ("auto", *place.backends):
            raise EdgeSeError(f"unknown backend '{options.backend}'", where="--backend",
                              fix=did_you_mean(options.backend, ("auto", *place.backends)))

    def entries(self, artifacts: list[Artifact]) -> list[_Entry]:
        """Each file with its runtime; one that is for every target is timed in each runtime that another needs."""
        own = [(artifact, model, *self._backend_for(model)) for artifact in artifacts for model in [
            OnnxModel.read(check_file(self._build, artifact), precision=artifact.precision, target=artifact.target)]]
        used = list(dict.fromkeys(backend for _, model, backend, _ in own if backend and model.target != "any"))
        if not any(backend for _, _, backend, _ in own):
            why = dict.fromkeys(reason for *_, reasons in own for reason in reasons)
            raise ArtifactError("none of its files runs there: " + "; ".join(why), where=self._build.folder,
                                fix="install a runtime, or export for this device")
        found = list[_Entry]()
        for artifact, model, backend, reasons in own:
            if backend is None:
                self._progress.note(f"{artifact.file}: not timed: {'; '.join(reasons)}")
                continue
            found += [_Entry(artifact=artifact, model=model, backend=runtime)
                      for runtime in (used if used and model.target == "any" else [backend])]
        return found

    def _backend_for(self, model: OnnxModel) -> tuple[Backend | None, list[str]]:
        if self._options.backend == "auto":
            return first_that_runs(model, self._place.device, self._place.backends)
        backend = self._place.backends[self._options.backend]
        reason = backend.why_not(model, self._place.device)
        return (None, [reason]) if reason else (backend, [])

    def measure(self, entries: list[_Entry]) -> list[_Measured]:
        """Every file at every batch size; energy where the machine tells its power."""
        batches = self._options.batches
        for model in (entry.model for entry in entries):
            fixed = model.input_shape[0]
            if fixed is not None and batches != (fixed,):
                raise EdgeSeError(f"the graph has a fixed batch of {fixed}", where=model.file_name,
                                  fix=f"use --batch {fixed}")
        before, resting = self._place.state(), mean_power(self._place.idle(IDLE_S))
        found, samples = list[_Measured](), list[dict[str, Any]]()
        with ExitStack() as stack:
            sessions = [stack.enter_context(entry.backend.open(entry.model, self._place.device)) for entry in entries]
            for batch in batches:
                feeds = [_feed(entry.model, batch) for entry in entries]
                for entry, session, feed, latencies in zip(entries, sessions, feeds,
                                                           self._interleaved(entries, sessions, feeds)):
                    samples += latencies.power
                    seconds = (latencies.wall_ms or latencies.mean) / 1000 / batch
                    energy = energy_per_inference(mean_power(latencies.power), resting, seconds)
                    found.append(_Measured(
                        entry=entry, latencies=latencies, energy=asdict(energy), flips=self._flips(entry, session),
                        engine=getattr(session, "engines", {}).get(batch) or None,
                        profile=_profile(session, feed) if self._options.explain else None))
            self._conditions = asdict(conditions_of(before, self._place.state(), samples))
        return found

    def told(self) -> dict[str, Any]:
        """The device and the conditions of the run, for the document."""
        return {key: value for key, value in self._place.facts.items() if key != "flags"} | self._conditions

    def _interleaved(self, entries: list[_Entry], sessions: list[Session],
                     feeds: list[NDArray[np.float32]]) -> list[Latencies]:
        """Times all files in turn, ROUNDS times, and joins each one's samples."""
        parts: list[list[Latencies]] = [[] for _ in entries]
        plan = TimingPlan(min_duration=self._options.min_duration / ROUNDS, min_runs=20)
        with self._progress.task(f"timing, batch {len(feeds[0])}", ROUNDS * len(entries)) as advance:
            for turn in range(ROUNDS):
                for position, session in enumerate(sessions):
                    gpu = entries[position].backend.name.startswith("tensorrt")
                    # The other models' turns pushed this one out of the caches.
                    own = replace(plan, min_runs=GPU_RUNS // ROUNDS if gpu else plan.min_runs,
                                  warmup=plan.warmup if turn == 0 else min(plan.warmup, 0.05))
                    parts[position].append(session.time(feeds[position], own))
                    advance(1)
        return [Latencies.joined(own) for own in parts]

    def _flips(self, entry: _Entry, session: Session) -> int | None:
        """Answers on the bundled images that are other ones than onnxruntime's here; None where it is the same one."""
        if not isinstance(entry.backend, RemoteRuntime) or entry.model.input_shape[2:] != (32, 32):
            return None
        images = calibration_sets.load(calibration_sets.SYNTHETIC, None).first(CHECK_IMAGES)
        if entry.model.metadata:
            images = replace(images, mean=entry.model.metadata.mean, std=entry.model.metadata.std)
        there = np.concatenate([session.run(batch) for batch in images.batches(64)])
        return flips(there, logits_of(entry.model, images))


def _feed(model: OnnxModel, batch: int) -> NDArray[np.float32]:
    shape = (batch, *(size or 32 for size in model.input_shape[1:]))
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def _profile(session: Session, images: NDArray[np.float32]) -> dict[str, Any] | None:
    profile = getattr(session, "profile", None)
    return profile(images) if profile else None


def _accuracies(build: Build, chosen: list[_Entry], data: Path | None,
                progress: Progress) -> list[tuple[float | None, int | None]]:
    """Test top-1 of each file: from its manifest (same bytes), else measured where CIFAR-10 is at hand."""
    cifar = cifar10.find(data) if build.labels == cifar10.CLASSES else None
    known = dict[str, tuple[float | None, int | None]]()
    for entry in chosen:
        artifact = entry.artifact
        if artifact.top1 is not None or cifar is None:
            known[artifact.file] = (artifact.top1, artifact.top1_n)
        elif artifact.file not in known:
            test = splits.load("test", cifar)
            with progress.task(f"evaluating {artifact.file}", len(test)) as advance:
                logits = logits_of(entry.model, test, advance)
            assert test.labels is not None
            known[artifact.file] = (top1(logits, test.labels), len(test))
    if any(value is None for value, _ in known.values()) and build.labels == cifar10.CLASSES:
        progress.note("accuracy was not measured: " + cifar10.HOW_TO_GET)
    return [known[entry.artifact.file] for entry in chosen]


def _row(build: Build, item: _Measured, accuracy: tuple[float | None, int | None], threads: int,
         place: Place) -> dict[str, Any]:
    artifact, latencies = item.entry.artifact, item.latencies
    cores = place.facts.get("cores") or environment.cpu_count()
    row = {
        "model": build.model, "precision": artifact.precision, "target": artifact.target,
        "backend": item.entry.backend.name, "batch": latencies.batch, "threads": threads or cores,
        "p50_ms": latencies.percentile(50), "p90_ms": latencies.percentile(90), "p99_ms": latencies.percentile(99),
        "mean_ms": latencies.mean, "cv": latencies.cv, "throughput_ips": latencies.throughput,
        "samples": len(latencies.milliseconds), "estimated": False, "top1": accuracy[0], "top1_n": accuracy[1],
        "params": artifact.params, "macs": artifact.macs, "flops": artifact.flops, "bytes": artifact.bytes,
        "peak_memory_bytes": None, "energy_mj": item.energy["millijoules"], "energy": item.energy,
        "sha256": artifact.sha256}
    if item.flips is not None:
        row |= {"flips_against_onnxruntime": item.flips, "flips_n": CHECK_IMAGES}
    if item.engine:
        row |= {"engine": item.engine}
    if latencies.wall_ms is not None:
        row |= {"wall_ms": latencies.wall_ms, "to_device_ms": latencies.to_device_ms,
                "to_host_ms": latencies.to_host_ms, "cuda_graph": latencies.cuda_graph}
    return row


def _explain(rows: list[tuple[dict[str, Any], dict[str, Any] | None]]) -> None:
    """Adds `why` to each INT8 row whose engine was profiled, against FP16 or else FP32 of the same batch."""
    profiled = [(row, profile) for row, profile in rows if profile]
    for row, profile in profiled:
        beside = sorted(((other["precision"], other, recorded) for other, recorded in profiled
                         if other["precision"] != "int8" and all(
                             other[key] == row[key] for key in ("backend", "batch", "threads"))), key=itemgetter(0))
        if row["precision"] == "int8":
            _, other, recorded = beside[0] if beside else (None, None, None)
            row["why"] = explain(profile, latency_ms=row["p50_ms"], baseline=recorded,
                                 baseline_latency_ms=other["p50_ms"] if other else None).document()


def _warn(document: Mapping[str, Any], device: str, explain_wanted: bool, progress: Progress) -> None:
    """What a reader of the table must know about it."""
    for row in document["measurements"]:
        label = row["precision"] if row["target"] == "any" else f"{row['precision']}.{row['target']}"
        if row["cv"] > CV_WARNING:
            progress.note(f"{label} in {row['backend']}: coefficient of variation {100 * row['cv']:.1f} % is above "
                          f"{100 * CV_WARNING:g} %: something else used the machine; compare ratios, not times")
        if row.get("flips_against_onnxruntime"):
            progress.note(f"{label} in {row['backend']}: {row['flips_against_onnxruntime']} of {row['flips_n']} "
                          "answers are others than onnxruntime's for the same file")
    if explain_wanted and not any("why" in row for row in document["measurements"]):
        progress.note("nothing to explain: no INT8 engine of TensorRT was measured (recorded ones: `edge-se explain`)")
    if device != "cpu":  # a desktop's floating clocks are known to whoever benches there
        for reason in document["environment"]["device"]["uncertified"]:
            progress.note(f"uncertified: {reason}")


def _set_beside(document: dict[str, Any], earlier: Mapping[str, Any]) -> None:
    """Adds `p50_before_ms` to each row that an earlier document has too; EdgeSeError when conditions differ."""
    require_comparable(earlier, document)
    try:
        known = {tuple(row[key] for key in KEY): row["p50_ms"] for row in earlier["measurements"]}
    except (KeyError, TypeError) as error:
        raise EdgeSeError(f"incomplete ({error!r})", where="--against", fix="give a file that `bench --out` "
                          "wrote") from error
    for row in document["measurements"]:
        row["p50_before_ms"] = known.get(tuple(row[key] for key in KEY))
