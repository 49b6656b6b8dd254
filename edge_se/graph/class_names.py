"""Names of classes that other tools write into the metadata of an ONNX file."""

from __future__ import annotations

import ast
import json
from typing import Any

import onnx

# Ultralytics writes `names` as a Python dict, RapidOCR and PaddleOCR `character` as lines, Hugging Face `id2label`.
KEYS = ("names", "character", "id2label", "class_names", "classes", "labels")
LONGEST = 2**20  # characters: 22,000 names of ImageNet are a third


def names_in(proto: onnx.ModelProto, count: int | None) -> tuple[str, ...]:
    """The names of the `count` outputs in the metadata of `proto`; empty where nothing there names as many."""
    texts = {entry.key: entry.value for entry in proto.metadata_props if len(entry.value) <= LONGEST}
    for key in KEYS:
        names = _names(texts.get(key, ""))
        if names and len(names) == count == len(set(names)):
            return names
    return ()


def _names(text: str) -> tuple[str, ...]:
    """A JSON or Python list, a mapping from numbers from 0 to names, or lines; empty for anything else."""
    if not text.lstrip().startswith(("{", "[")):
        return tuple(text.splitlines())
    content = _literal(text)
    if isinstance(content, dict):
        ordered = {str(key): value for key, value in content.items()}
        content = [ordered.get(str(place)) for place in range(len(ordered))]
    if not isinstance(content, list) or not all(isinstance(name, str) and name for name in content):
        return ()
    return tuple(content)


def _literal(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
