"""How the agent is started: through OpenSSH on another machine, or as a process of this one.

The remote command is a constant. Whatever varies (the agent, names, settings) travels on standard input, so no shell
ever sees a user's text.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import Any, Protocol

from edge_se.backends.machines.destination import Destination, require_ssh, ssh_command
from edge_se.core.errors import EdgeSeError, UnavailableError
from edge_se.device import shipped
from edge_se.device.agent import MAGIC
from edge_se.device.agent.cache import MAY_WRITE, MORE_ROOM

# It runs in whatever `python3` the device has, and tells when that is too old. What it reads: 8 digits, a JSON header
# of that length, the agent. The agent is stored anew each time, so a stale or altered one is never run.
_BOOTSTRAP = '''
import errno, hashlib, json, os, subprocess, sys
def take(count):
    parts = b""
    while len(parts) < count:
        part = os.read(0, min(count - len(parts), 65536))
        if not part:
            sys.exit(1)
        parts += part
    return parts
def fail(what, fix):
    text = json.dumps({"ok": False, "error": {"kind": "bootstrap", "what": what, "fix": fix}}).encode("ascii")
    os.write(1, MAGIC + len(text).to_bytes(4, "big") + text)
    sys.exit(1)
try:
    header = json.loads(take(int(take(8))).decode("utf-8"))
    content = take(header["size"])
except (ValueError, KeyError, TypeError):
    fail("a start-up file there eats the input", "let ~/.bashrc and its like read nothing unless a person is there: "
         "put what asks behind `case $- in *i*)`")
if sys.version_info < (3, 8) and not header["python"]:
    fail("its python3 is %d.%d; 3.8 or later is needed" % sys.version_info[:2], "name another with --python")
if hashlib.sha256(content).hexdigest() != header["sha256"]:
    fail("the agent arrived altered", "run it again")
base = os.environ.get("EDGE_SE_CACHE") or os.path.join(
    os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "edge-se")
folder = os.path.join(base, "device", "agent")
path = os.path.join(folder, header["sha256"] + ".pyz")
try:
    if not os.path.isdir(folder):
        os.makedirs(folder)
    for name in os.listdir(folder):
        if name != header["sha256"] + ".pyz":
            os.unlink(os.path.join(folder, name))
    aside = path + "." + str(os.getpid())
    with open(aside, "wb") as file:
        file.write(content)
    os.rename(aside, path)
except (IOError, OSError) as error:
    fail("%s cannot be written (%s)" % (folder, error.strerror),
         MORE_ROOM if error.errno in (errno.ENOSPC, errno.EDQUOT) else MAY_WRITE)
python = os.path.expanduser(header["python"] or sys.executable)
if header["python"]:
    try:
        asked = subprocess.Popen([python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        said = asked.communicate()[0].decode("utf-8", "replace").strip()
    except OSError as error:
        fail("%s cannot be run (%s)" % (python, error.strerror),
             "give the path of a Python on the device with --python")
    numbers = said.split(".")
    if asked.returncode or len(numbers) != 2 or not all(number.isdigit() for number in numbers):
        fail("%s is no Python that can start (exit code %d): %s" % (python, asked.returncode, said[-300:]),
             "name a Python that runs there with --python")
    if tuple(map(int, numbers)) < (3, 8):
        fail("%s is Python %s; 3.8 or later is needed" % (python, said), "name another with --python")
try:
    code = subprocess.call([python, path, "serve"])  # not exec: OpenSSH tells a killed command from no other end
except OSError as error:
    fail("%s cannot be run (%s)" % (python, error.strerror), "give the path of a Python on the device with --python")
sys.exit(code if code >= 0 else 128 - code)
'''


def bootstrap() -> str:
    """Python that receives the agent, stores it and runs it; without quotes, blanks or line ends."""
    program = f"MAGIC, MORE_ROOM, MAY_WRITE = {(MAGIC, MORE_ROOM, MAY_WRITE)!r}\n{_BOOTSTRAP}"
    return base64.b64encode(program.encode()).decode()


def remote_command() -> str:
    """The one thing that the device's shell sees, the same for every device and every user."""
    return f"python3 -c 'import base64;exec(base64.b64decode(\"{bootstrap()}\"))'"


def greeting(python: str | None) -> bytes:
    """What the bootstrap reads: the agent and where to run it."""
    content = shipped.zipapp()
    told = {"python": python, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    header = json.dumps(told).encode()
    return b"%08d" % len(header) + header + content


class Conversation(Protocol):
    """What is used of a process: an agent hears on `stdin`, answers on `stdout` and complains on `stderr`."""

    stdin: Any
    stdout: Any
    stderr: Any

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code; subprocess.TimeoutExpired while it lives."""
        ...

    def kill(self) -> None:
        """Ends it at once."""
        ...


class Transport(Protocol):
    """Starts an agent, and explains how one ended."""

    @property
    def shown(self) -> str:
        """Where the device is, for messages."""
        ...

    @property
    def retries(self) -> int:
        """How often a dropped connection is made again."""
        ...

    @property
    def bootstraps(self) -> bool:
        """Whether what it starts receives the agent first (`greeting`)."""
        ...

    @property
    def agent_sha256(self) -> str:
        """The hash of the agent that it starts."""
        ...

    def start(self) -> Conversation:
        """The conversation with an agent; UnavailableError where none can be had."""
        ...

    def why_ended(self, code: int, said: str, printed: str = "", spoke: bool = False) -> EdgeSeError:
        """The error for a process that ended with `code` and wrote `said` to stderr.

        `printed` is what came on stdout in place of the agent, `spoke` whether that had spoken before.
        """
        ...

    def why_silent(self, seconds: float) -> EdgeSeError:
        """The error for a process that lives and gave no agent within so many seconds."""
        ...


@dataclass(frozen=True, kw_only=True)
class _Shipped:
    """Starts a process that receives the agent."""

    bootstraps: bool = True

    @property
    def agent_sha256(self) -> str:
        """Of the agent as it is shipped."""
        return shipped.sha256()


@dataclass(frozen=True, kw_only=True)
class LocalProcess(_Shipped):
    """An agent on this machine, by default in the Python that runs this."""

    python: str | None = None
    shown: str = "this machine"
    retries: int = 0

    def start(self) -> subprocess.Popen[bytes]:
        """The same bootstrap, without a shell."""
        program = f"import base64;exec(base64.b64decode('{bootstrap()}'))"
        return _popen([sys.executable, "-c", program])

    def why_ended(self, code: int, said: str, printed: str = "", spoke: bool = False) -> EdgeSeError:
        """A local process ends early only when something kills it."""
        return EdgeSeError(f"the agent ended ({_ending(code)}){_quoted(said)}", where=self.shown,
                           fix="look for what ended it (out of memory?) and run it again")

    def why_silent(self, seconds: float) -> EdgeSeError:
        """Nothing but a machine that is overloaded makes a local agent that slow."""
        return UnavailableError(f"the agent did not start within {seconds:.0f} s", where=self.shown,
                                fix="wait until this machine does less, and run it again")


@dataclass(frozen=True, kw_only=True)
class OpenSsh(_Shipped):
    """The system's OpenSSH, which honours known_hosts, keys, the SSH agent, aliases and jump hosts as the user set up.

    It asks nothing: an unknown host key or a missing key is refused with the fix.
    """

    destination: Destination
    retries: int = 3

    @property
    def shown(self) -> str:
        """`ssh://user@host:port`."""
        return self.destination.shown

    def start(self) -> subprocess.Popen[bytes]:
        """One connection. It counts as dropped after 15 seconds without an answer."""
        require_ssh(shutil.which("ssh"))
        options = {"BatchMode": "yes", "StrictHostKeyChecking": "yes", "ConnectTimeout": "10",
                   "ServerAliveInterval": "5", "ServerAliveCountMax": "3", "ClearAllForwardings": "yes",
                   "RequestTTY": "no", "RemoteCommand": "none", "LogLevel": "ERROR", "ControlMaster": "no",
                   "ControlPath": "none"}
        command = [*ssh_command(), *(part for key, value in options.items() for part in ("-o", f"{key}={value}")),
                   *self.destination.arguments, remote_command()]
        return _popen(command)

    def why_ended(self, code: int, said: str, printed: str = "", spoke: bool = False) -> EdgeSeError:
        """OpenSSH's own words turned into what to do.

        They count with its own exit code alone, and before the agent spoke: start-up files print "Permission denied",
        too.
        """
        for words, what, fix in _SSH_ENDINGS if code == 255 and not spoke else ():
            if words in said:
                return UnavailableError(what, where=self.shown, fix=fix.replace("HOST", self._reachable))
        if "No module named 'numpy'" in said:
            return UnavailableError("its Python has no numpy", where=self.shown, fix="on the device: `sudo apt install "
                                    "python3-numpy`, or name a Python that has it with --python")
        if not spoke and (error := self._before_it_spoke(code, said, printed)):
            return error
        if code == 255:
            return UnavailableError(f"the connection failed or was dropped{_quoted(said)}", where=self.shown,
                                    fix="check the network and run it again: what was sent and built is kept")
        return UnavailableError(f"the agent ended there ({_ending(code)}){_quoted(said)}", where=self.shown,
                                fix="look for what ended it (out of memory? `dmesg` tells) and run it again")

    def why_silent(self, seconds: float) -> EdgeSeError:
        """The error for a connection that is there and gave no agent within so many seconds."""
        return UnavailableError(f"the agent did not start within {seconds:.0f} s", where=self.shown,
                                fix=_LOGIN.replace("HOST", self._reachable))

    def _before_it_spoke(self, code: int, said: str, printed: str) -> EdgeSeError | None:
        """Why there was no agent; None for the connection itself, and for an agent that a signal ended."""
        if "Fatal Python error" in said:
            return UnavailableError(f"its Python cannot start{_quoted(said, 'Fatal Python error')}", where=self.shown,
                                    fix="no start-up file there should set PYTHONHOME; or install python3 anew")
        if "Traceback" in said:
            return UnavailableError(f"its Python cannot run the agent{_quoted(said)}", where=self.shown,
                                    fix="look at PYTHONPATH there, or name another Python with --python")
        if code == 127 or re.search(r"python3: command not found", said, re.IGNORECASE):
            return UnavailableError(f"has no python3{_quoted(said, 'python3')}", where=self.shown,
                                    fix="install it there: `sudo apt install python3 python3-numpy`")
        if code == 126:
            return UnavailableError(f"its python3 cannot be run{_quoted(said)}", where=self.shown,
                                    fix="install it anew: `sudo apt install --reinstall python3`")
        if code < 0 or code > 128:
            return None
        return UnavailableError(f"its login did not run the command ({_ending(code)}){_quoted(printed or said)}",
                                where=self.shown, fix=_LOGIN.replace("HOST", self._reachable))

    @property
    def _reachable(self) -> str:
        """The destination as `ssh` and `ssh-copy-id` take it, which know no brackets."""
        place = self.destination
        host = place.host.strip("[]")
        return f"{f'-p {place.port} ' if place.port else ''}{f'{place.user}@' if place.user else ''}{host}"


_LOGIN = ("`ssh HOST echo yes` must print yes: a start-up file there starts another program (exec) or ends, or the "
          "account has a fixed command or no shell")


_SSH_ENDINGS = (
    ("REMOTE HOST IDENTIFICATION HAS CHANGED", "its host key is another than the known one",
     "if the device was flashed anew, `ssh-keygen -R` its name and `ssh HOST` once; else somebody may be listening"),
    ("Host key verification failed", "its host key is unknown",
     "`ssh HOST` once, compare the fingerprint with the device's, and accept it"),
    ("bad permissions", "your key's file is open to others, so OpenSSH does not use it",
     "`chmod 600` the file that `ssh HOST` names"),
    ("Permission denied", "it refuses your key",
     "`ssh-copy-id HOST`; a key with a passphrase must be in the SSH agent: `ssh-add`; an account that is locked, "
     "expired or without a shell of /etc/shells is refused with the same words, and the server's log tells"),
    ("Too many authentication failures", "it refuses your keys", "name one with IdentityFile in ~/.ssh/config"),
    ("Could not resolve hostname", "the name is unknown", "check it, or give the address"),
    ("Connection refused", "nothing listens there", "check the port; on the device: `sudo systemctl start ssh`"),
    ("Connection timed out", "it does not answer", "check that it is on and in this network"),
    ("No route to host", "it cannot be reached", "check that it is on and in this network"),
    ("Network is unreachable", "it cannot be reached", "check that it is on and in this network"),
    ("Bad configuration option", "the SSH configuration is broken", "`ssh -G HOST` tells where"),
    ("Bad owner or permissions", "the SSH configuration may be written by others, so OpenSSH does not read it",
     "`chmod 600 ~/.ssh/config`; it must be yours"),
)


def _popen(command: list[str]) -> subprocess.Popen[bytes]:
    """In a session of its own: an interrupt is this process's, which tells the agent in order."""
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            env={**os.environ, "LC_ALL": "C"}, start_new_session=True)


def _ending(code: int) -> str:
    signal_number = -code if code < 0 else code - 128
    return f"signal {signal_number}" if code < 0 or 128 < code < 160 else f"exit code {code}"


def _quoted(said: str, about: str = "") -> str:
    """The last line that tells something, of those with `about` if there are any; without control characters."""
    shown = ["".join(letter if letter.isprintable() else " " for letter in line).strip() for line in said.splitlines()]
    lines = [line for line in shown if any(letter.isalnum() for letter in line)]
    lines = [line for line in lines if about in line] or lines
    return f": {lines[-1][:300]}" if lines else ""
