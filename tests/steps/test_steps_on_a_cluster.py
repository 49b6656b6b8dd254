"""What steps say does not depend on where images are evaluated."""

import pytest

from edge_se.backends.machines.choice import Place
from edge_se.core.errors import EdgeSeError
from edge_se.evaluation.accuracy import BATCH
from edge_se.steps import gate as gate_step
from edge_se.steps import robustness as robustness_step
from edge_se.steps.gate import gate
from edge_se.steps.robustness import robustness

IMAGES = 230


@pytest.fixture
def afresh(monkeypatch, tmp_path):
    """(number) -> an empty cache, so that everything is computed."""
    return lambda number: monkeypatch.setenv("EDGE_SE_CACHE", str(tmp_path / f"cache{number}"))


@pytest.mark.parametrize("sequential", [False, True])
def test_a_gate_gives_the_same_document(small_build, instead_of_cifar10, in_process, afresh, tmp_path, sequential):
    (tmp_path / "gate.toml").write_text(f"sequential = {str(sequential).lower()}\nmax_drop = 90.0\n")
    instead_of_cifar10(gate_step, IMAGES)
    afresh(1)
    alone = gate(small_build, config=tmp_path / "gate.toml")
    afresh(2)
    assert gate(small_build, config=tmp_path / "gate.toml", cluster=in_process) == alone
    looked, seen = len(alone["looks"]), IMAGES // 10 if sequential else IMAGES
    evaluated = 2 * looked  # files
    assert in_process.opened == 3 * evaluated and len(in_process.parts) == evaluated * -(-seen // BATCH)


def test_robustness_gives_the_same_document(small_build, instead_of_cifar10, in_process, afresh):
    instead_of_cifar10(robustness_step, IMAGES)
    said = []
    for number, cluster in enumerate((None, in_process)):
        afresh(number)
        said.append(robustness(small_build, corruptions=["shot_noise"], severities=[4], seed=7, cluster=cluster))
    assert said[0] == said[1]
    evaluated = 2 * 2  # conditions, files
    assert in_process.opened == 3 * evaluated and len(in_process.parts) == evaluated * -(-IMAGES // BATCH)


def test_a_device_judges_its_own_files(small_build, in_process):
    with pytest.raises(EdgeSeError, match="--cluster: a device judges its files itself; leave --cluster or --device"):
        gate(small_build, cluster=in_process, place=Place(device="ssh://me@board"))
