"""Draws: what several processes draw for their rows is what one draws for all of them."""

import torch

from edge_se.data.draws import Draws


def both(rows):
    draws = Draws(10, torch.Generator().manual_seed(5), rows, torch.device("cpu"))
    return draws.integers(-3, 4, 2), draws.uniform(2, 4), draws.integers(0, 2)


def test_rows_are_those_of_the_whole_batch():
    rows = torch.tensor([7, 0, 3])
    for whole, part in zip(both(None), both(rows)):
        assert torch.equal(part, whole[..., rows])


def test_ranges():
    draws = Draws(2000, torch.Generator().manual_seed(0), None, torch.device("cpu"))
    assert draws.integers(-3, 4).unique().tolist() == [-3, -2, -1, 0, 1, 2, 3]
    values = draws.uniform(2, 4)
    assert 2 <= values.min() < 2.01 and 3.99 < values.max() < 4 and abs(values.mean() - 3) < 0.05
