"""An INT8 file for TensorRT whose opset the oldest promised version does not read says so when it is written."""

import pytest

from edge_se.core.progress import SilentProgress
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.rewrites import raise_opset
from edge_se.steps.export import export


class Notes(SilentProgress):
    def __init__(self):
        self.said = []

    def note(self, message):
        self.said.append(message)


@pytest.mark.parametrize(("opset", "targets", "told"), [
    (17, ["tensorrt"], []), (18, ["tensorrt"], ["int8.tensorrt.onnx"]),
    (20, ["cpu", "tensorrt"], ["int8.tensorrt.onnx"]), (19, ["tensorrt-fp16"], []),
    (20, ["cpu", "arm", "openvino"], []),
    (22, ["tensorrt"], ["int8.tensorrt.onnx"]), (24, ["cpu", "tensorrt"], ["int8.tensorrt.onnx"]),
    (22, ["openvino"], [])])
def test_a_newer_opset_is_told(tiny_onnx, calibration_npz, tmp_path, monkeypatch, opset, targets, told):
    monkeypatch.delenv("EDGE_SE_DATA", raising=False)
    proto = tiny_onnx.copy()
    (tmp_path / "new.onnx").write_bytes(OnnxModel.of(raise_opset(proto, opset) if opset > 17 else proto).content)
    notes = Notes()
    export(str(tmp_path / "new.onnx"), int8=True, targets=targets, calibration=str(calibration_npz), effort="quick",
           accuracy=False, out=tmp_path / "build", progress=notes)
    assert OnnxModel.read(tmp_path / "build" / f"int8.{targets[0]}.onnx").opset >= opset
    found = [text for text in notes.said if "is not for every tensorrt" in text]
    assert [text.split()[0] for text in found] == told
    needs = "needs TensorRT 10 or later" if opset <= 20 else "is not read by every TensorRT 10"
    assert all(f"its opset {opset} {needs}; 8.5 reads up to 17" in text for text in found)
