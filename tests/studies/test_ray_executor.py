"""The same on Ray, with a local cluster of two processors' worth of workers."""

import os
import signal
import sys

import pytest

from edge_se.core import environment
from edge_se.core.errors import UnavailableError
from edge_se.studies import study
from edge_se.studies.local import LocalExecutor
from edge_se.studies.ray import RayExecutor

pytestmark = pytest.mark.slow
ray = pytest.importorskip("ray", reason="ray is not installed: pip install 'edge-se[cluster]'")


@pytest.fixture(autouse=True)
def _at_most_two_processors(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(environment, "cpu_count", lambda: 2)


def test_outcomes_errors_and_killed_workers(job, tmp_path):
    jobs = [job("square", 3), job("wrong", 3), job("broken", 3), job("killed", 1, marks=str(tmp_path), times=1),
            job("killed", 2, marks=str(tmp_path), times=9)]
    before = signal.getsignal(signal.SIGTERM)
    found = {outcome.job.name: outcome for outcome in RayExecutor(2).run(jobs)}
    assert signal.getsignal(signal.SIGTERM) is before and not ray.is_initialized()
    assert found["square-3"].result["square"] == 9 and found["square-3"].result["process"] != os.getpid()
    assert found["square-3"].result["threads"] == "1"
    assert found["wrong-3"].error == "study_work: 3 will not do; give another"
    assert "ZeroDivisionError" in found["broken-3"].error
    assert found["killed-1"].result == {"square": 1} and found["killed-1"].attempts == 2
    assert found["killed-2"].result is None and "2 times (WorkerCrashedError)" in found["killed-2"].error
    assert sorted(path.name for path in tmp_path.glob("2-*")) == ["2-0", "2-1"]


def test_closing_interrupts_tasks_and_lets_them_save(job, tmp_path, wait_for):
    run = RayExecutor(2).run([job("patient", 1, marks=str(tmp_path)), job("square", 2)])
    assert next(run).job.name == "square-2"
    wait_for(tmp_path, "started-1-*")
    run.close()
    assert (tmp_path / "saved-1").exists() and not ray.is_initialized()


def test_a_study_takes_the_executor_that_is_asked_for():
    for name, kind in (("ray", RayExecutor), ("local", LocalExecutor)):
        executor = study._executor(study.Options(executor=name, workers=1), 4)
        assert isinstance(executor, kind) and (executor.name, executor.workers, executor.threads) == (name, 1, 2)


def test_no_cluster_at_an_address(job):
    with pytest.raises(UnavailableError, match="no Ray cluster answers"):
        list(RayExecutor(1, address="127.0.0.1:1").run([job("square")]))


def test_without_ray_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UnavailableError, match=r"pip install 'edge-se\[cluster\]', or use --executor local"):
        RayExecutor()
