"""Workers on a local Ray cluster: one that is killed costs a part, one that is unlike is left out."""

import sys
from pathlib import Path

import pytest

from edge_se.cluster.parts import Part
from edge_se.cluster.ray_cluster import ATTEMPTS, RayCluster
from edge_se.core import environment
from edge_se.core.errors import DataError, EdgeSeError, UnavailableError


def test_without_ray_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UnavailableError, match=r"--cluster: Ray .* 'edge-se\[cluster\]', or leave --cluster out"):
        RayCluster()


@pytest.mark.parametrize("workers", [0, 5])
def test_workers_must_fit_the_processors(monkeypatch, workers):
    pytest.importorskip("ray", reason="ray is not installed: pip install 'edge-se[cluster]'")
    monkeypatch.setattr(environment, "cpu_count", lambda: 4)
    with pytest.raises(EdgeSeError, match=f"{workers} workers do not fit 4 processors; give 1 to 4"):
        RayCluster(workers)
    assert [RayCluster(count).threads for count in (None, 1, 2, 3)] == [1, 4, 2, 1]


@pytest.mark.slow
@pytest.mark.timeout(90)
def test_a_local_cluster_from_its_start_to_its_end(monkeypatch, tmp_path):
    """One test, since starting Ray takes most of its time."""
    ray = pytest.importorskip("ray", reason="ray is not installed: pip install 'edge-se[cluster]'")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.syspath_prepend(str(Path(__file__).parent))  # workers are given this process's path
    monkeypatch.setattr(environment, "cpu_count", lambda: 2)
    from cluster_work import Squares

    notes = []
    with RayCluster(note=notes.append):  # nothing was asked of it: nothing starts
        assert not ray.is_initialized()
    with RayCluster(note=notes.append) as cluster:
        assert cluster.workers == 2 and cluster.threads == 1

        def run(numbers, killed=None):
            folder = tmp_path / str(len(list(tmp_path.iterdir())))
            folder.mkdir()
            parts = (Part(name=f"number {number}", content=number) for number in numbers)
            return folder, cluster.run(Squares(marks=str(folder), killed=killed or {}), parts)

        marks, results = run(range(1, 31), {3: 1, 17: ATTEMPTS - 1})
        found = dict(results)
        assert {position: square for position, (square, _, _) in found.items()} == {
            number - 1: number**2 for number in range(1, 31)}
        assert {processors for _, _, processors in found.values()} == {1}
        assert len(list(marks.glob("opened-*"))) == 2 + 1 + ATTEMPTS - 1  # once by each, and in the places of killed
        assert len(list(marks.glob("17-*"))) == ATTEMPTS and len(list(marks.glob("4-*"))) == 1

        _, results = run(range(1, 9), {5: 99})
        with pytest.raises(UnavailableError, match=rf"number 5 ended {ATTEMPTS} workers, one after the other"):
            list(results)
        _, results = run([1, -7, 2])
        with pytest.raises(DataError) as refused:
            list(results)
        assert (refused.value.where, refused.value.fix) == ("number -7", "give another")
        _, results = run([0])
        with pytest.raises(ZeroDivisionError, match="a bug"):
            list(results)
        marks, results = run(range(1, 100))
        next(results)
        results.close()
        assert len(list(marks.glob("[0-9]*"))) < 10  # nobody goes on
        assert [square for _, (square, _, _) in run([6])[1]] == [36] and not notes

        cluster._end()  # so that others find processors in the cluster that is there
        with RayCluster(note=notes.append) as unlike, monkeypatch.context() as patch:
            patch.setattr(environment, "version_of", lambda package: "0.0")
            with pytest.raises(UnavailableError, match=r"no worker can be used: .* numpy .* this machine 0\.0"):
                list(unlike.run(Squares(marks=str(tmp_path), killed={}), [Part(name="1", content=1)]))
        assert len(notes) == 1 and notes[0].startswith("left out of the cluster: ")
        assert ray.is_initialized()
    assert not ray.is_initialized()
