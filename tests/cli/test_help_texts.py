"""What `-h` says: every option of every command has a sentence, and names its values as they are typed."""

import pytest
import typer

from edge_se.cli.program import application

COMMANDS = {}
for name, command in typer.main.get_command(application(whole=True)).commands.items():
    COMMANDS |= {f"{name} {own}": part for own, part in getattr(command, "commands", {}).items()} or {name: command}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_and_argument_says_what_it_is(name) -> None:
    silent = [one.name for one in COMMANDS[name].params if not getattr(one, "help", None)]
    assert not silent, f"edge-se {name}: {', '.join(silent)}"


@pytest.mark.parametrize(("command", "option"), [("export", "device"), ("export", "search_seconds"),
                                                 ("export", "max_drop")])
def test_what_is_of_a_search_begins_with_the_option_that_asks_for_one(command, option) -> None:
    text = next(one.help for one in COMMANDS[command].params if one.name == option)
    assert text.startswith("--placement auto")
