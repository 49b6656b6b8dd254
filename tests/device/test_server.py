"""Whatever reaches the agent's listener, it answers or ends, and its lock ends with it."""

import io
import json
import os
import select
import subprocess
import sys
import time

import pytest

from edge_se.device import agent, shipped

NESTED = b'{"op": ' + b"[" * 200_000 + b"]" * 200_000 + b"}"


@pytest.fixture
def serve(tmp_path):
    """() -> a process of the zipapp that has said hello."""
    (tmp_path / shipped.NAME).write_bytes(shipped.zipapp())
    started = []

    def start():
        process = subprocess.Popen([sys.executable, tmp_path / shipped.NAME, "serve"], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   env={"EDGE_SE_CACHE": str(tmp_path / "cache"), "PATH": "/usr/bin:/bin"})
        started.append(process)
        assert process.stdout.read(len(agent.MAGIC)) == agent.MAGIC
        agent.write_frame(process.stdin, {"op": "hello", "protocol": agent.PROTOCOL, "token": str(len(started))})
        return process, agent.read_frame(process.stdout)[0]
    yield start
    for process in started:
        process.kill()
        process.communicate()


def framed(content):
    return len(content).to_bytes(4, "big") + content


@pytest.mark.parametrize(("sent", "told"), [
    (framed(NESTED), "RecursionError"), (framed(b"{"), "JSONDecodeError"), (framed(b"{\xfe}"), "UnicodeDecodeError"),
    (framed(b"[]"), "no frame"), (framed(b'{"bytes": -1}'), "no frame"), (b"\xff\xff\xff\xff", "no frame")],
    ids=["nested", "half", "no text", "list", "negative", "endless"])
def test_what_is_no_request_is_answered_and_ends_it_with_its_lock(serve, sent, told):
    process, hello = serve()
    assert hello["ok"]
    process.stdin.write(sent)
    process.stdin.flush()
    answer, _ = agent.read_frame(process.stdout)
    assert not answer["ok"] and told in answer["error"]["what"] and answer["error"]["kind"] == "protocol"
    assert process.wait(timeout=20) == 1
    assert serve()[1]["ok"]  # the lock is free


@pytest.mark.parametrize("error", [RecursionError("deep"), MemoryError("no more"), KeyError("bug"), SystemExit(3)],
                         ids=lambda error: type(error).__name__)
def test_whatever_stops_the_listener_ends_the_process(error, monkeypatch):
    ended, out = [], io.BytesIO()
    server = agent.Server(None, out)
    monkeypatch.setattr(server, "_hear", lambda: (_ for _ in ()).throw(error))
    monkeypatch.setattr("edge_se.device.agent.server.os._exit", ended.append)
    monkeypatch.setattr(server, "_cache", BrokenCache())
    with pytest.raises(OSError, match="the disk is gone"):
        server._listen()
    out.seek(0)
    assert ended == [1] and type(error).__name__ in json.dumps(agent.read_frame(out)[0]["error"]["what"])


class BrokenCache:
    """One that cannot be swept: the process ends all the same."""

    def sweep(self, everything):
        raise OSError("the disk is gone")


@pytest.mark.parametrize(("arrived", "heard"), [
    ([{"op": "state"}], ["state"]), ([{"op": "ping"}, {"op": "idle"}, {"op": "state"}], ["idle", "state"]), ([], [])],
    ids=["request", "several", "nothing"])
def test_a_listener_that_could_not_hear_for_long_hears_what_has_come_meanwhile(monkeypatch, arrived, heard):
    """TensorRT 8.6 makes contexts with the interpreter's lock held: the agent took its host for gone and ended."""
    reading, writing = os.pipe()
    stream, told = os.fdopen(reading, "rb", buffering=0), os.fdopen(writing, "wb")
    real, late = select.select, iter([100.0])

    def kept_from_hearing(*arguments):
        if delay := next(late, None):  # it ran out, and then a library held the lock
            now = time.monotonic()
            monkeypatch.setattr("edge_se.device.agent.server.time.monotonic", lambda: now + delay)
            for header in arrived:
                agent.write_frame(told, header)
            told.close() if arrived else None
            return [], [], []
        return real(*arguments)

    monkeypatch.setattr("edge_se.device.agent.server.select.select", kept_from_hearing)
    server = agent.Server(stream, None)
    server._hear()
    assert [header["op"] for header, _ in server._requests.queue] == heard
    told.close()
    stream.close()
