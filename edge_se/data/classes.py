"""Which output of a model a label of a data set is: by name where both sides have names, never by guess."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_se.core.errors import DataError
from edge_se.data.images import Labels

_SHOWN = 5


def outputs_of(labels: Labels, classes: tuple[str, ...], wanted: tuple[str, ...], outputs: int | None,
               where: Path, also: Sequence[Sequence[str]] = ()) -> NDArray[np.int32]:
    """(N,) outputs of the model. `classes` name the labels, `wanted` the outputs; () where nothing names them.

    `also` are other names of each output.

    Raises DataError when names do not match, when counts differ, and for a label that is no output.
    """
    if classes and len(labels) and not 0 <= labels.min() <= labels.max() < len(classes):
        wrong = labels.min() if labels.min() < 0 else labels.max()
        raise DataError(f"label {wrong} is none of its {len(classes)} classes", where=where,
                        fix="number the classes from 0, in the order of their names; -1 means unlabelled: judge on "
                            "another split with --split")
    if classes and wanted:
        return _by_name(classes, wanted, also, where)[labels]
    count = len(wanted) or outputs
    if classes and count is not None and len(classes) != count:
        raise _counts_differ(classes, count, where)
    if len(labels) and (labels.min() < 0 or (count is not None and labels.max() >= count)):
        wrong = labels.min() if labels.min() < 0 else labels.max()
        raise DataError(f"label {wrong} is none of the model's outputs" + (f", 0 to {count - 1}" if count else ""),
                        where=where, fix="number the classes from 0 in the order of the model's outputs")
    return labels.astype(np.int32)


def require_near_count(classes: Sequence[str], outputs: int, where: Path) -> None:
    """DataError where no order of `classes` explains `outputs`: one class, or counts that differ by more than one.

    One more or one less is a background class, which may be the fault that is looked for.
    """
    if classes and (abs(len(classes) - outputs) > 1 or len(classes) == 1):
        raise _counts_differ(classes, outputs, where)


def _counts_differ(classes: Sequence[str], outputs: int, where: Path) -> DataError:
    return DataError(f"{len(classes)} class{'es' * (len(classes) != 1)} ({shown(classes)}), the model has {outputs} "
                     f"output{'s' * (outputs != 1)}", where=where,
                     fix="export the model with one output a class, not one for both of two" if outputs == 1 else
                     "give images of every class that the model knows, and of no other")


def _by_name(classes: Sequence[str], wanted: Sequence[str], also: Sequence[Sequence[str]], where: Path
             ) -> NDArray[np.int32]:
    """The output of each class."""
    places: dict[str, set[int]] = {}
    for index, name in enumerate(wanted):
        for own in (name, *(also[index] if index < len(also) else ())):
            places.setdefault(own, set()).add(index)
    twice = [name for name in classes if len(places.get(name, ())) > 1]
    if twice:
        raise DataError(f"{shown(twice)} names several outputs of the model", where=where,
                        fix="name the classes by what one output has alone, and tell it with --labels FILE.json")
    unknown = [name for name in classes if name not in places]
    reached = {index for name in classes for index in places.get(name, ())}
    absent = [name for index, name in enumerate(wanted) if index not in reached]
    if unknown or absent:
        parts = [f"the images have {shown(unknown)}, which the model does not know"] * bool(unknown)
        parts += [f"the model knows {shown(absent)}, of which there are no images"] * bool(absent)
        raise DataError("; ".join(parts), where=where,
                        fix="give both the same names: rename the classes, or tell the model's with --labels FILE")
    return np.array([min(places[name]) for name in classes], np.int32)


def require_every_class(labels: Labels, names: Sequence[str], count: int, what: str, where: Path) -> None:
    """DataError, with the names, when one of `count` classes has no image among `labels`."""
    missing = np.flatnonzero(np.bincount(labels, minlength=count) == 0)
    if len(missing):
        told = shown([names[index] if names else str(index) for index in missing.tolist()])
        raise DataError(f"no image of {told} in {what}", where=where, fix="add images of every class, or take those "
                        "away that have none: a verdict says something of every class")


def shown(names: Sequence[str]) -> str:
    """The first of the names, and how many more there are."""
    rest = len(names) - _SHOWN
    return ", ".join(f"'{name}'" for name in names[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
