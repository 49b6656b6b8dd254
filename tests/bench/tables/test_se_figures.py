"""What documents say of SE: figures of the measurements where there are any, else the command that makes them."""

import re
from pathlib import Path

import pytest

from bench.tables import measured as results
from bench.tables import readme, se_cost, se_studies
from edge_se.data.calibration import REAL, SYNTHETIC
from edge_se.nets.arithmetic import size_of
from edge_se.nets.zoo import MODELS, Attention
from edge_se.quantization.effort import EFFORTS
from edge_se.quantization.placement import ENDS_MAC_SHARE
from edge_se.studies.collect import Figure, comparisons, summaries, tidy
from edge_se.studies.plan import Cell, Study

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "se.md").read_text()


def over(ratio, low=None, high=None):
    return {"ratio": ratio, "low": low, "high": high}


def timed(net, precision, p50, *, weights="untrained", placement=None, default=True, backend="onnxruntime", **against):
    return {"net": net, "weights": weights, "backend": backend, "precision": precision, "placement": placement,
            "default": default, "p50_ms": p50, "cv": 0.01, "against": against}


def counted(net, attention, added_params, added_macs):
    return {"net": net, "attention": attention, "added_params": added_params, "added_macs": added_macs,
            "values": {"values": 1000, "weights": 2000, "denormals": 1, "not_finite": 0, "rms_min": 0.5, "rms_max": 1.5,
                       "largest_share_of_zeros": 0.508}}


@pytest.fixture
def cost(monkeypatch):
    """A made-up document of bench/se_cost.py, which the tables read."""
    rows = [
        timed("mini", "fp32", 0.75), timed("mini", "int8", 0.3, placement="se-float", fp32=over(0.4, 0.39, 0.41)),
        timed("mini_se", "fp32", 0.9, plain=over(1.2, 1.19, 1.215)),
        timed("mini_se", "int8", 0.45, placement="se-float", plain=over(1.5, 1.48, 1.53), fp32=over(0.5),
              all=over(0.9, 0.85, 0.95)),
        timed("mini_se", "int8", 0.5, placement="all", default=False, plain=over(1.66, 1.6, 1.7)),
        timed("mini_se", "int8", 0.44, placement="conv-only", default=False, all=over(0.88, 0.8, 0.9),
              same_file=over(0.99, 0.98, 1.01)),
        timed("mini_se", "int8", 0.46, placement="se-float", weights="trained", untrained=over(1.02, 1.01, 1.03))]
    document = {"rows": rows, "nets": [counted("mini", "none", 0, 0), counted("mini_se", "se", 0.00776, 0.000155)],
                "families": {"mini": "mini"}, "repeats": 9, "seconds": 0.3, "load_average": 0.1, "noisy_rows": 2,
                "environment": {"versions": {"onnxruntime": "1.31"},
                                "hardware": {"cpu": "A processor", "cores": 2, "flags": ["avx2"]}}}
    monkeypatch.setattr(se_cost, "read_se_cost", lambda: document)
    return document


def lines(text):
    """Rows of the tables without their heads."""
    return [line for line in text.splitlines() if line.startswith("| `")]


def test_shares_stand_beside_each_other(cost):
    text = se_cost.shares_table()
    assert lines(text) == ["| `mini_se` | on the branch | +0.78 | +0.015 | +20.0 (+19.0 to +21.5) | "
                           "+50.0 (+48.0 to +53.0) |"]
    assert "9 repeats of 0.3 s" in text and "1.0 % in the median file" in text and "above 2.5 % in 2 of 7." in text
    assert "OpenVINO" not in text


def test_times_are_told_with_int8_over_fp32(cost):
    text = se_cost.times_table()
    assert lines(text) == ["| `mini` | 0.750 | 0.300 | 0.400 (0.390 to 0.410) |",
                           "| `mini_se` | 0.900 | 0.450 | 0.500 |"]
    assert "by itself, here `se-float`." in text


def test_excitations_are_compared_where_both_placements_are_there(cost):
    assert lines(se_cost.excitations_table()) == [
        "| `mini_se` | onnxruntime | se-float (default) | 0.450 | 0.900 (0.850 to 0.950) | +50.0 (+48.0 to +53.0) |",
        "| `mini_se` | onnxruntime | all | 0.500 | – | +66.0 (+60.0 to +70.0) |",
        "| `mini_se` | onnxruntime | conv-only | 0.440 | 0.880 (0.800 to 0.900) | – |"]


def test_controls_say_how_many_intervals_leave_one_out(cost):
    values, trained, same = se_cost.controls().splitlines()
    assert "Of the 2,000 activations" in values and "4,000 weights of the untrained nets 2 are denormal" in values
    assert "between 0.5 and 1.5, and 51 % of its values are zero at most" in values
    assert trained.endswith("between 1.020 and 1.020 (pairs: 1; intervals that leave 1 out: 1 of 1).")
    assert same.endswith("between 0.990 and 0.990 (pairs: 1; intervals that leave 1 out: 0 of 1).")


def test_the_figure_names_its_nets_and_is_equal_for_equal_documents(cost, tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: pip install 'edge-se[plots]'")
    for name in ("one.svg", "two.svg"):
        se_cost.cost_figure(cost, tmp_path / name)
    text = (tmp_path / "one.svg").read_text()  # letters are paths, with the text beside each as a comment
    assert {"mini_se", "onnxruntime", "FP32", "INT8"} <= set(re.findall(r"<!-- (.*?) -->", text))
    assert text == (tmp_path / "two.svg").read_text()
    assert se_cost.figure_line().endswith(f"]({se_cost.FIGURE})\n")


STUDY = Study(name="made-up", question="?", models=("mini", "mini_se"), recipes=("short",), seeds=(0, 1, 2),
              baseline="mini", evaluations={
                  "int8": {"targets": ["cpu"], "placements": ["all", "se-float"], "methods": ["minmax", "mse"],
                           "calibration": [REAL, SYNTHETIC], "images": 5000},
                  "robustness": {"corruptions": ["jpeg_compression"], "severities": [1, 5], "target": "cpu",
                                 "images": 2000}})
DROPS = {"mini": (0.1, 0.2, 0.3), "mini_se": (0.3, 0.5, 0.7)}  # by seed


def measured(model, seed):
    """Everything that the three studies measure of a cell."""
    better = 1.0 if model == "mini_se" else 0.0
    yield Figure(evaluation="validation", measure="top1", value=80 + seed + better * (1 + seed / 10), n=5000)
    for placement, method, images in ((placement, method, images) for placement in ("all", "se-float")
                                      for method in ("minmax", "mse") for images in (REAL, SYNTHETIC)):
        extra = 2.0 * (placement == "all") + 0.5 * (method == "minmax") + 0.25 * (images == SYNTHETIC)
        conditions = {"target": "cpu", "placement": placement, "method": method, "calibration": images}
        yield Figure(evaluation="int8", measure="drop_pp", value=DROPS[model][seed] + extra, conditions=conditions)
        yield Figure(evaluation="int8", measure="flips", value=10.0 + seed, conditions=conditions)
    for corruption, severity in (("clean", 0), ("jpeg_compression", 1), ("jpeg_compression", 5)):
        for file, lost in (("fp32.onnx", 0.0), ("int8.cpu.onnx", 0.5)):
            where = {"file": file, "corruption": corruption, "severity": severity}
            yield Figure(evaluation="robustness", measure="top1", conditions=where,
                         value=80.0 - 4 * severity - lost - 2 * better - seed * better * lost)
            if lost:
                yield Figure(evaluation="robustness", measure="drop_pp", value=lost + severity, conditions=where)


@pytest.fixture
def study(monkeypatch):
    cells = [(Cell(model=model, recipe="short", recipe_file=None, epochs=8, seed=seed, curve_start=0,
                   key=f"{model}{seed}".ljust(64, "0")), list(measured(model, seed)))
             for model in STUDY.models for seed in STUDY.seeds]
    rows = tidy(cells)
    document = {"study": STUDY.model_dump(mode="json"), "summary": summaries(rows),
                "comparisons": comparisons(rows, STUDY),
                "cells": [{"error": None, "epochs": cell.epochs} for cell, _ in cells] + [{"error": "lost"}]}
    monkeypatch.setattr(se_studies, "read_study", lambda name: document)


def test_placements_are_paired_by_seed(study):
    text = se_studies.placements_table()
    plain, se = lines(text)
    assert plain == "| `mini` | no SE | 3 | 81.00 (78.52 to 83.48) | – | – | – |"
    # 1.0, 1.1 and 1.2 more: 1.1 +- 4.303 * 0.1 / sqrt(3)
    assert "| 82.10 (79.37 to 84.83) | +1.10 (+0.85 to +1.35) | 0.003 | 0.003 |" in se
    assert "3 seeds, 8 epochs" in text and "Cells that failed: 1." in text


def test_int8_tells_the_default_and_the_ranges(study):
    plain, se, plain_places, se_places = lines(se_studies.int8_table())
    assert plain.startswith("| `mini` | no SE | +0.20 (-0.05 to +0.45) | – | – | 11 | +0.20 to +0.70 | +0.45 (")
    assert plain.endswith("| +2.95 (all, minmax, synthetic) |")
    assert se.startswith("| `mini_se` | on the branch | +0.50 (+0.00 to +1.00) | +0.30 (+0.05 to +0.55) | ")
    assert plain_places == "| `mini` | no SE | +2.20 (+1.95 to +2.45) | +0.20 (-0.05 to +0.45) |"
    assert se_places.endswith("| +2.50 (+2.00 to +3.00) | +0.50 (+0.00 to +1.00) |")


def test_ranges_stand_beside_each_other_seed_by_seed():
    rows = [{"model": model, "measure": "drop_pp", "rule": rule, "conditions": {"calibration": images},
             "value": (10.0 if (model, rule, images) == ("mini_se", "without the rule", REAL) else 0.0) + 0.1 * seed}
            for model in ("mini", "mini_se") for seed in (0, 1) for rule in ("without the rule", "with it")
            for images in (REAL, SYNTHETIC)]
    document = {"rows": rows, "rules": {"without the rule": 0.0, "with it": 0.99},
                "settings": {"calibration": [REAL, SYNTHETIC], "images": 5000}}
    text = se_studies._ranges(document)
    assert "| real images, without the rule: drop of each seed | real images, with it: drop of each seed | s" in text
    assert lines(text)[1] == ("| `mini_se` | on the branch | +10.00, +10.10 | +0.00, +0.10 | +0.00, +0.10 | "
                              "+0.00, +0.10 |")
    assert "keeps 99 % of a tensor's values" in text


def test_noise_is_averaged_over_severities(study):
    text = se_studies.noise_table()
    assert lines(text.replace("| clean", "| `clean").replace("| jpeg", "| `jpeg")) == [
        "| `clean | 80.00 | -2.00 | -2.50 | +0.50 | +0.50 |",
        "| `jpeg compression | 68.00 | -2.00 | -2.50 | +3.50 | +3.50 |"]  # severities 1 and 5
    # Of FP32 the difference is the same in all seeds: no interval. Of INT8 it is -2.5 +- 1.24.
    assert "`mini_se` FP32 0 above and 0 below of 2; `mini_se` INT8 0 above and 2 below of 2." in text


def test_the_default_of_the_table_is_what_export_takes_for_these_nets():
    spec = MODELS["mini"]
    first = 3 * spec.widths[0] * 3 * 3 * 32 * 32
    assert first / size_of(spec).macs > ENDS_MAC_SHARE and se_studies.PLACEMENT == "se-float"
    assert EFFORTS["default"].method == se_studies.METHOD and EFFORTS["default"].placement is None


def test_what_was_not_measured_is_a_line_with_its_command(monkeypatch, tmp_path):
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    blocks = {name: readme.FIGURES[name]() for name in re.findall(r"<!-- figures: (\S+) -->", PAGE)}
    assert len(blocks) == 13
    for name, text in blocks.items():
        script, *studies = re.fullmatch(r"Not measured yet: `python (\S+\.py)( \S+)?`\.\n", text).groups()
        assert (ROOT / script).is_file(), name
        if name in ("se-placements", "se-int8", "se-noise"):
            assert (ROOT / "bench" / "studies" / f"{studies[0].strip()}.toml").is_file(), name


def test_every_kind_of_attention_has_a_name():
    assert set(Attention.__args__) == set(se_cost.WHERE)
