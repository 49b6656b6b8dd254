"""Checkpoints: back as written, and one message when they are broken, foreign or do not fit."""

import pickle

import numpy as np
import pytest
import torch

from edge_se.core.errors import ArtifactError, TrainingError
from edge_se.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint

OWN = {"model_name": "net", "recipe_sha256": "r" * 64, "data_sha256": "d" * 64}


def a_checkpoint(size=8):
    return Checkpoint(**OWN, epoch=1, step=2, seconds=3.5, loss_sum=4.5, model={"weight": torch.arange(float(size))},
                      optimizer={"state": {0: {"momentum_buffer": torch.ones(2)}}, "param_groups": [{"lr": 0.1}]},
                      best_top1=50.0, best_epoch=1, best_model={"weight": torch.zeros(3)}, history=[{"epoch": 1.0}])


@pytest.fixture
def saved(tmp_path):
    save_checkpoint(tmp_path / "checkpoint.pt", a_checkpoint())
    return tmp_path / "checkpoint.pt"


def test_a_checkpoint_comes_back(saved):
    written, read = a_checkpoint(), load_checkpoint(saved, **OWN)
    assert torch.equal(read.model["weight"], written.model["weight"])
    assert torch.equal(read.best_model["weight"], written.best_model["weight"])
    assert read.optimizer["param_groups"] == written.optimizer["param_groups"]
    for name in ("epoch", "step", "seconds", "loss_sum", "best_top1", "best_epoch", "history"):
        assert getattr(read, name) == getattr(written, name)


@pytest.mark.parametrize("name", OWN)
def test_a_checkpoint_of_another_run_is_refused(saved, name):
    with pytest.raises(TrainingError, match=rf"checkpoint\.pt: belongs to another run: its {name} is '{OWN[name]}'"):
        load_checkpoint(saved, **(OWN | {name: "other"}))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("content", [b"", b"garbage", b"PK\x03\x04", bytes(100), pickle.dumps({"epoch": 1})],
                         ids=["empty", "garbage", "zip", "zeros", "pickle"])
def test_what_is_no_checkpoint(tmp_path, content):
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(content)
    with pytest.raises(TrainingError, match=r"checkpoint\.pt: not a checkpoint of edge-se"):
        load_checkpoint(path, **OWN)


def test_the_message_is_one_line_and_no_advice_to_load_unsafely(tmp_path):
    (tmp_path / "checkpoint.pt").write_bytes(b"garbage")
    with pytest.raises(TrainingError) as error:
        load_checkpoint(tmp_path / "checkpoint.pt", **OWN)
    assert "\n" not in str(error.value) and "weights_only" not in str(error.value)


@pytest.mark.parametrize("content", [{"epoch": 1}, [1, 2], {"unknown": 1}])
def test_another_torch_file_is_no_checkpoint(tmp_path, content):
    torch.save(content, tmp_path / "checkpoint.pt")
    with pytest.raises(TrainingError, match="not a checkpoint of edge-se"):
        load_checkpoint(tmp_path / "checkpoint.pt", **OWN)


def test_code_in_a_checkpoint_is_not_run(tmp_path):
    class Harmful:
        def __reduce__(self):
            return (open, (str(tmp_path / "harm"), "w"))

    torch.save({"model": Harmful()}, tmp_path / "checkpoint.pt")
    with pytest.raises(TrainingError):
        load_checkpoint(tmp_path / "checkpoint.pt", **OWN)
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_a_truncated_checkpoint(saved, share):
    content = saved.read_bytes()
    saved.write_bytes(content[:int(share * len(content))])
    with pytest.raises(TrainingError, match="not a checkpoint of edge-se"):
        load_checkpoint(saved, **OWN)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_flipped_bit_is_never_a_traceback(saved):
    content, random = saved.read_bytes(), np.random.default_rng(0)
    refused, harmless = 0, 0
    for _ in range(300):
        broken = bytearray(content)
        broken[random.integers(len(broken))] ^= 1 << int(random.integers(8))
        saved.write_bytes(broken)
        try:
            read = load_checkpoint(saved, **OWN)
        except TrainingError:
            refused += 1
        else:  # in what the archive says twice: nothing that counts is another
            harmless += 1
            assert_equal(vars(read), vars(a_checkpoint()))
    assert refused > 30 and harmless


def assert_equal(read, written):
    for name, value in written.items():
        if isinstance(value, dict):
            assert_equal(read[name], value)
        elif isinstance(value, torch.Tensor):
            assert torch.equal(read[name], value)
        else:
            assert read[name] == value


@pytest.mark.parametrize("place", ["model", "best_model", "optimizer", "average"])
def test_a_flipped_bit_of_a_tensor_is_found(tmp_path, place):
    path, marked = tmp_path / "checkpoint.pt", torch.full((64,), 1.2345678)
    whole = a_checkpoint()
    setattr(whole, place, {"state": {0: {"marked": marked}}})
    save_checkpoint(path, whole)
    content = bytearray(path.read_bytes())
    start = content.index(marked.numpy().tobytes())
    content[start + 101] ^= 1
    path.write_bytes(content)
    with pytest.raises(TrainingError, match=r"checkpoint\.pt: its hash differs: it was altered after it was written"):
        load_checkpoint(path, **OWN)


def test_every_kind_of_tensor_is_hashed(tmp_path):
    tensors = {"half": torch.ones(3).half(), "bf16": torch.ones(3).bfloat16(), "count": torch.tensor(7),
               "empty": torch.ones(0, 3), "last": torch.rand(2, 3, 4, 4).contiguous(memory_format=torch.channels_last)}
    whole = a_checkpoint()
    whole.model = tensors
    save_checkpoint(tmp_path / "checkpoint.pt", whole)
    assert_equal(load_checkpoint(tmp_path / "checkpoint.pt", **OWN).model, tensors)


def test_a_full_disk_keeps_the_old_checkpoint_and_is_a_user_error(saved, full_disk):
    with full_disk(), pytest.raises(ArtifactError, match=r"checkpoint\.pt: cannot be written"):
        save_checkpoint(saved, a_checkpoint(size=100_000))
    assert len(load_checkpoint(saved, **OWN).model["weight"]) == 8
    assert [path.name for path in saved.parent.iterdir()] == ["checkpoint.pt"]
