"""The folder of logits that earlier runs computed: bounded, and what was used last stays."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from edge_se.core.assets import cache_dir
from edge_se.core.errors import EdgeSeError
from edge_se.core.files import TEMPORARY_PREFIX, sweep, write_bytes

VARIABLE = "EDGE_SE_CACHE_MIB"
USUAL_MIB = 2048  # about 5,000 files on CIFAR-10's test images, 10 on ImageNet's


def logits_folder() -> Path:
    """Where they lie; it need not exist."""
    return cache_dir() / "logits"


def bound() -> int:
    """Bytes that they may take: $EDGE_SE_CACHE_MIB, else 2 GiB; 0 keeps nothing.

    Raises EdgeSeError where the variable is no whole number of MiB.
    """
    text = os.environ.get(VARIABLE) or str(USUAL_MIB)
    if not (text.isascii() and text.isdigit()):
        raise EdgeSeError(f"'{text}' is no whole number of MiB", where=f"${VARIABLE}",
                          fix=f"give one, such as {USUAL_MIB}, or unset it; 0 keeps no logits")
    return int(text) * 2**20


def taken() -> int:
    """Bytes that they take now."""
    return sum(size for _, size, _ in _entries(logits_folder()))


def used(path: Path) -> None:
    """Notes that an entry was read: of all, it goes last."""
    with suppress(OSError):
        os.utime(path)


def keep(path: Path, content: bytes, limit: int) -> None:
    """Writes an entry, after as many of those that were used longest ago are gone as `limit` bytes ask for.

    An entry above the limit is not kept. A read-only or full disk costs time next time, nothing else.
    """
    with suppress(OSError):
        sweep(path.parent)
    entries = sorted(entry for entry in _entries(path.parent) if entry[2] != path)
    over = sum(size for _, size, _ in entries) + len(content) - limit
    for _, size, oldest in entries if len(content) <= limit else ():
        if over <= 0:
            break
        with suppress(OSError):
            oldest.unlink(missing_ok=True)
            over -= size
    if over <= 0:
        with suppress(EdgeSeError):
            write_bytes(path, content)


def _entries(folder: Path) -> list[tuple[int, int, Path]]:
    """(when it was used, bytes, path) of each; what another process writes just now is none."""
    found = []
    with suppress(OSError):
        for path in folder.iterdir():
            with suppress(OSError):  # gone meanwhile
                stat = path.lstat()
                if not path.name.startswith(TEMPORARY_PREFIX):
                    found.append((stat.st_mtime_ns, stat.st_size, path))
    return found
