"""Tables, figures and pages from a document alone; pages in docs/studies are those of bench/results."""

import json
import re

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from bench.tables import measured, studies
from edge_se.studies.collect import Figure, comparisons, judges, summaries, tidy
from edge_se.studies.figures import draw
from edge_se.studies.plan import Cell, Study
from edge_se.studies.tables import comparison_rows, evaluations_of, page, summary_rows

STUDY = Study(name="made-up", question="Which is best?", models=("plain", "se", "pre"), recipes=("short", "calm"),
              seeds=(0, 1, 2), baseline="plain", baseline_recipe="short")


def figures_of(random):
    top1 = float(90 + random.normal())
    yield Figure(evaluation="validation", measure="top1", value=top1, low=top1 - 1, high=top1 + 1, n=100)
    yield Figure(evaluation="volatility", measure="sd_of_differences_pp", value=float(random.uniform(0, 3)))
    for method in ("minmax", "mse"):
        where = {"target": "cpu", "placement": "all", "method": method, "calibration": "x"}
        for measure in ("top1", "drop_pp", "flips"):
            yield Figure(evaluation="int8", measure=measure, value=float(random.uniform(0, 2)), conditions=where)
    for corruption, severity in (("clean", 0), ("blur", 1), ("blur", 5), ("noise", 1), ("noise", 5)):
        for file in ("fp32.onnx", "int8.cpu.onnx"):
            yield Figure(evaluation="robustness", measure="top1", value=float(random.uniform(10, 90)), n=100,
                         conditions={"file": file, "corruption": corruption, "severity": severity})


@pytest.fixture
def document():
    random = np.random.default_rng(1)
    cells = [Cell(model=model, recipe=recipe, recipe_file=None, epochs=3, seed=seed, curve_start=0,
                  key=f"{model}{recipe}{seed}".ljust(64, "0"))
             for recipe in STUDY.recipes for model in STUDY.models for seed in STUDY.seeds]
    rows = tidy((cell, list(figures_of(random))) for cell in cells)
    return {"schema": "edge-se/study/1", "name": STUDY.name, "question": STUDY.question, "notes": ["A note."],
            "study": STUDY.model_dump(mode="json"), "study_sha256": "0" * 64, "figures": ["made-up-int8.svg"],
            "executor": {"name": "local", "workers": 2, "threads": 1}, "environment": {},
            "cells": [{"cell": cell.folder, "model": cell.model, "recipe": cell.recipe, "seed": cell.seed,
                       "key": "0" * 64, "error": None, "curve": [50.0, 60.0, 65.0], "seconds": 1800.0, "epochs": 3,
                       "device": "cpu", "hardware": {"cpu": "A processor"}} for cell in cells],
            "summary": summaries(rows), "comparisons": comparisons(rows, STUDY), "rows": rows}


JUDGE = {"runtime": "openvino", "version": "2026.4.1", "device": "A processor", "floats": "f32"}


def test_each_section_says_what_computed_its_accuracies(document):
    told = dict(re.findall(r"## ([^\n]*)\n.*?\nAccuracy: ([^\n]*)\n", page(document), re.DOTALL))
    assert told["Validation"] == "torch of an unknown version, floats f32, on A processor."  # a document of before
    assert told["INT8 against FP32"].startswith("onnxruntime of an unknown version")
    figures = [Figure(evaluation="int8", measure="top1", value=90.0, measured_by=judge)
               for judge in (JUDGE, JUDGE | {"simulation": True}, JUDGE)]
    document["measured_by"] = judges([*figures, Figure(evaluation="int8", measure="p50_ms", value=1.0)])
    assert document["measured_by"] == {"int8": [JUDGE, JUDGE | {"simulation": True}]}
    assert ("Accuracy: OpenVINO 2026.4.1, floats f32, on A processor; simulated in OpenVINO 2026.4.1, floats f32, on A "
            "processor.") in page(document)


def texts(path):
    """matplotlib draws letters as paths, with the text beside each as a comment."""
    return re.findall(r"<!-- (.*?) -->", path.read_text())


def test_a_page_has_a_section_per_evaluation_and_tells_its_conditions(document):
    text = page(document, "../figures/studies/")
    assert re.findall(r"^#+ (.*)$", text, re.MULTILINE) == [
        "made-up", "Validation", "Volatility of the validation curve", "INT8 against FP32", "On corrupted images"]
    assert "18 cells of 3 epochs, seeds 0, 1, 2, on A processor; 9.0 hours of training." in text
    assert "Which is best?" in text and "\nA note.\n" in text
    assert re.findall(r"!\[.*\]\((.*)\)", text) == ["../figures/studies/made-up-int8.svg"]
    assert evaluations_of(document) == ["validation", "volatility", "int8", "robustness"]


def test_columns_are_those_that_vary(document):
    columns, rows = summary_rows(document, "robustness")
    assert columns == ["model", "recipe", "file", "corruption", "severity", "seeds", "top-1 %"] and len(rows) == 60
    columns, rows = summary_rows(document, "validation")
    assert columns == ["model", "recipe", "seeds", "top-1 %"] and len(rows) == 6
    row = next(row for row in document["summary"] if row["evaluation"] == "validation")
    assert rows[0][3] == f"{row['mean']:.2f} ± {row['sd']:.2f} ({row['low']:.2f} to {row['high']:.2f})"


def test_a_page_tells_once_what_is_the_same_in_all_rows(document):
    text = page(document)
    assert "| model | recipe | top-1 % |\n| --- | --- | ---: |\n" in text and "\nIn all rows: seeds 3.\n" in text
    assert "| file | corruption | severity |" in text  # which vary
    alone = document | {"summary": [row for row in document["summary"] if row["evaluation"] == "validation"][:1],
                        "comparisons": []}
    assert "| model | recipe | seeds | top-1 % |" in page(alone) and "In all rows" not in page(alone)


def test_flips_have_no_interval():
    row = {"model": "se", "recipe": "own", "evaluation": "int8", "n": 3, "mean": 9.0, "sd": 6.0, "low": -5.9,
           "high": 23.9}
    document = {"summary": [row | {"measure": "flips"}, row | {"measure": "drop_pp"}]}
    assert summary_rows(document, "int8")[1] == [["se", "own", "3", "9.0 ± 6.0", "9.00 ± 6.00 (-5.90 to 23.90)"]]


def test_comparisons_say_against_what(document):
    _, rows = comparison_rows(document, "validation")
    assert {(row[0], row[1], row[2]) for row in rows} == {
        ("se", "short", "plain"), ("pre", "short", "plain"), ("se", "calm", "plain"), ("pre", "calm", "plain"),
        ("plain", "calm", "short"), ("se", "calm", "short"), ("pre", "calm", "short")}
    columns, rows = comparison_rows(document, "int8")
    assert len(rows) == 14 and columns[4:8] == ["target", "placement", "method", "calibration"]
    assert {row[3] for row in rows} == {"drop"}


def test_figures_name_what_they_show_and_are_equal_for_equal_documents(document, tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: pip install 'edge-se[plots]'")
    drawn = draw(document, tmp_path / "one")
    assert [path.name for path in drawn] == [
        "made-up-validation.svg", "made-up-volatility.svg", "made-up-int8.svg", "made-up-robustness.svg",
        "made-up-validation-curves.svg"]
    for path in drawn:
        assert {"plain", "se", "pre"} <= set(texts(path)), path
    assert {"blur", "noise"} <= set(texts(tmp_path / "one" / "made-up-robustness.svg"))
    assert "clean" not in texts(tmp_path / "one" / "made-up-robustness.svg")
    assert "short, cpu, all, minmax, x" in texts(tmp_path / "one" / "made-up-int8.svg")
    for path in draw(document, tmp_path / "two"):
        assert path.read_bytes() == (tmp_path / "one" / path.name).read_bytes()


def test_one_seed_gives_means_without_intervals(document):
    rows = [row for row in document["rows"] if row["seed"] == 0]
    alone = document | {"rows": rows, "summary": summaries(rows), "comparisons": comparisons(rows, STUDY)}
    _, table = summary_rows(alone, "validation")
    assert all(re.fullmatch(r"\d+\.\d\d", row[3]) for row in table)
    _, table = comparison_rows(alone, "validation")
    assert {(row[-2], row[-1]) for row in table} == {("–", "–")}


def test_committed_pages_are_those_of_the_results():
    for path, text in studies.pages().items():
        assert path.read_text() == text, "run `python -m bench.tables.studies`"
        for figure in re.findall(r"!\[.*\]\((.*)\)", text):
            assert (path.parent / figure).is_file()
    pages = {path.stem for path in (studies.DOCS / "studies").glob("*.md")} - {"README"}
    assert pages == {path.stem for path in studies.pages()}  # no page without its measurements


def test_pages_are_made_from_results(document, tmp_path, monkeypatch):
    monkeypatch.setattr(measured, "RESULTS", tmp_path)
    monkeypatch.setattr(studies, "DOCS", tmp_path / "docs")
    measured.result_of("study-made-up").write_text(json.dumps(document | {"rows": []}))
    studies.main()
    assert (tmp_path / "docs" / "studies" / "made-up.md").read_text() == page(document, "../figures/studies/")


def test_the_made_up_document_is_like_a_real_one(document):
    schema = json.loads((studies.DOCS / "schema" / "study-1.json").read_text())
    Draft202012Validator(schema).validate(json.loads(json.dumps(document)))
