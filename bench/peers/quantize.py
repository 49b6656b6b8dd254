"""One peer's quantization in a process of its own: python quantize.py PEER FP32.onnx CALIBRATION.npy OUT

Prints one JSON line: seconds of the quantizing call (imports and loading excluded), peak resident bytes. Runs in the
peer's own environment; imports nothing of edge-se but for the peer `edge-se`.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np

BATCH = 32


def ort(source: Path, images: np.ndarray, out: Path) -> float:
    """onnxruntime.quantization.quantize_static with its default settings, after its own recommended preprocessing."""
    from onnxruntime.quantization import CalibrationDataReader, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
        def __init__(self) -> None:
            self.batches = iter(np.array_split(images, len(images) // BATCH))

        def get_next(self) -> dict[str, np.ndarray] | None:
            batch = next(self.batches, None)
            return None if batch is None else {"images": batch}

    started = time.perf_counter()
    prepared = out.with_suffix(".prepared.onnx")
    quant_pre_process(source, prepared)
    quantize_static(prepared, out, Reader())
    return time.perf_counter() - started


def nncf_onnx(source: Path, images: np.ndarray, out: Path) -> float:
    """nncf.quantize on the ONNX model with its defaults."""
    import nncf
    import onnx

    model = onnx.load(source)
    dataset = nncf.Dataset([image[None] for image in images], lambda image: {"images": image})
    started = time.perf_counter()
    quantized = nncf.quantize(model, dataset, subset_size=len(images))
    seconds = time.perf_counter() - started
    onnx.save(quantized, out)
    return seconds


def nncf_openvino(source: Path, images: np.ndarray, out: Path) -> float:
    """nncf.quantize on OpenVINO's own representation with its defaults."""
    import nncf
    import openvino

    model = openvino.Core().read_model(source)
    dataset = nncf.Dataset([image[None] for image in images])
    started = time.perf_counter()
    quantized = nncf.quantize(model, dataset, subset_size=len(images))
    seconds = time.perf_counter() - started
    openvino.save_model(quantized, out, compress_to_fp16=False)
    return seconds


def modelopt(source: Path, images: np.ndarray, out: Path) -> float:
    """modelopt.onnx.quantization.quantize, INT8 with its default (entropy) calibration; floats stay FP32."""
    from modelopt.onnx.quantization import quantize

    started = time.perf_counter()
    quantize(str(source), quantize_mode="int8", calibration_data={"images": images}, output_path=str(out),
             calibration_eps=["cpu"], high_precision_dtype="fp32")
    return time.perf_counter() - started


def edge_se(source: Path, images: np.ndarray, out: Path) -> float:
    """edge-se with its defaults; OUT names the target: int8.cpu.onnx, int8.tensorrt.onnx, ..."""
    from edge_se.data import calibration, cifar10
    from edge_se.graph.onnx_model import OnnxModel
    from edge_se.quantization.effort import effort_of
    from edge_se.quantization.placement import place
    from edge_se.quantization.ranges import collect
    from edge_se.quantization.static import quantize
    from edge_se.quantization.targets import TARGETS

    model = OnnxModel.read(source)
    calibrating = calibration.load(calibration.REAL, cifar10.require())
    target = TARGETS[out.name.split(".")[-2]]
    effort = effort_of("default")
    started = time.perf_counter()
    ranges = collect(model, calibrating).ranges(effort.method, target.activations)
    quantized = quantize(model, ranges, target, place(model.proto, target, effort.placement))
    seconds = time.perf_counter() - started
    out.write_bytes(quantized.content)
    return seconds


def peak_memory_bytes() -> int:
    """Largest resident size of this program; `ru_maxrss` would also count that of the process it was forked from."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])


PEERS = {"ort": ort, "nncf-onnx": nncf_onnx, "nncf-openvino": nncf_openvino, "modelopt": modelopt, "edge-se": edge_se}

if __name__ == "__main__":
    peer, source, images, out = sys.argv[1:]
    seconds = PEERS[peer](Path(source), np.load(images), Path(out))
    print(json.dumps({"peer": peer, "seconds": seconds, "peak_memory_bytes": peak_memory_bytes()}))
