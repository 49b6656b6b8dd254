"""Drops per class: exact p values, Holm's adjustment by hand, and how often it cries wolf."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_se.evaluation.classes import class_drops, holm
from edge_se.evaluation.statistics import Paired

NAMES = ("a", "b", "c")


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_adjusted_values_lie_between_the_raw_and_bonferronis_and_keep_the_order(values):
    adjusted = holm(values)
    assert all(raw <= new <= min(1.0, len(values) * raw) + 1e-12 for raw, new in zip(values, adjusted))
    order = np.argsort(values, kind="stable")
    assert np.all(np.diff(np.array(adjusted)[order]) >= 0)


def test_the_class_that_lost_is_named_and_no_other():
    labels = np.repeat([0, 1], 200).astype(np.uint8)
    reference = labels.astype(np.intp)
    candidate = reference.copy()
    candidate[200:215] = 2          # b loses 15 of 200
    candidate[:1] = 2               # a loses one
    first, second, third = class_drops(reference, candidate, labels, NAMES, 0.05)
    assert (second.name, second.significant, second.paired) == ("b", True, Paired(n=200, broken=15, fixed=0))
    assert second.p == pytest.approx(2 / 2**15) and second.p_holm == pytest.approx(3 * 2 / 2**15)
    assert (first.paired, first.significant) == (Paired(n=200, broken=1, fixed=0), False)
    assert (third.paired, third.p, third.significant) == (None, 1.0, False)


def test_it_finds_no_class_where_there_is_none():
    random, found = np.random.default_rng(0), 0
    labels = np.repeat(np.arange(10), 100).astype(np.uint8)
    names = [str(index) for index in range(10)]
    for _ in range(300):
        answers = [np.where(random.random(1000) < 0.1, (labels + 1) % 10, labels).astype(np.intp) for _ in range(2)]
        found += any(item.significant for item in class_drops(*answers, labels, names, 0.05))
    assert found / 300 <= 0.05 + 4 * (0.05 * 0.95 / 300) ** 0.5
