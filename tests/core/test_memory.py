"""Freed memory goes back to the system."""

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

from edge_se.core.memory import give_back, one_heap


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


HEAPS = """
import ctypes, sys, threading
from edge_se.core.memory import one_heap
if sys.argv[1] == "one":
    one_heap()
together = threading.Barrier(4)
def work():
    kept = bytearray(50_000)
    together.wait()
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
file = ctypes.c_void_p(libc.fopen(sys.argv[2].encode(), b"w"))
libc.malloc_info(0, file)
libc.fclose(file)
"""


@pytest.mark.skipif(sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "malloc_info"), reason="not glibc")
@pytest.mark.parametrize("told, one", [("one", True), ("usual", False)])
def test_threads_share_one_heap(tmp_path, told, one):
    told_by_glibc = tmp_path / "heaps.xml"
    subprocess.run([sys.executable, "-c", HEAPS, told, str(told_by_glibc)], check=True)
    assert (told_by_glibc.read_text().count("<heap nr=") == 1) == one


@pytest.mark.parametrize("asked", [give_back, one_heap])
def test_a_c_library_that_cannot_is_left_alone(monkeypatch, asked):
    monkeypatch.setattr("edge_se.core.memory.ctypes.CDLL", lambda name: object())
    asked()
