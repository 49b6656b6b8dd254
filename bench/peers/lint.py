"""Which rules of `edge-se lint` the files of other tools break, by their defaults: python bench/peers/lint.py

Needs CIFAR-10 ($EDGE_SE_DATA) and a build of the net for cpu, openvino and tensorrt (`edge-se export --model
se_resnet18 --int8 --target cpu,openvino,tensorrt`). Tools are installed as `tools.py` says. A tool that fails is told
with its last line. About ten minutes on one core. Writes bench/results/lint_peers.json and refreshes docs/peers.md.

All are calibrated on the same 64 training images, and run on the first 256 of the validation images.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from bench.peers import tools
from bench.tables import readme
from edge_se.core import environment
from edge_se.core.artifacts import BUILDS, locate_build
from edge_se.core.assets import asset
from edge_se.core.files import write_json
from edge_se.data import calibration, cifar10, splits
from edge_se.data.layouts.pixel_archive import write_archive
from edge_se.graph.onnx_model import OnnxModel
from edge_se.reporting.console import ConsoleProgress
from edge_se.steps.lint import lint

RESULT = Path(__file__).resolve().parents[1] / "results" / "lint_peers.json"
CALIBRATED, JUDGED = 64, 256
# (name in the table, peer of quantize.py, what `tools.py` installs, its package)
TOOLS = (
    ("onnxruntime default", "ort", None, "onnxruntime"),
    ("NNCF on ONNX", "nncf-onnx", "nncf", "nncf"),
    ("NNCF, twice", "nncf-twice", "nncf", "nncf"),
    ("ModelOpt, FP32 floats", "modelopt", "modelopt", "nvidia-modelopt"),
    ("ModelOpt default", "modelopt-fp16", "modelopt", "nvidia-modelopt"),
    ("Quark INT8_CNN_DEFAULT", "quark", "quark", "amd-quark"),
    ("AIMET default", "aimet", "aimet", "aimet-onnx"),
    ("torchao PT2E, x86", "torchao", "torchao", "torchao"),
)
OWN = ("cpu", "openvino", "tensorrt")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="se_resnet18")
    parser.add_argument("--build", type=Path, help="default: build/MODEL")
    given = parser.parse_args()
    write_json(RESULT, linted(given.model, locate_build(str(given.build or BUILDS / given.model)), ConsoleProgress()))
    readme.main()


def linted(model: str, build: Path, progress: ConsoleProgress) -> dict[str, Any]:
    """The document: a row for each file."""
    cifar = cifar10.require()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, model)
        folder.mkdir()
        source = build / "fp32.onnx"
        images = calibration.load(calibration.REAL, cifar).first(CALIBRATED)
        np.save(folder / "calibration.npy", np.concatenate(list(images.batches(CALIBRATED))))
        judged = splits.load_manifest(asset("calibration", "cifar10-val5k.json"), cifar).first(JUDGED)
        write_archive(folder / "validation.npz", judged.pixels)
        (folder / "fp32.onnx").write_bytes(source.read_bytes())
        for target in OWN:
            own = lint(build / f"int8.{target}.onnx", data=folder / "validation.npz", images=JUDGED, progress=progress)
            rows.append(_row(f"edge-se {target}", {}, own))
        for label, peer, tool, package in TOOLS:
            progress.note(f"quantizing with {label}")
            versions = {package: tools.version(package, tool)}
            said = tools.quantized(peer, tool, folder, folder / f"{peer}.onnx")
            if said is not None:
                rows.append({"name": label, "versions": versions, "failed": said})
                continue
            file = folder / f"{peer}.onnx"
            how = "cifar10" if OnnxModel.read(file).metadata is None else None  # some tools keep what the file says
            found = lint(file, data=folder / "validation.npz", images=JUDGED, preprocessing=how, progress=progress)
            rows.append(_row(label, versions, found))
    return {"schema": "edge-se/lint-peers/1", "model": model, "calibrated": CALIBRATED, "n": JUDGED, "rows": rows,
            "environment": {"versions": environment.versions(), "hardware": environment.hardware(),
                            "commit": environment.commit()}}


def _row(label: str, versions: dict[str, str], found: dict[str, Any]) -> dict[str, Any]:
    rules = [{key: row[key] for key in ("rule", "kind", "runtime", "cost")} | {"nodes": len(row["nodes"])}
             for row in found["rules"]]
    return {"name": label, "versions": versions, "runtimes": found["runtimes"], "rules": rules, "runs": found["runs"]}


if __name__ == "__main__":
    main()
