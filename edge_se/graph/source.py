"""Where a graph comes from: a net of the zoo, of torchvision or of timm with its weights, or a file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge_se.core.cards import CARD, card_beside, weights_of
from edge_se.core.errors import ModelError
from edge_se.core.files import sha256_of
from edge_se.data.cifar10 import CLASSES
from edge_se.data.preprocessing import CIFAR10, Preprocessing, assumed
from edge_se.device.agent.preprocess import of_document
from edge_se.graph.class_names import names_in
from edge_se.graph.foreign import normalised
from edge_se.graph.image_input import ImageInput, image_facts
from edge_se.graph.libraries.base import Library, trained_net, untrained_net
from edge_se.graph.libraries.table import library_of
from edge_se.graph.metadata import ModelMetadata, write_metadata
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.parameters import parameters_of
from edge_se.graph.programs import SUFFIX as PROGRAM
from edge_se.graph.programs import read_program
from edge_se.graph.source_options import SourceOptions, axes_told, option_of, preprocessing_told
from edge_se.graph.upgrading import upgraded
from edge_se.nets.spec import ModelSpec
from edge_se.nets.zoo import MODELS, build, spec_of

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Source", "SourceOptions", "load_source", "preprocessing_of"]

UNTRAINED = "untrained"
FILES = (".onnx", PROGRAM)
_OTHERS = (".pt", ".pth", ".ckpt", ".safetensors", ".h5", ".keras", ".pb", ".tflite", ".engine", ".xml")

Reference = Callable[[NDArray[np.float32]], NDArray[np.float32]]


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
        how = self.metadata.preprocessing
        return how.labels == CLASSES and how.size == CIFAR10.size


def load_source(model: str, weights: Path | None, options: SourceOptions | None = None,
                untrained: bool = False) -> Source:
    """The FP32 graph of a net's name (with random weights if `untrained`), `LIBRARY:NAME`, or an .onnx or .pt2 file.

    Raises ModelError for what cannot be loaded and for `options` that this kind of model does not take.
    """
    options = options or SourceOptions()
    if model.endswith(FILES) and not untrained:
        return _from_file(Path(model), weights, options)
    beside = [f"{model}{ending}" for ending in FILES if Path(f"{model}{ending}").is_file()]
    if beside and model not in MODELS:
        raise ModelError(f"unknown model '{model}'", fix=f"did you mean {beside[0]}?")
    if _is_other_file(model):
        raise ModelError("is no file that a model is read from", where=model,
                         fix="give an .onnx file, or a .pt2 file of torch.export.save; "
                             "a checkpoint of a known net goes to --weights, its name to --model")
    if named := library_of(model):
        return _from_library(*named, weights, options, untrained)
    if options != SourceOptions():
        option = next(option_of(name) for name, value in vars(options).items() if value is not None)
        raise ModelError("a net of the zoo brings its own size, normalisation and labels", where=option,
                         fix=f"leave {option} out")
    return _untrained(model, weights) if untrained else _from_zoo(model, weights)


def _is_other_file(model: str) -> bool:
    """Whether `model` means a path, of no kind that is read, and no name."""
    if model in MODELS or model.endswith(FILES) or library_of(model):
        return False
    return "/" in model or model.lower().endswith(_OTHERS) or Path(model).exists()


def _from_zoo(name: str, weights: Path | None) -> Source:
    spec = spec_of(name)
    path = weights or weights_of(name)
    if not path.is_file():
        train = f"run `edge-se train --model {name}`, " if spec.classes == len(CLASSES) else ""
        raise ModelError("no such weights", where=path,
                         fix=f"{train}give them with --weights, or try the net's structure, size and latency with "
                             "--untrained")
    spec, how = _trained_on(spec, path)
    net = build(spec)
    from edge_se.nets.weights import load_weights

    load_weights(net, path)
    metadata = ModelMetadata(model=name, preprocessing=how, source_sha256=sha256_of(path), params=_params(net))
    return _from_net(net, metadata, spec.input_size, {"kind": "zoo", "weights": path.name})


def _trained_on(spec: ModelSpec, weights: Path) -> tuple[ModelSpec, Preprocessing]:
    """The net and its preprocessing as the card beside the weights says, where they were trained on other images."""
    card = card_beside(weights)
    if card is None or "preprocessing" not in card:
        return spec, preprocessing_of(spec)
    try:
        how = of_document(card["preprocessing"])
    except (ValueError, TypeError, KeyError) as error:
        raise ModelError(f"holds no readable preprocessing ({error})", where=weights.with_name(CARD),
                         fix="take the card as `edge-se train` wrote it") from error
    return replace(spec, classes=len(how.labels), input_size=how.size[0]), how


def _untrained(name: str, weights: Path | None) -> Source:
    """A net of the zoo with random weights. It has no labels, so its accuracy cannot be measured."""
    _require_no_weights(weights)
    if name.endswith(FILES):
        raise ModelError("a file brings its own weights", where="--untrained",
                         fix="take a name of `edge-se models list`, torchvision:NAME or timm:NAME")
    spec = spec_of(name)
    build(spec)  # says what to install when torch is not here
    from edge_se.nets.untrained import SEED, build_untrained, state_sha256

    net = build_untrained(spec)
    metadata = ModelMetadata(model=f"{name}-{UNTRAINED}", preprocessing=replace(preprocessing_of(spec), labels=()),
                             source_sha256=state_sha256(net), params=_params(net))
    return _from_net(net, metadata, spec.input_size, {"kind": UNTRAINED, "weights": None, "seed": SEED})


def _from_library(library: Library, told: str, weights: Path | None, options: SourceOptions,
                  untrained: bool) -> Source:
    size = options.size
    if untrained:
        _require_no_weights(weights)
        found = untrained_net(library, told, size)
    else:
        found = trained_net(library, told, weights, size)
    _require_count(options.labels, found.classes)
    image = ImageInput(axes="NCHW", channels=3, size=size or found.own.size, batch=None, dtype="float32")
    how, _ = preprocessing_told(options, image, labels=options.labels or found.own.labels, own=found.own)
    name, origin = found.name, dict[str, Any](kind=library.name)
    if untrained:
        from edge_se.nets.untrained import SEED

        name, origin = f"{name}-{UNTRAINED}", {"kind": UNTRAINED, "library": library.name, "seed": SEED}
    metadata = ModelMetadata(model=name, preprocessing=how, source_sha256=found.sha256, params=_params(found.net))
    source = _from_net(found.net, metadata, how.size, origin | {"weights": found.weights})
    said = bool(options.preprocessing or (options.mean and options.std))
    return replace(source, assumption=None if said else found.assumption)


def _from_net(net: nn.Module, metadata: ModelMetadata, size: int | tuple[int, int], origin: dict[str, Any]) -> Source:
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
        raise ModelError("a file brings its own weights", where="--weights", fix="leave --weights out")
    if path.suffix == PROGRAM:
        program = read_program(path)
        origin = {"kind": "torch.export", "file": path.name, "sha256": program.sha256}
        return replace(_from_graph(program.model, path, options, origin, program.params), reference=program.reference)
    original = OnnxModel.read(path)
    return _from_graph(original, path, options, {"kind": "onnx", "file": path.name, "sha256": original.sha256})


def _from_graph(original: OnnxModel, path: Path, options: SourceOptions, origin: dict[str, Any],
                params: int | None = None) -> Source:
    metadata, assumption = original.metadata, None
    axes = metadata.preprocessing.axes if metadata else axes_told(options)
    proto = normalised(original, path, axes, options.size)
    whole, image = OnnxModel.of(proto), image_facts(proto, axes, path)
    if metadata is None:
        _require_count(options.labels, _classes(whole))
        labels = options.labels or names_in(original.proto, _classes(whole))
        how, assumption = preprocessing_told(options, image, labels=labels)
        metadata = ModelMetadata(model=path.stem, preprocessing=how)
    elif given := options.of_preprocessing():
        listed = " and ".join(map(option_of, given))
        raise ModelError("the file says its own normalisation", where=path, fix=f"leave {listed} out")
    elif options.labels is not None:
        if metadata.labels not in ((), options.labels):
            raise ModelError("the file has labels of its own, and they differ", where=path, fix="leave --labels out")
        _require_count(options.labels, _classes(whole))
        metadata = replace(metadata, preprocessing=replace(metadata.preprocessing, labels=options.labels))
    params = params or metadata.params or parameters_of(upgraded(original.copy(), path, axes, options.size)) or None
    write_metadata(proto, replace(metadata, source_sha256=origin["sha256"], params=params))
    return Source(name=path.stem, model=OnnxModel.of(proto), assumption=assumption, origin=origin)


def preprocessing_of(spec: ModelSpec) -> Preprocessing:
    """What a net of the zoo was trained with; its ten classes at 32 pixels are CIFAR-10's."""
    how = assumed((spec.input_size, spec.input_size))
    return replace(how, labels=CLASSES) if (spec.classes, how.size) == (len(CLASSES), CIFAR10.size) else how


def _require_no_weights(weights: Path | None) -> None:
    if weights is not None:
        raise ModelError("has weights and is to be untrained", where="--untrained", fix="leave one of them out")


def _require_count(labels: tuple[str, ...] | None, classes: int | None) -> None:
    if labels is not None and classes is not None and len(labels) != classes:
        raise ModelError(f"{len(labels)} names for {classes} classes", where="--labels",
                         fix="give one name for each output, in their order")


def _classes(model: OnnxModel) -> int | None:
    dims = model.proto.graph.output[0].type.tensor_type.shape.dim
    return dims[1].dim_value if len(dims) == 2 and dims[1].HasField("dim_value") else None


def _params(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters() if parameter.requires_grad)
