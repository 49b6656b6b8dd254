"""Where a graph comes from: a net of the zoo with its weights, or an ONNX file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_se.core.assets import asset
from edge_se.core.errors import ModelError
from edge_se.core.files import sha256_of
from edge_se.data.splits import ImageSet
from edge_se.graph.foreign import normalised
from edge_se.graph.metadata import ModelMetadata, write_metadata
from edge_se.graph.onnx_model import OnnxModel
from edge_se.nets.zoo import build, spec_of

if TYPE_CHECKING:
    from torch import nn

TORCH_TOLERANCE = 1e-3  # of logits of order 10: float32 sums in another order, batch norm folded
PARITY_IMAGES = 64


@dataclass(frozen=True, kw_only=True)
class Source:
    """The FP32 graph, what it was made from, and how far it is from its origin."""

    name: str
    model: OnnxModel
    origin: dict[str, Any]
    parity: dict[str, Any]


def is_file(model: str) -> bool:
    """Whether `--model` names an ONNX file rather than a net."""
    return model.endswith(".onnx")


def load_source(model: str, weights: Path | None, images: ImageSet) -> Source:
    """The FP32 graph of a net name or .onnx file, checked against its origin on `images`."""
    return _from_file(Path(model), weights) if is_file(model) else _from_zoo(model, weights, images)


def _from_zoo(name: str, weights: Path | None, images: ImageSet) -> Source:
    spec = spec_of(name)
    path = weights or asset("models", name, "weights.safetensors")
    if not path.is_file():
        raise ModelError("no such weights", where=path,
                         fix=f"give them with --weights, or run `edge-se train --model {name}`")
    net = build(spec)
    from edge_se.graph.export import to_onnx
    from edge_se.training.checkpoint import load_weights

    load_weights(net, path)
    sha256 = sha256_of(path)
    params = sum(parameter.numel() for parameter in net.parameters() if parameter.requires_grad)
    metadata = ModelMetadata(model=name, source_sha256=sha256, params=params)
    model = OnnxModel.of(to_onnx(net, metadata, spec.input_size))
    return Source(name=name, model=model, origin={"kind": "zoo", "weights": path.name, "sha256": sha256},
                  parity={"torch_vs_onnx": _torch_parity(net, model, images)})


def _torch_parity(net: nn.Module, model: OnnxModel, images: ImageSet) -> dict[str, Any]:
    import torch

    from edge_se.backends.base import Device
    from edge_se.backends.onnxruntime import OnnxRuntime

    batch = next(images.batches(PARITY_IMAGES))
    with torch.no_grad():
        expected = net.eval()(torch.from_numpy(batch)).numpy()
    with OnnxRuntime().open(model, Device()) as session:
        distance = float(np.abs(session.run(batch) - expected).max())
    if not distance <= TORCH_TOLERANCE:
        raise ModelError(f"the exported graph differs from torch by {distance:.2g} in a logit, more than "
                         f"{TORCH_TOLERANCE:g}", where=model.file_name,
                         fix="check the versions of torch and onnxscript")
    return {"max_abs": distance, "tolerance": TORCH_TOLERANCE, "images": len(batch), "of": images.name}


def _from_file(path: Path, weights: Path | None) -> Source:
    if weights is not None:
        raise ModelError("an ONNX file brings its own weights", where="--weights", fix="leave --weights out")
    original = OnnxModel.read(path)
    proto = normalised(original, path)
    old = original.metadata or ModelMetadata(model=path.stem)
    write_metadata(proto, ModelMetadata(model=old.model, labels=old.labels, mean=old.mean, std=old.std,
                                        source_sha256=original.sha256, params=old.params))
    return Source(name=path.stem, model=OnnxModel.of(proto),
                  origin={"kind": "onnx", "file": path.name, "sha256": original.sha256}, parity={})
