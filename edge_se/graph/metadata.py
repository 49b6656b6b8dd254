"""What an exported file says about itself, in its ONNX metadata: labels, preprocessing, source, counts."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

import onnx

from edge_se.core.errors import ModelError
from edge_se.core.files import require_text
from edge_se.data.cifar10 import CLASSES, MEAN, STD

PREFIX = "edge_se."
LAYOUT = "float32 NCHW, RGB, (pixel / 255 - mean) / std"


@dataclass(frozen=True, kw_only=True)
class ModelMetadata:
    """The contract of a graph: what goes in, what comes out, where it came from."""

    model: str
    labels: tuple[str, ...] = CLASSES
    mean: tuple[float, ...] = MEAN
    std: tuple[float, ...] = STD
    layout: str = LAYOUT
    source_sha256: str | None = None  # of the weights or of the ONNX file it was made from
    params: int | None = None         # trainable parameters of the source model


def write_metadata(model: onnx.ModelProto, metadata: ModelMetadata) -> None:
    """Replaces all metadata of `model`; exporters leave stack traces with local paths in it."""
    del model.metadata_props[:]
    for key, value in sorted(asdict(metadata).items()):
        model.metadata_props.add(key=PREFIX + key, value=json.dumps(value))


def read_metadata(model: onnx.ModelProto) -> ModelMetadata | None:
    """The metadata that `write_metadata` wrote, or None for a file from elsewhere."""
    found = {entry.key[len(PREFIX):]: entry.value for entry in model.metadata_props if entry.key.startswith(PREFIX)}
    if "model" not in found:
        return None
    try:
        values: dict[str, Any] = {key: _value(text) for key, text in found.items()
                                  if key in ModelMetadata.__dataclass_fields__}
        metadata = ModelMetadata(**values)
        _require_kinds(metadata)
    except (TypeError, ValueError, RecursionError) as error:
        raise ModelError(f"its edge-se metadata is broken ({error})", where=model.graph.name or "graph",
                         fix="export it again") from error
    return metadata


def _require_kinds(metadata: ModelMetadata) -> None:
    numbers = (metadata.mean, metadata.std)
    texts = (metadata.model, metadata.layout, "" if metadata.source_sha256 is None else metadata.source_sha256,
             *(metadata.labels if isinstance(metadata.labels, tuple) else (None,)))
    if not (all(isinstance(text, str) for text in texts)
            and all(isinstance(entry, tuple) and len(entry) == 3 and all(_is_finite(x) for x in entry)
                    for entry in numbers)
            and (metadata.params is None or type(metadata.params) is int)):
        raise ValueError("a value is of the wrong kind")
    if not all(deviation > 0 for deviation in metadata.std):
        raise ValueError(f"a standard deviation of {min(metadata.std)}")


def _is_finite(value: object) -> bool:
    return isinstance(value, (int, float)) and abs(value) < 1e9  # NaN is not; pixels / 255 are of order 1


def _value(text: str) -> Any:
    value = json.loads(text)
    require_text(value)
    return tuple(value) if isinstance(value, list) else value
