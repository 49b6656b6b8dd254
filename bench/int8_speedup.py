"""How much faster INT8 is than FP32 here: interleaved, one thread, batch 1, onnxruntime.

    python bench/int8_speedup.py [MODEL ...]        # default: every build in ./build

Each repeat times all files of a build in turns and gives one ratio of medians; the spread of the ratios over the
repeats says how far to trust them. Writes bench/results/int8_speedup.json.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

from edge_se.core import environment
from edge_se.core.artifacts import BUILDS, MANIFEST
from edge_se.core.files import write_json
from edge_se.reporting.console import print_table
from edge_se.steps.bench import bench

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=sorted(path.parent.name for path in BUILDS.glob(f"*/{MANIFEST}")))
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=2.0, help="per file and repeat")
    arguments = parser.parse_args()
    if not arguments.models:
        parser.error("no build: run `edge-se export --model se_resnet18 --int8` first")
    rows = [speedup(model, arguments.repeats, arguments.seconds) for model in arguments.models]
    write_json(RESULTS / "int8_speedup.json", {
        "schema": "edge-se/speedup/1", "threads": 1, "batch": 1, "backend": "onnxruntime", "rows": rows,
        "fast_int8": environment.has_fast_int8(),
        "environment": {"versions": environment.versions(), "hardware": environment.hardware(),
                        "commit": environment.commit()}})
    print_table(["model", "FP32 p50 ms", "INT8 p50 ms", "speed-up", "min", "max", "repeats"], [
        [row["model"], f"{row['fp32_p50_ms']:.3f}", f"{row['int8_p50_ms']:.3f}", f"{row['speedup']:.2f}",
         f"{row['speedup_min']:.2f}", f"{row['speedup_max']:.2f}", str(row["repeats"])] for row in rows])


def speedup(model: str, repeats: int, seconds: float) -> dict[str, object]:
    documents = [bench("cpu", model=model, precisions=["fp32", "int8"], threads=1, min_duration=seconds)
                 for _ in range(repeats)]
    p50 = {precision: [row["p50_ms"] for document in documents for row in document["measurements"]
                       if row["precision"] == precision] for precision in ("fp32", "int8")}
    ratios = [slow / fast for slow, fast in zip(p50["fp32"], p50["int8"])]
    return {"model": model, "fp32_p50_ms": statistics.median(p50["fp32"]),
            "int8_p50_ms": statistics.median(p50["int8"]), "speedup": statistics.median(ratios),
            "speedup_min": min(ratios), "speedup_max": max(ratios), "repeats": repeats}


if __name__ == "__main__":
    main()
