"""Tar shards as WebDataset writes them: `000.jpg` beside `000.cls`, whose text is the number of the class.

The standard library finds where each member lies; any image is then read alone, as splits by hash and sequential gates
need it. The webdataset package reads shards from front to back only.
"""

from __future__ import annotations

import tarfile
from functools import partial
from pathlib import Path

from edge_se.core.errors import DataError
from edge_se.data.contents import Contents, by_split, labels_and_names
from edge_se.data.layout import Layout
from edge_se.data.records import ENDINGS, Records

LABEL = ".cls"
_END = 1024  # zero bytes


def dataset(path: Path) -> Contents:
    """Its shards by split, which their names tell."""
    shards = by_split(_shards(path), path)
    return Contents(splits={split: partial(_records, own) for split, own in shards.items()})


def _shards(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(file for file in path.iterdir() if file.suffix == ".tar")
    return [path] if path.suffix == ".tar" else []


def _records(shards: list[Path]) -> Records:
    found: list[tuple[Path, str, int, int]] = []  # shard, member, offset, bytes
    labels: list[int] = []
    for shard in shards:
        images, numbers = _members(shard)
        for key, (name, offset, size) in images.items():
            if key not in numbers:
                raise DataError(f"'{name}' has no '{key}{LABEL}' beside it", where=shard,
                                fix="write each image with the number of its class, as WebDataset does")
            found.append((shard, name, offset, size))
            labels.append(numbers[key])

    def read(index: int) -> bytes:
        shard, _, offset, size = found[index]
        with open(shard, "rb") as file:
            file.seek(offset)
            content = file.read(size)
        if len(content) != size:
            raise OSError("truncated")
        return content

    return Records(labels=labels_and_names(labels, shards[0])[0], read=read,
                   name=lambda index: f"{found[index][0]}, {found[index][1]}")


def _members(shard: Path) -> tuple[dict[str, tuple[str, int, int]], dict[str, int]]:
    """(name, offset, bytes) of each image and the number of each label, by their key."""
    images: dict[str, tuple[str, int, int]] = {}
    numbers: dict[str, int] = {}
    try:
        with tarfile.open(shard, "r:") as archive:
            for member in archive:
                folder, _, base = member.name.rpartition("/")
                stem, dot, kind = base.partition(".")
                key = f"{folder}/{stem}" if folder else stem
                if not member.isfile() or not dot or not stem:
                    continue
                if f".{kind.lower()}" in ENDINGS:
                    images.setdefault(key, (member.name, member.offset_data, member.size))
                elif f".{kind}" == LABEL:
                    content = archive.extractfile(member)
                    numbers[key] = int(content.read(32)) if content else -1
        with open(shard, "rb") as file:  # tarfile takes a file that ends between two members for a whole one
            file.seek(-_END, 2)
            if any(file.read(_END)):
                raise EOFError("it ends before tar's mark of the end: truncated")
    except (OSError, EOFError, ValueError, tarfile.TarError) as error:
        raise DataError(f"is no tar file of images and class numbers ({error})", where=shard,
                        fix="write it again, without compression") from error
    return images, numbers


LAYOUT = Layout(name="tar shards", about="tar shards (WebDataset)", tells=lambda path: bool(_shards(path)),
                dataset=dataset)
