"""The device and the type that a run computes in."""

import pytest
import torch

from edge_se.core import environment
from edge_se.core.errors import UnavailableError
from edge_se.core.recipes import Recipe
from edge_se.training.precision import amp_type, pick_device


@pytest.mark.parametrize(("amp", "fast", "used"), [
    ("auto", True, torch.bfloat16), ("auto", False, None), ("bf16", False, torch.bfloat16), ("off", True, None),
    ("fp16", True, torch.float16)])
def test_amp_is_used_where_it_is_fast_or_asked_for(monkeypatch, amp, fast, used):
    monkeypatch.setattr(environment, "has_fast_bf16", lambda: fast)
    recipe = Recipe(amp=amp, phases=({"epochs": 1},), optimizer={"learning_rate": 0.1})
    assert amp_type(recipe, torch.device("cpu")) is used


def test_devices(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto") == pick_device("cpu") == pick_device("auto", 1) == torch.device("cpu")
    with pytest.raises(UnavailableError, match="--device cuda: torch sees no CUDA GPU; use --device cpu"):
        pick_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert pick_device("auto") == torch.device("cuda")
    assert pick_device("auto", 1) == torch.device("cuda", 1)
    with pytest.raises(UnavailableError, match="process 2 has no GPU of its own; start 2 with --nproc-per-node"):
        pick_device("cuda", 2)
