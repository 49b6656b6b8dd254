"""What a search of placements tells: its table, and the choice in words."""

import pytest

from edge_se.reporting.placements import chosen_words, placement_rows


def candidate(name, **changes):
    return {"name": name, "n": 5000, "drop_pp": 0.04, "ci_pp": [-0.1, 0.2], "flips": 9, "sqnr_db": 36.84,
            "p50_ms": 0.41, "ratio": 0.6, "ratio_ci": [0.59, 0.612], "reference_ms": 0.68, "timed_on": "Orin, 15W",
            "int8_mac_share_engine": 1.0, "refused": None, "on_front": True, "chosen": False} | changes


UNTIMED = {"p50_ms": None, "ratio": None, "ratio_ci": None, "reference_ms": None, "int8_mac_share_engine": None}


@pytest.fixture
def search():
    return {"target": "tensorrt-fp16", "dataset": "cifar10-val5k", "labelled": True, "timed_on": "Orin, 15W",
            "reference": "fp16", "candidates": [
                candidate("refused", refused="no kernel", on_front=False, **UNTIMED),
                candidate("late", on_front=False, **UNTIMED), candidate("slow", ratio=0.8, ratio_ci=[0.7, 0.9]),
                candidate("fast", chosen=True)]}


def test_the_fastest_comes_first_and_what_has_no_time_last(search):
    columns, rows = placement_rows(search)
    assert columns[-3:] == ["ms", "x FP16's time", "INT8 in the engine"]
    assert {len(row) for row in rows} == {len(columns)}
    assert [row[0] for row in rows] == ["fast (chosen)", "slow", "refused", "late"]
    assert rows[0][1:] == ["yes", "+0.04 (-0.10 to +0.20)", "9 / 5,000", "36.8", "0.410", "0.600 (0.590 to 0.612)",
                           "100.00 %"]
    assert [row[-3:] for row in rows[2:]] == [["–", "refused", "–"], ["–", "not timed", "–"]]


def test_the_choice_has_both_intervals(search):
    assert chosen_words(search) == (
        "tensorrt-fp16: fast loses +0.04 points (-0.10 to +0.20) on 5,000 images of cifar10-val5k and takes 0.600 "
        "(0.590 to 0.612) of FP16's time, 0.410 ms, on Orin, 15W")


@pytest.mark.parametrize(("changes", "says"), [
    ({"ratio_ci": [0.9, 1.01]}, "; that it is faster than FP16 is not sure"),
    ({"int8_mac_share_engine": 0.5}, "not all of its INT8 runs in INT8 there"),
    ({"int8_mac_share_engine": 0.0}, "not all of its INT8 runs in INT8 there"),
    ({"int8_mac_share_engine": None}, "on Orin, 15W")])
def test_what_makes_it_worth_less_is_told(search, changes, says):
    search["candidates"][-1] |= changes
    assert chosen_words(search).endswith(says) or says in chosen_words(search).partition("on Orin")[2]


def test_without_labels_and_times_it_says_so(search):
    search |= {"labelled": False, "timed_on": None, "reference": None}
    search["candidates"] = [candidate("only", chosen=True, **UNTIMED)]
    columns, rows = placement_rows(search)
    assert columns == ["placement", "front", "drop at most, points", "flips", "SQNR dB"] and len(rows[0]) == 5
    assert "flips 0.04 % of the answers (-0.10 to 0.20), the most that it can lose" in chosen_words(search)
    assert "not timed, since nothing here runs its files" in chosen_words(search)
