"""A real OpenSSH server on loopback, and a device: a Python with nothing but numpy and onnxruntime."""

import os
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
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
    monkeypatch.delenv("EDGE_SE_DATA", raising=False)  # ten thousand images would go over, and stay
    _server.client = client
    yield _server
    for process in _server.agents():
        os.kill(process, signal.SIGKILL)


@pytest.fixture
def gpu_of(box, cudart_file, tmp_path):
    """(source of its tensorrt.py) -> a device with the stand-ins of tests/device."""
    def make(source):
        packages = tmp_path / "packages"
        packages.mkdir()
        for name in ("fake_tensorrt.py", "answering_tensorrt.py"):
            shutil.copy(Path(__file__).parents[2] / "device" / name, packages)
        (packages / "tensorrt.py").write_text(source)
        box.profile(f"export PYTHONPATH={packages} LD_LIBRARY_PATH={cudart_file.parent}")
        return box
    return make


@pytest.fixture
def dropbear(box, tmp_path):
    """(login shell) -> the port of a Dropbear that lets the client in, whose home is a folder of the test.

    Dropbear takes home and shell from /etc/passwd alone, so it gets one of its own, in a mount namespace.
    """
    programs = [shutil.which(name) or f"/usr/sbin/{name}" for name in ("dropbear", "dropbearkey", "unshare")]
    if not all(Path(program).exists() for program in programs):
        pytest.skip("no Dropbear here: apt install dropbear-bin")
    if os.getuid() != 0:
        pytest.skip("only root may give Dropbear a user of its own")
    server, keys, unshare = programs
    subprocess.run([keys, "-t", "ed25519", "-f", tmp_path / "key"], check=True, capture_output=True)
    started = []

    def start(shell):
        home = tmp_path / f"home{len(started)}"
        (home / ".ssh").mkdir(parents=True, mode=0o700)
        shutil.copy(box.folder / "user.pub", home / ".ssh" / "authorized_keys")
        (home / ".ssh" / "authorized_keys").chmod(0o600)
        lines = [f"root:x:0:0:root:{home}:{shell}" if line.startswith("root:") else line
                 for line in Path("/etc/passwd").read_text().splitlines()]
        (home / "passwd").write_text("\n".join(lines) + "\n")
        (home / "shells").write_text(f"{shell}\n")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        mounts = "; ".join(f"mount --bind {home / name} /etc/{name}" for name in ("passwd", "shells"))
        started.append(subprocess.Popen(
            [unshare, "--mount", "sh", "-c",
             f"{mounts}; exec {server} -F -E -r {tmp_path / 'key'} -p 127.0.0.1:{port}"],
            stderr=subprocess.DEVNULL, env={"PATH": f"{box.bin}:/usr/bin:/bin:/usr/sbin"}))
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        told = subprocess.run([keys, "-y", "-f", tmp_path / "key"], capture_output=True, text=True, check=True).stdout
        public = next(line for line in told.splitlines() if line.startswith("ssh-ed25519"))
        with open(box.client / "known", "a") as known:
            known.write(f"[localhost]:{port} {public}\n")
        return home, port
    yield start
    for process in started:
        process.terminate()
        process.wait()


@pytest.fixture
def ipv6_box(box):
    """The same device, which listens on the loopback of IPv6 as well."""
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", box.port))
        except OSError as error:
            pytest.skip(f"no IPv6 here: {error}")
    box.stop()
    server = (box.folder / "server").read_text()
    (box.folder / "server").write_text(f"{server}ListenAddress ::1\n")
    box.start()
    host, client = (box.folder / "host.pub").read_text(), box.client
    with open(client / "known", "a") as known:
        known.write(f"[::1]:{box.port} {host}")
    with open(client / "config", "a") as config:
        config.write(f"Host v6\n  HostName ::1\n  Port {box.port}\n")
    yield box
    box.stop()
    (box.folder / "server").write_text(server)
    box.start()


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


class Notes:
    """Progress that keeps what it was told."""

    def __init__(self):
        from edge_se.core.progress import SILENT

        self.notes, self.task = [], SILENT.task

    def note(self, message):
        self.notes.append(message)


@pytest.fixture
def notes():
    return Notes()


@pytest.fixture
def opened(tiny_onnx):
    """(link) -> opens the tiny net there as session `s`."""
    def open_in(link):
        link.open("s", tiny_onnx.content, runtime="onnxruntime", threads=1, target="any", precision="fp32", batch=1)
    return open_in


@pytest.fixture
def timed():
    """(link, plan) -> the answer and nanoseconds of session `s`, timed on one image."""
    def make(link, **plan):
        return link.ask("time", np.zeros((1, 3, 32, 32), np.float32).tobytes(), session="s", shape=(1, 3, 32, 32),
                        **({"min_duration": 0.02, "min_runs": 3, "warmup": 0.0} | plan))
    return make


@pytest.fixture
def wait_until():
    """(condition, seconds) -> waits until it is true, and fails when it is not in time."""
    def wait(true, seconds=15):
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end
            time.sleep(0.1)
    return wait
