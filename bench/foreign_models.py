"""Models that this project has never seen: python bench/foreign_models.py   (about five minutes on two cores)

Structure only: random weights, batch norms that have seen random images, calibrated on 24 random pictures. Each target
takes the placement that `auto` measures to be the best; where none is faster than FP32, the refusal is recorded.
Writes bench/results/foreign_models.json and refreshes the documents.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from bench.tables import readme
from edge_se.backends.base import Device
from edge_se.backends.machines.choice import HERE
from edge_se.backends.table import first_that_runs
from edge_se.core import environment
from edge_se.core.errors import EdgeSeError
from edge_se.core.files import write_json
from edge_se.data.splits import ImageSet
from edge_se.data.torchvision_import import torchvision
from edge_se.evaluation.accuracy import logits_of
from edge_se.graph.counting import count
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.source import SourceOptions, load_source
from edge_se.quantization.excitations import find_excitations
from edge_se.quantization.ranges import collect
from edge_se.quantization.search import Budget, search
from edge_se.quantization.sensitivity import interleaved_medians, sqnr_db
from edge_se.quantization.static import quantize
from edge_se.quantization.targets import TARGETS, Target
from edge_se.reporting.console import ConsoleProgress

RESULTS = Path(__file__).parent / "results"
IMAGES, COARSE, SECONDS = 24, 16, 15.0


class SeNet(nn.Module):
    """Plain convolutions with excitations of linear layers behind `view`, as most SE code has them."""

    def __init__(self, sigmoid: nn.Module, width: int = 96, blocks: int = 6) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, width, 3, 2, 1), nn.BatchNorm2d(width), nn.ReLU())
        self.bodies = nn.ModuleList(nn.Sequential(nn.Conv2d(width, width, 3, 1, 1), nn.BatchNorm2d(width))
                                    for _ in range(blocks))
        self.excitations = nn.ModuleList(nn.Sequential(nn.Linear(width, width // 8), nn.ReLU(),
                                                 nn.Linear(width // 8, width), sigmoid) for _ in range(blocks))
        self.head = nn.Linear(width, 20)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for body, excitation in zip(self.bodies, self.excitations):
            u = body(x)
            x = torch.relu(x + u * excitation(u.mean((2, 3))).view(u.shape[0], u.shape[1], 1, 1))
        logits: torch.Tensor = self.head(x.mean((2, 3)))
        return logits


def main() -> None:
    progress, rows = ConsoleProgress(), []
    for name, size, net in nets():
        progress.note(name)
        with tempfile.TemporaryDirectory() as folder:
            model = exported(net, size, Path(folder, f"{name}.onnx"))
        rows.append(measured(name, model, pictures(size), progress))
    write_json(RESULTS / "foreign_models.json", {
        "schema": "edge-se/foreign-models/1", "images": IMAGES, "rows": rows,
        "environment": {"versions": environment.versions(), "hardware": environment.hardware(),
                        "commit": environment.commit()}})
    readme.main()


def nets() -> list[tuple[str, int, nn.Module]]:
    torch.manual_seed(0)
    get = torchvision.models.get_model
    return [("mobilenet_v3_small", 224, get("mobilenet_v3_small", weights=None)),
            ("efficientnet_b0", 224, get("efficientnet_b0", weights=None)),
            ("resnet50", 224, get("resnet50", weights=None)), ("vgg11_bn", 112, plain_vgg()),
            ("SE, linear gates", 64, SeNet(nn.Sigmoid())), ("SE, hard sigmoid", 64, SeNet(nn.Hardsigmoid()))]


def plain_vgg() -> nn.Module:
    """torchvision's VGG-11 with batch norm; a global pool and one linear layer in place of three."""
    net: nn.Module = torchvision.models.get_model("vgg11_bn", weights=None)
    net.avgpool, net.classifier = nn.AdaptiveAvgPool2d(1), nn.Linear(512, 20)
    return net


def pictures(size: int) -> ImageSet:
    coarse = np.random.default_rng(0).integers(0, 256, (IMAGES, 3, COARSE, COARSE), dtype=np.uint8)
    factor = size // COARSE  # blobs: noise alone excites no deep feature
    return ImageSet(name="random pictures", split="calibration", labels=None,
                    pixels=np.ascontiguousarray(coarse.repeat(factor, 2).repeat(factor, 3)))


def exported(net: nn.Module, size: int, path: Path) -> OnnxModel:
    """Through torch's own exporter and the same door as any file from elsewhere."""
    warm_up = torch.from_numpy(pictures(size).pixels).float() / 128 - 1
    net.train()
    with torch.no_grad():
        for _ in range(4):
            net(warm_up)
        net.eval()
        torch.onnx.export(net, (torch.zeros(2, 3, size, size),), str(path), dynamo=True, external_data=False,
                          dynamic_shapes=({0: torch.export.Dim("batch")},), verbose=False)
    return load_source(str(path), None, SourceOptions(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))).model


def measured(name: str, model: OnnxModel, images: ImageSet, progress: ConsoleProgress) -> dict[str, Any]:
    counts, statistics = count(model.proto), collect(model, images)
    return {"name": name, "params": counts.params, "macs": counts.macs, "se_gates": len(find_excitations(model.proto)),
            "targets": {target: on_target(model, statistics, TARGETS[target], images, progress)
                        for target in ("cpu", "openvino", "tensorrt")}}


def on_target(model: OnnxModel, statistics: Any, target: Target, images: ImageSet,
              progress: ConsoleProgress) -> dict[str, Any]:
    backend, _ = first_that_runs(OnnxModel(content=model.content, precision="int8", target=target.name), Device())
    try:
        placement, _ = search(model, statistics, target, images, method="mse", where=HERE if backend else None,
                              log=None, budget=Budget(max_drop_pp=5.0, seconds=SECONDS), progress=progress)
    except EdgeSeError as refusal:
        return {"refused": refusal.what, "fix": refusal.fix}
    quantized = quantize(model, statistics.ranges("mse", target.activations), target, placement)
    reference, logits = logits_of(model, images), logits_of(quantized, images)
    result = {"placement": placement.name, "sqnr_db": sqnr_db(reference, logits),
              "agreement": 100 * float((reference.argmax(1) == logits.argmax(1)).mean()),
              "distinct_predictions": len(set(reference.argmax(1).tolist())), "speedup": None, "parser": None}
    if backend is not None:
        fp32, int8 = interleaved_medians([model, quantized], backend, progress)
        result |= {"backend": backend.name, "fp32_ms": fp32, "int8_ms": int8, "speedup": fp32 / int8}
    if target.name.startswith("tensorrt"):
        result["parser"] = parsed(quantized)
    return result


def parsed(model: OnnxModel) -> str:
    """What TensorRT's own parser says, strongly typed; `not installed` without tensorrt-rtx."""
    try:
        import tensorrt_rtx as trt
    except ModuleNotFoundError:
        return "not installed"
    logger = trt.Logger(trt.Logger.INTERNAL_ERROR)
    network = trt.Builder(logger).create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    return "parses" if parser.parse(model.content) else parser.get_error(0).desc()


if __name__ == "__main__":
    main()
