"""One peer's quantization in a process of its own: python quantize.py PEER FP32.onnx CALIBRATION.npy OUT

Prints one JSON line: seconds of the quantizing call (imports and loading excluded), peak resident bytes. Runs in the
peer's own environment; imports nothing of edge-se but for the peer `edge-se`.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

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


def modelopt_fp16(source: Path, images: np.ndarray, out: Path) -> float:
    """modelopt.onnx.quantization.quantize in INT8 with all its defaults: floats become FP16."""
    from modelopt.onnx.quantization import quantize

    started = time.perf_counter()
    quantize(str(source), quantize_mode="int8", calibration_data={"images": images}, output_path=str(out),
             calibration_eps=["cpu"])
    return time.perf_counter() - started


def nncf_twice(source: Path, images: np.ndarray, out: Path) -> float:
    """nncf.quantize on its own file: what happens to who does it twice."""
    started = time.perf_counter()
    once = out.with_name(f"once-{out.name}")
    nncf_onnx(source, images, once)
    nncf_onnx(once, images, out)
    return time.perf_counter() - started


def quark(source: Path, images: np.ndarray, out: Path) -> float:
    """AMD Quark's INT8_CNN_DEFAULT."""
    from onnxruntime.quantization.calibrate import CalibrationDataReader
    from quark.onnx import ModelQuantizer
    from quark.onnx.quantization.config import Config, get_default_config

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
        def __init__(self) -> None:
            self.batches = iter(np.array_split(images, len(images) // BATCH))

        def get_next(self) -> dict[str, np.ndarray] | None:
            batch = next(self.batches, None)
            return None if batch is None else {"images": batch}

    started = time.perf_counter()
    quantizer = ModelQuantizer(Config(global_quant_config=get_default_config("INT8_CNN_DEFAULT")))
    quantizer.quantize_model(str(source), str(out), Reader())
    return time.perf_counter() - started


def aimet(source: Path, images: np.ndarray, out: Path) -> float:
    """Qualcomm AIMET's QuantizationSimModel with its defaults, as Q/DQ."""
    import onnx
    from aimet_onnx import QuantizationSimModel

    started = time.perf_counter()
    simulated = QuantizationSimModel(onnx.load(source))
    simulated.compute_encodings([{"images": batch} for batch in np.array_split(images, len(images) // BATCH)])
    onnx.save(simulated.to_onnx_qdq(), out)
    return time.perf_counter() - started


def torchao(source: Path, images: np.ndarray, out: Path) -> float:
    """torchao's PT2E with its x86 quantizer, through torch's exporter; the net is that of the zoo, not `source`."""
    import torch
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
    from torchao.quantization.pt2e.quantizer.x86_inductor_quantizer import (
        X86InductorQuantizer,
        get_default_x86_inductor_quantization_config,
    )

    net = _net_of(source)
    batches = [torch.from_numpy(batch) for batch in np.array_split(images, len(images) // BATCH)]
    started = time.perf_counter()
    program = torch.export.export(net, (batches[0],)).module()
    prepared = prepare_pt2e(program, X86InductorQuantizer().set_global(get_default_x86_inductor_quantization_config()))
    for batch in batches:
        prepared(batch)
    written = torch.onnx.export(convert_pt2e(prepared), (batches[0],), dynamo=True, input_names=["images"],
                                external_data=False, verbose=False)
    assert written is not None
    written.save(str(out))
    return time.perf_counter() - started


def litert(source: Path, images: np.ndarray, out: Path) -> float:
    """litert-torch, then ai-edge-quantizer's static recipe, int8 weights and activations; FP32 beside OUT."""
    import litert_torch
    import torch
    from ai_edge_quantizer import quantizer, recipe

    net, fp32 = _net_of(source), out.with_name("fp32.tflite")
    litert_torch.convert(net, (torch.from_numpy(images[:1]),)).export(fp32)
    started = time.perf_counter()
    own = quantizer.Quantizer(fp32, recipe.static_wi8_ai8())
    ranges = own.calibrate({"serving_default": [{"args_0": image[None]} for image in images]}, num_threads=1)
    own.quantize(ranges).export_model(out)
    return time.perf_counter() - started


def executorch(source: Path, images: np.ndarray, out: Path) -> float:
    """ExecuTorch's PT2E with the configuration that its examples give XNNPACK; FP32 beside OUT."""
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from executorch.exir import to_edge_transform_and_lower
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    def written(net: torch.nn.Module, file: Path) -> None:
        lowered = to_edge_transform_and_lower(torch.export.export(net, example), partitioner=[XnnpackPartitioner()])
        file.write_bytes(lowered.to_executorch().buffer)

    net, example = _net_of(source), (torch.from_numpy(images[:1]),)
    written(net, out.with_name("fp32.pte"))
    started = time.perf_counter()
    config = get_symmetric_quantization_config(is_per_channel=True)
    prepared = prepare_pt2e(torch.export.export(net, example).module(), XNNPACKQuantizer().set_global(config))
    for image in images:
        prepared(torch.from_numpy(image[None]))
    written(convert_pt2e(prepared), out)
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


def _net_of(source: Path) -> Any:
    """The net of the zoo that the folder of `source` is named after, with its weights."""
    from edge_se.core.cards import weights_of
    from edge_se.nets.weights import load_weights
    from edge_se.nets.zoo import build, spec_of

    name = source.parent.name
    net = build(spec_of(name)).eval()
    load_weights(net, weights_of(name))
    return net


def peak_memory_bytes() -> int:
    """Largest resident size of this program; `ru_maxrss` would also count that of the process it was forked from."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])


PEERS = {"ort": ort, "nncf-onnx": nncf_onnx, "nncf-openvino": nncf_openvino, "modelopt": modelopt, "edge-se": edge_se,
         "nncf-twice": nncf_twice, "modelopt-fp16": modelopt_fp16, "quark": quark, "aimet": aimet, "torchao": torchao,
         "litert": litert, "executorch": executorch}

if __name__ == "__main__":
    peer, source, images, out = sys.argv[1:]
    seconds = PEERS[peer](Path(source), np.load(images), Path(out))
    print(json.dumps({"peer": peer, "seconds": seconds, "peak_memory_bytes": peak_memory_bytes()}))
