"""What INT8 costs for each target, on all test images: python bench/target_drops.py [MODEL ...]

Exports the bundled nets, or those that are named, for all targets, and gates every file: in the runtime that serves it,
those for TensorRT in a simulation. Needs CIFAR-10 ($EDGE_SE_DATA) and the extras `openvino` and `litert`; about ten
minutes of a core a net. Writes bench/results/target_drops.json, in which the other nets stay, and refreshes the
documents.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from bench.tables import readme
from edge_se.core.files import read_json, write_json
from edge_se.quantization.targets import TARGETS
from edge_se.reporting.console import ConsoleProgress
from edge_se.steps.export import export
from edge_se.steps.gate import gate

RESULT = Path(__file__).parent / "results" / "target_drops.json"
SCHEMA = "edge-se/target-drops/1"
KEPT = ("target", "file", "sha256", "n", "top1", "drop_pp", "ci_pp", "broken", "fixed", "measured_by")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL", default=readme.MODELS)
    models = parser.parse_args().models
    if unknown := [name for name in models if name not in readme.MODELS]:
        parser.error(f"'{unknown[0]}' is not among those measured in every runtime: {', '.join(readme.MODELS)}")
    nets = {net["model"]: net for net in read_json(RESULT)["nets"]} if RESULT.is_file() else {}
    progress = ConsoleProgress()
    for model in models:
        progress.note(model)
        nets[model] = drops(model, progress)
        write_json(RESULT, {"schema": SCHEMA, "nets": [nets[name] for name in readme.MODELS if name in nets]})
    readme.main()


def drops(model: str, progress: ConsoleProgress) -> dict[str, Any]:
    """The verdicts' figures of every file of `model`, against FP32 on the same images."""
    with tempfile.TemporaryDirectory() as folder:
        build = export(model, int8=True, targets=list(TARGETS), out=Path(folder) / model, accuracy=False,
                       progress=progress)
        document = gate(build.out, progress=progress)
    return {"model": model, "source": build.source, "environment": build.environment, "dataset": document["dataset"],
            "fp32_top1": document["fp32_top1"], "files": [
                {key: row[key] for key in KEPT} for row in document["targets"]]}


if __name__ == "__main__":
    main()
