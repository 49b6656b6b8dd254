"""Which method and which placement, per target: python bench/ablation.py   (about ten minutes on two cores)

On held-out training images, never on the test set. Writes bench/results/ablation-MODEL.json and refreshes
the documents.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from bench.tables import readme
from edge_se.backends.base import Device
from edge_se.backends.table import first_that_runs
from edge_se.core import environment
from edge_se.core.artifacts import BUILDS, check_file, read_build
from edge_se.core.files import write_json
from edge_se.data import calibration, cifar10, splits
from edge_se.evaluation.accuracy import flips, logits_of
from edge_se.evaluation.judges import measured_by
from edge_se.evaluation.statistics import drop_interval, pair
from edge_se.graph.onnx_model import OnnxModel
from edge_se.quantization.methods import METHODS
from edge_se.quantization.placement import PLACEMENTS, default_placement, place
from edge_se.quantization.ranges import Statistics, collect
from edge_se.quantization.sensitivity import interleaved_medians, sqnr_db
from edge_se.quantization.static import quantize
from edge_se.quantization.targets import TARGETS, Target
from edge_se.reporting.console import ConsoleProgress

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=list(readme.MODELS))
    parser.add_argument("--targets", default="cpu,openvino,tensorrt")
    parser.add_argument("--images", type=int, default=5000, help="of the 5,000 held-out ones")
    arguments = parser.parse_args()
    for model in arguments.models:
        write_json(RESULTS / f"ablation-{model}.json",
                   ablation(model, arguments.targets.split(","), arguments.images, ConsoleProgress()))
    readme.main()


def ablation(model: str, targets: list[str], images: int, progress: ConsoleProgress) -> dict[str, Any]:
    cifar, build = cifar10.require(), read_build(BUILDS / model)
    fp32 = OnnxModel.read(check_file(build, build.artifacts[0]))
    real = collect(fp32, calibration.load(calibration.REAL, cifar))
    synthetic = collect(fp32, calibration.load(calibration.SYNTHETIC, cifar))
    judged = splits.load("validation", cifar).first(images)
    rows = [row for name in targets for row in compared(fp32, real, synthetic, TARGETS[name], judged, progress)]
    return {"schema": "edge-se/ablation/1", "model": model, "dataset": judged.name, "n": len(judged),
            "calibration": real.calibration, "default_placement": default_placement(fp32.proto), "rows": rows,
            "environment": {"versions": environment.versions(), "hardware": environment.hardware(),
                            "commit": environment.commit()}}


def compared(fp32: OnnxModel, real: Statistics, synthetic: Statistics, target: Target, judged: splits.ImageSet,
             progress: ConsoleProgress) -> list[dict[str, Any]]:
    """Every method with the placement without ends and the default one, every placement with the default method."""
    default = default_placement(fp32.proto)
    plans = [(method, placement, real) for placement in ("se-float", default) for method in METHODS]
    plans += [("mse", placement, real) for placement in PLACEMENTS if placement not in ("se-float", default)]
    plans += [("mse", default, synthetic)]
    reference, rows, graphs = logits_of(fp32, judged), [], []
    assert judged.labels is not None
    with progress.task(f"{target.name}: {len(plans)} plans", len(plans)) as advance:
        for method, placement, statistics in plans:
            graph = quantize(fp32, statistics.ranges(method, target.activations), target,
                             place(fp32.proto, target, placement))
            logits = logits_of(graph, judged)
            paired = pair(reference.argmax(1), logits.argmax(1), judged.labels)
            low, high = drop_interval(paired, 0.025)
            rows.append({"target": target.name, "method": method, "placement": placement,
                         "calibration": statistics.calibration, "sqnr_db": sqnr_db(reference, logits),
                         "flips": flips(logits, reference), "drop_pp": 100 * paired.drop,
                         "ci_pp": [100 * low, 100 * high], "measured_by": measured_by(graph), "p50_ms": None,
                         "backend": None})
            graphs.append(graph)
            advance(1)
    backend, _ = first_that_runs(graphs[0], Device())
    if backend is not None:
        for row, p50 in zip(rows, interleaved_medians(graphs, backend, progress)):
            row |= {"p50_ms": p50, "backend": backend.name}
    return rows


if __name__ == "__main__":
    main()
