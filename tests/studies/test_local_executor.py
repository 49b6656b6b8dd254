"""Workers of this machine: a killed one loses one job's work, an interrupt stops all, nothing waits for ever."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from edge_se.core import environment
from edge_se.core.errors import EdgeSeError
from edge_se.studies import local
from edge_se.studies.executor import require_executor
from edge_se.studies.local import LocalExecutor


def outcomes(jobs, workers=2):
    return {outcome.job.name: outcome for outcome in LocalExecutor(workers).run(jobs)}


@pytest.fixture(autouse=True)
def _two_processors(monkeypatch):
    if environment.cpu_count() < 2:
        monkeypatch.setattr(environment, "cpu_count", lambda: 2)


def test_every_job_has_its_outcome_in_a_process_of_its_own(job):
    found = outcomes([job("square", number) for number in range(5)])
    assert [found[f"square-{number}"].result["square"] for number in range(5)] == [0, 1, 4, 9, 16]
    assert len({outcome.result["process"] for outcome in found.values()} | {os.getpid()}) == 6
    threads = environment.cpu_count() // 2
    assert {outcome.result["threads"] for outcome in found.values()} == {str(threads)}
    if hasattr(os, "sched_getaffinity") and len(os.sched_getaffinity(0)) > 1:
        assert {outcome.result["processors"] for outcome in found.values()} == {threads}


def test_errors_of_users_are_one_line_and_bugs_keep_their_traceback(job):
    found = outcomes([job("wrong"), job("broken"), job("square")])
    assert found["wrong-3"].error == "study_work: 3 will not do; give another"
    assert "Traceback" in found["broken-3"].error and "ZeroDivisionError" in found["broken-3"].error
    assert found["square-3"].error is None and found["wrong-3"].result is None
    assert {outcome.attempts for outcome in found.values()} == {1}


def test_a_killed_worker_is_replaced_once(job, tmp_path):
    found = outcomes([job("killed", 1, marks=str(tmp_path), times=1), job("killed", 2, marks=str(tmp_path), times=9),
                      job("square", 4)])
    assert found["killed-1"].result == {"square": 1} and found["killed-1"].attempts == 2
    assert found["killed-2"].result is None and found["killed-2"].attempts == 2
    assert "SIGKILL" in found["killed-2"].error and str(tmp_path / "logs" / "2.log") in found["killed-2"].error
    assert found["square-4"].result["square"] == 16
    assert sorted(path.name for path in tmp_path.glob("2-*")) == ["2-0", "2-1"]


def test_closing_stops_the_workers_and_lets_them_save(job, tmp_path, wait_for):
    run = LocalExecutor(2).run([job("patient", 1, marks=str(tmp_path)), job("square", 2)])
    assert next(run).job.name == "square-2"
    started = wait_for(tmp_path, "started-1-*")
    run.close()
    assert (tmp_path / "saved-1").exists()
    assert not alive(int(started.name.rpartition("-")[2]))


def test_a_worker_that_does_not_stop_is_killed(job, tmp_path, wait_for, monkeypatch):
    monkeypatch.setattr(local, "PATIENCE_SECONDS", 0.0)
    run = LocalExecutor(2).run([job("patient", 1, marks=str(tmp_path)), job("square", 2)])
    next(run)
    started = wait_for(tmp_path, "started-1-*")
    run.close()
    assert not alive(int(started.name.rpartition("-")[2]))


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "SIGKILL"])
def test_whatever_ends_the_parent_ends_its_workers(how, job, tmp_path, wait_for, environment_for_children):
    own = job("patient", 1, marks=str(tmp_path))
    code = (f"import json, pathlib, sys\nfrom study_work import {own.work.__name__} as work\n"
            f"from edge_se.studies.executor import Job\n"
            f"from edge_se.studies.local import LocalExecutor\n"
            f"job = Job(name='x', work=work, log=pathlib.Path({str(own.log)!r}),\n"
            f"          arguments=json.loads({json.dumps(own.arguments)!r}))\nlist(LocalExecutor(1).run([job]))")
    parent = subprocess.Popen([sys.executable, "-c", code], env=environment_for_children, stderr=subprocess.DEVNULL)
    started = wait_for(tmp_path, "started-1-*")
    parent.send_signal(how)
    assert parent.wait(30) != 0
    wait_for(tmp_path, "saved-1")
    deadline = time.monotonic() + 20
    while alive(int(started.name.rpartition("-")[2])):
        assert time.monotonic() < deadline, "the worker outlives its parent"
        time.sleep(0.05)


def test_workers_share_the_processors(monkeypatch):
    monkeypatch.setattr(environment, "cpu_count", lambda: 8)
    assert (LocalExecutor(3).threads, LocalExecutor(None, jobs=2).workers, LocalExecutor(None, jobs=20).workers) == (
        2, 2, 8)
    assert LocalExecutor(None, jobs=0).workers == 1
    with pytest.raises(EdgeSeError, match=r"--workers: 9 workers do not fit 8 processors; give 1 to 8"):
        LocalExecutor(9)


def test_an_unknown_executor_gets_a_suggestion():
    with pytest.raises(EdgeSeError, match="unknown executor 'locl'; did you mean 'local'"):
        require_executor("locl")


def alive(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
