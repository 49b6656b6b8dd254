"""OpenVINO's precision hints, accuracy and time of each: python bench/precision_hints.py BUILD ...

A BUILD is a folder of `edge-se export --int8 --target openvino`. FP32 and its `openvino` file are run with each hint
that a plugin may choose, and with none. Flips and SQNR are against FP32 in f32, on validation images ($EDGE_SE_DATA);
times are of one image on one thread, all in turns. What the processor computes is what the compiled model says: where
it has no f16, OpenVINO takes another type without a word. Then `python -m bench.tables.readme`.
"""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_se.backends.base import Device, Session
from edge_se.backends.openvino import OpenVino
from edge_se.core import environment
from edge_se.core.artifacts import check_file, read_build
from edge_se.core.errors import ArtifactError
from edge_se.core.files import read_json, write_json
from edge_se.core.measured_by import measured_by
from edge_se.data import cifar10, splits
from edge_se.data.images import Images
from edge_se.evaluation.accuracy import flips, top1
from edge_se.graph.onnx_model import OnnxModel
from edge_se.measure.timing import Latencies, TimingPlan
from edge_se.quantization.sensitivity import sqnr_db

RESULT = Path(__file__).parent / "results" / "precision_hints.json"
SCHEMA = "edge-se/precision-hints/1"
HINTS = ("f32", "bf16", "f16", None)
ROUNDS = 12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("builds", nargs="+", metavar="BUILD")
    parser.add_argument("--images", type=int, default=2000)
    arguments = parser.parse_args()
    images = splits.load("validation", cifar10.require(None)).first(arguments.images)
    kept = read_json(RESULT)["nets"] if RESULT.is_file() else []
    for build in map(read_build, map(Path, arguments.builds)):
        fp32, int8 = build.find("fp32"), build.find("int8", "openvino")
        if fp32 is None or int8 is None:
            raise ArtifactError("holds no FP32 and openvino file", where=build.folder,
                                fix="edge-se export --int8 --target openvino")
        models = {item.label: OnnxModel.read(check_file(build, item), precision=item.precision, target=item.target)
                  for item in (fp32, int8)}
        rows = measured(models, images)
        kept = sorted([net for net in kept if net["model"] != build.model] + [
            {"model": build.model, "sha256": {item.label: item.sha256 for item in (fp32, int8)}, "images": images.name,
             "n": len(images), "rows": rows}], key=lambda net: str(net["model"]))
        write_json(RESULT, {"schema": SCHEMA, "nets": kept, "environment": {
            "versions": environment.versions(), "hardware": environment.hardware()}})
        print(build.model, flush=True)


def measured(models: dict[str, OnnxModel], images: Images) -> list[dict[str, Any]]:
    """One row for each file and hint; the first is the reference."""
    image = next(images.batches(1))
    with ExitStack() as stack:
        sessions = {(label, hint): stack.enter_context(OpenVino(hint).open(model, Device(threads=1)))
                    for label, model in models.items() for hint in HINTS}
        times = interleaved(list(sessions.values()), image)
        rows, reference = list[dict[str, Any]](), None
        for (label, hint), session, latencies in zip(sessions, sessions.values(), times):
            logits = np.concatenate(list(session.answers(images.batches(100))))
            reference = logits if reference is None else reference
            assert images.labels is not None
            rows.append({"file": label, "hint": hint, "top1": top1(logits, images.labels),
                         "flips": flips(logits, reference),
                         "sqnr_db": None if logits is reference else sqnr_db(reference, logits),
                         "p50_ms": latencies.percentile(50), "cv": latencies.cv,
                         "measured_by": measured_by("openvino", floats=session.floats(image))})
    return rows


def interleaved(sessions: list[Session], image: NDArray[np.float32]) -> list[Latencies]:
    """Latencies of one image in each session, in turns."""
    parts: list[list[Latencies]] = [[] for _ in sessions]
    for _ in range(ROUNDS):
        for own, session in zip(parts, sessions):
            own.append(session.time(image, TimingPlan(min_duration=0.15, min_runs=20, warmup=0.03)))
    return [Latencies.joined(own) for own in parts]


if __name__ == "__main__":
    main()
