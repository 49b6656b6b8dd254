"""Hugging Face image sets on disk: .parquet files with `image` (bytes or path) and `label`.

Names of classes are those of the schema's ClassLabel. One or two row groups are held at a time.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_se.core.errors import DataError, UnavailableError
from edge_se.data.contents import Contents, by_split, labels_and_names, one_naming
from edge_se.data.layout import Layout
from edge_se.data.records import Records, joined

_IMAGE, _LABEL = ("image", "img"), ("label", "labels")
_HELD = 2  # row groups
_FIX = "give the columns `image` (bytes or path) and `label`, as Hugging Face's datasets write them"


def dataset(path: Path) -> Contents:
    """Its files by split, which their names tell; UnavailableError without pyarrow."""
    files = _files(path)
    opened = {file: _Reader(file) for file in files}
    names = one_naming({file: reader.names for file, reader in opened.items()})
    read = {file: reader.labels() for file, reader in opened.items()}
    told, sorted_names = labels_and_names([label for labels in read.values() for label in labels], path)
    names = sorted_names or names
    starts = np.cumsum([0, *(len(labels) for labels in read.values())])
    numbers = {file: told[start:end] for file, start, end in zip(read, starts, starts[1:])}
    return Contents(classes=names, splits={
        split: partial(_records, [opened[file] for file in own], [numbers[file] for file in own])
        for split, own in by_split(files, path).items()})


class _Reader:
    """One file; rows are read from several threads."""

    def __init__(self, path: Path) -> None:
        try:
            import pyarrow.parquet
        except ModuleNotFoundError as error:
            raise UnavailableError("reading .parquet files needs pyarrow", where=path,
                                   fix="pip install 'edge-se[parquet]'") from error
        self.path, self._lock = path, threading.Lock()
        self._groups: OrderedDict[int, Any] = OrderedDict()
        try:
            self._file = pyarrow.parquet.ParquetFile(path)
        except (OSError, pyarrow.ArrowException) as error:
            raise DataError(f"is no parquet file ({_first_line(error)})", where=path, fix="get it again") from error
        self._failures = (OSError, pyarrow.ArrowException)
        columns = self._file.schema_arrow.names
        self._image, self._label = (next((name for name in names if name in columns), "") for names in
                                    (_IMAGE, _LABEL))
        if not self._image or not self._label:
            raise DataError(f"has the columns {', '.join(columns)}", where=path, fix=_FIX)
        sizes = [self._file.metadata.row_group(group).num_rows for group in range(self._file.num_row_groups)]
        self._starts = np.cumsum([0, *sizes])

    @property
    def names(self) -> tuple[str, ...]:
        """Of the schema's ClassLabel; () without one."""
        told = (self._file.schema_arrow.metadata or {}).get(b"huggingface", b"{}")
        try:
            return tuple(map(str, json.loads(told)["info"]["features"][self._label]["names"]))
        except (ValueError, KeyError, TypeError):
            return ()

    def labels(self) -> list[Any]:
        """Of every row; DataError for one that is neither a number nor a name."""
        try:
            labels: list[Any] = self._file.read(columns=[self._label]).column(0).to_pylist()
        except self._failures as error:
            raise DataError(f"cannot be read ({_first_line(error)})", where=self.path, fix="get it again") from error
        wrong = next((label for label in labels if isinstance(label, bool) or not isinstance(label, int | str)), None)
        if wrong is not None or None in labels:
            raise DataError(f"has the label {wrong!r:.40}", where=self.path, fix=_FIX)
        return labels

    def image(self, index: int) -> bytes:
        """The file of one image; OSError or ValueError when there is none."""
        group = int(np.searchsorted(self._starts, index, "right")) - 1
        with self._lock:
            if group not in self._groups:
                try:
                    self._groups[group] = self._file.read_row_group(group, columns=[self._image]).column(0)
                except self._failures as error:
                    raise OSError(_first_line(error)) from error
                while len(self._groups) > _HELD:
                    self._groups.popitem(last=False)
            self._groups.move_to_end(group)
            value = self._groups[group][index - int(self._starts[group])].as_py()
        if isinstance(value, dict):
            value = value.get("bytes") or value.get("path")
        if isinstance(value, str):
            return (self.path.parent / value).read_bytes()
        if not isinstance(value, bytes):
            raise ValueError(f"is {type(value).__name__}, neither bytes nor a path")
        return value


def _records(readers: list[_Reader], labels: list[NDArray[np.int32]]) -> Records:
    return joined([Records(labels=own, read=reader.image, name=partial(_name, reader.path))
                   for reader, own in zip(readers, labels)])


def _name(path: Path, index: int) -> str:
    return f"{path}, row {index}"


def _first_line(error: Exception) -> str:
    """Pyarrow's words; the rest is a dump."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(file for folder in (path, path / "data") if folder.is_dir() for file in folder.iterdir()
                      if file.suffix == ".parquet")
    return [path] if path.suffix == ".parquet" else []


LAYOUT = Layout(name="parquet", about="parquet files (Hugging Face)", tells=lambda path: bool(_files(path)),
                dataset=dataset)
