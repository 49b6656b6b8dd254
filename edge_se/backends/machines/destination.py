"""Where a device is: `ssh://USER@HOST[:PORT]`, a host name, or an alias of the user's SSH configuration.

Every name is checked before OpenSSH sees it: it must not be able to pass for an option or a command.
"""

from __future__ import annotations

import ipaddress
import os
import re
import subprocess
from dataclasses import dataclass

from edge_se.core.errors import EdgeSeError, UnavailableError

HOST_VARIABLE, CONFIG_VARIABLE, ALIAS = "EDGE_SE_JETSON", "EDGE_SE_SSH_CONFIG", "jetson"
_NOBODY = "edge-se-no-such-host"
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,252}|\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9_.-]+)?\]")


@dataclass(frozen=True, kw_only=True)
class Destination:
    """A checked host name or alias; None leaves user and port to OpenSSH and its configuration."""

    host: str
    user: str | None = None
    port: int | None = None

    @property
    def shown(self) -> str:
        """`ssh://user@host:22`, as the user would write it."""
        return f"ssh://{self.user + '@' if self.user else ''}{self.host}{f':{self.port}' if self.port else ''}"

    @property
    def arguments(self) -> list[str]:
        """What `ssh` takes after its options."""
        return [*(["-p", str(self.port)] if self.port else []), *(["-l", self.user] if self.user else []), "--",
                self.host.strip("[]")]


def read_destination(text: str, where: str) -> Destination:
    """The destination in `[ssh://][USER@]HOST[:PORT]`; EdgeSeError for everything else, also for a password."""
    fix = "write ssh://USER@HOST:PORT, a host name, or an alias of your SSH configuration"
    rest = text.removeprefix("ssh://").removesuffix("/")
    user, at, address = rest.rpartition("@")
    if ":" in user:
        raise EdgeSeError("a password must not stand on a command line", where=where,
                          fix="use a key: `ssh-keygen`, then `ssh-copy-id USER@HOST`")
    if _is_ipv6(address):
        address = f"[{address}]"
    host, colon, port = address.rpartition(":") if not address.endswith("]") else (address, "", "")
    if not colon:
        host, port = address, ""
    if at and not _USER.fullmatch(user):
        raise EdgeSeError(f"{user!r} is no user name", where=where, fix=fix)
    if not _HOST.fullmatch(host):
        raise EdgeSeError(f"{host!r} is no host name", where=where, fix=fix)
    if colon and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise EdgeSeError(f"{port!r} is no port", where=where, fix=fix)
    return Destination(host=host, user=user or None, port=int(port) if port else None)


def _is_ipv6(text: str) -> bool:
    """Whether it is an IPv6 address without brackets, as `ssh` takes it; it leaves no room for a port."""
    try:
        return ipaddress.ip_address(text).version == 6
    except ValueError:
        return False


def ssh_command() -> list[str]:
    """`ssh`, with the configuration file in $EDGE_SE_SSH_CONFIG instead of the user's when that is set."""
    config = os.environ.get(CONFIG_VARIABLE)
    return ["ssh", *(["-F", config] if config else [])]


def has_alias(name: str) -> bool:
    """Whether the SSH configuration says anything about `name` that it does not say about every host."""
    told, other = (_resolved(host) for host in (name, _NOBODY))
    # A setting of every host may hold the host's name (%h), or a hash of it (%C): ControlPath mostly does.
    own = re.compile(rf"{re.escape(name)}|{_NOBODY}|\b[0-9a-f]{{40}}\b")
    return told is not None and other is not None and own.sub("*", told) != own.sub("*", other)


def _resolved(host: str) -> str | None:
    """All settings for `host`, one a line."""
    try:
        command = [*ssh_command(), "-G", "--", host]
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return None if done.returncode else done.stdout


def find_jetson(host: str | None) -> Destination | None:
    """The Jetson that the user means: --host, else $EDGE_SE_JETSON, else the SSH alias `jetson`, else None."""
    if host:
        return read_destination(host, "--host")
    named = os.environ.get(HOST_VARIABLE)
    if named:
        return read_destination(named, f"${HOST_VARIABLE}")
    return Destination(host=ALIAS) if has_alias(ALIAS) else None


def require_ssh(version: str | None) -> None:
    """UnavailableError where OpenSSH is not installed; `version` is where its program was found."""
    if version is None:
        raise UnavailableError("OpenSSH's `ssh` is not installed", where="--device",
                               fix="install it: `apt install openssh-client`")
