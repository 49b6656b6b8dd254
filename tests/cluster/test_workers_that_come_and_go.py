"""Workers that start late, never, or end unseen, on a stand-in for Ray whose workers live in this process."""

import sys
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from edge_se.cli.cluster import cluster_of
from edge_se.cluster.parts import Part
from edge_se.cluster.ray_cluster import RayCluster, _Worker
from edge_se.core import environment
from edge_se.core.errors import UnavailableError
from edge_se.evaluation.judges import JUDGES
from edge_se.reporting.console import ConsoleProgress


class RayError(Exception):
    pass


class RayTaskError(RayError):
    pass


class Reference:
    def __init__(self, result=None):
        self.result = result


class FakeRay:
    """Calls are done at once, unless their worker is dead or, being one of the `late`, has not started."""

    exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)

    def __init__(self, processors, late=0):
        self.processors, self.late, self.made = processors, late, []

    def is_initialized(self):
        return True

    def nodes(self):
        return [{"Alive": True, "Resources": {"CPU": float(self.processors)}},
                {"Alive": False, "Resources": {"CPU": 64.0}}]

    def remote(self, **options):
        def wrap(kind):
            def make():
                self.made.append(Actor(kind(), started=len(self.made) >= self.late))
                return self.made[-1]
            return SimpleNamespace(remote=make)
        return wrap

    def put(self, value):
        return Reference(value)

    def get(self, reference):
        result = reference.result() if callable(reference.result) else reference.result
        if isinstance(result, RayError):
            raise result
        return result

    def wait(self, references, num_returns, timeout=None):
        done = [each for each in references if not getattr(each, "actor", None) or each.actor.started]
        if not done and timeout is None:
            pytest.fail("would wait for ever")
        return done[:num_returns], []

    def kill(self, actor):
        actor.dead = True


class Actor:
    def __init__(self, worker, started):
        self.dead, self.started = False, started
        for name in ("about", "do"):
            setattr(self, name, SimpleNamespace(remote=self._call(getattr(worker, name))))

    def _call(self, method):
        def remote(*arguments):
            read = [each.result if isinstance(each, Reference) else each for each in arguments]
            reference = Reference(lambda: RayError("gone") if self.dead else method(*read))
            reference.actor = self
            return reference
        return remote


class Doubles:
    """Numbers to their doubles."""

    @contextmanager
    def opened(self):
        yield lambda number: 2 * number


@pytest.fixture
def ray(monkeypatch):
    """(processors, workers that start late) -> the stand-in."""
    def make(processors, late=0):
        fake = FakeRay(processors, late)
        monkeypatch.setitem(sys.modules, "ray", fake)
        monkeypatch.setattr(environment, "cpu_count", lambda: 2)
        return fake
    return make


def parts(*numbers):
    return [Part(name=f"number {number}", content=number) for number in numbers]


def test_machines_that_are_gone_count_nothing_and_parts_are_read_as_workers_are_free(ray):
    fake = ray(3)
    read = []

    def lazily():
        for part in parts(1, 2, 3, 4, 5, 6, 7):
            read.append(part.content)
            yield part

    with RayCluster() as cluster:
        assert cluster.workers == 3
        results = cluster.run(Doubles(), lazily())
        next(results)
        assert len(read) <= 4  # of three workers, and one that is ready to go
        assert {position for position, _ in results} < set(range(7)) and len(read) == 7
    assert all(actor.dead for actor in fake.made)


def test_workers_that_ended_while_nothing_was_asked_of_them_cost_no_part(ray):
    fake, notes = ray(4), []
    with RayCluster(note=notes.append) as cluster:
        assert dict(cluster.run(Doubles(), parts(1, 2, 3, 4))) == {0: 2, 1: 4, 2: 6, 3: 8}
        for actor in fake.made[:3]:
            actor.dead = True
        assert dict(cluster.run(Doubles(), parts(5, 6))) == {0: 10, 1: 12}
        assert notes == ["left out of the cluster: a worker does not answer (gone)"]
        fake.made[3].dead = True
        with pytest.raises(UnavailableError, match=r"no worker can be used: a worker does not answer \(gone\)"):
            list(cluster.run(Doubles(), parts(7)))


def test_a_busy_cluster_is_told_and_waited_for(ray):
    notes = []
    ray(2, late=2)
    with RayCluster(note=notes.append) as cluster, pytest.raises(pytest.fail.Exception, match="for ever"):
        list(cluster.run(Doubles(), parts(1)))
    assert len(notes) == 1 and "no worker has started yet: the cluster is busy" in notes[0]


def test_what_ray_says_is_no_result(ray, capsys):
    ray(2)
    with cluster_of(True, None, None, ConsoleProgress(True)) as cluster:
        print("A worker died")
        assert dict(cluster.run(Doubles(), parts(1))) == {0: 2}
    print("the document")
    said = capsys.readouterr()
    assert (said.out, said.err) == ("the document\n", "A worker died\n")


def test_a_cluster_without_so_many_processors_is_told(ray):
    ray(1)
    with RayCluster(1) as cluster, pytest.raises(UnavailableError, match="no machine of the cluster has 2 processors"):
        list(cluster.run(Doubles(), parts(1)))


@pytest.mark.parametrize("module", sorted({judge.module for judge in JUDGES.values()} | {"numpy", "pillow"}))
def test_a_worker_with_another_version_of_what_computes_or_decodes_is_left_out(ray, monkeypatch, module):
    fake, notes, package, about = ray(2), [], module.replace("_", "-"), _Worker.about

    def of_another_machine(worker):
        machine, own = about(worker)
        return machine, own | {package: "0.0"}
    monkeypatch.setattr(_Worker, "about", of_another_machine)
    with RayCluster(note=notes.append) as cluster, pytest.raises(UnavailableError, match="no worker can be used"):
        dict(cluster.run(Doubles(), parts(1, 2)))
    assert len(notes) == 1 and f"has {package} 0.0" in notes[0] and all(actor.dead for actor in fake.made)
