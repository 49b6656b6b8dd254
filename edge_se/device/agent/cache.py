"""What a device keeps on its disk: received files and images by hash, engines by key."""

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
IMAGES_BYTES = 8 << 30  # shards of images kept for later runs; never more than half of what is free without them
FILES, IMAGES = "files", "images"  # what is received: files go when the host says goodbye, images stay
TEMPORARY = ".edge-se-"
MORE_ROOM = "free some space on the device, or set EDGE_SE_CACHE there to a folder on a larger disk"
MAY_WRITE = "make it yours (chown; a run under sudo leaves files of root), or set EDGE_SE_CACHE there to another folder"


def cache_folder() -> str:
    """$EDGE_SE_CACHE/device, else below the user's cache folder: the only place that is written to."""
    base = os.environ.get("EDGE_SE_CACHE") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "edge-se")
    return os.path.join(base, "device")


class Cache:
    """Files and images by hash, engines by key. Everything is written aside and renamed."""

    def __init__(self, folder: str) -> None:
        self.folder, self.engines = folder, os.path.join(folder, "engines")
        with self.guarded():
            for path in (self.engines, *(os.path.join(folder, kind) for kind in (FILES, IMAGES))):
                os.makedirs(path, exist_ok=True)
        self.sweep()

    def path(self, sha256: str, kind: str = FILES) -> str:
        """Where something received lies; both names are checked, since they come from outside."""
        if not re.fullmatch(r"[0-9a-f]{64}", sha256):
            raise AgentError("protocol", f"no SHA-256: {sha256[:80]!r}")
        if kind not in (FILES, IMAGES):
            raise AgentError("protocol", f"nothing of kind {kind[:80]!r} is kept")
        return os.path.join(self.folder, kind, sha256)

    def has(self, sha256: str, kind: str = FILES) -> bool:
        """Whether it is here, whole and unaltered. What was asked for last is removed last."""
        path = self.path(sha256, kind)
        try:
            with open(path, "rb") as file:
                whole = hashlib.sha256(file.read()).hexdigest() == sha256
            os.utime(path)
        except OSError:
            return False
        return whole

    def append(self, sha256: str, offset: int, total: int, part: bytes, kind: str = FILES) -> None:
        """Adds a part of a file in its order; the last one checks the hash and renames."""
        path = self.path(sha256, kind)
        temporary = os.path.join(self.folder, kind, f"{TEMPORARY}{os.getpid()}-{sha256[:16]}")
        with self.guarded(total - offset):
            if kind == IMAGES and not offset:
                self._make_room(total)
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
        for name in (FILES, "agent"):
            for path in glob.glob(os.path.join(self.folder, name, "*")):
                _unlink(path)
        room = ENGINES_BYTES
        kept = glob.glob(os.path.join(self.engines, "*.engine"))
        for path in sorted(kept, key=os.path.getmtime, reverse=True):
            room -= os.path.getsize(path)
            if room < 0:
                _unlink(path)

    def _make_room(self, needed: int) -> None:
        """Removes the images that were asked for longest ago, until `needed` bytes more keep within the limit."""
        kept = glob.glob(os.path.join(self.folder, IMAGES, "*"))
        held = sum(os.path.getsize(path) for path in kept)
        limit = min(IMAGES_BYTES, (shutil.disk_usage(self.folder).free + held) // 2)
        if needed > limit:
            raise AgentError("full", f"{self.folder} has room for {limit / 1e6:.1f} MB of images, half of what is "
                             f"free; a part of them takes {needed / 1e6:.1f} MB", MORE_ROOM)
        for path in sorted(kept, key=os.path.getmtime):
            if held + needed <= limit:
                return
            held -= os.path.getsize(path)
            _unlink(path)

    @contextlib.contextmanager
    def guarded(self, needed: int | None = None) -> Iterator[None]:
        """Turns a full, read-only or forbidden disk into a message with the folder and the space that is left."""
        try:
            yield
        except OSError as error:
            for path in glob.glob(os.path.join(self.folder, "*", f"{TEMPORARY}{os.getpid()}-*")):
                _unlink(path)
            left = ""
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                free = shutil.disk_usage(self.folder).free
                left = f", {free / 1e6:.1f} MB free" + (f", {needed / 1e6:.1f} MB needed" if needed else "")
            raise AgentError("full" if left else "disk", f"{self.folder} cannot be written ({error.strerror}{left})",
                             MORE_ROOM if left else MAY_WRITE) from error


def _unlink(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)
