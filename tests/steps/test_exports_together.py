"""Several exports into one folder at once, and a folder that cannot be written: one whole build, or one message."""

import os
import threading
import time

import pytest

from edge_se.core.artifacts import read_build
from edge_se.core.errors import ArtifactError
from edge_se.core.files import alone_in
from edge_se.steps import export as step
from edge_se.steps.verify import verify


@pytest.fixture
def files(tiny_onnx, tiny_plain_onnx, tmp_path, monkeypatch):
    monkeypatch.delenv("EDGE_SE_DATA", raising=False)
    found = [tmp_path / "se.onnx", tmp_path / "plain.onnx"]
    for path, model in zip(found, (tiny_onnx, tiny_plain_onnx)):
        path.write_bytes(model.content)
    return found


def test_an_export_amid_another_leaves_one_whole_build(files, calibration_npz, tmp_path, monkeypatch):
    out, write, others = tmp_path / "built", step.write_bytes, list[threading.Thread]()

    def export(path):
        step.export(str(path), int8=True, effort="quick", calibration=str(calibration_npz), out=out)

    def interrupted(path, content):
        write(path, content)
        if not others:  # after the first file; without a lock the other is done before the second
            others.append(threading.Thread(target=export, args=[files[1]]))
            others[0].start()
            others[0].join(6)
    monkeypatch.setattr(step, "write_bytes", interrupted)
    export(files[0])
    others[0].join(60)
    verify(str(out))
    assert read_build(out).model == "plain"
    assert sorted(path.name for path in out.iterdir()) == [
        "calibration.npz", "fp32.onnx", "int8.cpu.onnx", "int8.tensorrt.onnx", "manifest.json"]


def test_one_waits_for_the_other_and_leaves_nothing(tmp_path):
    order = []

    def second():
        with alone_in(tmp_path):
            order.append("second")

    with alone_in(tmp_path):
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.3)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"] and not list(tmp_path.iterdir())


def test_a_file_system_without_locks_is_written_all_the_same(files, calibration_npz, tmp_path, monkeypatch):
    import edge_se.core.files as core

    def refuse(*_):
        raise OSError("no locks")
    monkeypatch.setattr(core.fcntl, "flock", refuse)
    step.export(str(files[0]), calibration=str(calibration_npz), out=tmp_path / "built")
    verify(str(tmp_path / "built"))


def test_a_folder_that_cannot_be_written_is_one_message_and_keeps_the_old_build(files, calibration_npz, tmp_path,
                                                                                monkeypatch):
    out = tmp_path / "built"
    step.export(str(files[0]), calibration=str(calibration_npz), out=out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    if os.geteuid() == 0:  # rights do not hold root back; a read-only file system does
        import edge_se.core.files as core

        def refuse(**_):
            raise OSError(30, "Read-only file system")
        monkeypatch.setattr(core.tempfile, "mkstemp", refuse)
    else:
        out.chmod(0o500)
    with pytest.raises(ArtifactError, match=r"cannot be written \((Read-only file system|Permission denied)\)"):
        step.export(str(files[1]), calibration=str(calibration_npz), out=out)
    out.chmod(0o700)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
