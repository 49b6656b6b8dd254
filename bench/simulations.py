"""Each runtime on this machine against exact integers, for each form of file: python bench/simulations.py BUILD ...

A BUILD is a folder of `edge-se export --int8 --target cpu,openvino,tensorrt,tensorrt-fp16`. Needs CIFAR-10
($EDGE_SE_DATA): its validation images are used, since runtimes are chosen by the outcome. The exact answers are those
of bench/integers.py, about 15 images a second. What was measured of the same file and images is kept. Then
`python -m bench.tables.readme`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.integers import Oracle
from edge_se.backends.base import Device
from edge_se.backends.openvino import OpenVino
from edge_se.core import environment
from edge_se.core.artifacts import check_file, read_build
from edge_se.core.files import read_json, write_json
from edge_se.core.measured_by import measured_by
from edge_se.data import cifar10, splits
from edge_se.device.agent import OnnxRuntimeRunner
from edge_se.evaluation.accuracy import flips
from edge_se.graph.onnx_model import OnnxModel
from edge_se.quantization.sensitivity import sqnr_db

RESULT = Path(__file__).parent / "results" / "simulations.json"
SCHEMA = "edge-se/simulations/1"
PASS = "WeightBiasQuantization"
Logits = NDArray[np.float32]
Run = Callable[[OnnxModel, NDArray[np.float32]], tuple[Logits, str]]
TARGETS = ("cpu", "openvino", "tensorrt", "tensorrt-fp16")


def onnxruntime(**how: Any) -> Run:
    """(model, images) -> logits and the type of the floats."""
    def run(model: OnnxModel, images: NDArray[np.float32]) -> tuple[Logits, str]:
        runner = OnnxRuntimeRunner(model.content, 1, **how)
        logits = np.concatenate([runner.run(images[position:position + 1]) for position in range(len(images))])
        return logits, "f32"  # of FP16 files, too: findings/onnxruntime_fp16_on_cpu.sh
    return run


def openvino(hint: str) -> Run:
    """The same in OpenVINO; the type is the one that it tells, which may be another than the hint."""
    def run(model: OnnxModel, images: NDArray[np.float32]) -> tuple[Logits, str]:
        with OpenVino(hint).open(model, Device(threads=1)) as session:
            floats = session.floats(images[:1])
            return np.concatenate([session.run(images[at:at + 1]) for at in range(len(images))]), floats
    return run


RUNTIMES: dict[str, tuple[str, Run]] = {
    "default": ("onnxruntime", onnxruntime()),
    f"without {PASS}": ("onnxruntime", onnxruntime(without=[PASS])),
    "as written": ("onnxruntime", onnxruntime(as_written=True)),
    "hint f32": ("openvino", openvino("f32")), "hint bf16": ("openvino", openvino("bf16")),
}


def measured(model: OnnxModel, images: NDArray[np.float32]) -> list[dict[str, Any]]:
    """One row a runtime: flips and the SQNR of its logits against the exact ones."""
    exact = Oracle(model).run(images).astype(np.float32)
    rows = []
    for how, (runtime, run) in RUNTIMES.items():
        logits, floats = run(model, images)
        rows.append({"how": how, "flips": flips(logits, exact), "sqnr_db": sqnr_db(exact, logits),
                     "measured_by": measured_by(runtime, floats=floats)})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("builds", nargs="+", metavar="BUILD")
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--target", choices=TARGETS, action="append")
    arguments = parser.parse_args()
    split = splits.load("validation", cifar10.require(None)).first(arguments.images)
    images = np.concatenate(list(split.batches(100)))
    kept = read_json(RESULT)["files"] if RESULT.is_file() else []
    for build in map(read_build, map(Path, arguments.builds)):
        for artifact in build.artifacts:
            key = (build.model, artifact.target, artifact.sha256, len(images))
            if artifact.target not in (arguments.target or TARGETS) or any(
                    (row["model"], row["target"], row["sha256"], row["n"]) == key for row in kept):
                continue
            model = OnnxModel.read(check_file(build, artifact), precision="int8", target=artifact.target)
            kept = [row for row in kept if (row["model"], row["target"]) != key[:2]] + [
                {"model": build.model, "target": artifact.target, "sha256": artifact.sha256, "images": split.name,
                 "n": len(images), "runtimes": measured(model, images)}]
            kept.sort(key=lambda row: (row["model"], TARGETS.index(row["target"])))
            write_json(RESULT, {"schema": SCHEMA, "files": kept, "environment": {
                "versions": environment.versions(), "hardware": environment.hardware()}})
            print(kept[-1]["model"], artifact.target, flush=True)


if __name__ == "__main__":
    main()
