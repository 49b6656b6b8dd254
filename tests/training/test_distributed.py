"""Two processes over gloo train what one does; they stop together; one of them writes."""

import subprocess
import sys
import textwrap

import pytest
import torch

from edge_se.core.errors import TrainingError, UnavailableError
from edge_se.training.distributed import ALONE, Group, joined, own_process

SCRIPT = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import torch
import test_training_loop as own
from edge_se.training.distributed import joined
from edge_se.training.losses import STEPS_PER_READ

CPU, OUT = torch.device("cpu"), Path({out!r})
AUGMENTATION = own.RECIPE.augmentation.model_copy(update={{"mixup": 0.4, "erasing": 0.3, "flip": "random"}})
RECIPE = own.RECIPE.model_copy(update={{"ema": 0.9, "augmentation": AUGMENTATION,
                                       "optimizer": own.RECIPE.optimizer.model_copy(update={{"learning_rate": 0.02}})}})


class OneIsAsked(own.Silent):
    def step(self, epoch, step, steps_per_epoch, loss):
        if (epoch, step) == (1, 2) and os.environ.get("RANK") == "1":
            signal.raise_signal(signal.SIGTERM)


def run(name, group, **options):
    return own.train(own.SPEC, RECIPE, own.TRAIN, own.VALIDATION, folder=OUT / name / f"rank{{group.rank}}", device=CPU,
                     group=group, **({{"resume": False, "watcher": own.Silent()}} | options))


if __name__ == "__main__":
    with joined(CPU) as group:
        whole = run("whole", group)
        torch.save((whole.state, whole.history), OUT / f"whole{{group.size}}-{{group.rank}}.pt")
        if group.size > 1:
            try:
                run("stopped", group, watcher=OneIsAsked())
            except KeyboardInterrupt:
                print("stopped", group.rank, flush=True)
            STEPS_PER_READ["cpu"] = 3
            windowed = run("windowed", group)
            torch.save((windowed.state, windowed.history), OUT / f"windowed-{{group.rank}}.pt")
            try:
                run("windowed-stopped", group, watcher=OneIsAsked())
            except KeyboardInterrupt:
                print("windowed stopped", group.rank, flush=True)
"""


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """The folder in which two processes, then one, ran the script."""
    folder = tmp_path_factory.mktemp("processes")
    script = folder / "script.py"
    script.write_text(textwrap.dedent(SCRIPT.format(tests=__file__.rpartition("/")[0], out=str(folder))))
    for start in (["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"], []):
        done = subprocess.run([sys.executable, *start, script], capture_output=True, text=True, timeout=600,
                              check=False)
        assert done.returncode == 0, done.stderr
        (folder / f"said{len(start)}").write_text(done.stdout)
    return folder


def read(path):
    return torch.load(path, weights_only=True)


def test_two_processes_train_what_one_does(out):
    (one, log_of_one), (two, log_of_two) = read(out / "whole1-0.pt"), read(out / "whole2-0.pt")
    assert one.keys() == two.keys()
    for name in one:
        torch.testing.assert_close(two[name], one[name], atol=1e-3, rtol=1e-3, msg=lambda text, name=name: name + text)
    for row, other in zip(log_of_one, log_of_two):
        assert other["loss"] == pytest.approx(row["loss"], rel=1e-4)
        assert abs(other["validation_top1"] - row["validation_top1"]) <= 1


def test_both_end_with_the_same_net_bit_for_bit(out):
    (first, log), (second, other_log) = read(out / "whole2-0.pt"), read(out / "whole2-1.pt")
    assert [name for name in first if not torch.equal(first[name], second[name])] == []
    assert [row["validation_top1"] for row in log] == [row["validation_top1"] for row in other_log]


def test_only_the_first_writes(out):
    assert sorted(path.name for path in (out / "whole" / "rank0").iterdir()) == ["checkpoint.pt", "log.csv"]
    assert not (out / "whole" / "rank1").exists()


def test_a_signal_to_one_stops_both_after_the_same_step(out):
    said = (out / "said5").read_text()
    assert "stopped 0" in said and "stopped 1" in said
    saved = read(out / "stopped" / "rank0" / "checkpoint.pt")
    assert (saved["epoch"], saved["step"]) == (1, 3)  # asked after step 2, agreed on in step 3


def test_losses_read_three_at_once_change_nothing_and_a_signal_waits_for_the_read(out):
    for rank in range(2):
        (one, log), (two, log_of_two) = read(out / f"whole2-{rank}.pt"), read(out / f"windowed-{rank}.pt")
        assert [name for name in one if not torch.equal(one[name], two[name])] == []
        assert [(row["loss"], row["validation_top1"]) for row in log] == [
            (row["loss"], row["validation_top1"]) for row in log_of_two]
        assert f"windowed stopped {rank}" in (out / "said5").read_text()
    saved = read(out / "windowed-stopped" / "rank0" / "checkpoint.pt")
    assert (saved["epoch"], saved["step"]) == (1, 4)  # asked when step 2 was told, after the read of steps 1 to 3


def test_rows_are_equal_parts_of_the_batch():
    assert ALONE.rows(128) is None and ALONE.first
    parts = [Group(rank=rank, size=4).rows(128) for rank in range(4)]
    assert torch.equal(torch.cat(parts), torch.arange(128)) and {len(part) for part in parts} == {32}
    with pytest.raises(TrainingError, match="torchrun: batch_size 128 does not divide by 3 processes"):
        Group(rank=0, size=3).rows(128)


def test_without_torchrun_a_process_is_alone(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert own_process() == ALONE
    with joined(torch.device("cpu")) as group:
        assert group == ALONE and group.sums((1.5, 2), torch.device("cpu")) == [1.5, 2]


def test_what_torchrun_says_is_read(monkeypatch):
    for name, value in (("RANK", "5"), ("WORLD_SIZE", "8"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
    assert own_process() == Group(rank=5, size=8, local_rank=1)
    monkeypatch.setenv("RANK", "five")
    with pytest.raises(UnavailableError, match="torchrun: RANK, WORLD_SIZE and LOCAL_RANK are not numbers"):
        own_process()


def test_half_of_torchruns_environment_is_a_user_error(monkeypatch):
    for name, value in (("RANK", "0"), ("WORLD_SIZE", "2"), ("LOCAL_RANK", "0")):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with (pytest.raises(UnavailableError, match="the 2 processes do not find each other"),
          joined(torch.device("cpu"))):
        pass
