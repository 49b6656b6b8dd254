"""Images as a device keeps them: pixels of a model's size, in shards that bear their SHA-256 as a name."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass, replace

import numpy as np

from edge_se.data.images import Images

SHARD_BYTES = 4 << 20  # what a dropped connection costs at most
WHOLE = 100  # images: a shard holds a multiple of it where so many fit, so that its batches are those of the host

Known = MutableMapping[tuple[str, str, int], str]


@dataclass(frozen=True, kw_only=True)
class Shard:
    """Some consecutive images of `images`; `shape` is (n, channels, height, width)."""

    sha256: str
    shape: tuple[int, ...]
    images: Images

    def content(self) -> bytes:
        """Pixels of all of them, uint8."""
        return _content(self.images)


def shards_of(images: Images, known: Known) -> Iterator[Shard]:
    """All images in order. What is `known` by name, as all is afterwards, is decoded for a device without it alone."""
    pixels = int(np.prod(images.shape))
    count = max(1, SHARD_BYTES // pixels)
    count -= count % WHOLE if count > WHOLE else 0
    what = images.key, repr(replace(images.preprocessing, labels=()))
    for start in range(0, len(images), count):
        part = images.take(np.arange(start, min(start + count, len(images))))
        key = (*what, start)
        if key not in known:
            known[key] = hashlib.sha256(_content(part)).hexdigest()
        yield Shard(sha256=known[key], shape=(len(part), *images.shape), images=part)


def _content(images: Images) -> bytes:
    return b"".join(np.ascontiguousarray(batch).tobytes() for batch in images.pixel_batches(WHOLE))
