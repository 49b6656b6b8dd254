"""Work by several threads keeps its order, goes a bounded way ahead, and ends with who takes it."""

import threading

import pytest

from edge_se.core.ahead import WAITING, ahead


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("count", [0, 1, 7, 100])
def test_results_come_in_the_order_of_the_items(threads, count):
    assert list(ahead(lambda item: 2 * item, range(count), threads)) == list(range(0, 2 * count, 2))


def test_so_many_run_at_once():
    together = threading.Barrier(3, timeout=30)
    assert set(ahead(lambda index: (together.wait(), index)[1], range(9), 3)) == set(range(9))


@pytest.mark.parametrize("threads", [1, 3])
def test_items_are_read_a_bounded_way_ahead(threads):
    read = []
    results = ahead(lambda item: item, (read.append(item) or item for item in range(1000)), threads)
    assert next(results) == 0 and len(read) <= WAITING * threads
    results.close()
    assert len(read) <= WAITING * threads


@pytest.mark.parametrize("threads", [1, 2])
def test_an_error_is_raised_in_its_turn(threads):
    results = ahead(lambda item: 6 // item, [3, 2, 0, 1], threads)
    assert [next(results), next(results)] == [2, 3]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_who_stops_taking_leaves_nothing_to_do():
    done = []
    results = ahead(done.append, range(1000), 2)
    next(results)
    results.close()
    ended = len(done)
    assert ended <= 2 * WAITING + 2 and not [one for one in threading.enumerate() if one.name.startswith("ahead")]
