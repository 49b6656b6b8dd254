"""Does calibrating on more images take more memory? python bench/calibration_memory.py   (about two minutes)

Each row is a process of its own; the figure is the largest resident size of that process. Beside it onnxruntime's
entropy calibrator, which keeps every activation. Writes bench/results/calibration_memory.json, refreshes the documents.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from bench.tables import readme
from edge_se.core import environment
from edge_se.core.artifacts import BUILDS
from edge_se.core.files import write_json
from edge_se.data.splits import ImageSet

RESULTS = Path(__file__).parent / "results"
MODEL = "se_resnet18"
ROWS = (("edge-se", 128), ("edge-se", 512), ("edge-se", 5000), ("onnxruntime entropy", 128),
        ("onnxruntime entropy", 512))


def main() -> None:
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(measured(sys.argv[2], int(sys.argv[3]))))
        return
    rows = []
    for tool, images in ROWS:
        done = subprocess.run([sys.executable, __file__, "--one", tool, str(images)], check=True, capture_output=True,
                              text=True)
        rows.append({"tool": tool, "images": images} | json.loads(done.stdout.splitlines()[-1]))
        print(rows[-1], file=sys.stderr)
    write_json(RESULTS / "calibration_memory.json", {
        "schema": "edge-se/calibration-memory/1", "model": MODEL, "rows": rows,
        "environment": {"versions": environment.versions(), "hardware": environment.hardware(),
                        "commit": environment.commit()}})
    readme.main()


def measured(tool: str, count: int) -> dict[str, float]:
    from edge_se.data import cifar10, splits
    from edge_se.graph.onnx_model import OnnxModel

    images = splits.load("train", cifar10.require()).first(count)
    path = BUILDS / MODEL / "fp32.onnx"
    before, started = peak_memory_bytes(), time.perf_counter()
    if tool == "edge-se":
        from edge_se.quantization.ranges import collect

        collect(OnnxModel.read(path), images)
    else:
        onnxruntime_entropy(path, images)
    return {"seconds": time.perf_counter() - started, "peak_memory_bytes": peak_memory_bytes(),
            "peak_before_bytes": before}


def onnxruntime_entropy(path: Path, images: ImageSet) -> None:
    from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, create_calibrator

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
        def __init__(self) -> None:
            self.batches = iter(images.batches(32))

        def get_next(self) -> dict[str, object] | None:
            batch = next(self.batches, None)
            return None if batch is None else {"images": batch}

    calibrator = create_calibrator(path, calibrate_method=CalibrationMethod.Entropy,
                                   augmented_model_path=str(path.with_suffix(".augmented.tmp")))
    try:
        calibrator.collect_data(Reader())
        calibrator.compute_data()
    finally:
        path.with_suffix(".augmented.tmp").unlink(missing_ok=True)


def peak_memory_bytes() -> int:
    """Largest resident size of this program so far."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])


if __name__ == "__main__":
    main()
