"""`gate --annotate`: a workflow command per verdict after the words, and beside the JSON document, not in it."""

import json

import pytest

from edge_se.cli import main
from edge_se.steps import gate as step


@pytest.fixture
def judged(monkeypatch):
    """A failed and a passed target, without any evaluation."""
    row = {"n": 100, "margin_pp": 0.5, "ci_pp": [1.0, 3.0], "mcnemar_p": 0.01, "broken": 2, "fixed": 0, "drop_pp": 2.0}
    document = {"model": "tiny", "dataset": "known", "fp32_top1": 90.0, "confidence": 0.95, "interval": "Tango score",
                "verdict": "fail", "overall": "fail", "targets": [
                    row | {"verdict": "fail", "target": "cpu", "file": "int8.cpu.onnx"},
                    row | {"verdict": "pass", "target": "arm", "file": "int8.arm.onnx"}]}
    monkeypatch.setattr(step, "gate", lambda model, **options: document)
    return document


def run(*arguments):
    with pytest.raises(SystemExit) as exit_:
        main(["gate", *arguments])
    assert exit_.value.code == 1


def commands(text):
    return [line.partition(" ")[0] for line in text.splitlines() if line.startswith("::")]


def test_after_the_words(judged, capsys):
    run("--annotate")
    output = capsys.readouterr()
    assert output.out.splitlines()[-2].startswith("::error title=tiny accuracy%3A fail::int8.cpu.onnx: the drop is")
    assert commands(output.out) == ["::error", "::notice"] and commands(output.err) == []


def test_the_json_document_stays_alone(judged, capsys):
    run("--annotate", "--json")
    output = capsys.readouterr()
    assert json.loads(output.out) == judged
    assert commands(output.err) == ["::error", "::notice"]


def test_only_when_asked(judged, capsys):
    run()
    output = capsys.readouterr()
    assert "tiny: fail" in output.out and commands(output.out + output.err) == []
