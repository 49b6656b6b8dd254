"""bench/folded_excitations.py with tiny nets: what it judges against what, what it times, and what becomes of it."""

import argparse
import importlib.util
import json
import sys
from pathlib import Path

import pytest

from bench.tables import measured, se_folding
from edge_se.core.errors import EdgeSeError
from edge_se.core.files import write_json
from edge_se.core.progress import SILENT
from edge_se.data import calibration, cifar10, splits

ROOT = Path(__file__).parents[2]
BY = {"runtime": "onnxruntime", "version": "1.31.1", "device": "CPU", "floats": "f32"}


@pytest.fixture
def script(tiny_onnx, tiny_plain_onnx, random_images, monkeypatch):
    """The script, for which one tiny net is bundled and CIFAR-10 is a few random images."""
    spec = importlib.util.spec_from_file_location("bench_folded_excitations", ROOT / "bench" / "folded_excitations.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "bench_folded_excitations", module)  # where its dataclasses look names up
    spec.loader.exec_module(module)
    net = module.Net(name="mini_se", seed=0, model=tiny_onnx, plain=tiny_plain_onnx, bundled=True)
    monkeypatch.setattr(module, "nets", lambda cells: iter([net]))
    monkeypatch.setattr(module, "RUNTIMES", {"onnxruntime": "cpu"})
    monkeypatch.setattr(cifar10, "require", lambda data: None)
    monkeypatch.setattr(calibration, "load", lambda name, cifar: random_images(16))
    monkeypatch.setattr(splits, "load", lambda split, cifar: random_images(60, split, seed=len(split)))
    monkeypatch.setattr(module, "interleaved_medians", lambda files, backend, progress: [
        2.0 if any(node.op_type == "Sigmoid" for node in file.proto.graph.node) else 1.0 for file in files])
    return module


def options(tmp_path, **changes):
    return argparse.Namespace(**({"cells": tmp_path, "data": None, "repeats": 7, "times_only": False,
                                  "bundled": False, "out": tmp_path / "found.json"} | changes))


def test_what_is_found_and_shown(script, tmp_path, monkeypatch):
    monkeypatch.setattr(script, "Budget", lambda: argparse.Namespace(max_drop_pp=100.0, alpha=0.025))
    found = script.measured(options(tmp_path), SILENT)
    (row,) = found["rows"]
    assert (row["folded"], row["constant"], len(row["gates"])) == (4, 0, 4)
    assert (row["all"]["n"], row["final"]["n"], row["chosen"]["n"]) == (60, 60, 60)
    assert row["all"]["folded"]["flips"] == row["chosen"]["flips"]
    assert {"folded", "int8", "folded_int8"} < row["all"].keys()
    assert row["times"]["onnxruntime"]["folded_over_trained"] == {"ratio": 0.5, "low": 0.5, "high": 0.5}
    assert row["times"]["onnxruntime"]["folded_over_plain"]["ratio"] == 1.0
    write_json(tmp_path / "folded_excitations.json", found)
    monkeypatch.setattr(measured, "RESULTS", tmp_path)
    assert "| `mini_se` | on the branch | 4 | 0 |" in se_folding.accuracy_table()
    assert "| 4 of 4 |" in se_folding.accuracy_table() and "| `mini_se` | 4 of 4 |" in se_folding.final_table()
    assert "| 1.000 | 2.000 | 1.000 | +100.0 (+100.0 to +100.0) | +0.0 (+0.0 to +0.0) |" in se_folding.times_table()


def test_times_anew_keep_the_accuracies_of_the_same_nets(script, tmp_path, monkeypatch):
    found = script.measured(options(tmp_path), SILENT)
    assert found["rows"][0]["folded"] == 0 and "no excitation can be folded" in found["rows"][0]["refused"]
    write_json(tmp_path / "found.json", found)
    monkeypatch.setattr(script, "accuracies", None)  # none is measured again
    again = script.measured(options(tmp_path, times_only=True, repeats=6), SILENT)
    assert again["rows"][0]["all"] == json.loads(json.dumps(found["rows"][0]["all"])) and (
        len(again["rows"][0]["times"]["onnxruntime"]["p50_ms_of_repeats"]["plain"]) == 6)
    write_json(tmp_path / "found.json", found | {"rows": [found["rows"][0] | {"sha256": "other"}]})
    with pytest.raises(EdgeSeError, match="tells of another net than mini_se, seed 0"):
        script.measured(options(tmp_path, times_only=True), SILENT)


def test_bundled_nets_anew_keep_the_rows_of_the_study_with_their_machine(script, tmp_path, monkeypatch):
    found = script.measured(options(tmp_path), SILENT)
    elsewhere = json.loads(json.dumps(found["rows"][0])) | {"seed": 2, "bundled": False}
    for key in ("environment", "timed"):
        elsewhere[key]["hardware"]["cpu"] = "another processor"
    write_json(tmp_path / "found.json", found | {"rows": [found["rows"][0] | {"sha256": "of before"}, elsewhere]})
    monkeypatch.setattr(script, "bundled", lambda: script.nets(tmp_path))
    monkeypatch.setattr(script, "graph_of", None)  # no cell is asked for
    again = script.measured(options(tmp_path, bundled=True), SILENT)
    assert [row["sha256"] for row in again["rows"]] == [found["rows"][0]["sha256"]] * 2
    assert again["rows"][1] == elsewhere
    write_json(tmp_path / "folded_excitations.json", again)
    monkeypatch.setattr(measured, "RESULTS", tmp_path)
    for table in (se_folding.accuracy_table(), se_folding.times_table()):
        assert "| `mini_se`, seed 2 |" in table
        assert ": `mini_se`: " in table and "; nets with a seed: " in table and "another processor" in table


def test_cells_that_were_not_measured_say_what_to_run(script, tmp_path):
    with pytest.raises(EdgeSeError, match=r"no such graph; run `python bench/run_studies\.py quantization` first"):
        script.graph_of(tmp_path / "fp32.onnx")


def test_rows_of_earlier_weights_stay_beside_those_of_new_ones(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "bench")
    of_before = importlib.import_module("excitation_deviation").of_before
    row = {"name": "slim_se", "bundled": True, "weights": "new", "measured_by": BY, "epochs": 48, "muon": True,
           "deviations": {"a": 0.1, "b": 0.3}, "top1": 94.0, "n": 5000, "drop_pp": 1.0, "ci_pp": [0.5, 1.5], "flips": 9}
    sgd = row | {"weights": "old", "epochs": 24, "muon": False, "deviations": {"a": 0.01, "b": 0.02}}
    rows = [row, *of_before([row], [sgd, row])]
    assert [(one["weights"], one["bundled"]) for one in rows] == [("new", True), ("old", False)]
    write_json(tmp_path / "excitation_deviation.json", {"validation": "v", "calibration": "c", "rows": rows})
    monkeypatch.setattr(measured, "RESULTS", tmp_path)
    first, second = se_folding.deviation_table().splitlines()[2:4]
    assert first.startswith("| `slim_se`, earlier weights | SGD | 24 | 2 | 1.5 %, 2 % |")
    assert second.startswith("| `slim_se` | Muon | 48 | 2 | 20.0 %, 30 % |")


def test_without_its_file_each_table_says_what_measures_it(tmp_path, monkeypatch):
    monkeypatch.setattr(measured, "RESULTS", tmp_path)
    for table in (se_folding.accuracy_table, se_folding.final_table, se_folding.times_table):
        assert table() == se_folding.MISSING
