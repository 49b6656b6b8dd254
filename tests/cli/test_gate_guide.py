"""The commands in docs/gate.md are ones that the command line takes."""

import re
import shlex
from pathlib import Path

import pytest
import typer.main

from edge_se.cli.whole import app

GUIDE = (Path(__file__).parents[2] / "docs" / "gate.md").read_text()
COMMANDS = [line.partition("#")[0].strip() for line in re.findall(r"^\s*(?:- run: |- )?(edge-se .*)$", GUIDE, re.M)]


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_of_the_guide_is_parsed(line):
    _, name, *arguments = shlex.split(line)
    command = typer.main.get_command(app).commands[name]
    command.make_context(name, arguments)  # raises for an unknown or incomplete option


def test_the_guide_has_commands_and_names_every_setting():
    from edge_se.evaluation.settings import Settings

    assert len(COMMANDS) >= 6
    assert {name for name in Settings.model_fields if f"| `{name}` |" not in GUIDE} == set()
