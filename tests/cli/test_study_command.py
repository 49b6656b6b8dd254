"""`study` as a program: bad input is refused before anything runs, an interrupt leaves what can be gone on with."""

import pytest

from edge_se.cli import main
from edge_se.studies import study as step

STUDY = '''name = "tiny"
question = "Which?"
models = ["mini", "mini_se"]
recipes = ["fast-cpu"]
seeds = [0, 1]
baseline = "mini"
'''


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as exit_:
        main(list(arguments))
    return exit_.value.code


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EDGE_SE_DATA", raising=False)
    monkeypatch.setenv("EDGE_SE_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "tiny.toml"
    path.write_text(STUDY)
    return path


@pytest.mark.parametrize(("arguments", "says"), [
    (["no.toml"], "no.toml: no such study"),
    ([], "Missing argument"),
    (["{path}"], "data fetch"),
    (["{path}", "--data", "."], "holds neither"),
    (["{path}", "--executor", "rai"], "did you mean 'ray'?"),
    (["{path}", "--workers", "100000"], "do not fit"),
    (["{path}", "--workers", "0"], "--workers"),
], ids=["no file", "no argument", "no data", "no data there", "executor", "too many workers", "no workers"])
def test_bad_input_gets_one_message_and_exit_2(arguments, says, path, capsys, monkeypatch):
    if "--executor" in arguments or "100000" in arguments:
        monkeypatch.setattr(step.cifar10, "require", lambda data: None)
    before = sorted(path.parent.iterdir())
    assert run("study", *(argument.replace("{path}", str(path)) for argument in arguments)) == 2
    output = capsys.readouterr()
    assert says in output.err and "Traceback" not in output.err and output.out == ""
    assert sorted(path.parent.iterdir()) == before


@pytest.fixture
def done(monkeypatch):
    """Cells whose figures are made up, each from its model and seed, in the place of those that were trained."""
    def cell(cell, evaluations, folder):
        top1 = 90.0 + cell.seed + (0.5 + 0.1 * cell.seed) * (cell.model == "mini_se")
        return {"figures": [{"evaluation": "validation", "measure": "top1", "value": top1, "low": None, "high": None,
                             "n": 10, "conditions": {}}], "curve": [80.0, top1], "seconds": 60.0, "epochs": 2,
                "best_epoch": 2, "weights_sha256": "0" * 64, "recipe_sha256": "1" * 64, "params": 1, "macs": 1,
                "commit": None, "evaluated_by": {}, "device": "cpu", "hardware": {"cpu": "x"}, "versions": {}}
    monkeypatch.setattr(step, "finished", cell)
    monkeypatch.setattr(step.cifar10, "require", lambda data: None)


def test_a_table_at_the_end(path, done, capsys):
    assert run("study", str(path)) == 0
    output = capsys.readouterr()
    lines = output.out.splitlines()
    assert "Validation" in lines and any(line.startswith("mini_se  fast-cpu") and "+0.55" in line for line in lines)
    assert "written to runs/studies/tiny: tiny.md, results.csv, results.json" in lines
    assert "tiny: 4 cells, 4 done already" in output.err


def test_json_is_the_document(path, done, capsys):
    import json

    assert run("study", str(path), "--json", "--quiet", "--out", "here") == 0
    output = capsys.readouterr()
    document = json.loads(output.out)
    assert output.err == "" and document["out"] == "here"
    assert json.loads((path.parent / "here" / "results.json").read_text())["summary"] == document["summary"]


def test_an_interrupt_exits_130(path, done, capsys, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt
    monkeypatch.setattr(step, "_run", interrupted)
    assert run("study", str(path)) == 130
    assert capsys.readouterr().err.endswith("interrupted\n")
