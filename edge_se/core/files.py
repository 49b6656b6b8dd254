"""Files are written beside their place and renamed, so a reader sees the old file or the new one, never half."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from edge_se.core.errors import ArtifactError, EdgeSeError

TEMPORARY_PREFIX = ".edge-se-"
_UNFINISHED = "-unfinished"
_OF_WRITING = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ENOENT,
               errno.EISDIR, errno.ENOTDIR)  # an OSError without one is a time-out or a lost connection


class _ForeignError(Exception):
    """Carries an OSError out of the block when it does not concern the file that is written."""


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """A temporary path in the folder of `path`, renamed onto it when the block ends without an exception.

    A link stays, and the file that it names is replaced. A device or a pipe (`/dev/null`, `/dev/stdout`) is written to;
    a file in its place would break the machine.

    Raises ArtifactError when the folder cannot be written (missing rights, read-only or full disk). An OSError
    about something else, such as a file that the block reads, is raised unchanged.
    """
    temporary: Path | None = None
    stream = path.exists() and not path.is_file() and not path.is_dir()
    place = path.resolve() if path.is_symlink() and not stream else path
    try:
        if not stream:
            place.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f"{TEMPORARY_PREFIX}{os.getpid()}-", suffix=path.suffix,
                                        dir=None if stream else place.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
        except OSError as error:
            if error.filename not in (None, name, temporary) or error.errno not in _OF_WRITING:
                raise _ForeignError from error
            raise
        if stream:
            with open(temporary, "rb") as source, open(path, "wb") as sink:
                shutil.copyfileobj(source, sink)
            return
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())  # mkstemp makes 0600; a shared build folder wants the usual rights
        temporary.replace(place)
        temporary = None
    except _ForeignError as foreign:
        assert foreign.__cause__ is not None
        raise foreign.__cause__ from foreign.__cause__.__cause__
    except OSError as error:
        raise ArtifactError(f"cannot be written ({error.strerror or error})", where=path,
                            fix="check the folder's rights and the free space, or choose another with --out") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Removes temporary files that a killed process (not a living one) left in `folder`."""
    for path in folder.glob(f"{TEMPORARY_PREFIX}*"):
        owner = path.name[len(TEMPORARY_PREFIX):].partition("-")[0]
        if owner.isdigit() and not _is_alive(int(owner)):
            path.unlink(missing_ok=True)


@contextmanager
def unfinished(folder: Path, last: str) -> Iterator[None]:
    """Marks `folder` with a hidden file while several files are written to it. After a kill the mark stays.

    `last` is the file that completes the set. After an exception the mark goes if `last` is there, or no file is.
    """
    mark = folder / f"{TEMPORARY_PREFIX}{os.getpid()}{_UNFINISHED}"
    with suppress(OSError):  # who writes the files tells why that cannot be
        folder.mkdir(parents=True, exist_ok=True)
        mark.touch()
    try:
        yield
    finally:
        with suppress(OSError):
            if (folder / last).exists() or [path.name for path in folder.iterdir()] == [mark.name]:
                mark.unlink()


def is_unfinished(folder: Path) -> bool:
    """Whether edge-se writes files there now, or was killed while it did."""
    return any(folder.glob(f"{TEMPORARY_PREFIX}*{_UNFINISHED}"))


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Locks `folder` for the block: a second process waits, so that files of two runs do not mix.

    The lock is on the folder itself and leaves no file behind. On a file system without locks nobody waits.
    """
    with ExitStack() as stack:
        with suppress(OSError):  # who writes to the folder reports that it cannot be made
            folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, handle)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):  # no process has so large a number
        return False
    except OSError:
        pass  # it lives and is someone else's
    return True


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_bytes(path: Path, content: bytes) -> None:
    """`content` to `path`, all or nothing."""
    with writing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """`content` as UTF-8 to `path`, all or nothing."""
    write_bytes(path, content.encode())


def write_json(path: Path, document: Any) -> None:
    """`document` as indented JSON to `path`, all or nothing."""
    write_text(path, json.dumps(document, indent=2, allow_nan=False) + "\n")


def read_json(path: Path, error: type[EdgeSeError] = ArtifactError, *, fix: str | None = None) -> dict[str, Any]:
    """The JSON object in `path`; a missing or broken file raises `error`, with `fix`."""
    try:
        content = path.read_bytes()
        document = json.loads(content, parse_constant=_finite, parse_float=_finite)
        if b"\\u" in content or not content.isascii():
            require_text(document)
    except FileNotFoundError as missing:
        raise error("no such file", where=path, fix=fix or "check the path") from missing
    except (OSError, ValueError, RecursionError) as broken:  # the last: brackets nested without end
        raise error(f"not readable as JSON ({broken})", where=path, fix=fix) from broken
    if not isinstance(document, dict):
        raise error(f"expected a JSON object, found {type(document).__name__}", where=path, fix=fix)
    return document


def require_text(document: Any) -> None:
    """Raises UnicodeEncodeError (a ValueError) when a text holds half a surrogate pair, which cannot be printed."""
    json.dumps(document, ensure_ascii=False).encode()


def _finite(text: str) -> float:
    """NaN and infinity are neither JSON nor figures."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no number")
    return number


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of the file's bytes."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _digest(file)
    except OSError as error:
        raise ArtifactError(f"cannot be read ({error.strerror or error})", where=path,
                            fix="check that the file is there and may be read") from error


def _digest(file: Any) -> str:  # Python 3.10 has no hashlib.file_digest
    digest = hashlib.sha256()
    for block in iter(lambda: file.read(1 << 20), b""):
        digest.update(block)
    return digest.hexdigest()
