"""`verify`: whatever of a build is not as its manifest says is named, and a whole build is called that."""

import json
import shutil
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from onnx import helper, numpy_helper

from edge_se.backends.table import BACKENDS
from edge_se.cli import main
from edge_se.core.environment import importable
from edge_se.core.errors import ArtifactError, ModelError
from edge_se.core.files import sha256_of
from edge_se.graph.labels import mislabelled
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.targets.table import TARGETS
from edge_se.steps import verify_compile
from edge_se.steps.verify import verify

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "schema" / "verify-1.json").read_text())

@pytest.fixture(scope="module")
def whole(tiny_build):
    """A build for every target."""
    return tiny_build("tiny_verified", accuracy=False, targets=list(TARGETS), fp16=True).folder


@pytest.fixture
def build(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "build")


def changed(folder, position, **changes):
    path = folder / "manifest.json"
    document = json.loads(path.read_text())
    document["artifacts"][position] |= changes
    path.write_text(json.dumps(document))


def test_a_whole_build_is_called_that(build, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["verify", str(build)])
    assert exit_.value.code == 0
    count = len(TARGETS) + 2
    assert f"all {count} files match the manifest of {build}" in capsys.readouterr().out
    assert len(verify(build)["files"]) == count


def test_a_file_under_another_label_is_found(build):
    names = [item["file"] for item in json.loads((build / "manifest.json").read_text())["artifacts"]]
    for position, name in enumerate(names[1:], 1):
        for other in names:
            sound = (build / name).read_bytes()
            if other == name or sha256_of(build / name) == sha256_of(build / other):
                continue
            shutil.copyfile(build / other, build / name)
            before = (build / "manifest.json").read_text()
            changed(build, position, sha256=sha256_of(build / name), bytes=(build / name).stat().st_size,
                    parent_sha256=sha256_of(build / "fp32.onnx"))
            with pytest.raises(ArtifactError, match=r"is no .*: "):
                verify(build)
            (build / name).write_bytes(sound)
            (build / "manifest.json").write_text(before)


@pytest.mark.parametrize(("changes", "says"), [
    ({"target": "openvino"}, "its manifest calls it int8.openvino"), ({"precision": "fp16"}, "its manifest calls it"),
    ({"bytes": 5}, "bytes, and its manifest says 5"), ({"file": "fp32.onnx"}, "names fp32.onnx twice"),
    ({"top1": 9999.0, "top1_n": 10}, "top1 is 9999.0")])
def test_a_manifest_that_says_otherwise(build, changes, says):
    position = 2 if "target" in changes or "precision" in changes else 3
    changed(build, position, **changes)
    with pytest.raises(ArtifactError, match=says):
        verify(build)


def test_an_empty_manifest(build):
    path = build / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"artifacts": []}))
    with pytest.raises(ArtifactError, match="no file is in it"):
        verify(build)


def test_int32_biases_for_openvino_are_named(whole):
    """Files of before: they saturate where OpenVINO computes in f16."""
    model = OnnxModel.read(whole / "int8.openvino.onnx").copy()
    weights = next(item for item in model.graph.initializer if item.name.endswith("_quantized"))
    bias = numpy_helper.from_array(np.zeros(4, np.int32), "old_bias_quantized")
    scale = next(node.input[1] for node in model.graph.node if weights.name in node.input)
    model.graph.initializer.append(bias)
    model.graph.node.insert(0, helper.make_node("DequantizeLinear", [bias.name, scale], ["old_bias"]))
    assert mislabelled(model, "int8", "openvino") == "its biases are int32"


def test_every_file_fits_its_own_label(whole):
    for item in json.loads((whole / "manifest.json").read_text())["artifacts"]:
        model = OnnxModel.read(whole / item["file"], precision=item["precision"], target=item["target"])
        assert mislabelled(model.proto, item["precision"], item["target"]) is None, item["file"]
        assert "nobody knows" in (mislabelled(model.proto, "int8", "npu") or "nobody knows") or item["target"] == "any"


def test_an_int8_file_without_int8_is_told_by_the_manifest(whole):
    fp32 = OnnxModel.read(whole / "fp32.onnx").proto
    assert mislabelled(fp32, "int8", "cpu") == "nothing in it is quantized"
    assert mislabelled(fp32, "int8", "cpu", quantized=False) is None


def test_data_verify_says_ok(monkeypatch, capsys):
    from edge_se.steps import data

    monkeypatch.setattr(data, "verify", lambda folder: {"schema": data.SCHEMA, "action": "verify", "folder": "x",
                                                        "files": 6})
    for arguments, says in ((["data", "verify"], True), (["data", "verify", "--json"], False)):
        with pytest.raises(SystemExit) as exit_:
            main(arguments)
        assert exit_.value.code == 0
        assert ("OK: all 6 files are the official ones" in capsys.readouterr().out) is says


class Refusing:
    """A runtime that loads FP32 files alone."""

    def __init__(self, told):
        self.told = told

    @contextmanager
    def open(self, model, device):
        if model.precision != "fp32":
            raise ModelError("it knows no INT8", where=model.file_name, fix="export FP32")
        yield SimpleNamespace(tells=lambda: self.told)


@pytest.mark.parametrize(("runtime", "name", "option", "refused"), [
    ("opencv", "OpenCV", "--opencv", {"fp16", "int8.arm", "int8.cpu", "int8.cpu-avx2"}),
    ("litert", "LiteRT", "--litert", {"int8.litert", "int8.litert-dynamic"}),
    ("rtx", "TensorRT for RTX", "--compile", {"fp16", "int8.tensorrt", "int8.tensorrt-fp16"})])
def test_a_file_that_a_runtime_refuses_does_not_hide_those_after_it(build, monkeypatch, capsys, runtime, name, option,
                                                                    refused):
    if runtime == "litert" and not importable("ai_edge_litert"):
        pytest.skip("no .tflite file is written: pip install 'edge-se[litert]'")
    monkeypatch.setitem(BACKENDS, "opencv", Refusing({"convolutions": 3, "int8_convolutions": 0}))
    monkeypatch.setitem(BACKENDS, "litert", Refusing({"nodes": 3, "xnnpack_nodes": 3}))
    monkeypatch.setattr(verify_compile, "build_engine", lambda model: (
        (None, None) if model.precision == "fp32" else ("it knows no INT8; export FP32", None)))
    for check in ("tflm_check", "vela_check"):
        monkeypatch.setattr(verify_compile, check, lambda *_: {"version": None, "refusal": "too large"})
    for arguments in ([], ["--json"]):
        with pytest.raises(SystemExit) as exit_:
            main(["verify", str(build), option, *arguments])
        assert exit_.value.code == 2
        told = capsys.readouterr().out
        if not arguments:
            assert {line for line in told.splitlines() if "refuses it" in line} == {
                f"{file}.onnx: {name} refuses it: it knows no INT8; export FP32" for file in refused}
            assert told.count(" refused") == len(refused) and f"match the manifest of {build}" in told
    document = json.loads(told)
    Draft202012Validator(SCHEMA).validate(document)
    answers = {item["file"]: item if runtime == "rtx" else item.get(runtime, {}) for item in document["files"]}
    assert {file for file, answer in answers.items() if "refusal" in answer} == {f"{file}.onnx" for file in refused}
    assert answers["fp32.onnx"].get("convolutions", 3) == 3 and answers["fp32.onnx"].get("compiles", True)


@pytest.mark.skipif(BACKENDS["opencv"].missing() is not None, reason=str(BACKENDS["opencv"].missing()))
def test_opencv_names_every_file_with_an_int8_head(build):
    told = {item["file"]: item.get("opencv", {}) for item in verify(build, opencv=True)["files"]}
    refused = {name: answer["refusal"] for name, answer in told.items() if "refusal" in answer}
    assert len(refused) > 1 and all("a Gemm with an int32 bias" in words and words.endswith("--placement ends-float")
                                    for words in refused.values())
    assert told["fp32.onnx"]["convolutions"] > 0
