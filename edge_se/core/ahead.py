"""Work on a sequence by a few threads, in its order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
WAITING = 2  # results for each thread that are made before they are taken; of a batch of large images each is 5 MB


def ahead(job: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[Result]:
    """`job` of each item, by `threads` threads a bounded way ahead of who takes them. One thread is the caller's own.

    `items` are read by the caller's thread. An exception of `job` is raised where its result would be taken.
    """
    if threads == 1:
        yield from map(job, items)
        return
    waiting = deque[Future[Result]]()
    with ThreadPoolExecutor(threads, thread_name_prefix="ahead") as pool:
        try:
            for item in items:
                waiting.append(pool.submit(job, item))
                if len(waiting) == WAITING * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
