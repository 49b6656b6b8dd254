"""What a process that was started said, and why it failed, in one line."""

import sys

import pytest

from edge_se.core.children import run_module


@pytest.fixture
def program(tmp_path, monkeypatch):
    """(code) -> the name of a module of it."""
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])

    def make(code):
        (tmp_path / "own_program.py").write_text(code)
        return "own_program"
    return make


def test_what_it_writes_comes_back(program):
    ended = run_module(program("import sys\nprint(sys.argv[1])\nprint('so so', file=sys.stderr)"), "hello", timeout=60)
    assert (ended.out, ended.said, ended.failure) == ("hello\n", "so so\n", None)


@pytest.mark.parametrize(("code", "failure"), [
    ("raise ValueError('broken')", "exit 1: ValueError: broken"), ("raise SystemExit(3)", "exit 3: no word"),
    ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "exit -9: no word")])
def test_why_it_failed(program, code, failure):
    assert run_module(program(code), timeout=60).failure == failure


def test_one_that_does_not_end_is_ended(program):
    assert run_module(program("import time\ntime.sleep(60)"), timeout=0.2).failure == "took more than 0.2 s"
