"""What an export leaves on disk: all of it, the old build, or nothing."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import onnx
import pytest

from edge_se.core.artifacts import read_build
from edge_se.core.errors import ArtifactError, CalibrationError, EdgeSeError
from edge_se.steps.export import export
from edge_se.steps.verify import verify


def script(tiny: Path, calibration: Path, out: Path, sabotage: str) -> str:
    return textwrap.dedent("""
        import os, signal, sys
        import edge_se.core.files as files, edge_se.steps.export as step
        from pathlib import Path
        {sabotage}
        step.export({tiny!r}, int8=True, calibration={calibration!r}, out=Path({out!r}))
    """).format(sabotage=sabotage, tiny=str(tiny), calibration=str(calibration), out=str(out))


KILLED_WHILE_RENAMING = """
count = 0
replace = Path.replace
def dying(self, target):
    global count
    count += 'built' in str(target)
    if count == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return replace(self, target)
Path.replace = dying
"""
KILLED_WHILE_MEASURING = """
step.measured = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def tiny(tiny_onnx, tmp_path, monkeypatch):
    monkeypatch.delenv("EDGE_SE_DATA", raising=False)
    path = tmp_path / "tiny.onnx"
    path.write_bytes(tiny_onnx.content)
    return path


def test_two_exports_write_equal_files(tiny, calibration_npz, tmp_path) -> None:
    first = export(str(tiny), int8=True, fp16=True, calibration=str(calibration_npz), out=tmp_path / "a")
    second = export(str(tiny), int8=True, fp16=True, calibration=str(calibration_npz), out=tmp_path / "b")
    assert [item.sha256 for item in first.artifacts] == [item.sha256 for item in second.artifacts]


def test_a_build_reads_back(tiny, calibration_npz, tmp_path) -> None:
    build = export(str(tiny), int8=True, calibration=str(calibration_npz), out=tmp_path / "a")
    again = read_build(tmp_path / "a")
    assert again.artifacts[0].sha256 == build.artifacts[0].sha256
    assert again.find("int8", "cpu").placement == "se-float"


def test_killed_while_measuring_leaves_nothing(tiny, calibration_npz, tmp_path) -> None:
    out = tmp_path / "built"
    done = subprocess.run([sys.executable, "-c", script(tiny, calibration_npz, out, KILLED_WHILE_MEASURING)])
    assert done.returncode == -signal.SIGKILL
    assert not out.exists()


def test_killed_while_writing_leaves_no_half_file_and_the_next_run_mends(tiny, calibration_npz, tmp_path) -> None:
    out = tmp_path / "built"
    done = subprocess.run([sys.executable, "-c", script(tiny, calibration_npz, out, KILLED_WHILE_RENAMING)])
    assert done.returncode == -signal.SIGKILL
    visible = [path for path in out.iterdir() if not path.name.startswith(".")]
    assert visible, "two files were renamed before the kill"
    for path in visible:
        onnx.checker.check_model(onnx.load(path))
    with pytest.raises(ArtifactError):
        verify(str(out))  # without a manifest it is no build
    export(str(tiny), int8=True, calibration=str(calibration_npz), out=out)
    verify(str(out))
    assert sorted(path.name for path in out.iterdir()) == [
        "calibration.npz", "fp32.onnx", "int8.cpu.onnx", "int8.tensorrt.onnx", "manifest.json"]


def test_killed_over_an_old_build_is_found_by_verify(tiny, calibration_npz, tiny_plain_onnx, tmp_path) -> None:
    out = tmp_path / "built"
    other = tmp_path / "other.onnx"
    other.write_bytes(tiny_plain_onnx.content)
    export(str(other), int8=True, calibration=str(calibration_npz), out=out)
    subprocess.run([sys.executable, "-c", script(tiny, calibration_npz, out, KILLED_WHILE_RENAMING)])
    with pytest.raises(ArtifactError, match="SHA-256 differs"):
        verify(str(out))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_one_message(tiny, calibration_npz, tmp_path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    with pytest.raises(ArtifactError, match="cannot be written"):
        export(str(tiny), calibration=str(calibration_npz), out=folder)


def test_a_place_that_cannot_be_a_folder_is_one_message(tiny, calibration_npz, tmp_path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ArtifactError, match="cannot be written"):
        export(str(tiny), calibration=str(calibration_npz), out=tmp_path / "file" / "below")


def test_a_calibration_table_serves_again_without_images(tiny, calibration_npz, tmp_path) -> None:
    first = export(str(tiny), int8=True, calibration=str(calibration_npz), out=tmp_path / "a")
    table = tmp_path / "a" / "calibration.npz"
    again = export(str(tiny), int8=True, calibration=str(table), out=tmp_path / "b")
    assert [item.sha256 for item in again.artifacts] == [item.sha256 for item in first.artifacts]
    assert again.calibration == first.calibration
    assert (tmp_path / "b" / "calibration.npz").read_bytes() == table.read_bytes()


def test_a_calibration_table_of_another_graph_is_refused(tiny, tiny_plain_onnx, calibration_npz, tmp_path) -> None:
    export(str(tiny), int8=True, calibration=str(calibration_npz), out=tmp_path / "a")
    other = tmp_path / "other.onnx"
    other.write_bytes(tiny_plain_onnx.content)
    with pytest.raises(CalibrationError, match="another graph"):
        export(str(other), int8=True, calibration=str(tmp_path / "a" / "calibration.npz"), out=tmp_path / "b")


def test_a_calibration_table_serves_targets_that_quantize_no_more(tiny, calibration_npz, tmp_path) -> None:
    whole = export(str(tiny), int8=True, targets=["cpu", "openvino"], calibration=str(calibration_npz),
                   out=tmp_path / "a", effort="quick")
    table = tmp_path / "a" / "calibration.npz"
    few = export(str(tiny), int8=True, targets=["openvino"], calibration=str(calibration_npz), out=tmp_path / "b",
                 effort="quick")
    again = export(str(tiny), int8=True, targets=["openvino"], calibration=str(table), out=tmp_path / "c",
                   effort="quick")
    own = [build.find("int8", "openvino").sha256 for build in (whole, few, again)]
    assert own == [own[0]] * 3
    with pytest.raises(CalibrationError, match="collected for other targets"):
        export(str(tiny), int8=True, targets=["openvino", "cpu"], calibration=str(tmp_path / "b" / "calibration.npz"),
               out=tmp_path / "d")


@pytest.mark.parametrize("options", [{"targets": ["foo"]}, {"targets": ["cpu", "tensort"]}, {"placement": "se_float"},
                                     {"method": "maxmin"}, {"effort": "best"}])
def test_a_wrong_name_is_refused_before_the_model_is_read(options, tmp_path) -> None:
    with pytest.raises(EdgeSeError, match=r"unknown (target|placement|method|effort)"):
        export(tmp_path / "missing.onnx", int8=True, **options)
