"""Draws reach a GPU without waiting for it."""

import torch

from edge_se.data.draws import Draws


def test_draws_for_a_gpu_are_copied_from_pinned_memory(monkeypatch):
    calls = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda drawn: calls.append("pinned") or drawn)
    monkeypatch.setattr(torch.Tensor, "to", lambda drawn, device, **options: calls.append((device, options)) or drawn)
    here, there = torch.device("cpu"), torch.device("cuda")
    drawn = [Draws(4, torch.Generator().manual_seed(0), torch.tensor([1, 3]), device).integers(0, 1000)
             for device in (here, there)]
    assert calls == [(here, {}), "pinned", (there, {"non_blocking": True})]
    assert torch.equal(*drawn) and len(drawn[0]) == 2
