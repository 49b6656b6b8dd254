"""`report` as a command: a table or one JSON document on stdout, files where they are asked for."""

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from edge_se.cli import main

SCHEMA = Path(__file__).parents[2] / "docs" / "schema" / "report-1.json"


def run(*arguments) -> int:
    with pytest.raises(SystemExit) as exit_:
        main([str(argument) for argument in arguments])
    return exit_.value.code


def test_report_prints_and_writes(tiny_onnx, calibration_npz, tmp_path, capsys, monkeypatch) -> None:
    pytest.importorskip("jinja2", reason="jinja2 is not installed: pip install 'edge-se[report]'")
    monkeypatch.delenv("EDGE_SE_DATA", raising=False)
    (tmp_path / "tiny.onnx").write_bytes(tiny_onnx.content)
    built, html, markdown = tmp_path / "built", tmp_path / "r.html", tmp_path / "r.md"
    assert run("export", "--model", tmp_path / "tiny.onnx", "--int8", "--effort", "quick", "--calibration",
               calibration_npz, "--out", built, "--quiet") == 0
    assert run("sensitivity", "--model", built, "--images", "8", "--out", tmp_path / "s.json", "--quiet") == 0
    capsys.readouterr()
    assert run("report", built, "--html", html, "--markdown", markdown, "--sensitivity", tmp_path / "s.json",
               "--quiet") == 0
    table = capsys.readouterr().out
    assert table.startswith("model") and "not judged" in table and "not in it: Latencies and Pareto" in table
    assert html.read_text().startswith("<!DOCTYPE html>") and "\n## Sensitivity\n" in markdown.read_text()
    assert run("report", built, "--json", "--quiet") == 0
    document = json.loads(capsys.readouterr().out)
    Draft202012Validator(json.loads(SCHEMA.read_text())).validate(document)


def test_a_report_of_nothing_is_one_message(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("report", "nothing", "--html", "r.html") == 2
    assert run("report", "r.json") == 2
    errors = capsys.readouterr().err
    assert errors.count("error:") == 2 and "Traceback" not in errors and not list(tmp_path.iterdir())
