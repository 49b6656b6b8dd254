"""LoadGen's figures of a call whose time is known, and what its log says."""

import json
import time

import pytest

from edge_se.core.errors import UnavailableError
from edge_se.measure import referee as module
from edge_se.measure.referee import MARK, referee, results_of


def log_of(*entries) -> str:
    return "chatter\n" + "".join(f"{MARK}{json.dumps(entry)}\n" for entry in entries)


def test_results_are_read_from_the_log():
    text = log_of({"key": "a", "value": 1, "metadata": {"is_error": False}}, {"key": "b", "value": 2.5, "metadata": {}})
    assert results_of(text) == {"a": 1, "b": 2.5}


def test_an_error_of_loadgen_is_told_in_its_words():
    text = log_of({"key": "error_invalid", "value": "no samples", "metadata": {"is_error": True}})
    with pytest.raises(UnavailableError, match="MLPerf LoadGen: no samples"):
        results_of(text)


def test_without_the_package_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(module, "importable", lambda name: False)
    with pytest.raises(UnavailableError, match=r"--referee: MLPerf LoadGen is not installed; pip install 'edge-se"):
        referee(lambda: None, seconds=0.1, batch=1)


def test_figures_of_a_call_that_sleeps():
    pytest.importorskip("mlperf_loadgen", reason=f"LoadGen is not installed: {module.INSTALL}")
    calls = []

    def call():
        calls.append(time.sleep(0.005))
    found = referee(call, seconds=0.3, batch=8)
    assert 5 <= found.p50_ms <= found.p90_ms
    assert 0 < found.queries <= 60 and found.queries < len(calls)
    assert 8 * 10 < found.throughput_ips <= 8 / 0.005


@pytest.mark.parametrize("error", [ValueError("no logits"), KeyboardInterrupt()])
def test_what_the_call_raises_is_not_lost(error):
    pytest.importorskip("mlperf_loadgen", reason=f"LoadGen is not installed: {module.INSTALL}")
    calls = []

    def call():
        calls.append(time.sleep(0.002))
        if len(calls) > module.WARMUP + 10:  # in the middle of LoadGen's test
            raise error
    with pytest.raises(type(error)):
        referee(call, seconds=0.3, batch=1)
    assert len(calls) == module.WARMUP + 11
