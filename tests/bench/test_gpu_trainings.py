"""What a run on a GPU reached is read from its folder, and one that has not ended is refused."""

import json

import pytest

from bench import gpu_trainings

RUN = {"model": "resnet18", "recipe": {"content": {"batch_size": 512}, "sha256": "ab"}, "seed": 0, "epochs": 4,
       "device": "NVIDIA H200", "amp": "bf16", "compiled": True, "versions": {"torch": "2.11.0"}, "hardware": {},
       "commit": "cd",
       "data": {"train": {"n": 45000}, "validation": {"name": "cifar10-val5k", "n": 5000, "sha256": "ef"}}}
LOG = """epoch,resolution,loss,validation_top1,learning_rate,seconds
1,24,1.0,94.5,0.1,10.0
2,32,1.0,93.0,0.1,20.0
3,32,0.9,95.2,0.1,30.0
4,32,0.8,94.8,0.1,40.0
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps(RUN))
    (tmp_path / "log.csv").write_text(LOG)
    (tmp_path / "weights.safetensors").write_bytes(b"weights")
    return tmp_path


def test_a_level_is_reached_at_the_last_resolution(folder):
    run = gpu_trainings.run_of(folder, together=3)
    assert (run["top1"], run["together"], len(run["epochs"])) == (95.2, 3, 4)
    assert run["reached"] == {"94": {"epoch": 3, "seconds": 30.0}, "95": {"epoch": 3, "seconds": 30.0}, "96": None}


def test_the_test_figure_is_the_card_s(folder):
    assert gpu_trainings.run_of(folder)["test"] is None
    (folder / "card.json").write_text(json.dumps({"test": {"top1": 95.1}}))
    assert gpu_trainings.run_of(folder)["test"] == {"top1": 95.1}


def test_a_run_that_has_not_ended_says_nothing(folder):
    (folder / "log.csv").write_text("".join(LOG.splitlines(keepends=True)[:3]))
    with pytest.raises(SystemExit, match="2 of 4 epochs"):
        gpu_trainings.run_of(folder)
