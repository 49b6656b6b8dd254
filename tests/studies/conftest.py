"""Jobs for executors, and documents of studies that nobody ran."""

import os
import sys
from pathlib import Path

import pytest

from edge_se.studies.executor import Job

HERE = Path(__file__).parent


@pytest.fixture
def job(tmp_path, monkeypatch):
    """(function of study_work, arguments) -> a job that calls it."""
    monkeypatch.syspath_prepend(str(HERE))  # workers are given this process's path

    def make(function, number=3, **arguments):
        return Job(name=f"{function}-{number}", work=f"study_work:{function}", log=tmp_path / "logs" / f"{number}.log",
                   arguments={"number": number, **arguments})
    return make


@pytest.fixture
def environment_for_children():
    """Of a process that must find edge_se and study_work."""
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), *filter(None, sys.path)])}
