"""What a layout finds at a path: names of classes and the images of each split. Names of splits are understood here."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_se.core.errors import DataError
from edge_se.data.records import Records
from edge_se.data.splits import ImageSet

TRAIN, VALIDATION, TEST = "train", "validation", "test"
WHOLE = ""  # the images of which nothing says which split they are of
_WORDS = {"train": TRAIN, "training": TRAIN, "val": VALIDATION, "valid": VALIDATION, "validation": VALIDATION,
          "dev": VALIDATION, "test": TEST, "testing": TEST, "t10k": TEST}


@dataclass(frozen=True, kw_only=True)
class Contents:
    """`splits` by name, read when called; under `WHOLE` alone where nothing says which split an image is of.

    `classes` are the names of the labels in order; empty where labels are numbers and nothing names them.
    """

    splits: Mapping[str, Callable[[], Records | ImageSet]]
    classes: tuple[str, ...] = ()


def split_called(word: str) -> str:
    """The split that a folder or a column calls so: `val` is `validation`; another word is a split of that name."""
    return _WORDS.get(word.strip().lower(), word.strip())


def split_of_name(path: Path) -> str:
    """The split of a file or folder by a word in its name; WHOLE where there is none, or several."""
    words = re.split(r"[^a-z0-9]+", path.name.lower())
    found = {_WORDS[word] for word in words if word in _WORDS}
    return found.pop() if len(found) == 1 else WHOLE


def labels_and_names(told: Sequence[Any], where: Path) -> tuple[NDArray[np.int32], tuple[str, ...]]:
    """Labels as numbers, and the names of the classes: none where every label is a number, else the sorted names.

    DataError for a number beyond int32.
    """
    try:
        numbers = [int(label) for label in told]
        wrong = next((number for number in numbers if not -2**31 <= number < 2**31), None)
        if wrong is not None:
            raise DataError(f"label {wrong} is the number of no class", where=where, fix="number the classes from 0")
        return np.array(numbers, np.int32), ()
    except ValueError:
        pass
    texts = [str(label).strip() for label in told]
    names = tuple(sorted(set(texts)))
    places = {name: number for number, name in enumerate(names)}
    return np.array([places[text] for text in texts], np.int32), names


def one_naming(told: Mapping[Path, tuple[str, ...]]) -> tuple[str, ...]:
    """The names of the classes that files tell, () where none does; DataError where two tell others."""
    naming = {path: names for path, names in told.items() if names}
    first = next(iter(naming), None)
    if first is None:
        return ()
    for path, names in naming.items():
        if names != naming[first]:
            raise DataError(f"names other classes than {first.name}, or in another order", where=path,
                            fix="write every file with the same names")
    return naming[first]


def by_split(paths: list[Path], where: Path) -> dict[str, list[Path]]:
    """Files by the split that their names tell; DataError where some tell one and some do not."""
    found: dict[str, list[Path]] = {}
    for path in paths:
        found.setdefault(split_of_name(path), []).append(path)
    if WHOLE in found and len(found) > 1:
        raise DataError(f"{found[WHOLE][0].name} tells no split in its name, other files do", where=where,
                        fix="give every file a name with train, validation or test in it")
    return found
