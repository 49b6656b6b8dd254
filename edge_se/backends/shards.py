"""Images as a device keeps them: pixels of a model's size, in shards that bear their SHA-256 as a name."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edge_se.core.assets import cache_dir
from edge_se.core.errors import EdgeSeError
from edge_se.core.files import write_json
from edge_se.data.images import Images

SHARD_BYTES = 4 << 20  # what a dropped connection costs at most
WHOLE = 16  # images: a shard holds a multiple of it where so many fit, so that its batches are those of the host


@dataclass(frozen=True, kw_only=True)
class Shard:
    """Some consecutive images of a set; `shape` is (n, channels, height, width).

    `decoded` are their pixels where the name had to be computed from them.
    """

    sha256: str
    shape: tuple[int, ...]
    images: Images
    decoded: bytes | None

    def content(self) -> bytes:
        """Pixels of all of them, uint8."""
        return _content(self.images) if self.decoded is None else self.decoded


def shards_of(images: Images) -> Iterator[Shard]:
    """All images in order. Names are kept in the cache, so that only a device without a shard has it decoded again."""
    count = max(1, SHARD_BYTES // int(np.prod(images.shape)))
    count -= count % WHOLE if count > WHOLE else 0
    parts = [images.take(np.arange(start, min(start + count, len(images)))) for start in range(0, len(images), count)]
    path = _path(images, count)
    known, names = _read(path, len(parts)), list[str]()
    for place, part in enumerate(parts):
        decoded = None if known else _content(part)
        names.append(known[place] if decoded is None else hashlib.sha256(decoded).hexdigest())
        yield Shard(sha256=names[-1], shape=(len(part), *images.shape), images=part, decoded=decoded)
    if not known:
        with suppress(EdgeSeError):  # a read-only or full cache costs time next time, nothing else
            write_json(path, names)


def _content(images: Images) -> bytes:
    return b"".join(np.ascontiguousarray(batch).tobytes() for batch in images.pixel_batches(WHOLE))


def _path(images: Images, count: int) -> Path:
    """Where the names of these shards are: of everything that pixels depend on, and of how they are cut."""
    what = "\n".join((images.key, repr(replace(images.preprocessing, labels=())), str(count)))
    return cache_dir() / "shards" / f"{hashlib.sha256(what.encode()).hexdigest()}.json"


def _read(path: Path, count: int) -> list[str]:
    """Nothing where the file is not whole."""
    with suppress(OSError, ValueError, RecursionError):
        names = json.loads(path.read_text())
        if isinstance(names, list) and len(names) == count and all(
                isinstance(name, str) and re.fullmatch("[0-9a-f]{64}", name) for name in names):
            return names
    return []
