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
               where: Path) -> NDArray[np.int32]:
    """(N,) outputs of the model. `classes` name the labels, `wanted` the outputs; () where nothing names them.

    Raises DataError when names do not match, when counts differ, and for a label that is no output.
    """
    if classes and len(labels) and not 0 <= labels.min() <= labels.max() < len(classes):
        wrong = labels.min() if labels.min() < 0 else labels.max()
        raise DataError(f"label {wrong} is none of its {len(classes)} classes", where=where,
                        fix="number the classes from 0, in the order of their names; -1 means unlabelled: judge on "
                            "another split with --split")
    if classes and wanted:
        _require_same(classes, wanted, where)
        places = {name: index for index, name in enumerate(wanted)}
        return np.array([places[name] for name in classes], np.int32)[labels]
    count = len(wanted) or outputs
    if classes and count is not None and len(classes) != count:
        raise DataError(f"{len(classes)} classes ({shown(classes)}), the model has {count} outputs", where=where,
                        fix="give images of every class that the model knows, and of no other")
    if len(labels) and (labels.min() < 0 or (count is not None and labels.max() >= count)):
        wrong = labels.min() if labels.min() < 0 else labels.max()
        raise DataError(f"label {wrong} is none of the model's outputs" + (f", 0 to {count - 1}" if count else ""),
                        where=where, fix="number the classes from 0 in the order of the model's outputs")
    return labels.astype(np.int32)


def _require_same(classes: Sequence[str], wanted: Sequence[str], where: Path) -> None:
    unknown = [name for name in classes if name not in set(wanted)]
    absent = [name for name in wanted if name not in set(classes)]
    if not unknown and not absent:
        return
    parts = [f"the images have {shown(unknown)}, which the model does not know"] * bool(unknown)
    parts += [f"the model knows {shown(absent)}, of which there are no images"] * bool(absent)
    raise DataError("; ".join(parts), where=where,
                    fix="give both the same names: rename the classes, or tell the model's with --labels FILE")


def require_every_class(labels: Labels, names: Sequence[str], count: int, what: str, where: Path) -> None:
    """DataError, with the names, when one of `count` classes has no image among `labels`."""
    missing = np.flatnonzero(np.bincount(labels, minlength=count) == 0)
    if len(missing):
        told = shown([names[index] if names else str(index) for index in missing.tolist()])
        raise DataError(f"no image of {told} in {what}", where=where,
                        fix="add images of it: a verdict says something of every class")


def shown(names: Sequence[str]) -> str:
    """The first of the names, and how many more there are."""
    rest = len(names) - _SHOWN
    return ", ".join(f"'{name}'" for name in names[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
