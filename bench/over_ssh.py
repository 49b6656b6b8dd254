"""Does a measurement over SSH give the figures of a local one? The same files on the same processor, interleaved.

    python bench/over_ssh.py ssh://localhost:2222 [MODEL ...]        # default: every build in ./build

The address must lead to this very machine, at best to a Python that has nothing but numpy and onnxruntime. Writes
bench/results/over_ssh.json: for each file the ratio of medians, there over here, of each repeat.
"""

from __future__ import annotations

import argparse
import statistics
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from edge_se.backends.base import Session
from edge_se.backends.machines.choice import machine_of
from edge_se.backends.machines.machine import Here, Machine
from edge_se.core import environment
from edge_se.core.artifacts import BUILDS, MANIFEST, check_file, locate_build, read_build
from edge_se.core.files import write_json
from edge_se.graph.onnx_model import OnnxModel
from edge_se.measure.timing import Latencies, TimingPlan
from edge_se.reporting.console import print_table

RESULTS = Path(__file__).parent / "results"
TURNS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address")
    parser.add_argument("models", nargs="*", default=sorted(path.parent.name for path in BUILDS.glob(f"*/{MANIFEST}")))
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2.0, help="per file, repeat and side")
    arguments = parser.parse_args()
    with machine_of(arguments.address) as there:
        rows = [row for model in arguments.models for row in compared(
            model, Here(1), there, arguments.repeats, TimingPlan(min_duration=arguments.seconds / TURNS, min_runs=20))]
        device = {key: there.facts[key] for key in ("name", "python", "numpy", "runtimes")}
    write_json(RESULTS / "over_ssh.json", {
        "schema": "edge-se/over-ssh/1", "threads": 1, "batch": 1, "rows": rows, "device": device,
        "environment": {"versions": environment.versions(), "hardware": environment.hardware(),
                        "commit": environment.commit()}})
    print_table(["model", "file", "here p50 ms", "over SSH p50 ms", "ratio", "min", "max", "repeats"], [
        [row["model"], row["file"], f"{row['here_p50_ms']:.3f}", f"{row['there_p50_ms']:.3f}", f"{row['ratio']:.3f}",
         f"{row['ratio_min']:.3f}", f"{row['ratio_max']:.3f}", str(row["repeats"])] for row in rows], left=2)


def compared(model: str, here: Machine, there: Machine, repeats: int, plan: TimingPlan) -> list[dict[str, Any]]:
    """One row per file that onnxruntime runs on both sides; who goes first alternates."""
    build = read_build(locate_build(model))
    rows = []
    for artifact in build.artifacts:
        loaded = OnnxModel.read(check_file(build, artifact), precision=artifact.precision, target=artifact.target)
        backends = [machine.backends["onnxruntime"] for machine in (here, there)]
        if any(backend.why_not(loaded, machine.device) for backend, machine in zip(backends, (here, there))):
            continue
        feed = np.random.default_rng(0).standard_normal((1, 3, 32, 32), dtype=np.float32)
        medians: list[list[float]] = [[], []]
        with ExitStack() as stack:
            sessions = [stack.enter_context(backend.open(loaded, machine.device))
                        for backend, machine in zip(backends, (here, there))]
            for repeat in range(repeats):
                for side, value in enumerate(one_repeat(sessions, feed, plan, repeat)):
                    medians[side].append(value)
        ratios = [far / near for near, far in zip(*medians)]
        rows.append({"model": model, "file": artifact.file, "sha256": artifact.sha256,
                     "here_p50_ms": statistics.median(medians[0]), "there_p50_ms": statistics.median(medians[1]),
                     "ratio": statistics.median(ratios), "ratio_min": min(ratios), "ratio_max": max(ratios),
                     "repeats": repeats})
    return rows


def one_repeat(sessions: list[Session], feed: Any, plan: TimingPlan, repeat: int) -> list[float]:
    """p50 on each side over TURNS turns each."""
    parts: list[list[Latencies]] = [[], []]
    for turn in range(TURNS):
        for side in ((0, 1) if (repeat + turn) % 2 == 0 else (1, 0)):
            parts[side].append(sessions[side].time(feed, plan))
    return [Latencies.joined(own).percentile(50) for own in parts]


if __name__ == "__main__":
    main()
