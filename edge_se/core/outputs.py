"""What may be written over: what edge-se wrote itself. A user's own file is never replaced without a word.

Every command that writes to a file or folder of the user's choice asks here before it does anything else.
"""

from __future__ import annotations

import json
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_se.core.errors import ArtifactError
from edge_se.core.files import is_unfinished

_MOST = 64 << 20  # bytes that are read to tell what a file is


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of file that a command writes: its name in messages, and how such a file is recognised."""

    name: str
    is_one: Callable[[Path], bool]


def document(name: str, *others: str) -> Kind:
    """A JSON document with a schema of ours: `bench` is `edge-se/bench/1`; `others` are accepted too."""
    return Kind(name=f"a document of `{name}`",
                is_one=lambda path: (_schema(path) or "").split("/")[:2] in [["edge-se", kind]
                                                                          for kind in (name, *others)])


def _is_prose(path: Path) -> bool:
    try:
        return "\0" not in _content(path).decode() and _schema(path) is None
    except UnicodeDecodeError:
        return False


def _marked(name: str, *marks: bytes) -> Kind:
    return Kind(name=name, is_one=lambda path: all(mark in _content(path) for mark in marks))


def _has_pixels(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return {"pixels.npy", "provenance.npy"} <= set(archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


PAGE = _marked("a report", b'<meta name="generator" content="edge-se">')
MARKDOWN = _marked("a report", b"# Report: ", b"Non-inferior when the drop is below")
JUNIT = _marked("JUnit XML of the gate", b'<testsuites name="edge-se gate"')
FIGURE = _marked("a figure", b"atplotlib")
PROSE = Kind(name="Markdown or another text to add to, but a file", is_one=_is_prose)
PIXELS = Kind(name="a calibration set", is_one=_has_pixels)


def require_file(path: Path | str | None, kind: Kind, option: str, *, sources: Iterable[object] = (),
                 beside: Iterable[object] = ()) -> None:
    """Accepts a `path` that is None, new, empty or of this kind, and that is not one of `sources`, which are read, nor
    of `beside`, which are written, too.

    Raises ArtifactError otherwise; `option` gave the path. What is not a path in `sources` and `beside` does not count.
    """
    if path is None:
        return
    path = Path(path)
    fix = f"choose another file with {option}"
    if path.is_dir():
        raise ArtifactError("is a folder", where=path, fix=fix)
    if any(_same(path, source) for source in sources):
        raise ArtifactError("would be overwritten, and the command reads it", where=path, fix=fix)
    if any(_same(path, other) for other in beside):
        raise ArtifactError("is named by two options", where=path, fix=fix)
    if path.is_file() and path.stat().st_size and not kind.is_one(path):
        raise ArtifactError(f"exists and is not {kind.name} of edge-se", where=path, fix=f"{fix}, or move it away")
    if path.is_file() or not path.exists():
        _require_writable(path.resolve().parent, path, fix)


def require_folder(folder: Path, manifests: dict[str, str], patterns: Sequence[str], *,
                   sources: Iterable[object] = ()) -> None:
    """Nothing where `folder` is new, or holds nothing of the `patterns`, a manifest that says it is ours, or what
    an export of ours was killed over.

    `manifests`: file name -> name of its schema, one of which suffices. Raises ArtifactError otherwise, and where one
    of `sources`, which are read, would be written over.
    """
    fix = "choose another folder with --out"
    if folder.exists() and not folder.is_dir():
        raise ArtifactError("is a file, not a folder", where=folder, fix=fix)
    there = sorted({path for pattern in (*manifests, *patterns) for path in folder.glob(pattern)})
    if taken := next((path for path in there for source in sources if _same(path, source)), None):
        raise ArtifactError("would be overwritten, and the command reads it", where=taken, fix=fix)
    foreign = [path for path in there if path.name not in manifests or not document(manifests[path.name]).is_one(path)]
    ours = any(path.name in manifests and path not in foreign for path in there)
    if foreign and not ours and not is_unfinished(folder):
        raise ArtifactError(f"would be overwritten, and no {' or '.join(manifests)} beside it says that edge-se made "
                            "it", where=foreign[0], fix=f"{fix}, or move it away")
    _require_writable(folder, folder, fix)


def _require_writable(folder: Path, where: Path, fix: str) -> None:
    """Raises ArtifactError where no file can be made in `folder`, or in the nearest one above it that exists.

    Told by a file without a name, which leaves nothing behind: rights alone say nothing of /proc or a read-only disk.
    """
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        raise ArtifactError(f"cannot be written: {there} is a file", where=where, fix=f"move that away, or {fix}")
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise ArtifactError(f"cannot be written ({error.strerror or error})", where=where,
                            fix=f"check the rights of {there}, or {fix}") from error


def _same(path: Path, source: object) -> bool:
    if not isinstance(source, (str, Path)):
        return False
    try:
        return path.samefile(source) if path.exists() else path.resolve() == Path(source).resolve()
    except (OSError, ValueError):  # a name of the zoo, for one
        return False


def _schema(path: Path) -> str | None:
    try:
        content = json.loads(_content(path))
    except (ValueError, RecursionError):
        return None
    schema = content.get("schema") if isinstance(content, dict) else None
    return schema if isinstance(schema, str) else None


def _content(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(_MOST)
    except OSError:
        return b""
