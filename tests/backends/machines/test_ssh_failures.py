"""Every way in which a run over SSH can go wrong: one message each, and nothing stays behind there."""

import io
import json
import os
import signal
import subprocess
import threading
import time
import zipfile

import pytest

from edge_se.backends.machines import transport
from edge_se.backends.machines.choice import machine_of
from edge_se.core.errors import EdgeSeError, UnavailableError
from edge_se.device import shipped


def test_a_wrong_key(box, link_to):
    (box.client / "user").write_bytes((box.client / "stranger").read_bytes())
    with pytest.raises(UnavailableError, match=r"it refuses your key; `ssh-copy-id -p \d+ localhost`"), link_to():
        pass


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_key_that_others_may_read(box, link_to, mode):
    """OpenSSH leaves it out; `ssh-copy-id` would not help."""
    (box.client / "user").chmod(mode)
    says = r"your key's file is open to others, .*; `chmod 600` the file that `ssh -p \d+ localhost` names"
    with pytest.raises(UnavailableError, match=says), link_to():
        pass


def test_a_configuration_that_others_may_write(box, link_to, tmp_path, monkeypatch):
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh" / "config").write_text("")
    (home / ".ssh" / "config").chmod(0o666)
    shim = tmp_path / "ssh"  # OpenSSH takes the home folder of the password file, and the other one for an option
    shim.write_text(f"#!/bin/sh\necho 'Bad owner or permissions on {home}/.ssh/config' >&2\nexit 255\n")
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(UnavailableError, match=r"may be written by others, .*; `chmod 600 ~/\.ssh/config`"), link_to():
        pass


def test_an_unknown_host(box, link_to):
    (box.client / "known").write_text("")
    with pytest.raises(UnavailableError, match=r"its host key is unknown; `ssh -p \d+ localhost` once"), link_to():
        pass
    assert (box.client / "known").read_text() == ""  # nothing is accepted behind the user's back


def test_another_host_key(box, link_to):
    other = (box.folder / "stranger.pub").read_text()
    (box.client / "known").write_text(f"[localhost]:{box.port} {other}")
    with pytest.raises(UnavailableError, match="its host key is another than the known one"), link_to():
        pass


def test_nobody_listens_and_no_such_host(box, link_to):
    with pytest.raises(UnavailableError, match=r"nothing listens there; check the port"), link_to("localhost:1"):
        pass
    with pytest.raises(UnavailableError, match=r"the name is unknown"), link_to("no-such-host.invalid"):
        pass


def test_a_dropped_connection_is_made_again(box, link_to, opened, notes, timed):
    with link_to(progress=notes) as link:
        opened(link)
        threading.Timer(0.5, box.cut).start()
        answer, nanoseconds = timed(link, min_duration=1.5)
        assert answer["ok"] and len(nanoseconds) > 0
    assert any("the connection failed or was dropped" in note and "trying again (1 of 3)" in note
               for note in notes.notes)
    assert not box.left() and not box.agents()


def test_a_network_that_stays_away_is_one_message_and_the_next_run_works(box, link_to, opened, timed, wait_until):
    with link_to(retries=1) as link:
        opened(link)
        box.cut()
        box.stop()
        try:
            with pytest.raises(UnavailableError, match=r"nothing listens there|was dropped"):
                timed(link)
        finally:
            box.start()
    wait_until(lambda: not box.agents())
    with link_to() as link:
        opened(link)
        assert timed(link)[0]["ok"]
    assert not box.left()


def test_a_killed_agent_is_one_message_and_nothing_stays(box, link_to, opened, timed):
    with link_to() as link:
        opened(link)
        kill = threading.Timer(0.5, lambda: [os.kill(process, signal.SIGKILL) for process in box.agents()])
        kill.start()
        with pytest.raises(UnavailableError, match=r"the agent ended there \(signal 9\).*out of memory"):
            timed(link, min_duration=5)
    assert not box.left() and not box.agents()
    with link_to() as link:
        opened(link)
        assert timed(link)[0]["ok"]


def test_an_interrupt_ends_the_agent_and_removes_what_was_sent(box, link_to, opened, timed, wait_until):
    before = time.monotonic()
    with pytest.raises(KeyboardInterrupt), link_to() as link:
        opened(link)
        threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        timed(link, min_duration=60)
    assert time.monotonic() - before < 30
    wait_until(lambda: not box.agents())
    assert not box.left()


def test_a_stale_agent_is_never_run(box, link_to):
    folder = box.cache / "device" / "agent"
    folder.mkdir(parents=True)
    digest = json.loads(transport.greeting(None)[8:].split(b"}")[0] + b"}")["sha256"]
    for name in (f"{digest}.pyz", f"{'0' * 64}.pyz"):
        (folder / name).write_text("raise SystemExit('stale')")
    with link_to() as link:
        assert link.ask("describe")[0]["device"]["machine"]
        assert [path.name for path in folder.iterdir()] == [f"{digest}.pyz"]
    assert not box.left()


def test_an_agent_of_another_version(box, link_to, monkeypatch):
    other = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(shipped.zipapp())) as ours, zipfile.ZipFile(other, "w") as theirs:
        for name in ours.namelist():
            theirs.writestr(name, ours.read(name).replace(b"PROTOCOL = 1", b"PROTOCOL = 99"))
    monkeypatch.setattr(shipped, "zipapp", other.getvalue)
    with pytest.raises(EdgeSeError, match="the host speaks protocol 1, this agent 99; use the same version"), link_to():
        pass


def test_an_altered_agent_is_refused(box, link_to, monkeypatch):
    whole = transport.greeting(None)
    monkeypatch.setattr("edge_se.backends.machines.link.greeting", lambda python: whole[:-20] + b"#" * 20)
    with pytest.raises(EdgeSeError, match="the agent arrived altered"), link_to():
        pass


def test_a_full_disk(box, link_to, opened, tmp_path, timed):
    disk = tmp_path / "disk"
    disk.mkdir()
    room = len(shipped.zipapp()) // 1024 + 40  # for the agent, and for no model
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={room}k", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("mounting a tmpfs takes root")
    try:
        box.profile(cache=disk)
        with pytest.raises(EdgeSeError, match=r"cannot be written \(No space left on device, .* MB free, .* MB needed\)"
                                              r"; free some space on the device"), link_to() as link:
            opened(link)
        assert not [path for path in disk.rglob("*") if path.is_file() and path.name != "lock"]
        subprocess.run(["mount", "-o", "remount,size=20k", disk], check=True)
        with pytest.raises(EdgeSeError, match=r"agent cannot be written \(No space left.*\); free some"), link_to():
            pass
        subprocess.run(["mount", "-o", "remount,size=50m", disk], check=True)
        with link_to() as link:
            opened(link)
            assert timed(link)[0]["ok"]
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


@pytest.mark.parametrize(("where", "what"), [("", "Not a directory"), ("device", "Not a directory"),
                                             ("device/engines", "File exists")])
def test_a_cache_that_is_not_the_users_is_told_with_what_helps(box, link_to, tmp_path, where, what):
    """As after a run under sudo; space would not help. A file in its way refuses root, too."""
    path = tmp_path / "cache" / where
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")
    box.profile(cache=tmp_path / "cache")
    with pytest.raises(EdgeSeError, match=rf"cannot be written \({what}\); make it yours \(chown"), link_to():
        pass


def test_one_measurement_at_a_time(box, link_to, monkeypatch):
    with link_to(), pytest.raises(EdgeSeError, match=r"process \d+ measures here for someone else; wait"), link_to():
        pass


@pytest.mark.parametrize("text", [
    "ssh://-oProxyCommand=touch pwned", "ssh://$(touch pwned)", "ssh://a b", "ssh://user;touch pwned@host",
    "ssh://-lroot@host", "ssh://host:0", "ssh://host:99999", "ssh://host:22x", "ssh://", "ssh://@host", "ssh://host/path",
    "ssh://host:\u0662\u0662", "ssh://ho\nst", "ssh://[::1"])
def test_hostile_host_names(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EdgeSeError, match=r"^--device: .*write ssh://USER@HOST:PORT"), machine_of(text):
        pass
    assert not list(tmp_path.iterdir())


def test_a_password_does_not_stand_on_a_command_line():
    with pytest.raises(EdgeSeError, match=r"a password must not stand on a command line; use a key"), \
            machine_of("ssh://root:secret@host"):
        pass


def test_hostile_requests_are_refused(link_to):
    with link_to() as link:
        with pytest.raises(EdgeSeError, match=r"no SHA-256: '../../etc/passwd'"):
            link.ask("put", b"x", sha256="../../etc/passwd", offset=0, total=1, kind="files")
        with pytest.raises(EdgeSeError, match="unknown runtime 'os'"):
            link.open("s", b"content", runtime="os", threads=1, target="any", precision="fp32", batch=1)
        with pytest.raises(EdgeSeError, match="unknown request 'nonsense'"):
            link.ask("nonsense")
        with pytest.raises(EdgeSeError, match="a file arrived altered"):
            link.ask("put", b"x", sha256="0" * 64, offset=0, total=1, kind="files")
        with pytest.raises(EdgeSeError, match="onnxruntime cannot load it"):
            link.open("s", b"no model", runtime="onnxruntime", threads=1, target="any", precision="fp32", batch=1)
