"""One target that fails leaves the files of the others, and the exit code tells of it."""

import pytest

from edge_se.core.artifacts import read_build
from edge_se.core.errors import CalibrationError, EdgeSeError
from edge_se.steps import export as step
from edge_se.steps import export_files


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
