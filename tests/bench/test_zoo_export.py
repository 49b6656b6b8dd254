"""The script that exports every net: its reading of the builder's words, its counts, what it keeps and does again."""

import importlib
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench.tables import nets
from edge_se.backends.tensorrt import PACKAGE
from edge_se.core.assets import asset
from edge_se.device.agent import load_tensorrt
from edge_se.nets.zoo import MODELS
from edge_se.quantization.placement import place
from edge_se.quantization.ranges import collect
from edge_se.quantization.static import quantize
from edge_se.quantization.targets import TARGETS

ROOT = Path(__file__).parents[2]
FP32, INT8 = "Datatype: Float, Format: (Linear)", "Datatype: Int8, Format: (NHWC) Channel major format"
# As TensorRT for RTX 1.7.1 writes it, without strides.
LOG = f"""Layers:
Name: signal_0, LayerType: signal, Inputs: [], Outputs: [], TacticName: , StreamId: 0, Metadata:
Name: a_myl0_1, LayerType: correlation, Inputs: [ {{ Name: x, Dimensions: [1,4,32,32], {INT8} }}], Constants: [ \
{{ Name: w, Dimensions: [16,4,3,3], {INT8} }}, {{ Name: b, {FP32} }}], Outputs: [ {{ Name: y, {FP32} }}], \
TacticName: T, StreamId: 0, Metadata: [ONNX Layer: conv_a][ONNX Layer: x_DequantizeLinear]
Name: b_myl0_2, LayerType: correlation, Inputs: [ {{ Name: m, {FP32} }}], Constants: [ {{ Name: w, {FP32} }}], \
Outputs: [ {{ Name: z, {FP32} }}], TacticName: T, StreamId: 0, Metadata: [ONNX Layer: conv_b]
Name: __myl_MulAdd_3, LayerType: kgen, Inputs: [ {{ Name: y, Datatype: Half }}, {{ Name: q, {INT8} }}], Outputs: [ \
{{ Name: k, {INT8} }}], TacticName: T, StreamId: 0, Metadata: [ONNX Layer: add][ONNX Layer: relu]

I/O Tensors:
 Name: images, IOMode: Input, DataType: Float
"""


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    return importlib.import_module("zoo_export")


def test_the_builders_layers_are_read(script):
    found = [(layer.type, layer.datatype, layer.int8, layer.nodes) for layer in script.layers_of(LOG)]
    assert found == [("correlation", "int8", True, ("conv_a", "x_DequantizeLinear")),
                     ("correlation", "fp32", False, ("conv_b",)), ("kgen", "fp16", False, ("add", "relu"))]


@pytest.fixture(scope="module")
def quantized(tiny_onnx, random_images):
    """(placement) -> the tiny SE net's file for TensorRT."""
    rules = TARGETS["tensorrt"]
    ranges = collect(tiny_onnx, random_images(8)).ranges("minmax", rules.activations)
    return lambda placement: quantize(tiny_onnx, ranges, rules, place(tiny_onnx.proto, rules, placement))


@pytest.mark.parametrize(("placement", "expected"), [
    ("se-float", {"convolutions": (12, 12), "gate_layers": (0, 8), "linear_layers": (1, 1)}),
    ("ends-float", {"convolutions": (11, 12), "gate_layers": (0, 8), "linear_layers": (0, 1)})])
def test_layers_in_int8_are_those_of_the_placement(script, quantized, tiny_onnx, placement, expected):
    pytest.importorskip(PACKAGE, reason="tensorrt-rtx is not installed: pip install 'edge-se[rtx]'")
    found = script.compiled(quantized(placement), tiny_onnx, tiny_onnx)
    assert {kind: (found[kind]["int8"], found[kind]["all"]) for kind in expected} == expected
    assert (found["accepted"], found["fp32"], found["fp16"], found["plugins"]) == (True, "accepted", "accepted", 0)
    assert found["layers"]["correlation"]["int8"] == expected["convolutions"][0]


def test_a_refusal_is_told_in_the_builders_words(script, tiny_onnx, random_images):
    pytest.importorskip(PACKAGE, reason="tensorrt-rtx is not installed: pip install 'edge-se[rtx]'")
    rules = TARGETS["cpu"]  # unsigned activations and INT32 biases
    ranges = collect(tiny_onnx, random_images(8)).ranges("minmax", rules.activations)
    found = script.compiled(quantize(tiny_onnx, ranges, rules, place(tiny_onnx.proto, rules)), tiny_onnx, tiny_onnx)
    assert not found["accepted"] and "refuses the graph: " in found["error"]


def test_errors_reach_builder_and_log(script):
    pytest.importorskip(PACKAGE, reason="tensorrt-rtx is not installed: pip install 'edge-se[rtx]'")
    builder, said = load_tensorrt(PACKAGE), []
    logger, severity = script.recorder(builder, said), builder.module.ILogger
    logger.log(severity.VERBOSE, "a")
    logger.log(severity.ERROR, "b")
    assert said == ["a", "b"] and builder.messages == ["b"]


@pytest.fixture
def started(script, tmp_path, monkeypatch):
    """(names) -> the document, with results and work in `tmp_path`; `started.calls` are the commands that were run."""
    monkeypatch.setattr(script, "RESULTS", tmp_path)
    monkeypatch.setattr(script, "judged", lambda build, spec: {"files": []})
    monkeypatch.setattr(script, "read_build", lambda folder: None)
    monkeypatch.setattr(script, "export_cells", lambda row: [row["model"]] * 6)
    monkeypatch.setenv("EDGE_SE_DATA", "somewhere")
    calls = []

    def run(command, **options):
        calls.append(command)
        failed = "mini_pre" in command
        return SimpleNamespace(returncode=int(failed), stderr=f"{tmp_path}/work: no\n" if failed else "")
    monkeypatch.setattr(script, "subprocess", SimpleNamespace(run=run))

    def start(*names):
        monkeypatch.setattr("sys.argv", ["zoo_export.py", "--work", str(tmp_path / "work"), "--models", *names])
        script.main()
        return json.loads((tmp_path / "zoo_export.json").read_text())
    start.calls = calls
    return start


def test_what_is_done_is_kept_until_what_it_depends_on_changes(script, started, monkeypatch):
    assert [row["model"] for row in started("mini_post", "mini")["rows"]] == ["mini", "mini_post"]  # in the zoo's order
    assert ["--untrained" in command for command in started.calls] == [True, True]
    started.calls.clear()
    assert [row["model"] for row in started("resnet18", "mini")["rows"]] == ["resnet18", "mini", "mini_post"]
    command, = started.calls
    assert command[command.index("--model") + 1] == "resnet18" and "--untrained" not in command
    started.calls.clear()
    monkeypatch.setattr(script.environment, "versions", lambda: {"onnxruntime": "0"})
    assert [row["model"] for row in started("mini")["rows"]] == ["mini"] and len(started.calls) == 1


def test_a_failure_is_recorded_and_the_others_are_done(started, capsys):
    with pytest.raises(SystemExit, match="not exported: mini_pre"):
        started("mini_pre", "mini")
    assert len(started.calls) == 2


def test_its_cells():
    files = [{"precision": "fp32", "target": "any", "bytes": 10 * 2**20}, {"precision": "fp16", "target": "any",
             "bytes": 5 * 2**20}, {"precision": "int8", "target": "cpu", "bytes": 2.7 * 2**20},
             {"precision": "int8", "target": "openvino", "bytes": 2.6 * 2**20}]
    ran, rtx = {"runs": True, "agreement": 98.4375, "sqnr_db": 30.44}, {"accepted": True, "convolutions":
               {"int8": 19, "all": 20}, "gate_layers": {"int8": 0, "all": 0}}
    row = {"model": "x", "trained": True, "files": files, "onnxruntime": ran, "openvino": {"runs": False},
           "tensorrt_rtx": rtx}
    assert nets.export_cells(row) == ["x", "10.0 -> 2.6 to 2.7", "98.4 %, 30 dB", "does not run", "19 / 20", "–"]
    assert nets.export_cells(row | {"trained": False})[2] == "30 dB"
    assert nets.export_cells(row | {"tensorrt_rtx": {"accepted": False}})[-2:] == ["refused", "refused"]
    assert nets.export_cells({"model": "x", "failed": "no"}) == ["x", "not exported", "–", "–", "–", "–"]


def test_every_net_that_was_measured_exports_and_runs_everywhere():
    rows = json.loads(asset("bench", "results", "zoo_export.json").read_text())["rows"]
    assert rows and [row["model"] for row in rows] == [name for name in MODELS if name in {
        row["model"] for row in rows}]
    for row in rows:
        assert row["returncode"] == 0 and row["tensorrt_rtx"]["accepted"] and row["tensorrt_rtx"]["plugins"] == 0
        assert row["onnxruntime"]["runs"] and row["openvino"]["runs"]


def test_a_net_that_was_not_measured_is_named(monkeypatch):
    monkeypatch.setattr(nets, "MODELS", {"resnet18": None, "new_net": None})
    assert nets.exports_table().endswith(" (SM86). Not measured yet: `new_net`.\n")


def test_rows_of_nets_that_were_not_named_stay(script, tmp_path, monkeypatch):
    first, second, third = list(MODELS)[:3]
    here = {"versions": script.environment.versions()}
    (tmp_path / "zoo_export.json").write_text(json.dumps({"environment": here, "rows": [
        {"model": first, "of": "before"}, {"model": second, "of": "before"}]}))
    for name, value in {"RESULTS": tmp_path, "measured": lambda name, work: {"model": name, "of": "now"},
                        "export_cells": lambda row: [row["model"]], "print_table": lambda *table, **how: None}.items():
        monkeypatch.setattr(script, name, value)
    monkeypatch.setenv("EDGE_SE_CACHE", str(tmp_path))
    monkeypatch.setenv("EDGE_SE_DATA", "")
    monkeypatch.setattr("sys.argv", ["zoo_export.py", "--models", second, third, "--work", str(tmp_path / "work")])
    (tmp_path / "work").mkdir()
    script.main()
    rows = json.loads((tmp_path / "zoo_export.json").read_text())["rows"]
    assert [(row["model"], row["of"]) for row in rows] == [(first, "before"), (second, "now"), (third, "now")]
