"""What a device keeps on its disk: received files by hash, engines by key."""

from __future__ import annotations

import contextlib
import errno
import glob
import hashlib
import os
import re
import shutil

from .errors import AgentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

ENGINES_BYTES = 2 << 30  # engines kept for the next run, newest first
TEMPORARY = ".edge-se-"


def cache_folder() -> str:
    """$EDGE_SE_CACHE/device, else below the user's cache folder: the only place that is written to."""
    base = os.environ.get("EDGE_SE_CACHE") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "edge-se")
    return os.path.join(base, "device")


class Cache:
    """Files by hash, engines by key. Everything is written aside and renamed."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.files, self.engines = os.path.join(folder, "files"), os.path.join(folder, "engines")
        with self.guarded():
            for path in (self.files, self.engines):
                os.makedirs(path, exist_ok=True)
        self.sweep()

    def path(self, sha256: str) -> str:
        """Where a received file lies; the name is checked, since it comes from outside."""
        if not re.fullmatch(r"[0-9a-f]{64}", sha256):
            raise AgentError("protocol", f"no SHA-256: {sha256[:80]!r}")
        return os.path.join(self.files, sha256)

    def has(self, sha256: str) -> bool:
        """Whether it is here, whole and unaltered."""
        try:
            with open(self.path(sha256), "rb") as file:
                return hashlib.sha256(file.read()).hexdigest() == sha256
        except OSError:
            return False

    def append(self, sha256: str, offset: int, total: int, part: bytes) -> None:
        """Adds a part of a file in its order; the last one checks the hash and renames."""
        temporary = os.path.join(self.files, f"{TEMPORARY}{os.getpid()}-{sha256[:16]}")
        path = self.path(sha256)
        with self.guarded(total - offset):
            with open(temporary, "ab" if offset else "wb") as file:
                file.write(part)
                file.flush()
                size = file.tell()
            if size < total:
                return
            with open(temporary, "rb") as file:
                arrived = hashlib.sha256(file.read()).hexdigest()
            if arrived != sha256:
                os.unlink(temporary)
                raise AgentError("protocol", f"a file arrived altered: SHA-256 {arrived[:12]} instead of {sha256[:12]}",
                                 "run it again")
            os.replace(temporary, path)

    def write(self, path: str, content: bytes) -> None:
        """`content` to `path`, all or nothing."""
        folder, name = os.path.split(path)
        temporary = os.path.join(folder, f"{TEMPORARY}{os.getpid()}-{name}")
        with self.guarded(len(content)):
            try:
                with open(temporary, "wb") as file:
                    file.write(content)
                os.replace(temporary, path)
            finally:
                with contextlib.suppress(OSError):
                    os.unlink(temporary)

    def sweep(self, everything: bool = False) -> None:
        """Removes what dead processes left; with `everything` all that was received, and engines beyond the limit."""
        for path in glob.glob(os.path.join(self.folder, "*", TEMPORARY + "*")):
            owner = os.path.basename(path)[len(TEMPORARY):].partition("-")[0]
            if owner == str(os.getpid()) or not os.path.exists(f"/proc/{owner}"):
                _unlink(path)
        if not everything:
            return
        for folder in (self.files, os.path.join(self.folder, "agent")):
            for path in glob.glob(os.path.join(folder, "*")):
                _unlink(path)
        room = ENGINES_BYTES
        kept = glob.glob(os.path.join(self.engines, "*.engine"))
        for path in sorted(kept, key=os.path.getmtime, reverse=True):
            room -= os.path.getsize(path)
            if room < 0:
                _unlink(path)

    @contextlib.contextmanager
    def guarded(self, needed: int | None = None) -> Iterator[None]:
        """Turns a full, read-only or forbidden disk into a message with the folder and the space that is left."""
        try:
            yield
        except OSError as error:
            for path in glob.glob(os.path.join(self.files, f"{TEMPORARY}{os.getpid()}-*")):
                _unlink(path)
            left = ""
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                free = shutil.disk_usage(self.folder).free
                left = f", {free / 1e6:.1f} MB free" + (f", {needed / 1e6:.1f} MB needed" if needed else "")
            raise AgentError("full" if left else "disk", f"{self.folder} cannot be written ({error.strerror}{left})",
                             "free some space on the device, or set EDGE_SE_CACHE there to a folder on a larger "
                             "disk") from error


def _unlink(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)
