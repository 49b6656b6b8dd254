"""Every table that a command prints fits 100 characters; `--wide` gives the rest."""

import json
import re

import pytest

from edge_se.cli import main
from edge_se.reporting.tables import estimate_rows, measurement_rows


def printed(capsys, *arguments, both=False):
    with pytest.raises(SystemExit) as exit_:
        main(list(arguments))
    assert exit_.value.code in (0, 2)
    output = capsys.readouterr()
    return output.out + (output.err if both else "")


@pytest.fixture(scope="module")
def build(tiny_build):
    return str(tiny_build("tiny_wide", accuracy=False, targets=["cpu", "tensorrt"]).folder)


COMMANDS = {
    "verify": ("verify", "{build}"), "models": ("models", "list"), "doctor": ("doctor", "--quiet"),
    "bench": ("bench", "--model", "{build}", "--min-duration", "0.05", "--batch", "1,2", "--threads", "1,2", "--fresh",
              "--quiet"),
    "estimate": ("bench", "--model", "{build}", "--estimate", "all"),
    "sensitivity": ("sensitivity", "--model", "{build}", "--images", "16", "--quiet"),
    "report": ("report", "{build}", "--quiet"),
}


@pytest.mark.parametrize("arguments", COMMANDS.values(), ids=COMMANDS.keys())
def test_a_table_fits(arguments, build, capsys, monkeypatch):
    monkeypatch.delenv("EDGE_SE_DATA", raising=False)
    out = printed(capsys, *(build if word == "{build}" else word for word in arguments))
    sentences = ("not in it", "each unit", "note:", "this machine")
    table = [line for line in out.splitlines() if not line.startswith(sentences) and not re.match(r"[\w -]+: ", line)]
    assert len(table) > 1 and max(map(len, table)) <= 100, [line for line in table if len(line) > 100]


def test_wide_has_every_column_and_no_line_about_them(build, capsys, monkeypatch):
    monkeypatch.delenv("EDGE_SE_DATA", raising=False)
    run = ("bench", "--model", build, "--min-duration", "0.05", "--quiet")
    rows = json.loads(printed(capsys, *run, "--json"))["measurements"]
    wide, narrow = printed(capsys, *run, "--wide", both=True), printed(capsys, *run, both=True)
    head = wide.splitlines()[0]
    assert all(name in head for name in measurement_rows(rows)[0]) and "--wide" not in wide
    assert "params" not in narrow.splitlines()[0] and "more columns with --wide" in narrow.splitlines()[-1]
    for name in ("precision", "backend", "p50 ms", "x FP32", "top-1 %"):
        assert name in narrow.splitlines()[0]
    board = ("bench", "--model", build, "--estimate", "orin-nano-8gb")
    rows = json.loads(printed(capsys, *board, "--json"))["measurements"]
    assert all(name in printed(capsys, *board, "--wide").splitlines()[0] for name in estimate_rows(rows)[0])
