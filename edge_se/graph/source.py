"""Where a graph comes from: a net of the zoo or of torchvision with its weights, or an ONNX file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge_se.core.cards import weights_of
from edge_se.core.errors import ModelError, UnavailableError, did_you_mean
from edge_se.core.files import sha256_of
from edge_se.data.cifar10 import CLASSES, MEAN, STD
from edge_se.graph.foreign import normalised
from edge_se.graph.metadata import ModelMetadata, write_metadata
from edge_se.graph.onnx_model import OnnxModel
from edge_se.nets.zoo import build, spec_of

if TYPE_CHECKING:
    from torch import nn

TORCHVISION = "torchvision:"
UNTRAINED = "untrained"
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

Reference = Callable[[NDArray[np.float32]], NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """What the user says of a model that does not say it itself; None: by the model's size."""

    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    input_size: int | None = None


@dataclass(frozen=True, kw_only=True)
class Source:
    """The FP32 graph, what it was made from, and the net that it must agree with (None for a file)."""

    name: str
    model: OnnxModel
    origin: dict[str, Any]
    reference: Reference | None = None

    @property
    def metadata(self) -> ModelMetadata:
        """The contract of the graph; every source writes it."""
        found = self.model.metadata
        assert found is not None
        return found

    @property
    def is_untrained(self) -> bool:
        """Whether its weights are random."""
        return bool(self.origin["kind"] == UNTRAINED)

    @property
    def is_cifar10(self) -> bool:
        """Whether CIFAR-10 tells its accuracy."""
        return self.metadata.labels == CLASSES and self.model.input_shape[1:] == (3, 32, 32)


def load_source(model: str, weights: Path | None, preprocessing: Preprocessing, untrained: bool = False) -> Source:
    """The FP32 graph of a net's name (with random weights if `untrained`), `torchvision:NAME` or an .onnx file."""
    if untrained:
        return _untrained(model, weights)
    if model.endswith(".onnx"):
        return _from_file(Path(model), weights, preprocessing)
    if model.startswith(TORCHVISION):
        return _from_torchvision(model.removeprefix(TORCHVISION), weights, preprocessing)
    return _from_zoo(model, weights)


def _from_zoo(name: str, weights: Path | None) -> Source:
    spec = spec_of(name)
    path = weights or weights_of(name)
    if not path.is_file():
        train = f"run `edge-se train --model {name}`, " if spec.classes == len(CLASSES) else ""
        raise ModelError("no such weights", where=path,
                         fix=f"{train}give them with --weights, or try the net's structure, size and latency with "
                             "--untrained")
    net = build(spec)
    from edge_se.nets.weights import load_weights

    load_weights(net, path)
    mean, std = _normalisation(Preprocessing(), spec.input_size)
    metadata = ModelMetadata(model=name, labels=_labels(spec.classes, spec.input_size), mean=mean, std=std,
                             source_sha256=sha256_of(path), params=_params(net))
    return _from_net(net, metadata, spec.input_size, {"kind": "zoo", "weights": path.name})


def _untrained(name: str, weights: Path | None) -> Source:
    """A net of the zoo with random weights. It has no labels, so nothing measures its accuracy or gates it."""
    if weights is not None:
        raise ModelError("has weights and is to be untrained", where="--untrained", fix="leave one of them out")
    if name.endswith(".onnx") or name.startswith(TORCHVISION):
        raise ModelError(f"'{name}' is not in the zoo", where="--untrained", fix="take a name of `edge-se models list`")
    spec = spec_of(name)
    build(spec)  # says what to install when torch is not here
    from edge_se.nets.untrained import SEED, build_untrained, state_sha256

    net = build_untrained(spec)
    mean, std = _normalisation(Preprocessing(), spec.input_size)
    metadata = ModelMetadata(model=f"{name}-{UNTRAINED}", labels=(), mean=mean, std=std,
                             source_sha256=state_sha256(net), params=_params(net))
    return _from_net(net, metadata, spec.input_size, {"kind": UNTRAINED, "weights": None, "seed": SEED})


def _from_torchvision(name: str, weights: Path | None, preprocessing: Preprocessing) -> Source:
    try:
        from edge_se.data.torchvision_import import torchvision
    except ModuleNotFoundError as error:
        raise UnavailableError("torchvision's models need torch and torchvision", where=f"{TORCHVISION}{name}",
                               fix="pip install 'edge-se[torch]'") from error
    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        raise ModelError(f"torchvision has no classifier '{name}'", where="--model", fix=did_you_mean(name, known))
    if weights is None:
        raise ModelError("needs your weights: nothing is downloaded", where=f"{TORCHVISION}{name}",
                         fix="give a .safetensors or .pth state dict with --weights")
    from edge_se.nets.weights import state_dict_of

    state = state_dict_of(weights)
    biases = [tensor for key, tensor in state.items() if key.endswith(".bias") and tensor.ndim == 1]
    classes = len(biases[-1]) if biases else 1000
    net = torchvision.models.get_model(name, weights=None, num_classes=classes)
    try:
        net.load_state_dict(state)
    except RuntimeError as error:
        raise ModelError(f"does not fit torchvision's {name} ({str(error).splitlines()[-1].strip()})", where=weights,
                         fix="give the state dict of this very model") from error
    size = preprocessing.input_size or 224
    mean, std = _normalisation(preprocessing, size)
    metadata = ModelMetadata(model=name, labels=_labels(classes, size), mean=mean, std=std,
                             source_sha256=sha256_of(weights), params=_params(net))
    return _from_net(net, metadata, size, {"kind": "torchvision", "weights": weights.name})


def _from_net(net: nn.Module, metadata: ModelMetadata, size: int, origin: dict[str, Any]) -> Source:
    import torch

    from edge_se.graph.export import to_onnx

    model = OnnxModel.of(to_onnx(net, metadata, size))

    def reference(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.no_grad():
            return np.asarray(net.eval()(torch.from_numpy(batch)).numpy(), dtype=np.float32)

    return Source(name=metadata.model, model=model, origin=origin | {"sha256": metadata.source_sha256},
                  reference=reference)


def _from_file(path: Path, weights: Path | None, preprocessing: Preprocessing) -> Source:
    if weights is not None:
        raise ModelError("an ONNX file brings its own weights", where="--weights", fix="leave --weights out")
    original = OnnxModel.read(path)
    proto = normalised(original, path)
    metadata = original.metadata
    if metadata is None:
        size, classes = original.input_shape[2] or 0, _classes(original)
        mean, std = _normalisation(preprocessing, size)
        metadata = ModelMetadata(model=path.stem, labels=_labels(classes, size), mean=mean, std=std)
    elif preprocessing.mean or preprocessing.std:
        raise ModelError("the file says its own normalisation", where=path, fix="leave --mean and --std out")
    write_metadata(proto, replace(metadata, source_sha256=original.sha256))
    return Source(name=path.stem, model=OnnxModel.of(proto),
                  origin={"kind": "onnx", "file": path.name, "sha256": original.sha256})


def _normalisation(preprocessing: Preprocessing, size: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """As the user says, else CIFAR-10's for 32 px and ImageNet's for every other size."""
    mean, std = (MEAN, STD) if size == 32 else (IMAGENET_MEAN, IMAGENET_STD)
    return preprocessing.mean or mean, preprocessing.std or std


def _labels(classes: int | None, size: int) -> tuple[str, ...]:
    """Ten classes at 32 px are taken for CIFAR-10's; others have no names here."""
    return CLASSES if classes == len(CLASSES) and size == 32 else ()


def _classes(model: OnnxModel) -> int | None:
    dims = model.proto.graph.output[0].type.tensor_type.shape.dim
    return dims[1].dim_value if len(dims) == 2 and dims[1].HasField("dim_value") else None


def _params(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters() if parameter.requires_grad)
