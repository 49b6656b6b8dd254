"""How much faster INT8 is than FP32 here: interleaved, one thread, batch 1, in onnxruntime and in OpenVINO.

    python bench/int8_speedup.py [MODEL ...]        # default: every build in ./build

Each repeat times all files of a build in turns and gives one ratio of medians per file; the spread of the ratios over
the repeats says how far to trust them. Writes bench/results/int8_speedup.json.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from typing import Any

from edge_se.backends.table import AUTOMATIC
from edge_se.core import environment
from edge_se.core.artifacts import BUILDS, MANIFEST
from edge_se.core.files import write_json
from edge_se.reporting.console import print_table
from edge_se.steps.bench import Options, bench

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=sorted(path.parent.name for path in BUILDS.glob(f"*/{MANIFEST}")))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="per file and repeat")
    arguments = parser.parse_args()
    if not arguments.models:
        parser.error("no build: run `edge-se export --model se_resnet18 --int8` first")
    here = [name for name, backend in AUTOMATIC.items() if backend.missing() is None]
    rows = [row for model in arguments.models for backend in here
            for row in speedups(model, backend, arguments.repeats, arguments.seconds)]
    write_json(RESULTS / "int8_speedup.json", {
        "schema": "edge-se/speedup/1", "threads": 1, "batch": 1, "rows": rows,
        "fast_int8": environment.has_fast_int8(),
        "environment": {"versions": environment.versions(), "hardware": environment.hardware(),
                        "commit": environment.commit()}})
    print_table(["model", "runtime", "file for", "FP32 p50 ms", "INT8 p50 ms", "speed-up", "min", "max", "repeats"], [
        [row["model"], row["backend"], row["target"], f"{row['fp32_p50_ms']:.3f}", f"{row['int8_p50_ms']:.3f}",
         f"{row['speedup']:.2f}", f"{row['speedup_min']:.2f}", f"{row['speedup_max']:.2f}",
         str(row["repeats"])] for row in rows], left=3)


def speedups(model: str, backend: str, repeats: int, seconds: float) -> list[dict[str, Any]]:
    """One row per INT8 file that `backend` runs."""
    p50: dict[str, list[float]] = {}
    for _ in range(repeats):
        document = bench("cpu", model=model, precisions=["fp32", "int8"],
                         options=Options(backend=backend, threads=(1,), fresh=False, min_duration=seconds))
        for row in document["measurements"]:
            p50.setdefault(row["target"], []).append(row["p50_ms"])
    fp32 = p50.pop("any")
    rows = []
    for target, int8 in p50.items():
        ratios = [slow / fast for slow, fast in zip(fp32, int8)]
        rows.append({"model": model, "backend": backend, "target": target, "fp32_p50_ms": statistics.median(fp32),
                     "int8_p50_ms": statistics.median(int8), "speedup": statistics.median(ratios),
                     "speedup_min": min(ratios), "speedup_max": max(ratios), "repeats": repeats})
    return rows


if __name__ == "__main__":
    main()
