"""One target that fails leaves the files of the others, and the exit code tells of it."""

import pytest

from edge_se.cli import main
from edge_se.core.artifacts import read_build
from edge_se.core.errors import CalibrationError, EdgeSeError
from edge_se.quantization import turns
from edge_se.steps import export as step
from edge_se.steps import export_files

SLOWER = turns.Timed(p50_ms=2.0, reference_ms=1.0, ratio=2.0, ratio_ci=(1.9, 2.1), int8_mac_share_engine=None)


@pytest.mark.parametrize("failure", [CalibrationError("no", where="here", fix="do that"), RuntimeError("a bug")])
@pytest.mark.parametrize("failing", [("cpu",), ("tensorrt",), ("cpu", "tensorrt")])
def test_the_others_are_written(tmp_path, tiny_onnx, calibration_npz, monkeypatch, failure, failing):
    def quantize(model, ranges, target, placement):
        if target.name in failing:
            raise failure
        return original(model, ranges, target, placement)

    original = export_files.quantize
    monkeypatch.setattr(export_files, "quantize", quantize)
    monkeypatch.delenv("EDGE_SE_DATA", raising=False)
    (tmp_path / "tiny.onnx").write_bytes(tiny_onnx.content)
    says = r"int8\.\w+\.onnx was not made \(no\).*do that" if isinstance(failure, EdgeSeError) and len(failing) == 1 \
        else str(failure)
    with pytest.raises(type(failure), match=says):
        step.export(str(tmp_path / "tiny.onnx"), int8=True, targets=["cpu", "tensorrt"], effort="quick",
                    calibration=str(calibration_npz), out=tmp_path / "out")
    if len(failing) == 2:
        assert not (tmp_path / "out").exists()
        return
    other, = {"cpu", "tensorrt"} - set(failing)
    assert [item.target for item in read_build(tmp_path / "out").artifacts] == ["any", other]


@pytest.fixture
def exported(tiny_onnx, calibration_npz, tmp_path, monkeypatch, capsys):
    """Arguments -> exit code, targets of the files that were written, what was said."""
    monkeypatch.delenv("EDGE_SE_DATA", raising=False)
    (tmp_path / "tiny.onnx").write_bytes(tiny_onnx.content)

    def run(*arguments):
        out = tmp_path / "out"
        with pytest.raises(SystemExit) as exit_:
            main(["export", "--model", str(tmp_path / "tiny.onnx"), "--int8", "--calibration", str(calibration_npz),
                  "--out", str(out), *arguments])
        written = [item.target for item in read_build(out).artifacts][1:] if out.exists() else []
        return exit_.value.code, written, capsys.readouterr().err
    return run


def test_a_refusal_of_auto_leaves_the_others(exported, monkeypatch):
    """FP32 is the fastest in `cpu`'s runtime; `tensorrt` has none here, so nothing refuses it."""
    monkeypatch.setattr(turns.Track, "time", lambda *_: SLOWER)
    code, written, said = exported("--target", "cpu,tensorrt", "--placement", "auto", "--max-drop", "100")
    assert (code, written) == (2, ["tensorrt"])
    assert "int8.cpu.onnx was not made (no placement is faster than FP32" in said and "the other files are in" in said
    code, written, said = exported("--target", "cpu", "--placement", "auto", "--max-drop", "100")
    assert code == 2 and "was not made" not in said and "no placement is faster than FP32" in said


def test_a_method_that_cannot_be_chosen_leaves_the_others(exported, monkeypatch):
    def best_method(model, statistics, target, *_):
        if target.name != "arm":
            raise CalibrationError(f"{target.name} cannot", where="here", fix="do that")
        return "mse"

    monkeypatch.setattr(export_files, "best_method", best_method)
    code, written, said = exported("--target", "cpu,arm,tensorrt", "--method", "auto")
    assert (code, written) == (2, ["arm"])
    assert "int8.cpu.onnx was not made (cpu cannot); int8.tensorrt.onnx was not made (tensorrt cannot)" in said


def test_what_fails_last_leaves_the_others(exported, monkeypatch):
    """A refusal in the search of one and in the quantization of another: both are told."""
    def quantize(model, ranges, target, placement):
        if target.name == "arm":
            raise CalibrationError("arm cannot", where="here", fix="do that")
        return original(model, ranges, target, placement)

    original = export_files.quantize
    monkeypatch.setattr(export_files, "quantize", quantize)
    monkeypatch.setattr(turns.Track, "time", lambda *_: SLOWER)
    code, written, said = exported("--target", "cpu,arm,tensorrt", "--placement", "auto", "--max-drop", "100")
    assert (code, written) == (2, ["tensorrt"]) and "int8.arm.onnx" in said and "int8.cpu.onnx" in said
