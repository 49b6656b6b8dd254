"""The link to an agent of this machine: what it says while nobody asks anything."""

import subprocess
import time

import pytest

from edge_se.backends.machines import link as module
from edge_se.backends.machines.link import Link
from edge_se.backends.machines.transport import LocalProcess


@pytest.fixture
def written(monkeypatch, tmp_path):
    """Operations in the order in which they were written."""
    operations, whole = [], module.write_frame

    def write(stream, header, *payload):
        operations.append(header["op"])
        whole(stream, header, *payload)
    monkeypatch.setattr(module, "write_frame", write)
    monkeypatch.setattr(module, "PING_S", 0.1)
    monkeypatch.setenv("EDGE_SE_CACHE", str(tmp_path))
    return operations


def test_the_agent_hears_of_a_host_that_computes_for_long(written):
    with Link(LocalProcess()) as link:
        link.ask("describe")
        asked = len(written)
        while len(written) < asked + 3:  # an agent that hears nothing for a minute ends itself
            time.sleep(0.05)
        assert set(written[asked:]) == {"ping"}
        assert link.ask("state")[0]["ok"]
        threads = link._connection._threads
    assert written.count("bye") == 1 and not any(thread.is_alive() for thread in threads)  # nothing more is written


def test_it_hears_of_one_that_waits_for_its_answer(written, opened, timed):
    with Link(LocalProcess()) as link:
        opened(link)
        asked = len(written)
        timed(link, min_duration=0.6)
        assert written[asked:].count("ping") >= 3 and written[asked:].count("time") == 1


def test_an_agent_that_ended_meanwhile_is_one_message(written):
    with pytest.raises(module.EdgeSeError, match="the agent ended"), Link(LocalProcess()) as link:
        bootstrap = link._connection._process.pid
        subprocess.run(["pkill", "-9", "-P", str(bootstrap)], check=True)
        time.sleep(0.4)
        link.ask("describe")


@pytest.mark.parametrize("error", [module.EdgeSeError("no room"), RuntimeError("a bug"), KeyboardInterrupt()])
def test_an_agent_that_cannot_open_again_what_was_open_is_ended(written, opened, monkeypatch, error):
    started, start = [], LocalProcess.start
    monkeypatch.setattr(LocalProcess, "start", lambda self: (started.append(start(self)), started[-1])[1])
    with Link(LocalProcess()) as link:
        opened(link)
        link._connection.end()
        link._connection = None  # as after a drop

        def send(*_):
            raise error
        monkeypatch.setattr(module._Connection, "send", send)
        with pytest.raises(type(error)):
            link.ask("state")
        assert len(started) == 2 and all(process.poll() is not None for process in started)
