"""`export` says where a runtime computes something else than its INT8 file says, in a note and in the manifest."""

import json
from pathlib import Path

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from onnx import TensorProto, helper, numpy_helper

from edge_se.backends.onnxruntime import OnnxRuntime
from edge_se.core.artifacts import read_build
from edge_se.core.progress import SilentProgress
from edge_se.data.layouts.pixel_archive import write_archive
from edge_se.steps.export import export

SCHEMA = Path(__file__).parents[2] / "docs" / "schema" / "export-1.json"


@pytest.fixture
def attention_file(tmp_path):
    """A classifier that pools 1,024 tokens by nearly uniform attention with constant values."""
    rng, node = np.random.default_rng(0), helper.make_node
    constants = {"w": rng.standard_normal((4, 3, 1, 1)) * 0.05, "v": rng.standard_normal((1024, 4)),
                 "head": rng.standard_normal((16, 10))}
    graph = helper.make_graph(
        [node("Conv", ["image", "w"], ["scores"], "score"), node("Reshape", ["scores", "shape"], ["tokens"], "flat"),
         node("Softmax", ["tokens"], ["weights"], "attend", axis=-1),
         node("MatMul", ["weights", "v"], ["mixed"], "mix"), node("Flatten", ["mixed"], ["features"], "out"),
         node("MatMul", ["features", "head"], ["logits"], "classify")],
        "g", [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 32, 32])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 10])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()]
        + [numpy_helper.from_array(np.array([0, 4, 1024]), "shape")])
    path = tmp_path / "attention.onnx"
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)],
                                       ir_version=8).SerializeToString())
    return path


@pytest.fixture
def exported(random_images, tmp_path, monkeypatch):
    """(file, options) -> the build and its notes."""
    monkeypatch.delenv("EDGE_SE_DATA", raising=False)
    write_archive(tmp_path / "images.npz", random_images(8).pixels)

    class Notes(SilentProgress):
        def note(self, message):
            self.said = getattr(self, "said", "") + message + "\n"

    def run(path, **how):
        progress = Notes()
        export(path, int8=True, calibration=tmp_path / "images.npz", out=tmp_path / "out", progress=progress, **how)
        document = json.loads((tmp_path / "out" / "manifest.json").read_text())
        Draft202012Validator(json.loads(SCHEMA.read_text())).validate(document)
        return read_build(tmp_path / "out"), progress.said
    return run


def test_a_gap_is_told_with_its_node(exported, attention_file):
    build, said = exported(attention_file, targets="cpu,tensorrt", placement="conv-only")
    cpu, tensorrt = build.find("int8", "cpu"), build.find("int8", "tensorrt")
    assert cpu.gap_node == "Softmax node 'attend'" and cpu.sqnr_runtime == "onnxruntime"
    assert cpu.sqnr_db < cpu.written_sqnr_db - 1
    assert f"int8.cpu.onnx: onnxruntime does not compute what the file says ({cpu.sqnr_db:.1f} dB" in said
    assert tensorrt.gap_node is None and "int8.tensorrt.onnx: onnxruntime does not" not in said


def test_without_a_gap_figures_alone(exported, tiny_onnx, tmp_path):
    (tmp_path / "tiny.onnx").write_bytes(tiny_onnx.content)
    build, said = exported(tmp_path / "tiny.onnx", targets="cpu")
    cpu = build.find("int8", "cpu")
    assert cpu.gap_node is None and abs(cpu.sqnr_db - cpu.written_sqnr_db) < 1 and "does not compute" not in said
    assert build.find("fp32").sqnr_db is None


def test_quick_compares_nothing(exported, attention_file):
    build, said = exported(attention_file, targets="cpu", placement="conv-only", effort="quick")
    assert build.find("int8", "cpu").sqnr_db is None and "does not compute" not in said


@pytest.mark.parametrize("count", [3, 20, 40])
def test_fp32_answers_while_ranges_are_collected(attention_file, random_images, tmp_path, monkeypatch, count):
    """No other session of onnxruntime computes what files are compared with."""
    pytest.importorskip("openvino")
    opened = []
    monkeypatch.setattr(OnnxRuntime, "open", lambda self, model, device: opened.append(model.file_name))
    monkeypatch.delenv("EDGE_SE_DATA", raising=False)
    write_archive(tmp_path / "some.npz", random_images(count).pixels)
    build = export(attention_file, int8=True, targets=["openvino"], calibration=tmp_path / "some.npz",
                   out=tmp_path / "out")
    assert build.find("int8", "openvino").sqnr_db > 20 and opened == []
