"""What an exported file says about itself, in its ONNX metadata: labels, preprocessing, source, counts.

A key is `edge_se.` and a name, its value JSON. `mean`, `std`, `labels` and `layout` (a sentence) are in every file;
`preprocessing` holds what they do not say, where it is not what is usual. The image's size is the input's own.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import onnx

from edge_se.core.errors import ModelError
from edge_se.core.files import require_text
from edge_se.data.preprocessing import CIFAR10, Preprocessing
from edge_se.device.agent.preprocess import of_document

PREFIX = "edge_se."
_TOLD = ("size", "mean", "std", "labels")


@dataclass(frozen=True, kw_only=True)
class ModelMetadata:
    """The contract of a graph: what goes in, what comes out, where it came from."""

    model: str
    preprocessing: Preprocessing = CIFAR10
    source_sha256: str | None = None  # of the weights or of the ONNX file it was made from
    params: int | None = None         # trainable parameters of the source model

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the outputs in order; empty when they are unknown."""
        return self.preprocessing.labels


def write_metadata(model: onnx.ModelProto, metadata: ModelMetadata) -> None:
    """Replaces all metadata of `model`; exporters leave stack traces with local paths in it."""
    del model.metadata_props[:]
    how = metadata.preprocessing
    values: dict[str, Any] = {"model": metadata.model, "labels": how.labels, "mean": how.mean, "std": how.std,
                              "layout": how.layout, "source_sha256": metadata.source_sha256, "params": metadata.params}
    if rest := how.beyond(*_TOLD):
        values["preprocessing"] = rest
    for key, value in sorted(values.items()):
        model.metadata_props.add(key=PREFIX + key, value=json.dumps(value))


def read_metadata(model: onnx.ModelProto) -> ModelMetadata | None:
    """The metadata that `write_metadata` wrote, or None for a file from elsewhere."""
    texts = {entry.key[len(PREFIX):]: entry.value for entry in model.metadata_props if entry.key.startswith(PREFIX)}
    if "model" not in texts:
        return None
    try:
        values = {key: json.loads(text) for key, text in texts.items()
                  if key in ("model", "labels", "mean", "std", "preprocessing", "source_sha256", "params")}
        require_text(values)
        _require_kinds(values)
        told = {key: value for key, value in {"mean": CIFAR10.mean, "std": CIFAR10.std, "labels": CIFAR10.labels,
                                              **values}.items() if key in _TOLD}
        rest = values.get("preprocessing", {})
        how = of_document({**rest, **told, "size": _size_of(model, rest.get("axes", "NCHW"))})
    except (TypeError, ValueError, KeyError, AttributeError, RecursionError) as error:
        raise ModelError(f"its edge-se metadata is broken ({error})", where=model.graph.name or "graph",
                         fix="export it again") from error
    return ModelMetadata(model=values["model"], preprocessing=how, source_sha256=values.get("source_sha256"),
                         params=values.get("params"))


def _require_kinds(values: dict[str, Any]) -> None:
    if not (isinstance(values["model"], str) and isinstance(values.get("source_sha256"), str | None)
            and type(values.get("params")) in (int, type(None)) and isinstance(values.get("preprocessing", {}), dict)):
        raise ValueError("a value is of the wrong kind")


def _size_of(model: onnx.ModelProto, axes: str) -> list[int]:
    """Height and width of the image input."""
    constants = {initializer.name for initializer in model.graph.initializer}
    image = next((value for value in model.graph.input if value.name not in constants), None)
    sides = [dim.dim_value for dim in image.type.tensor_type.shape.dim] if image is not None else []
    if len(sides) != 4:
        raise ValueError("its input is no batch of images")
    return sides[1:3] if axes == "NHWC" else sides[2:]
