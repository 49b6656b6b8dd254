"""`bench`: latency and accuracy of every precision of a build, interleaved in one run."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edge_se.backends.base import Backend, Device, Session
from edge_se.backends.table import BACKENDS, first_that_runs
from edge_se.core import environment
from edge_se.core.artifacts import Artifact, Build, check_file, locate_build, read_build
from edge_se.core.errors import ArtifactError, EdgeSeError, UnavailableError, did_you_mean
from edge_se.core.progress import SILENT, Progress
from edge_se.data import cifar10, splits
from edge_se.evaluation.accuracy import logits_of, top1
from edge_se.graph.onnx_model import OnnxModel
from edge_se.measure.timing import CV_WARNING, Latencies, TimingPlan

SCHEMA = "edge-se/bench/1"
ROUNDS = 5  # each model is timed in this many turns, so that drift of the machine hits all alike
DEVICES = ("cpu", "cuda", "jetson")


def bench(device: str, *, model: str | None = None, precisions: Sequence[str] | None = None, backend: str = "auto",
          batch: int = 1, threads: int = 1, min_duration: float = 2.0, data: Path | None = None,
          progress: Progress = SILENT) -> dict[str, Any]:
    """The document of `bench --json`; `threads` 0 means all processors."""
    if backend not in ("auto", *BACKENDS):
        raise EdgeSeError(f"unknown backend '{backend}'", where="--backend",
                          fix=did_you_mean(backend, ("auto", *BACKENDS)))
    _require_cpu(device)
    build = read_build(locate_build(model))
    plan = TimingPlan(min_duration=min_duration / ROUNDS, min_runs=20)
    where = Device(kind="cpu", threads=threads)
    chosen = _runnable(build, _chosen(build, precisions), backend, where, progress)
    if not chosen:
        raise ArtifactError("none of its files runs here", where=build.folder, fix="choose other precisions")
    timed = _interleaved(chosen, where, plan, batch, progress)
    accuracies = _accuracies(build, chosen, data, progress)
    measurements = [_measurement(build, entry.artifact, latencies, accuracy, entry.backend.name, where.threads)
                    for entry, latencies, accuracy in zip(chosen, timed, accuracies)]
    for row in measurements:
        if row["cv"] > CV_WARNING:
            label = row["precision"] if row["target"] == "any" else f"{row['precision']}.{row['target']}"
            progress.note(f"{label} in {row['backend']}: coefficient of variation {100 * row['cv']:.1f} % is above "
                          f"{100 * CV_WARNING:g} %: something else used the machine; compare ratios, not times")
    return {"schema": SCHEMA, "device": device, "measurements": measurements,
            "environment": {"versions": environment.versions(), "hardware": environment.hardware(),
                            "commit": environment.commit()}}


def _require_cpu(device: str) -> None:
    if device == "cpu":
        return
    if device == "jetson":
        raise UnavailableError(
            "measuring on a Jetson is not in this version", where="--device jetson",
            fix="copy int8.tensorrt.onnx to the Jetson and run `trtexec --onnx=int8.tensorrt.onnx --int8 --fp16` "
                "there (TensorRT 8.5 to 10; 10.12 and later: `--stronglyTyped`), or use --device cpu here")
    if device == "cuda" or device.startswith("ssh://"):
        raise UnavailableError("is not in this version", where=f"--device {device}", fix="use --device cpu")
    raise EdgeSeError(f"unknown device '{device}'", where="--device", fix=did_you_mean(device, DEVICES))


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


def _runnable(build: Build, artifacts: list[Artifact], wanted: str, where: Device, progress: Progress) -> list[_Entry]:
    """Each file with its runtime; a file for every target is timed in each runtime that another file needs."""
    own = [(artifact, model, *_backend_for(model, wanted, where)) for artifact in artifacts for model in [
        OnnxModel.read(check_file(build, artifact), precision=artifact.precision, target=artifact.target)]]
    used = list(dict.fromkeys(backend for _, model, backend, _ in own if backend and model.target != "any"))
    found = list[_Entry]()
    for artifact, model, backend, reasons in own:
        if backend is None:
            progress.note(f"{artifact.file}: not timed here: {'; '.join(reasons)}")
            continue
        found += [_Entry(artifact=artifact, model=model, backend=runtime)
                  for runtime in (used if used and model.target == "any" else [backend])]
    return found


def _backend_for(model: OnnxModel, wanted: str, where: Device) -> tuple[Backend | None, list[str]]:
    if wanted == "auto":
        return first_that_runs(model, where)
    reason = BACKENDS[wanted].why_not(model, where)
    return (None, [reason]) if reason else (BACKENDS[wanted], [])


def _interleaved(entries: list[_Entry], where: Device, plan: TimingPlan, batch: int,
                 progress: Progress) -> list[Latencies]:
    """Times all files in turn, ROUNDS times, and joins each one's samples."""
    models = [entry.model for entry in entries]
    parts: list[list[Latencies]] = [[] for _ in models]
    random = np.random.default_rng(0)
    with ExitStack() as stack, progress.task("timing", ROUNDS * len(models)) as advance:
        sessions: list[Session] = [stack.enter_context(entry.backend.open(entry.model, where)) for entry in entries]
        feeds = [random.standard_normal((batch, *(size or 32 for size in model.input_shape[1:])), dtype=np.float32)
                 for model in models]
        for model in models:
            if model.input_shape[0] not in (None, batch):
                raise EdgeSeError(f"the graph has a fixed batch of {model.input_shape[0]}", where=model.file_name,
                                  fix=f"use --batch {model.input_shape[0]}")
        for turn in range(ROUNDS):
            for position, session in enumerate(sessions):
                parts[position].append(session.time(feeds[position], plan if turn == 0 else _short_warmup(plan)))
                advance(1)
    return [Latencies(milliseconds=np.concatenate([part.milliseconds for part in own]), batch=batch) for own in parts]


def _short_warmup(plan: TimingPlan) -> TimingPlan:
    return replace(plan, warmup=min(plan.warmup, 0.05))  # the other models' turns pushed this one out of the caches


def _accuracies(build: Build, chosen: list[_Entry], data: Path | None,
                progress: Progress) -> list[tuple[float | None, int | None]]:
    """Test top-1 of each file: from its manifest (same bytes), else measured where CIFAR-10 is at hand."""
    cifar = cifar10.find(data) if build.labels == cifar10.CLASSES else None
    found: list[tuple[float | None, int | None]] = []
    for entry in chosen:
        if entry.artifact.top1 is not None or cifar is None:
            found.append((entry.artifact.top1, entry.artifact.top1_n))
            continue
        test = splits.load("test", cifar)
        with progress.task(f"evaluating {entry.artifact.file}", len(test)) as advance:
            logits = logits_of(entry.model, test, advance)
        assert test.labels is not None
        found.append((top1(logits, test.labels), len(test)))
    if any(value is None for value, _ in found) and build.labels == cifar10.CLASSES:
        progress.note("accuracy was not measured: " + cifar10.HOW_TO_GET)
    return found


def _measurement(build: Build, artifact: Artifact, latencies: Latencies, accuracy: tuple[float | None, int | None],
                 backend: str, threads: int) -> dict[str, Any]:
    return {
        "model": build.model, "precision": artifact.precision, "target": artifact.target, "backend": backend,
        "batch": latencies.batch, "threads": threads or environment.cpu_count(), "p50_ms": latencies.percentile(50),
        "p90_ms": latencies.percentile(90), "p99_ms": latencies.percentile(99), "mean_ms": latencies.mean,
        "cv": latencies.cv, "throughput_ips": latencies.throughput, "samples": len(latencies.milliseconds),
        "estimated": False, "top1": accuracy[0], "top1_n": accuracy[1], "params": artifact.params,
        "macs": artifact.macs, "flops": artifact.flops, "bytes": artifact.bytes, "peak_memory_bytes": None,
        "energy_mj": None, "sha256": artifact.sha256}
