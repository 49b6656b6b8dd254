"""A table of image files: .csv, .tsv or .jsonl with the columns `path`, `label` and, if it likes, `split`."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from edge_se.core.errors import DataError
from edge_se.data.contents import Contents, labels_and_names, split_called, split_of_name
from edge_se.data.layout import Layout
from edge_se.data.records import Records

_SEPARATORS = (",", ";", "\t")  # whatever the ending: spreadsheets write .csv with semicolons where commas are decimal
_FIX = "give each line a path, relative to the table, and a label, a number or a name"


def dataset(path: Path) -> Contents:
    """Its lines by split; DataError, with the line, where a path or a label is missing."""
    files: list[str] = []
    labels: list[Any] = []
    splits: list[str] = []
    lines: list[int] = []
    own = split_of_name(path)
    for number, row in _rows(path):
        values = [row.get(name) for name in ("path", "label", "split")]
        if not isinstance(values[0], str) or not values[0] or values[1] in (None, ""):
            have = ", ".join(str(name) for name in row if name is not None)
            raise DataError(f"line {number} has no path or no label; its columns are {have}", where=path, fix=_FIX)
        if isinstance(values[1], bool) or not isinstance(values[1], str | int):
            raise DataError(f"the label in line {number} is {values[1]!r:.40}", where=path, fix=_FIX)
        lines.append(number)
        files.append(values[0])
        labels.append(values[1])
        splits.append(split_called(str(values[2])) if values[2] else own)
    if not files:
        raise DataError("holds no line with a path and a label", where=path, fix=_FIX)
    told, classes = labels_and_names(labels, path)
    if "" in splits and len(set(splits)) > 1:
        raise DataError(f"line {lines[splits.index('')]} names no split, others do", where=path,
                        fix="give every line one, or none")

    def records(split: str) -> Records:
        places = [place for place, name in enumerate(splits) if name == split]
        own_files = [str(path.parent / files[place]) for place in places]
        return Records(labels=told[np.array(places, np.int64)], name=lambda index: own_files[index],
                       read=lambda index: Path(own_files[index]).read_bytes())

    return Contents(classes=classes, splits={split: partial(records, split) for split in dict.fromkeys(splits)})


def _rows(path: Path) -> Iterator[tuple[int, dict[Any, Any]]]:
    """(number of the line, columns in small letters) of each line that is not empty."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            if path.suffix.lower() == ".jsonl":
                for number, line in enumerate(file, 1):
                    if line.strip():
                        row = json.loads(line)
                        if not isinstance(row, dict):
                            raise ValueError(f"line {number} is no object")
                        yield number, row
                return
            separator = max(_SEPARATORS, key=file.readline().count)
            file.seek(0)
            reader = csv.DictReader(file, delimiter=separator, strict=True)
            for row in reader:
                yield reader.line_num, {name.strip().lower() if name else name: value for name, value in row.items()}
    except (OSError, ValueError, RecursionError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"is no table ({reason})", where=path, fix=_FIX) from error


LAYOUT = Layout(name="table", about="a table (.csv, .tsv, .jsonl) of paths and labels",
                tells=lambda path: path.suffix.lower() in (".csv", ".tsv", ".jsonl"), dataset=dataset)
