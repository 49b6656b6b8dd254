"""A real OpenSSH server on loopback, and a device: a Python with nothing but numpy and onnxruntime."""

import os
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

SSHD = shutil.which("sshd") or "/usr/sbin/sshd"
SERVER = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
AuthorizedKeysFile {folder}/authorized
PidFile {folder}/pid
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes
PrintMotd no
ForceCommand . {folder}/profile; eval "$SSH_ORIGINAL_COMMAND"
"""
CLIENT = """
Host orin
  HostName localhost
  Port {port}
Host behind
  HostName localhost
  Port {port}
  ProxyJump orin
Host *
  IdentityFile {folder}/user
  IdentitiesOnly yes
  IdentityAgent none
  UserKnownHostsFile {folder}/known
  GlobalKnownHostsFile /dev/null
"""


@dataclass
class Box:
    """The server and what its visitors find: `profile` is what a login shell runs."""

    folder: Path
    port: int
    bin: Path
    cache: Path
    process: subprocess.Popen = field(default=None)

    @property
    def url(self):
        return f"ssh://localhost:{self.port}"

    def profile(self, lines="", *, cache=None, path=None):
        (self.folder / "profile").write_text(
            f"export PATH={path or self.bin}:/usr/bin:/bin EDGE_SE_CACHE={cache or self.cache}\n{lines}\n")

    def start(self):
        self.process = subprocess.Popen([SSHD, "-D", "-f", self.folder / "server", "-E", self.folder / "log"])
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise AssertionError((self.folder / "log").read_text())

    def stop(self):
        self.process.terminate()
        self.process.wait()

    def agents(self):
        """Process ids of agents that live below this box's cache."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                said = (folder / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"serve" in said and any(bytes(self.cache) in part for part in said):
                found.append(int(folder.name))
        return found

    def cut(self):
        """Ends the server's side of every connection, as a network does."""
        for child in subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True,
                                    text=True).stdout.split():
            grandchildren = subprocess.run(["pgrep", "-P", child], capture_output=True, text=True).stdout.split()
            for process in (child, *grandchildren):
                if b"sshd" in Path(f"/proc/{process}/cmdline").read_bytes():
                    os.kill(int(process), signal.SIGKILL)

    def left(self):
        """What a run left behind, but for engines, the empty lock and empty folders."""
        return [path for path in self.cache.rglob("*") if path.is_file() and path.name != "lock"]


@pytest.fixture(scope="session")
def _server(tmp_path_factory, bare_python):
    if not Path(SSHD).exists() or not shutil.which("ssh-keygen"):
        pytest.skip("no OpenSSH server here: apt install openssh-server")
    Path("/run/sshd").mkdir(exist_ok=True) if os.access("/run", os.W_OK) else None
    folder = tmp_path_factory.mktemp("sshd")
    for name in ("host", "user", "stranger"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shutil.copy(folder / "user.pub", folder / "authorized")
    (folder / "server").write_text(SERVER.format(port=port, folder=folder))
    box = Box(folder=folder, port=port, bin=bare_python, cache=folder / "cache")
    box.profile()
    box.start()
    yield box
    box.stop()


@pytest.fixture
def box(_server, tmp_path, monkeypatch):
    """A device that this test's client knows, with an empty cache."""
    _server.cache = tmp_path / "device-cache"
    _server.profile()
    client = tmp_path / "client"
    client.mkdir()
    for name in ("user", "stranger"):
        shutil.copy(_server.folder / name, client / name)
    (client / "known").write_text(f"[localhost]:{_server.port} {(_server.folder / 'host.pub').read_text()}")
    (client / "config").write_text(CLIENT.format(port=_server.port, folder=client))
    monkeypatch.setenv("EDGE_SE_SSH_CONFIG", str(client / "config"))
    monkeypatch.delenv("EDGE_SE_JETSON", raising=False)
    _server.client = client
    yield _server
    for process in _server.agents():
        os.kill(process, signal.SIGKILL)


@pytest.fixture
def link_to(box):
    """(destination text) -> a Link over OpenSSH."""
    from edge_se.backends.machines.destination import read_destination
    from edge_se.backends.machines.link import Link
    from edge_se.backends.machines.transport import OpenSsh

    def make(text=None, **settings):
        destination = read_destination(text or box.url, "--device")
        return Link(OpenSsh(destination=destination, **{"retries": settings.pop("retries", 3)}), **settings)
    return make
