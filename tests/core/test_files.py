"""A file is the old one or the new one, never half: also after an exception, a kill, and on a full disk."""

import errno
import hashlib
import json
import os
import stat
import subprocess
import sys

import pytest

from edge_se.core import files
from edge_se.core.errors import ArtifactError, DataError
from edge_se.core.files import (
    TEMPORARY_PREFIX,
    read_json,
    sha256_of,
    sweep,
    write_bytes,
    write_json,
    write_text,
    writing,
)


def leftovers(folder):
    return [path.name for path in folder.iterdir() if path.name.startswith(TEMPORARY_PREFIX)]


def test_the_place_is_written_only_at_the_end(tmp_path):
    path = tmp_path / "new" / "folder" / "a.txt"
    with writing(path) as temporary:
        assert temporary.parent == path.parent  # a rename across file systems would not be atomic
        assert temporary.suffix == path.suffix  # writers that choose a format by the ending
        temporary.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert leftovers(path.parent) == []


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
def test_an_exception_leaves_the_old_file_and_nothing_else(tmp_path, failure):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(failure), writing(path) as temporary:
        temporary.write_text("half")
        raise failure
    assert path.read_text() == "old"
    assert leftovers(tmp_path) == []


def test_written_files_have_the_usual_rights(tmp_path):
    old = os.umask(0o027)
    try:
        write_text(tmp_path / "a.txt", "x")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o640


def test_a_folder_that_cannot_be_made_is_a_user_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ArtifactError, match=r"file/a\.txt: cannot be written \(.+\); .*--out"):
        write_bytes(tmp_path / "file" / "a.txt", b"x")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_rights_is_a_user_error(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(ArtifactError, match="cannot be written"):
            write_bytes(tmp_path / "a.txt", b"x")
    finally:
        tmp_path.chmod(0o700)


def test_a_full_disk_leaves_the_old_file_and_is_a_user_error(tmp_path, full_disk):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with full_disk(), pytest.raises(ArtifactError, match=r"a\.bin: cannot be written"):
        write_bytes(path, bytes(100_000))
    assert path.read_bytes() == b"old"
    assert leftovers(tmp_path) == []


def test_sweep_removes_what_the_dead_left_and_nothing_of_the_living(tmp_path):
    script = ("import os, sys; from pathlib import Path; from edge_se.core.files import writing\n"
              "with writing(Path(sys.argv[1])) as temporary:\n    os.kill(os.getpid(), 9)")
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "a.txt")], check=False, timeout=60)
    assert len(leftovers(tmp_path)) == 1
    (tmp_path / ".edge-se-notes").write_text("someone's own file")
    with writing(tmp_path / "b.txt") as living:
        sweep(tmp_path)
        assert living.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".edge-se-notes", "b.txt"]


def test_json_is_written_readable_and_read_back(tmp_path):
    write_json(tmp_path / "a.json", {"b": [1, 2.5], "a": None})
    assert (tmp_path / "a.json").read_text().startswith('{\n  "b"')
    assert read_json(tmp_path / "a.json") == {"b": [1, 2.5], "a": None}


def test_json_without_nan(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"top1": float("nan")})
    assert not (tmp_path / "a.json").exists()


@pytest.mark.parametrize(("content", "problem"), [
    (None, "no such file"),
    (b"{", "not readable as JSON"),
    (b"\xff\xfe{}", "not readable as JSON"),
    (b"", "not readable as JSON"),
    (b"[1]", "expected a JSON object, found list"),
    (b"null", "expected a JSON object, found NoneType"),
])
def test_broken_json_raises_the_asked_error(tmp_path, content, problem):
    path = tmp_path / "a.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=rf"a\.json: {problem}.*; mend it"):
        read_json(path, DataError, fix="mend it")


def test_a_folder_in_place_of_json_is_a_user_error(tmp_path):
    with pytest.raises(ArtifactError, match="not readable as JSON"):
        read_json(tmp_path)


def test_sha256(tmp_path):
    content = os.urandom(3_000_000)
    (tmp_path / "a").write_bytes(content)
    assert sha256_of(tmp_path / "a") == hashlib.sha256(content).hexdigest()
    with open(tmp_path / "a", "rb") as file:
        assert files._digest(file) == hashlib.sha256(content).hexdigest()  # the way of Python 3.10
    with pytest.raises(ArtifactError, match="cannot be read"):
        sha256_of(tmp_path / "b")


def test_json_documents_end_with_a_newline(tmp_path):
    write_json(tmp_path / "a.json", {})
    assert (tmp_path / "a.json").read_bytes() == json.dumps({}).encode() + b"\n"


@pytest.mark.parametrize("error", [
    FileNotFoundError(2, "No such file or directory", "elsewhere.onnx"), TimeoutError("timed out"),
    ConnectionResetError(104, "Connection reset by peer"), PermissionError(13, "Permission denied", "/other")])
def test_an_error_of_something_else_stays_what_it_is(tmp_path, error):
    with pytest.raises(type(error)) as raised, writing(tmp_path / "out.json"):
        raise error
    assert raised.value is error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_an_error_of_the_file_itself_says_so(tmp_path, code):
    with pytest.raises(ArtifactError, match="cannot be written"), writing(tmp_path / "out.json"):
        raise OSError(code, os.strerror(code))


def test_a_device_and_a_pipe_are_written_to_and_stay(tmp_path):
    """A rename onto /dev/null, by root, would leave the machine without one."""
    import threading

    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    received = []
    reader = threading.Thread(target=lambda: received.append(pipe.read_text()))
    reader.start()
    write_text(pipe, "through")
    reader.join(10)
    assert received == ["through"] and stat.S_ISFIFO(pipe.stat().st_mode) and leftovers(tmp_path) == []
    link = tmp_path / "null"
    link.symlink_to("/dev/null")
    write_text(link, "lost")
    assert link.is_symlink() and stat.S_ISCHR(link.stat().st_mode)


@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays_and_its_file_is_written(tmp_path, there):
    (tmp_path / "far").mkdir()
    file, link = tmp_path / "far" / "report.html", tmp_path / "report.html"
    link.symlink_to(file)
    if there:
        file.write_text("old")
    write_text(link, "new")
    assert link.is_symlink() and file.read_text() == "new" and not file.is_symlink()
    assert leftovers(tmp_path) == leftovers(tmp_path / "far") == []
