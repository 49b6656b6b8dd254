"""An export that is interrupted says what is kept and how to go on; the same command then does."""

import importlib
import json
import os
import signal

import pytest

from edge_se.cli import main
from edge_se.quantization import search
from edge_se.steps import export as step
from edge_se.steps import export_figures

NOTHING = "nothing was written: a build of before is as it was"
GO_ON = "The same command goes on: what was evaluated comes from the cache"


@pytest.fixture
def export(tmp_path, monkeypatch, tiny_onnx, calibration_npz):
    """(more options) -> exit code, in a folder with a model."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EDGE_SE_DATA", raising=False)
    (tmp_path / "mine.onnx").write_bytes(tiny_onnx.content)

    def run(*options):
        with pytest.raises(SystemExit) as exit_:
            main(["export", "--model", "mine.onnx", "--int8", "--target", "cpu", "--calibration", str(calibration_npz),
                  *options])
        return exit_.value.code
    return run


def interrupting(number, after=0, then=None):
    """A function that sends this process a signal when it was called more than `after` times."""
    calls = []

    def call(*arguments, **settings):
        calls.append(arguments)
        if len(calls) > after:
            os.kill(os.getpid(), number)
        return then(*arguments, **settings)
    return call


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("there", [False, True], ids=["new", "beside a build"])
def test_before_anything_is_written(export, monkeypatch, capsys, tmp_path, number, there):
    if there:
        assert export("--effort", "quick") == 0
    before = sorted(path.name for path in (tmp_path / "build" / "mine").glob("*")) if there else []
    with monkeypatch.context() as patch:
        patch.setattr(export_figures, "logits_of", interrupting(number))
        assert export("--effort", "quick") == 130
    said = capsys.readouterr().err
    assert f"{NOTHING}. {GO_ON}" in said and said.endswith("interrupted\n") and "Traceback" not in said
    assert sorted(path.name for path in (tmp_path / "build" / "mine").glob("*")) == before


def test_while_candidates_are_measured(export, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        patch.setattr(search, "_accuracy", interrupting(signal.SIGTERM, 1, search._accuracy))
        assert export("--placement", "auto", "--out", "out") == 130
    said = capsys.readouterr().err
    assert f"{NOTHING}; out/candidates.cpu.json keeps the candidates that were measured. {GO_ON}" in said
    with open("out/candidates.cpu.json") as file:
        assert len(json.load(file)["candidates"]) == 1
    assert export("--placement", "auto", "--out", "out") in (0, 2, 3)  # 2: nothing is faster than FP32 on this machine
    assert "choose another folder" not in capsys.readouterr().err


def test_while_files_are_written_and_after(export, monkeypatch, capsys):
    assert export("--effort", "quick") == 0
    with monkeypatch.context() as patch:
        patch.setattr(step, "write_bytes", interrupting(signal.SIGINT, 1, step.write_bytes))
        assert export("--effort", "quick") == 130
    assert f"build/mine holds files of this export beside those of another. {GO_ON}" in capsys.readouterr().err
    with monkeypatch.context() as patch:
        patch.setattr(step, "write_bundle", interrupting(signal.SIGINT))
        assert export("--effort", "quick", "--bundle") == 130
    assert f"build/mine is written, and whole. {GO_ON}" in capsys.readouterr().err
    assert export("--effort", "quick", "--bundle") == 0


@pytest.mark.parametrize(("module", "command"), [
    ("edge_se.steps.gate", ("gate", "--model", "nothing")), ("edge_se.steps.sensitivity", ("sensitivity",)),
    ("edge_se.steps.robustness", ("robustness", "--severities", "1"))])
@pytest.mark.parametrize("quiet", [False, True])
def test_whoever_evaluates_says_that_the_cache_is_kept(monkeypatch, capsys, module, command, quiet):
    monkeypatch.setattr(importlib.import_module(module), command[0], interrupting(signal.SIGTERM))
    with pytest.raises(SystemExit) as exit_:
        main([*command, *(["--quiet"] if quiet else [])])
    said = capsys.readouterr().err
    assert exit_.value.code == 130 and said.endswith("interrupted\n")
    assert (f"nothing was written. {GO_ON}" in said) is not quiet
