"""Workers on a local Ray cluster: one that is killed costs a part, an unlike one is left out, bits stay the same."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from edge_se.backends.onnxruntime import OnnxRuntime
from edge_se.backends.openvino import OpenVino
from edge_se.cli import main
from edge_se.cluster.parts import Part
from edge_se.cluster.ray_cluster import ATTEMPTS, RayCluster
from edge_se.core import environment
from edge_se.core.errors import DataError, EdgeSeError, UnavailableError
from edge_se.evaluation.accuracy import computed
from edge_se.evaluation.on_cluster import compute_on
from edge_se.steps import gate as gate_step


def run(*arguments):
    with pytest.raises(SystemExit) as exit_:
        main(list(arguments))
    return exit_.value.code


@pytest.mark.parametrize("command", ["gate", "robustness"])
def test_without_ray_a_command_says_what_to_install(monkeypatch, capsys, command):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert run(command, "--model", "any", "--cluster") == 2
    said = capsys.readouterr().err
    assert "--cluster: Ray is not installed; pip install 'edge-se[cluster]', or leave --cluster out" in said


@pytest.mark.parametrize("workers", [0, 5])
def test_workers_must_fit_the_processors(monkeypatch, workers):
    pytest.importorskip("ray", reason="ray is not installed: pip install 'edge-se[cluster]'")
    monkeypatch.setattr(environment, "cpu_count", lambda: 4)
    with pytest.raises(EdgeSeError, match=f"{workers} workers do not fit 4 processors; give 1 to 4"):
        RayCluster(workers)
    assert [RayCluster(count).threads for count in (None, 1, 2, 3)] == [1, 4, 2, 1]


@pytest.fixture(scope="module")
def cluster():
    """Two workers of one thread; started once, since that takes longer than most tests."""
    ray = pytest.importorskip("ray", reason="ray is not installed: pip install 'edge-se[cluster]'")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_ADDRESS", raising=False)
        patch.syspath_prepend(str(Path(__file__).parent))  # workers are given this process's path
        patch.setattr(environment, "cpu_count", lambda: 2)
        with RayCluster() as made:
            assert not ray.is_initialized()  # nothing was asked of it: nothing starts
            yield made
        assert not ray.is_initialized()


@pytest.fixture
def squares(cluster, tmp_path):
    """(numbers, how many workers end over each) -> their squares, as the cluster gives them."""
    from cluster_work import Squares

    def make(numbers, killed=None):
        return cluster.run(Squares(marks=str(tmp_path), killed=killed or {}),
                           (Part(name=f"number {number}", content=number) for number in numbers))
    return make


def marks(folder, pattern):
    return len(list(folder.glob(pattern)))


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_killed_worker_costs_a_part(cluster, squares, tmp_path):
    assert cluster.workers == 2 and cluster.threads == 1
    found = dict(squares(range(1, 31), {17: 1}))
    assert {position: square for position, (square, _) in found.items()} == {
        number - 1: number**2 for number in range(1, 31)}
    assert {processors for _, processors in found.values()} == {1}
    assert 2 <= marks(tmp_path, "opened-*") <= 3  # once by each, and in the place of the killed one if it came in time
    assert (marks(tmp_path, "17-*"), marks(tmp_path, "4-*")) == (2, 1)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_errors_of_the_work_and_parts_that_end_workers(squares):
    with pytest.raises(UnavailableError, match=rf"number 5 ended {ATTEMPTS} workers, one after the other"):
        list(squares(range(1, 9), {5: 99}))
    with pytest.raises(DataError) as refused:
        list(squares([1, -7, 2]))
    assert (refused.value.where, refused.value.fix) == ("number -7", "give another")
    with pytest.raises(ZeroDivisionError, match="a bug"):
        list(squares([0]))
    assert [square for _, (square, _) in squares([6])] == [36]


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_closing_ends_what_is_under_way(squares, tmp_path):
    results = squares(range(1, 100))
    next(results)
    results.close()
    assert marks(tmp_path, "[0-9]*") < 10


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_workers_unlike_this_machine_are_left_out(cluster, monkeypatch, tmp_path):
    from cluster_work import Squares

    cluster._end()  # so that others find processors
    notes = []
    monkeypatch.setattr(environment, "version_of", lambda package: "0.0")
    with RayCluster(note=notes.append) as unlike, pytest.raises(
            UnavailableError, match=r"no worker can be used: .* has numpy .*, and this machine 0\.0"):
        list(unlike.run(Squares(marks=str(tmp_path), killed={}), [Part(name="1", content=1)]))
    assert len(notes) == 1 and notes[0].startswith("left out of the cluster: ")
    assert not marks(tmp_path, "*")


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_logits_are_those_of_one_machine_to_the_bit(cluster, small_net, random_images, tmp_path):
    from cluster_work import Mortal

    images = random_images(1030, "test")
    for judge in (Mortal(str(tmp_path)), OnnxRuntime(), OpenVino("f32")):
        if judge.missing():
            continue
        heard = []
        sharded = compute_on(cluster)(small_net, images, judge, heard.append)
        np.testing.assert_array_equal(sharded, computed(small_net, images, judge, lambda images: None))
        assert sum(heard) == 1030 and len(heard) > 10
    assert (tmp_path / "ended").exists()  # a worker of the first was killed in the middle


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_the_gate_says_the_same_with_and_without_it(
        cluster, small_build, instead_of_cifar10, tmp_path, monkeypatch, capsys):
    cluster._end()  # the command's own workers need its processors
    instead_of_cifar10(gate_step, 230)
    said = []
    for extra in ([], ["--cluster", "--workers", "2"]):
        monkeypatch.setenv("EDGE_SE_CACHE", str(tmp_path / f"cache-{len(extra)}"))
        code = run("gate", "--model", small_build, "--json", "--quiet", *extra)
        said.append((code, json.loads(capsys.readouterr().out)))
    assert said[0] == said[1]
