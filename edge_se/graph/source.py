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
from edge_se.data.cifar10 import CLASSES
from edge_se.data.preprocessing import CIFAR10, Preprocessing, assumed, require_normalisation, whose
from edge_se.graph.foreign import normalised
from edge_se.graph.metadata import ModelMetadata, write_metadata
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.parameters import parameters_of
from edge_se.graph.upgrading import upgraded
from edge_se.nets.spec import ModelSpec
from edge_se.nets.zoo import build, spec_of

if TYPE_CHECKING:
    from torch import nn

TORCHVISION = "torchvision:"
UNTRAINED = "untrained"
TORCHVISION_SIZE = 224

Reference = Callable[[NDArray[np.float32]], NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """What the user tells about a model that does not tell it itself.

    None: `mean` and `std` (of pixels from 0 to 1, one number a channel) by the model's size, `input_size` 224 for
    torchvision's models. Without `labels` nobody knows what the outputs are, and no data set tells the accuracy.
    """

    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    input_size: int | None = None
    labels: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        require_normalisation(self.mean, self.std)


@dataclass(frozen=True, kw_only=True)
class Source:
    """The FP32 graph, what it was made from, and the net that it must agree with (None for a file).

    `assumption` says in one line what was assumed of its preprocessing because nobody told it, None for nothing.
    """

    name: str
    model: OnnxModel
    origin: dict[str, Any]
    reference: Reference | None = None
    assumption: str | None = None

    @property
    def metadata(self) -> ModelMetadata:
        """The contract of the graph; every source writes it."""
        own = self.model.metadata
        assert own is not None
        return own

    @property
    def is_untrained(self) -> bool:
        """Whether its weights are random."""
        return bool(self.origin["kind"] == UNTRAINED)

    @property
    def is_cifar10(self) -> bool:
        """Whether CIFAR-10 tells its accuracy."""
        return self.metadata.labels == CLASSES and self.model.input_shape[1:] == (3, 32, 32)


def load_source(model: str, weights: Path | None, options: SourceOptions | None = None,
                untrained: bool = False) -> Source:
    """The FP32 graph of a net's name (with random weights if `untrained`), `torchvision:NAME` or an .onnx file.

    Raises ModelError for what cannot be loaded and for `options` that this kind of model does not take.
    """
    options = options or SourceOptions()
    if model.endswith(".onnx") and not untrained:
        return _from_file(Path(model), weights, options)
    if model.startswith(TORCHVISION) and not untrained:
        return _from_torchvision(model.removeprefix(TORCHVISION), weights, options)
    if options != SourceOptions():
        option = next(f"--{name.replace('_', '-')}" for name, value in vars(options).items() if value is not None)
        raise ModelError("a net of the zoo brings its own size, normalisation and labels", where=option,
                         fix=f"leave {option} out")
    return _untrained(model, weights) if untrained else _from_zoo(model, weights)


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
    metadata = ModelMetadata(model=name, preprocessing=preprocessing_of(spec), source_sha256=sha256_of(path),
                             params=_params(net))
    return _from_net(net, metadata, spec.input_size, {"kind": "zoo", "weights": path.name})


def _untrained(name: str, weights: Path | None) -> Source:
    """A net of the zoo with random weights. It has no labels, so its accuracy cannot be measured."""
    if weights is not None:
        raise ModelError("has weights and is to be untrained", where="--untrained", fix="leave one of them out")
    if name.endswith(".onnx") or name.startswith(TORCHVISION):
        raise ModelError(f"'{name}' is not in the zoo", where="--untrained", fix="take a name of `edge-se models list`")
    spec = spec_of(name)
    build(spec)  # says what to install when torch is not here
    from edge_se.nets.untrained import SEED, build_untrained, state_sha256

    net = build_untrained(spec)
    metadata = ModelMetadata(model=f"{name}-{UNTRAINED}", preprocessing=replace(preprocessing_of(spec), labels=()),
                             source_sha256=state_sha256(net), params=_params(net))
    return _from_net(net, metadata, spec.input_size, {"kind": UNTRAINED, "weights": None, "seed": SEED})


def _from_torchvision(name: str, weights: Path | None, options: SourceOptions) -> Source:
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
    size = options.input_size or TORCHVISION_SIZE
    how, assumption = _told(options, (size, size), classes)
    metadata = ModelMetadata(model=name, preprocessing=how, source_sha256=sha256_of(weights), params=_params(net))
    source = _from_net(net, metadata, size, {"kind": "torchvision", "weights": weights.name})
    return replace(source, assumption=assumption)


def _from_net(net: nn.Module, metadata: ModelMetadata, size: int, origin: dict[str, Any]) -> Source:
    import torch

    from edge_se.graph.export import to_onnx

    model = OnnxModel.of(to_onnx(net, metadata, size))

    def reference(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.no_grad():
            return np.asarray(net.eval()(torch.from_numpy(batch)).numpy(), dtype=np.float32)

    return Source(name=metadata.model, model=model, origin=origin | {"sha256": metadata.source_sha256},
                  reference=reference)


def _from_file(path: Path, weights: Path | None, options: SourceOptions) -> Source:
    if weights is not None:
        raise ModelError("an ONNX file brings its own weights", where="--weights", fix="leave --weights out")
    original = OnnxModel.read(path)
    proto = normalised(original, path)
    whole = OnnxModel.of(proto)
    metadata, assumption = original.metadata, None
    height, width = whole.input_shape[2:]
    assert height and width  # `normalised` refuses others
    if options.input_size is not None:
        raise ModelError(f"the file fixes its size at {height}x{width}", where=f"--input-size {options.input_size}",
                         fix="leave --input-size out, or export the model at that size")
    if metadata is None:
        how, assumption = _told(options, (height, width), _classes(whole))
        metadata = ModelMetadata(model=path.stem, preprocessing=how)
    elif options.mean or options.std:
        raise ModelError("the file says its own normalisation", where=path, fix="leave --mean and --std out")
    elif options.labels is not None:
        if metadata.labels not in ((), options.labels):
            raise ModelError("the file has labels of its own, and they differ", where=path, fix="leave --labels out")
        _require_count(options.labels, _classes(whole))
        metadata = replace(metadata, preprocessing=replace(metadata.preprocessing, labels=options.labels))
    write_metadata(proto, replace(metadata, source_sha256=original.sha256,
                                  params=metadata.params or parameters_of(upgraded(original.copy(), path)) or None))
    return Source(name=path.stem, model=OnnxModel.of(proto), assumption=assumption,
                  origin={"kind": "onnx", "file": path.name, "sha256": original.sha256})


def preprocessing_of(spec: ModelSpec) -> Preprocessing:
    """What a net of the zoo was trained with; its ten classes at 32 pixels are CIFAR-10's."""
    how = assumed((spec.input_size, spec.input_size))
    return replace(how, labels=CLASSES) if (spec.classes, how.size) == (len(CLASSES), CIFAR10.size) else how


def _told(options: SourceOptions, size: tuple[int, int], classes: int | None) -> tuple[Preprocessing, str | None]:
    """The preprocessing of the user, else the usual one for the size, and one line that tells what was assumed."""
    _require_count(options.labels, classes)
    usual = assumed(size, options.labels or ())
    how = replace(usual, mean=options.mean or usual.mean, std=options.std or usual.std)
    missing = [f"{option} {','.join(map(str, value))}" for option, given, value in
               (("--mean", options.mean, usual.mean), ("--std", options.std, usual.std)) if given is None]
    if not missing:
        return how, None
    return how, (f"assumed {' '.join(missing)}: {whose(usual)}'s, by the size of {size[0]}x{size[1]}, since the model "
                 "does not say its normalisation. Give what it was trained with if that is another.")


def _require_count(labels: tuple[str, ...] | None, classes: int | None) -> None:
    if labels is not None and classes is not None and len(labels) != classes:
        raise ModelError(f"{len(labels)} names for {classes} classes", where="--labels",
                         fix="give one name for each output, in their order")


def _classes(model: OnnxModel) -> int | None:
    dims = model.proto.graph.output[0].type.tensor_type.shape.dim
    return dims[1].dim_value if len(dims) == 2 and dims[1].HasField("dim_value") else None


def _params(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters() if parameter.requires_grad)
