"""`--help`, Tab and plain errors import what they print, and no more; lists of commands copy no wrong word."""

import os
import subprocess
import sys

import pytest
import typer.main

from edge_se.cli.program import COMMANDS, GROUPS, application
from edge_se.cli.whole import app

HEAVY = {"torch", "numpy", "onnx", "onnxruntime", "scipy", "pydantic", "rich", "rich.markdown", "rich.progress",
         "rich.traceback", "rich.pretty", "typer.rich_utils"}
CODE = ("import sys\nfrom edge_se.cli import main\ntry:\n    main()\nfinally:\n"
        "    names = {name for name, module in sys.modules.items() if module is not None}\n"
        "    sys.stderr.write('\\nimported ' + ' '.join(sorted(names)))")
ENTRIES = [((), entry) for entry in COMMANDS] + [((name,), entry) for name, _, part in GROUPS for entry in part]


def imported(*arguments: str, **environment: str) -> tuple[int, str, set[str]]:
    """Exit code, what was said, and every module that a process of its own had imported at its end."""
    done = subprocess.run([sys.executable, "-c", CODE, *arguments], capture_output=True, text=True,
                          env=os.environ | environment)
    said, _, names = done.stderr.rpartition("\nimported ")
    return done.returncode, done.stdout + said, set(names.split())


@pytest.mark.parametrize(("arguments", "code", "says"), [
    (["--help"], 0, "Commands:"), ([], 2, "Commands:"), (["--version"], 0, "edge-se "),
    (["exprot"], 2, "Did you mean 'export'?"), (["data"], 2, "synthesize"), (["--jsno", "doctor"], 2, "--json"),
])
def test_the_program_alone_imports_no_command(arguments, code, says):
    got, said, names = imported(*arguments)
    assert got == code and says in said
    assert not names & HEAVY
    assert not [name for name in names if name.startswith(("edge_se.steps", "edge_se.reporting", "edge_se.cli.export"))]


@pytest.mark.parametrize("path", [(*group, entry.name) for group, entry in ENTRIES], ids=" ".join)
def test_help_of_a_command_imports_its_options_alone(path):
    code, said, names = imported(*path, "--help")
    assert code == 0 and f"Usage: edge-se {' '.join(path)} " in said.replace("-c ", "edge-se ")
    assert not names & HEAVY


@pytest.mark.parametrize("arguments", [["bench", "--nosuch"], ["export"], ["models", "show"], ["data", "fecth"]])
def test_a_plain_error_imports_nothing_heavy(arguments):
    code, said, names = imported(*arguments)
    assert code == 2 and "Usage: " in said and "Traceback" not in said
    assert not names & HEAVY - {"pydantic"}  # typer converts the values that were given by it


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize("line", ["edge-se ", "edge-se ex", "edge-se export --model ", "edge-se export --target cpu,",
                                  "edge-se models show res", "edge-se --json bench --device "])
def test_tab_imports_nothing_heavy(shell, line):
    words = line.split(" ")
    code, said, names = imported(_EDGE_SE_COMPLETE=f"complete_{shell}", COMP_WORDS=line,
                                 COMP_CWORD=str(len(words) - 1), _TYPER_COMPLETE_ARGS=line,
                                 _TYPER_COMPLETE_FISH_ACTION="get-args")
    assert code == 0 and said.strip() and not names & HEAVY


def test_the_table_says_what_the_commands_say():
    whole = typer.main.get_command(app)
    for group, entry in ENTRIES:
        commands = whole.commands[group[0]].commands if group else whole.commands
        assert commands[entry.name].help == entry.summary == entry.load().__doc__
        assert commands[entry.name].epilog == entry.epilog
    lazy = typer.main.get_command(application(whole=False))
    assert list(lazy.commands) == list(whole.commands)


def test_help_in_a_terminal_is_coloured_and_elsewhere_is_not(monkeypatch, capsys):
    from edge_se.cli import lazy

    text = "Usage: edge-se [OPTIONS]\n\nOptions:\n  -q, --quiet  No notes.\n\nCommands:\n  bench  Measure.\n"
    assert lazy.coloured(text) == text
    monkeypatch.setattr(lazy.sys.stdout, "isatty", lambda: True)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    said = lazy.coloured(text)
    for part in ("\x1b[1mUsage:\x1b[0m", "\x1b[1mOptions:\x1b[0m",
                 "\x1b[36m-q, --quiet\x1b[0m", "\x1b[36mbench\x1b[0m"):
        assert part in said
    monkeypatch.setenv("NO_COLOR", "1")
    assert lazy.coloured(text) == text
