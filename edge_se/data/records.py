"""Images as they lie on a disk: what a layout gives, before anything is decoded."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from edge_se.core.ahead import ahead
from edge_se.core.environment import cpu_count
from edge_se.core.errors import DataError
from edge_se.data.images import HASH_BYTES, hash_of_pixels
from edge_se.data.preprocessing import Preprocessing
from edge_se.device.agent.preprocess import SUFFIXES, ImageError, fitted, read_pixels, shown

Content = bytes | NDArray[np.uint8]  # an image file, or pixels (1 or 3, height, width)
Result = TypeVar("Result")
# Those that Pillow does not decode are refused by name: a phone's photos are not passed over without a word.
ENDINGS = (*SUFFIXES, ".jpe", ".jfif", ".gif", ".avif", ".heic", ".heif", ".jxl")
SMALL = 256 * 256  # pixels: lossless images up to here are hashed by their pixels
_LOSSLESS = (b"\x89PNG", b"BM", b"P5", b"P6")
_CHUNK = 8         # images that one job of a thread handles


@dataclass(frozen=True, kw_only=True)
class Records:
    """Images in a fixed order: `read(index)` is the content of one, `name(index)` says where it is, for messages.

    Both are called from several threads. `labels` are (N,), numbers of the layout's own classes.
    """

    labels: NDArray[np.int32]
    read: Callable[[int], Content]
    name: Callable[[int], str]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: Sequence[int] | NDArray[np.integer[Any]]) -> Records:
        """Those at these places, in this order."""
        places, read, name = np.asarray(indices, np.int64), self.read, self.name
        return replace(self, labels=self.labels[places], read=lambda index: read(int(places[index])),
                       name=lambda index: name(int(places[index])))

    def held(self) -> Records:
        """The same with every content in memory, to be pickled; DataError for one that cannot be read."""
        def content(index: int) -> Content:
            try:
                return self.read(index)
            except (OSError, ValueError) as error:
                raise self.broken(index, error) from error

        places = range(len(self))
        return replace(self, read=list(in_order(content, len(self))).__getitem__,
                       name=[self.name(index) for index in places].__getitem__)

    def pixels(self, index: int, how: Preprocessing) -> NDArray[np.uint8]:
        """RGB (3, height, width) of one image at the size of `how`; DataError, with its name, when it is broken."""
        try:
            return decoded(self.read(index), how)
        except (ImageError, OSError, ValueError) as error:
            raise self.broken(index, error) from error

    def broken(self, index: int, error: Exception) -> DataError:
        """The message about an image that cannot be used."""
        why = getattr(error, "strerror", None) or error  # without the path, which is told anyway
        what, fix = f"cannot be read ({why})", "remove it, or put it right"
        if isinstance(error, ImageError):
            what, fix = error.what, error.fix or fix
        return DataError(what, where=self.name(index),
                         fix=f"{fix}; --skip-broken leaves such images out and counts them")

    def hashes(self, lenient: bool = False) -> NDArray[np.uint8]:
        """(N, 32) SHA-256 of each content; DataError, with its name, for one that cannot be read.

        When `lenient` its name is hashed instead: whoever decodes it meets the error.
        """
        def one(index: int) -> bytes:
            try:
                return content_hash(self.read(index))
            except (OSError, ValueError) as error:
                if lenient:
                    return hashlib.sha256(self.name(index).encode()).digest()
                raise self.broken(index, error) from error

        digests = np.empty((len(self), HASH_BYTES), np.uint8)
        for index, digest in enumerate(in_order(one, len(self))):
            digests[index] = np.frombuffer(digest, np.uint8)
        return digests

    def whole(self, how: Preprocessing) -> NDArray[np.int64]:
        """The places of the images that can be decoded; every one is."""
        def fine(index: int) -> bool:
            try:
                self.pixels(index, how)
            except DataError:
                return False
            return True

        return np.flatnonzero(np.fromiter(in_order(fine, len(self)), np.bool_, len(self)))


def joined(parts: Sequence[Records]) -> Records:
    """The images of all parts, one part after the other."""
    if len(parts) == 1:
        return parts[0]
    starts = np.cumsum([0, *map(len, parts)])

    def part(index: int) -> tuple[Records, int]:
        place = int(np.searchsorted(starts, index, "right")) - 1
        return parts[place], index - int(starts[place])

    def read(index: int) -> Content:
        own, place = part(index)
        return own.read(place)

    def name(index: int) -> str:
        own, place = part(index)
        return own.name(place)

    return Records(labels=np.concatenate([own.labels for own in parts]), read=read, name=name)


def decoded(content: Content, how: Preprocessing) -> NDArray[np.uint8]:
    """RGB (3, height, width) at the size of `how`. Pixels that have this size are taken as they are. ImageError."""
    if isinstance(content, bytes):
        return read_pixels(io.BytesIO(content), how)
    whole = np.broadcast_to(content, (3, *content.shape[1:]))
    if content.shape[1:] == how.size:
        return np.ascontiguousarray(whole)
    from PIL import Image

    return fitted(Image.fromarray(np.ascontiguousarray(whole.transpose(1, 2, 0))), how)


def content_hash(content: Content) -> bytes:
    """SHA-256 of an image: of its pixels where they are stored without loss and few, else of the file's bytes.

    So a small image is the same one as PNG, in an array and in CIFAR-10's own files.
    """
    if isinstance(content, bytes):
        pixels = _small_lossless(content) if content.startswith(_LOSSLESS) else None
        if pixels is None:
            return hashlib.sha256(content).digest()
        content = pixels
    return hash_of_pixels(content)


def _small_lossless(content: bytes) -> NDArray[np.uint8] | None:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content)) as image:
            if image.width * image.height > SMALL:
                return None
            pixels: NDArray[np.uint8] = np.asarray(shown(image), np.uint8).transpose(2, 0, 1)
            return pixels
    except Exception:  # a broken file has the hash of its bytes; decoding it says what is wrong
        return None


def in_order(job: Callable[[int], Result], count: int) -> Iterator[Result]:
    """`job(0)` to `job(count - 1)`, made by a few threads a bounded way ahead of who takes them."""
    def chunk(start: int) -> list[Result]:
        return [job(index) for index in range(start, min(start + _CHUNK, count))]

    threads = workers() if count > _CHUNK else 1
    yield from chain.from_iterable(ahead(chunk, range(0, count, _CHUNK), threads))


def workers() -> int:
    """Threads that decode."""
    return max(1, min(8, cpu_count()))
