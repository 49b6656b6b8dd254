"""`export --untrained`: any net of the zoo without weights, and nothing that takes it for a trained one."""

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from edge_se.cli import main
from edge_se.core.errors import EdgeSeError
from edge_se.nets.arithmetic import size_of
from edge_se.nets.zoo import MODELS
from edge_se.steps.export import export
from edge_se.steps.gate import gate

SCHEMA = Path(__file__).parents[2] / "docs" / "schema" / "export-1.json"


@pytest.fixture
def tiny(tiny_spec, monkeypatch, tmp_path):
    """The name of a tiny net of the zoo that has no weights, in an empty folder."""
    spec = tiny_spec("pair2x1", name="tiny")
    monkeypatch.setitem(MODELS, "tiny", spec)
    monkeypatch.chdir(tmp_path)
    return "tiny"


def run(*arguments):
    with pytest.raises(SystemExit) as exit_:
        main(list(arguments))
    return exit_.value.code


def test_every_line_and_the_manifest_say_untrained(tiny, calibration_npz, capsys):
    assert run("export", "--model", tiny, "--int8", "--untrained", "--effort", "quick", "--calibration",
               str(calibration_npz)) == 0
    captured = capsys.readouterr()
    assert "untrained, accuracy not measured; written to build/tiny-untrained" in captured.out
    assert "untrained: the weights are random, so accuracy was not measured" in captured.err
    manifest = json.loads(Path("build/tiny-untrained/manifest.json").read_text())
    Draft202012Validator(json.loads(SCHEMA.read_text())).validate(manifest)
    assert manifest["model"] == "tiny-untrained" and manifest["labels"] == []
    assert manifest["source"]["kind"] == "untrained" and manifest["source"]["seed"] == 0
    assert manifest["parity"]["torch_vs_onnx"]["max_abs"] <= 1e-3
    assert [item["file"] for item in manifest["artifacts"]] == ["fp32.onnx", "int8.cpu.onnx", "int8.tensorrt.onnx"]
    for item in manifest["artifacts"]:
        assert item["top1"] is None and item["params"] == size_of(MODELS[tiny]).params


@pytest.mark.slow
def test_two_exports_are_equal_bytes(tiny, calibration_npz):
    settings = {"int8": True, "targets": ["cpu"], "effort": "quick", "calibration": str(calibration_npz)}
    first, second = (export(tiny, untrained=True, out=Path(name), **settings) for name in ("a", "b"))
    assert [item.sha256 for item in first.artifacts] == [item.sha256 for item in second.artifacts]
    assert first.source["sha256"] == second.source["sha256"]


def test_the_gate_refuses_it(tiny, calibration_npz, cifar):
    export(tiny, untrained=True, int8=True, targets=["cpu"], effort="quick", calibration=str(calibration_npz))
    with pytest.raises(EdgeSeError, match="is no CIFAR-10 classifier"):
        gate("tiny-untrained")


def test_a_net_for_other_sizes_is_calibrated_on_enlarged_images(tiny_spec, monkeypatch, tmp_path):
    spec = tiny_spec("se", name="large", input_size=64, classes=1000, stem="imagenet7")
    monkeypatch.setitem(MODELS, "large", spec)
    build = export("large", untrained=True, int8=True, targets=["cpu"], effort="quick", out=tmp_path / "large")
    assert build.calibration["name"] == "synthetic-256-at-64" and build.calibration["images"] == 32
    assert build.preprocessing["mean"] == [0.485, 0.456, 0.406]


@pytest.mark.parametrize(("arguments", "message"), [
    (["--model", "tiny", "--untrained", "--weights", "w.safetensors"], "--untrained: has weights and is to be untra"),
    (["--model", "x.onnx", "--untrained"], "--untrained: a file brings its own weights; take a name of"),
    (["--model", "x.pt2", "--untrained"], "--untrained: a file brings its own weights; take a name of"),
    (["--model", "x.tflite", "--untrained"], "x.tflite: is no file that a model is read from; give an .onnx file"),
    (["--model", "mini_es", "--untrained"], "unknown model 'mini_es'; did you mean 'mini_se'?"),
    (["--model", "mini_pre"], "no such weights; run `edge-se train --model mini_pre`, give them with --weights, or try "
                             "the net's structure, size and latency with --untrained"),
    (["--model", "resnet50"], "no such weights; give them with --weights, or try"),
])
def test_bad_input_is_one_message(tiny, capsys, arguments, message):
    assert run("export", *arguments) == 2
    said = capsys.readouterr().err
    assert message in " ".join(said.split()) and "Traceback" not in said
    assert not Path("build").exists()
