"""What TFLM and vela make of the files for LiteRT of builds.

    python bench/microcontrollers.py BUILD...    # each made with --int8 --target litert

Adds its rows to bench/results/microcontrollers.json, in place of those of the same builds and placements, and refreshes
the documents. Needs the extra `microcontrollers`; accuracy is that which the export measured.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from bench.tables import readme
from edge_se.core import environment
from edge_se.core.artifacts import locate_build, read_build
from edge_se.core.files import read_json, write_json
from edge_se.steps.verify import verify

RESULT = Path(__file__).parent / "results" / "microcontrollers.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("builds", nargs="+", metavar="BUILD")
    rows = {(row["model"], row["placement"]): row for row in (read_json(RESULT)["rows"] if RESULT.exists() else [])}
    for name in parser.parse_args().builds:
        rows |= {(row["model"], row["placement"]): row for row in measured(name)}
    write_json(RESULT, {"schema": "edge-se/microcontrollers/1", "rows": [rows[key] for key in sorted(rows)]})
    readme.main()


def measured(name: str) -> list[dict[str, Any]]:
    """A row for each file for LiteRT of a build."""
    build, document = read_build(locate_build(name)), verify(name, compiled=True)
    fp32 = build.find("fp32")
    return [{"model": build.model, "placement": artifact.placement, "params": artifact.params, "macs": artifact.macs,
             "fp32_top1": fp32.top1 if fp32 else None, "top1": artifact.top1, "top1_ci": artifact.top1_ci,
             "top1_n": artifact.top1_n, "flips": artifact.flips, "flips_n": artifact.flips_n,
             "dataset": artifact.dataset, "measured_by": artifact.measured_by,
             "sha256": told["tflite"]["sha256"], "bytes": told["tflite"]["bytes"], "tflm": told["tflm"],
             "vela": told["vela"], "versions": environment.versions(), "hardware": environment.hardware()}
            for artifact, told in zip(build.artifacts, document["files"]) if "tflite" in told]


if __name__ == "__main__":
    main()
