"""What `train` says at its end."""

import shlex

import pytest

from edge_se.cli import main
from edge_se.steps import train as step


@pytest.mark.parametrize(("given", "named"), [
    (["--data", "my photos"], ["--data", "my photos"]), ([], []),  # $EDGE_SE_DATA names them
    (["--skip-broken"], ["--skip-broken"]), (["--data", "x", "--skip-broken"], ["--data", "x", "--skip-broken"])])
def test_the_command_that_exports_it_can_be_given_as_it_stands(monkeypatch, capsys, given, named):
    monkeypatch.setattr(step, "train", lambda model, **options: {
        "out": "my runs/1", "validation": {"top1": 50.0, "n": 10}, "dataset": {}, "weights": {"file": "w.safetensors"}})
    with pytest.raises(SystemExit) as exit_:
        main(["train", "--model", "resnet18", *given])
    assert exit_.value.code == 0
    command = shlex.split(capsys.readouterr().out.partition("to export it: ")[2])
    assert command == ["edge-se", "export", "--model", "resnet18", "--weights", "my runs/1/w.safetensors", *named,
                       "--int8"]
