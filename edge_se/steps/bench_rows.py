"""What `bench` says of its measurements: rows of the document, the fastest, why INT8 is slow, warnings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from edge_se.backends.base import Backend
from edge_se.backends.machines.machine import Machine
from edge_se.core import environment
from edge_se.core.artifacts import Artifact, Build
from edge_se.core.progress import Progress
from edge_se.graph.onnx_model import OnnxModel
from edge_se.measure.explain import explain
from edge_se.measure.layers import engine_of
from edge_se.measure.promise import promise_of
from edge_se.measure.timing import CV_WARNING, Latencies, noise_in_words

LATENCY, THROUGHPUT = "latency", "throughput"
SCENARIOS = (LATENCY, THROUGHPUT)
CHECK_IMAGES = 256
FEW = 4  # warnings of one kind; more of them become one
CONDITIONS = ("batch", "threads", "scenario")
KEY = ("model", "precision", "target", "backend", *CONDITIONS)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A file of a build and the runtime that it is timed in."""

    build: Build
    artifact: Artifact
    model: OnnxModel
    backend: Backend


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one file did at one batch size.

    `flips` are against onnxruntime on this machine; `beside` holds more fields of its row, among them those of an
    accuracy that was measured on a device.
    """

    entry: Entry
    scenario: str
    threads: int
    latencies: Latencies
    energy: dict[str, Any]
    flips: int | None
    engine: dict[str, Any] | None
    profile: dict[str, Any] | None
    beside: dict[str, Any]


Accuracy = tuple[float | None, int | None, dict[str, Any] | None]  # top-1, its images, what computed it


def row_of(item: Measured, accuracy: Accuracy, machine: Machine) -> dict[str, Any]:
    """One measurement of the document; `accuracy` is what this machine says of the file."""
    artifact, latencies = item.entry.artifact, item.latencies
    cores = machine.facts.get("cores") or environment.cpu_count()
    row = {
        "model": item.entry.build.model, "precision": artifact.precision, "target": artifact.target,
        "backend": item.entry.backend.name, "batch": latencies.batch, "threads": item.threads or cores,
        "scenario": item.scenario, "streams": latencies.streams,
        "p50_ms": latencies.percentile(50), "p90_ms": latencies.percentile(90), "p99_ms": latencies.percentile(99),
        "mean_ms": latencies.mean, "cv": latencies.cv, "throughput_ips": latencies.throughput,
        "samples": len(latencies.milliseconds), "round_p50_ms": list(latencies.rounds), "estimated": False,
        "top1": accuracy[0], "top1_n": accuracy[1],
        "measured_by": accuracy[2] if accuracy[0] is not None else None,
        "params": artifact.params, "macs": artifact.macs, "flops": artifact.flops, "bytes": artifact.bytes,
        "peak_memory_bytes": None, "energy_mj": item.energy["millijoules"], "energy": item.energy,
        "sha256": artifact.sha256} | item.beside
    if "judged_on" in item.beside:
        row |= {"top1_here": accuracy[0], "here_measured_by": accuracy[2] if accuracy[0] is not None else None}
    if item.flips is not None:
        row |= {"flips_against_onnxruntime": item.flips, "flips_n": CHECK_IMAGES}
    if item.engine:
        row |= {"engine": item.engine}
    if latencies.wall_ms is not None:
        row |= {"wall_ms": latencies.wall_ms, "to_device_ms": latencies.to_device_ms,
                "to_host_ms": latencies.to_host_ms, "cuda_graph": latencies.cuda_graph}
    return row


def mark_fastest(rows: list[dict[str, Any]]) -> None:
    """Adds `fastest` to each row that another one competes with: same precision, batch, threads and scenario.

    The smallest median wins, of streams the highest throughput; the target of the file does not matter.
    """
    groups = dict[tuple[Any, ...], list[dict[str, Any]]]()
    for row in rows:
        groups.setdefault((row["model"], row["precision"], *(row[key] for key in CONDITIONS)), []).append(row)
    for group in groups.values():
        best = (max(group, key=itemgetter("throughput_ips")) if group[0]["scenario"] == THROUGHPUT
                else min(group, key=itemgetter("p50_ms")))
        for row in group if len(group) > 1 else ():
            row["fastest"] = row is best


def add_why(rows: list[tuple[dict[str, Any], dict[str, Any] | None]]) -> None:
    """Adds `why` to each INT8 row whose engine was profiled, against FP16 or else FP32 of its model and batch."""
    profiled = [(row, profile) for row, profile in rows if profile]
    for row, profile in profiled:
        beside = sorted(((other["precision"], other, recorded) for other, recorded in profiled
                         if other["precision"] != "int8" and all(
                             other[key] == row[key] for key in ("model", "backend", *CONDITIONS))), key=itemgetter(0))
        if row["precision"] == "int8":
            _, other, recorded = beside[0] if beside else (None, None, None)
            row["why"] = explain(profile, latency_ms=row["p50_ms"], baseline=recorded,
                                 baseline_latency_ms=other["p50_ms"] if other else None).document()


def add_promises(rows: list[tuple[dict[str, Any], dict[str, Any] | None, OnnxModel]]) -> None:
    """Adds to each INT8 row whose engine tells of its layers which share of the file's INT8 it runs in INT8."""
    for row, profile, model in rows:
        if profile and profile.get("layers") and row["precision"] == "int8":
            row |= promise_of(model.proto, engine_of(profile["layers"], profile["profile"])).document()


def _why_built_again(engine: Mapping[str, Any]) -> str:
    """Why an engine is not kept, what that costs, and how it ends."""
    skipped, workspace = engine["skipped_tactics"], engine["workspace"]
    wanted, tactics = engine.get("workspace_wanted", workspace), f"tactic{'s' * (skipped != 1)}"
    if workspace < wanted:
        why = (f"built while memory was short ({workspace >> 20} of {wanted >> 20} MiB of workspace, "
               f"{skipped} {tactics} skipped)")
        fix = f"free {2 * wanted >> 20} MiB there: end other programs, the desktop for one (docs/jetson.md)"
    else:
        why = f"{skipped} {tactics} skipped, since memory was short or {workspace >> 20} MiB of workspace are too few"
        fix = ("end other programs there, let a board forget the files that it keeps in memory (`sync; sudo sysctl "
               "vm.drop_caches=3`), or use a smaller --batch")
    return f"{why}: it may be slower than necessary, is not kept, and each run builds it again. To stop that, {fix}"


def warn(document: Mapping[str, Any], device: str, explain_wanted: bool, progress: Progress) -> None:
    """Warnings that a reader of the table must know."""
    rows = document["measurements"]
    several = len({row["model"] for row in rows}) > 1
    noisy = [row for row in rows if row["cv"] > CV_WARNING]
    if len(noisy) > FEW:
        progress.note(noise_in_words([row["cv"] for row in rows]) or "")
    for row in rows:
        label = row["precision"] if row["target"] == "any" else f"{row['precision']}.{row['target']}"
        label = f"{row['model']} {label}" if several else label
        if row["cv"] > CV_WARNING and len(noisy) <= FEW:
            progress.note(f"{label} in {row['backend']}: coefficient of variation {100 * row['cv']:.1f} % is above "
                          f"{100 * CV_WARNING:g} %: something else used the machine; compare ratios, not times")
        if not (engine := row.get("engine") or {}).get("kept", True):
            progress.note(f"{label} in {row['backend']}: {_why_built_again(engine)}")
        if broken := row.get("broken_promises"):
            named = ", ".join(f"{item['node']} ({item['asked']} asked, {item['runs'] or 'type not told'})"
                              for item in broken[:FEW])
            progress.note(f"{label} in {row['backend']}: {len(broken)} layers do not run as the file asks: {named}"
                          f"{', ...' if broken[FEW:] else ''}")
        if row.get("xnnpack_nodes", 0) < row.get("nodes", 0):
            progress.note(f"{label} in {row['backend']}: XNNPACK computes {row['xnnpack_nodes']} of {row['nodes']} "
                          "nodes, LiteRT's own kernels the rest")
        if "int8_convolutions" in row and row["precision"] == "int8":
            progress.note(f"{label} in {row['backend']}: {row['int8_convolutions']} of {row['convolutions']} "
                          "convolutions run in INT8")
        if row.get("flips_against_onnxruntime"):
            progress.note(f"{label} in {row['backend']}: {row['flips_against_onnxruntime']} of {row['flips_n']} "
                          "answers differ from onnxruntime's for the same file")
    if explain_wanted and not any("why" in row for row in document["measurements"]):
        progress.note("nothing to explain: no INT8 engine of TensorRT was measured (recorded ones: `edge-se explain`)")
    if device != "cpu":  # a desktop's floating clocks are known to whoever benches there
        for reason in document["environment"]["device"]["uncertified"]:
            progress.note(f"uncertified: {reason}")
