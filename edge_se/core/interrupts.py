"""Ctrl-C and SIGTERM as a command meets them: told with what is kept, also where a library made an error of one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from edge_se.core.progress import Progress


def follows_an_interrupt(error: BaseException) -> bool:
    """Whether an interrupt is what the error came from.

    torch.onnx.export that is interrupted while it imports torch._dynamo fails on the missing module and raises an error
    of its own.
    """
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        if isinstance(one, KeyboardInterrupt):
            return True
        seen.add(id(one))
        waiting += [one.__cause__, one.__context__]
    return False


@contextmanager
def telling(progress: Progress, words: Callable[[], str]) -> Iterator[None]:
    """An interrupt within the block is told with `words`: what it left, and how to go on."""
    try:
        yield
    except BaseException as error:
        if follows_an_interrupt(error):
            progress.note(words())
        raise
