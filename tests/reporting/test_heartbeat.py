"""Where stderr is no terminal, something is said at least every few seconds, and nothing after the end."""

import io
import time

import pytest

from edge_se.reporting import console
from edge_se.reporting.console import ConsoleProgress
from edge_se.reporting.heartbeat import Heartbeat


def waited(stream: io.StringIO, word: str, seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while word not in stream.getvalue() and time.monotonic() < end:
        time.sleep(0.01)
    return word in stream.getvalue()


def test_a_silent_task_says_how_far_it_is():
    stream = io.StringIO()
    beat = Heartbeat(stream, every_s=0.05)
    with beat.task("evaluating", 5000) as advance:
        advance(1200)
        assert waited(stream, "evaluating: 1,200 of 5,000, ")
        with beat.task("inner", 3):
            assert waited(stream, "inner: 0 of 3")
    beat.stop()


def test_work_outside_of_a_task_is_told_too():
    stream = io.StringIO()
    beat = Heartbeat(stream, every_s=0.05)
    assert waited(stream, "still working, ")
    beat.stop()
    time.sleep(0.1)
    said = stream.getvalue()
    time.sleep(0.2)
    assert stream.getvalue() == said


def test_who_speaks_is_not_interrupted():
    stream = io.StringIO()
    beat = Heartbeat(stream, every_s=0.5)
    for number in range(20):
        beat.say(f"note {number}")
        time.sleep(0.05)
    beat.stop()
    assert stream.getvalue().splitlines() == [f"note {number}" for number in range(20)]


def test_a_closed_stream_does_not_end_the_work():
    stream = io.StringIO()
    beat = Heartbeat(stream, every_s=60)
    stream.close()
    beat.say("lost")
    with beat.task("goes on", 1) as advance:
        advance(1)
    beat.stop()


@pytest.mark.parametrize("quiet", [False, True])
def test_quiet_has_no_thread_and_the_end_of_a_command_ends_it(quiet, monkeypatch, capsys):
    begun = []

    class Counted(Heartbeat):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            begun.append(self)

    monkeypatch.setattr(console, "Heartbeat", Counted)
    progress = ConsoleProgress(quiet)
    progress.note("a note")
    assert ("a note" in capsys.readouterr().err) is not quiet
    assert len(begun) == (0 if quiet else 1)
    del progress
    assert all(beat._over.is_set() for beat in begun)
