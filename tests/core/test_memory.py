"""Freed memory goes back to the system."""

import sys
from pathlib import Path

import pytest

from edge_se.core.memory import give_back


def resident():
    return 4096 * int(Path("/proc/self/statm").read_text().split()[1])


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_lies_between_what_is_kept_is_given_back():
    blocks = [bytearray(50_000) for _ in range(2000)]  # too small for pages of their own
    kept = blocks[-1]
    del blocks
    before = resident()
    give_back()
    assert resident() <= before and len(kept) == 50_000


def test_a_c_library_that_cannot_is_left_alone(monkeypatch):
    monkeypatch.setattr("edge_se.core.memory.ctypes.CDLL", lambda name: object())
    give_back()
