"""Memory of this process."""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress

_ARENA_MAX = -8  # M_ARENA_MAX of glibc's malloc.h


def give_back() -> None:
    """Returns to the system what was freed, where the C library can: glibc keeps hundreds of MiB of old graphs."""
    gc.collect()
    with suppress(OSError, AttributeError, TypeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def one_heap() -> None:
    """Lets all threads share one heap, where the C library can; call it before there are threads.

    glibc gives each thread heaps of at most 64 MiB. What a batch of large images needs does not fit, is mapped anew and
    given back at each batch, and every thread keeps its own rest: 4 % of the time of calibration, and 100 MiB.
    """
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).mallopt(_ARENA_MAX, 1)
