"""Equal-sized images one after the other in a file, read one at a time: nothing holds all of them."""

from __future__ import annotations

import gzip
import shutil
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from edge_se.core.errors import DataError


class Slices:
    """Bytes of `file` from `offset` on, in pieces of `size`. Called from several threads."""

    def __init__(self, file: IO[bytes], offset: int, size: int) -> None:
        self._file, self._offset, self._size, self._lock = file, offset, size, threading.Lock()

    def read(self, index: int) -> NDArray[np.uint8]:
        """The piece at `index`; OSError when it is not whole."""
        with self._lock:
            self._file.seek(self._offset + index * self._size)
            content = self._file.read(self._size)
        if len(content) != self._size:
            raise OSError("truncated")
        return np.frombuffer(content, np.uint8)


def unpacked(packed: Callable[[], Any], where: Path) -> IO[bytes]:
    """The content of a compressed stream as a temporary file, which goes when nobody holds it; DataError."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 - whoever reads images holds it
    try:
        with packed() as content:
            shutil.copyfileobj(content, file, 2**20)
    except Exception as broken:  # gzip, zlib and zipfile each raise other errors for a broken file
        file.close()
        raise DataError(f"cannot be unpacked ({broken})", where=where, fix="get the file again") from broken
    file.seek(0)
    return file


def opened(path: Path) -> IO[bytes]:
    """A file, unpacked where its name ends in .gz."""
    try:
        if path.suffix == ".gz":
            return unpacked(lambda: gzip.open(path), path)
        return open(path, "rb")
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror or error})", where=path, fix="check the path") from error
