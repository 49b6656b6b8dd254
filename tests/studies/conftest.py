"""Jobs for executors, and waiting for the marks that they leave."""

import os
import sys
import time
from importlib import import_module
from pathlib import Path

import pytest

from edge_se.studies.executor import Job

HERE = Path(__file__).parent


@pytest.fixture
def job(tmp_path, monkeypatch):
    """(function of study_work, arguments) -> a job that calls it."""
    monkeypatch.syspath_prepend(str(HERE))  # workers are given this process's path

    def make(function, number=3, **arguments):
        work = getattr(import_module("study_work"), function)
        return Job(name=f"{function}-{number}", work=work, log=tmp_path / "logs" / f"{number}.log",
                   arguments={"number": number, **arguments})
    return make


@pytest.fixture
def environment_for_children():
    """Of a process that must find edge_se and study_work."""
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), *filter(None, sys.path)])}


@pytest.fixture
def wait_for():
    """(folder, pattern) -> the first file there that matches, once there is one."""
    def wait(folder, pattern):
        deadline = time.monotonic() + 30
        while not (found := list(folder.glob(pattern))):
            assert time.monotonic() < deadline, f"no {pattern}"
            time.sleep(0.05)
        return found[0]
    return wait
