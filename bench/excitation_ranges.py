"""What Kullback-Leibler ranges cost nets with SE without the rule of edge_se/quantization/methods.py: KL_KEEPS.

    python bench/excitation_ranges.py                # minutes on two cores, after bench/run_studies.py quantization

The search alone may clip all values of a tensor but the smallest; the rule keeps 99 % of them. Each net of the
study `quantization`, in each seed, is quantized by both, from real and from synthetic images, for `cpu` with
excitations in float, and judged on the 5,000 validation images against its own FP32. Needs CIFAR-10 ($EDGE_SE_DATA) and
the cells. Writes bench/results/excitation_ranges.json.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any
from unittest.mock import patch

from edge_se.core import environment
from edge_se.core.errors import EdgeSeError
from edge_se.core.files import write_json
from edge_se.core.progress import Progress
from edge_se.data.calibration import REAL, SYNTHETIC
from edge_se.graph.onnx_model import OnnxModel
from edge_se.quantization import methods
from edge_se.reporting.console import ConsoleProgress
from edge_se.studies.cell import GRAPH
from edge_se.studies.int8 import int8_figures
from edge_se.studies.plan import read_plan

HERE = Path(__file__).parent
STUDY, RESULT = HERE / "studies" / "quantization.toml", HERE / "results" / "excitation_ranges.json"
SETTINGS = {"targets": ["cpu"], "placements": ["se-float"], "methods": ["entropy"], "calibration": [REAL, SYNTHETIC],
            "images": 5000, "latency": False}
RULES = {"without the rule": 0.0, "with it": methods.KL_KEEPS}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=Path, default=Path("runs/cells"), help="where the study's cells are")
    parser.add_argument("--data", type=Path, help="the folder of CIFAR-10")
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    plan, rows, progress = read_plan(STUDY), [], ConsoleProgress()
    try:
        for cell in plan.cells:
            progress.note(cell.folder)
            rows += judged(options.cells / cell.folder / GRAPH, options.data, progress,
                           {"cell": cell.folder, "model": cell.model, "seed": cell.seed})
    except EdgeSeError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    write_json(options.out, {"schema": "edge-se/gate-ranges/1", "settings": SETTINGS, "rules": RULES, "rows": rows,
                             "environment": {"versions": environment.versions(), "hardware": environment.hardware(),
                                             "commit": environment.commit()}})
    print(f"written to {options.out}")


def judged(path: Path, data: Path | None, progress: Progress, cell: dict[str, Any]) -> list[dict[str, Any]]:
    """Top-1, drop and flips of one net by both rules. EdgeSeError where the cell was not measured."""
    if not path.is_file():
        raise EdgeSeError("no such graph", where=path, fix="run `python bench/run_studies.py quantization` first")
    fp32, rows = OnnxModel.read(path), []
    for rule, keeps in RULES.items():
        with patch.object(methods, "KL_KEEPS", keeps):
            figures = int8_figures(fp32, SETTINGS, data, progress)
        rows += [cell | {"rule": rule} | asdict(figure) for figure in figures]
    return rows


if __name__ == "__main__":
    main()
