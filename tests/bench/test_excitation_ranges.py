"""bench/excitation_ranges.py: both rules are measured, and the package's own is in force afterwards."""

import importlib.util
from pathlib import Path

import pytest

from edge_se.core.errors import EdgeSeError
from edge_se.core.progress import SILENT
from edge_se.quantization import methods
from edge_se.studies.collect import Figure
from edge_se.studies.plan import read_plan

ROOT = Path(__file__).parents[2]
CELL = {"cell": "tiny-e8-s0", "model": "tiny", "seed": 0}


@pytest.fixture
def script():
    spec = importlib.util.spec_from_file_location("bench_excitation_ranges", ROOT / "bench" / "excitation_ranges.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_both_rules_are_measured(script, tiny_onnx, tmp_path, monkeypatch):
    (tmp_path / "fp32.onnx").write_bytes(tiny_onnx.content)
    monkeypatch.setattr(script, "int8_figures", lambda fp32, settings, data, progress: [
        Figure(evaluation="int8", measure="drop_pp", value=methods.KL_KEEPS, conditions={"calibration": "x"})])
    rows = script.judged(tmp_path / "fp32.onnx", None, SILENT, CELL)
    assert [(row["rule"], row["value"], row["model"]) for row in rows] == [
        ("without the rule", 0.0, "tiny"), ("with it", methods.KL_KEEPS, "tiny")]
    assert methods.KL_KEEPS == script.RULES["with it"] > 0.9


def test_the_rule_is_in_force_after_an_error(script, tiny_onnx, tmp_path, monkeypatch):
    (tmp_path / "fp32.onnx").write_bytes(tiny_onnx.content)

    def fails(*arguments):
        raise ZeroDivisionError

    monkeypatch.setattr(script, "int8_figures", fails)
    with pytest.raises(ZeroDivisionError):
        script.judged(tmp_path / "fp32.onnx", None, SILENT, CELL)
    assert script.RULES["with it"] == methods.KL_KEEPS


def test_a_cell_that_was_not_measured_says_what_to_run(script, tmp_path):
    with pytest.raises(EdgeSeError, match=r"no such graph; run `python bench/run_studies\.py quantization` first"):
        script.judged(tmp_path / "fp32.onnx", None, SILENT, CELL)


def test_its_settings_are_among_those_of_the_study(script):
    studied = read_plan(script.STUDY).study.evaluations.int8.model_dump()
    for name, wanted in script.SETTINGS.items():
        assert set(wanted) <= set(studied[name]) if isinstance(wanted, list) else wanted == studied[name], name
