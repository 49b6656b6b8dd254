"""Does MLPerf LoadGen find what `bench` finds, and what does `bench`'s own loop cost?

    python bench/referee.py [MODEL ...]        # default: the bundled ones

For each file in its runtime, in turns: our p90 and throughput, LoadGen's (SingleStream and Offline) with the same
session, and a bare loop without clocks. Ratios are made within a repeat. Writes bench/results/referee.json and
refreshes the documents.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import numpy as np

from bench.tables import readme
from edge_se.backends.base import Device
from edge_se.backends.table import AUTOMATIC
from edge_se.core import environment
from edge_se.core.artifacts import Artifact, Build, check_file, locate_build, read_build
from edge_se.core.files import write_json
from edge_se.device.agent import sample_durations
from edge_se.graph.onnx_model import OnnxModel
from edge_se.measure.referee import referee
from edge_se.measure.timing import TimingPlan
from edge_se.reporting.console import print_table

RESULTS = Path(__file__).parent / "results"
TARGETS = {"onnxruntime": ("any", "cpu"), "openvino": ("any", "openvino")}
EMPTY_RUNS = 100_000
BLOCKS = 6  # of the loops whose difference is the overhead, in each repeat


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=readme.MODELS)
    parser.add_argument("--repeats", type=int, default=31)
    parser.add_argument("--seconds", type=float, default=0.3, help="per file, repeat and side")
    arguments = parser.parse_args()
    rows = []
    for model in arguments.models:
        build = read_build(locate_build(model))
        for artifact in (item for item in build.artifacts if item.precision in ("fp32", "int8")):
            rows += [compared(build, artifact, backend, arguments)
                     for backend, targets in TARGETS.items() if artifact.target in targets]
    write_json(RESULTS / "referee.json", {
        "schema": "edge-se/referee/1", "threads": 1, "batch": 1, "seconds": arguments.seconds,
        "repeats": arguments.repeats, "loop_ns": loop_ns(), "rows": rows, "loadgen": environment.version_of(
            "mlcommons-loadgen"),
        "environment": {"versions": environment.versions(), "hardware": environment.hardware(),
                        "commit": environment.commit()}})
    print_table(["model", "file", "backend", "p90 / LoadGen's", "images/s / LoadGen's", "loop / bare loop"], [
        [row["model"], row["file"], row["backend"], f"{row['p90_ratio']:.3f}", f"{row['throughput_ratio']:.3f}",
         f"{row['loop_ratio']:.4f}"] for row in rows], left=3)
    readme.main()


def compared(build: Build, artifact: Artifact, backend: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """One file in one runtime; who goes first alternates."""
    model = OnnxModel.read(check_file(build, artifact), precision=artifact.precision, target=artifact.target)
    feed = np.random.default_rng(0).standard_normal((1, 3, 32, 32), dtype=np.float32)
    samples: dict[str, list[float]] = {}
    with AUTOMATIC[backend].open(model, Device(threads=1)) as session:
        def own() -> dict[str, float]:
            timed = session.time(feed, TimingPlan(min_duration=arguments.seconds, warmup=0.05))
            return {"p90_ms": timed.percentile(90), "throughput_ips": timed.throughput}

        def loadgen() -> dict[str, float]:
            judged = referee(lambda: session.run(feed), seconds=arguments.seconds, batch=1)
            return {"loadgen_p90_ms": judged.p90_ms, "loadgen_throughput_ips": judged.throughput_ips}

        for repeat in range(arguments.repeats):
            for side in (loadgen, own) if repeat % 2 else (own, loadgen):
                for name, value in side().items():
                    samples.setdefault(name, []).append(value)
            samples.setdefault("loop_ratio", []).append(
                loop_ratio(lambda: session.run(feed), arguments.seconds, repeat))
    return {"model": build.model, "file": artifact.file, "sha256": artifact.sha256, "backend": backend,
            **summarised(samples)}


def summarised(samples: dict[str, list[float]]) -> dict[str, float]:
    """Medians of all repeats, and of ratios also the extremes."""
    ratios = {f"{name}_ratio": [ours / loadgen for ours, loadgen in zip(samples[own], samples[f"loadgen_{own}"])]
              for name, own in (("p90", "p90_ms"), ("throughput", "throughput_ips"))}
    ratios["loop_ratio"] = samples["loop_ratio"]
    medians = {name: statistics.median(values) for name, values in (samples | ratios).items()}
    return medians | {f"{name}_{edge.__name__}": edge(values) for name, values in ratios.items()
                      for edge in (min, max)}


def loop_ratio(call: Callable[[], object], seconds: float, repeat: int) -> float:
    """Time of a run in the loop of `bench` over that in a bare one: the fastest of short blocks in turns."""
    once = sum(sample_durations(call, 0, 5, 0.0)) / 5e9
    runs = max(10, round(seconds / once / BLOCKS))
    took: dict[bool, list[float]] = {False: [], True: []}
    for block in range(BLOCKS):
        for ours in ((True, False) if (repeat + block) % 2 else (False, True)):
            took[ours].append(block_ns(call, runs, ours))
    return min(took[True]) / min(took[False])


def block_ns(call: Callable[[], object], runs: int, ours: bool) -> float:
    """Nanoseconds a run, clocks of the loop included; `sample_durations` makes one run more than it samples."""
    start = perf_counter_ns()
    if ours:
        sample_durations(call, 0, runs, 0.0)
    else:
        for _ in range(runs + 1):
            call()
    return (perf_counter_ns() - start) / (runs + 1)


def loop_ns() -> float:
    """What the loop of `bench` adds to a run, in nanoseconds, from a call that does nothing."""
    def nothing() -> None:
        pass

    return statistics.median(block_ns(nothing, EMPTY_RUNS, True) - block_ns(nothing, EMPTY_RUNS, False)
                             for _ in range(9))


if __name__ == "__main__":
    main()
