"""The file of `--labels`: what the outputs of a model are called, in their order."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edge_se.core.errors import EdgeSeError
from edge_se.data.cifar10 import CLASSES

_FIX = "write one name a line, in the order of the model's outputs, or a JSON list or object of them"


def names_in(told: str) -> tuple[tuple[str, ...], ...]:
    """For each output its names, the last the one to show: CIFAR-10's for `cifar10`, else those in a file.

    The file has one name a line, or is JSON: a list of names, {"0": "tench"}, ImageNet's {"0": ["n01440764", "tench"]}
    or {"tench": 0}. Raises EdgeSeError for anything else.
    """
    if told == "cifar10":
        return tuple((name,) for name in CLASSES)
    path, where = Path(told), f"--labels {told}"
    try:
        text = path.read_text(encoding="utf-8-sig")  # as Windows writes it
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "is no text"
        raise EdgeSeError(f"no names of classes can be read from it ({reason})", where=where,
                          fix="give a file of one name a line, or cifar10") from error
    names = _of_json(text, where) if path.suffix.lower() == ".json" else _of_lines(text)
    if not names or not all(own and all(own) for own in names):
        empty = next((place for place, own in enumerate(names) if not own or not all(own)), 0) + 1
        raise EdgeSeError("holds no name" if not names else f"line {empty} is empty", where=where, fix=_FIX)
    return names


def labels_of(told: str) -> tuple[str, ...]:
    """The name of each output to show, of `--labels`."""
    return tuple(own[-1] for own in names_in(told))


def _of_lines(text: str) -> tuple[tuple[str, ...], ...]:
    names = [line.strip() for line in text.splitlines()]
    while names and not names[-1]:
        names.pop()
    return tuple((name,) for name in names)


def _of_json(text: str, where: str) -> tuple[tuple[str, ...], ...]:
    try:
        content: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise EdgeSeError(f"is no JSON ({error})", where=where, fix=_FIX) from error
    if isinstance(content, dict) and content and all(type(value) is int for value in content.values()):
        content = {str(number): name for name, number in content.items()}  # {"tench": 0}
    if isinstance(content, dict):
        missing = next((number for number in range(len(content)) if str(number) not in content), None)
        if missing is not None:
            raise EdgeSeError(f"names {len(content)} classes, and none with number {missing}", where=where, fix=_FIX)
        content = [content[str(number)] for number in range(len(content))]
    rows = [[row] if isinstance(row, str) else row for row in content] if isinstance(content, list) else None
    if rows is None or not all(isinstance(row, list) and all(isinstance(name, str) for name in row) for row in rows):
        raise EdgeSeError("is JSON of something else than names", where=where, fix=_FIX)
    return tuple(tuple(name.strip() for name in row) for row in rows)
