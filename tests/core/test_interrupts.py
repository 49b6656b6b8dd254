"""An interrupt is told with what is kept, also where a library made another error of it; other errors are not."""

from contextlib import contextmanager

import pytest

from edge_se.core.interrupts import follows_an_interrupt, telling


class Notes:
    def __init__(self):
        self.said = []

    @contextmanager
    def task(self, what, total):
        yield lambda units: None

    def note(self, message):
        self.said.append(message)


def made_of(cause, how):
    """An error that a library raised while or because it met `cause`."""
    try:
        try:
            raise cause
        except BaseException as error:
            raise ImportError("half imported") from (error if how == "cause" else None)
    except ImportError as made:
        return made


@pytest.mark.parametrize(("error", "told"), [
    (KeyboardInterrupt(), True), (made_of(KeyboardInterrupt(), "cause"), True),
    (made_of(KeyboardInterrupt(), "context"), True), (ValueError("a bug"), False),
    (made_of(ValueError(), "cause"), False), (SystemExit(1), False)])
def test_who_is_told(error, told):
    notes = Notes()
    assert follows_an_interrupt(error) is told
    with pytest.raises(type(error)), telling(notes, lambda: "kept"):
        raise error
    assert notes.said == ["kept"] * told


def test_an_end_without_one_says_nothing():
    notes = Notes()
    with telling(notes, lambda: "kept"):
        pass
    assert notes.said == []
