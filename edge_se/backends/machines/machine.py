"""Where a measurement is taken: this machine, or a device behind an agent. Both tell the same about themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from edge_se.backends.base import Backend, Device
from edge_se.backends.machines.link import Link
from edge_se.backends.remote import remote_runtimes
from edge_se.backends.table import BACKENDS
from edge_se.core import environment
from edge_se.device import agent, shipped


class Machine(Protocol):
    """A machine with its runtimes."""

    device: Device
    backends: Mapping[str, Backend]
    facts: dict[str, Any]

    def state(self) -> dict[str, Any]:
        """Power mode, clocks, temperatures and throttling now; see `edge_se.device.agent.state`."""
        ...

    def idle(self, seconds: float) -> list[dict[str, Any]]:
        """Power samples while it does nothing; empty where it cannot tell."""
        ...


class Here:
    """The processor of this machine, in this process."""

    def __init__(self, threads: int) -> None:
        self.device = Device(kind="cpu", threads=threads)
        self.backends: Mapping[str, Backend] = BACKENDS
        self.facts: dict[str, Any] = {"name": environment.hardware()["cpu"], "power_sources": agent.power_sources(),
                                      "agent_sha256": shipped.sha256()}

    def state(self) -> dict[str, Any]:
        """Of this machine."""
        return agent.state()

    def idle(self, seconds: float) -> list[dict[str, Any]]:
        """Of this machine."""
        return agent.idle(seconds)


class There:
    """A device behind an agent."""

    def __init__(self, link: Link, threads: int) -> None:
        self._link = link
        self.device = Device(kind="remote", threads=threads)
        self.facts: dict[str, Any] = link.ask("describe")[0]["device"] | {"agent_sha256": link.agent_sha256}
        self.backends: Mapping[str, Backend] = remote_runtimes(link, self.facts)

    def state(self) -> dict[str, Any]:
        """Of the device."""
        return dict(self._link.ask("state")[0]["state"])

    def idle(self, seconds: float) -> list[dict[str, Any]]:
        """Of the device."""
        return list(self._link.ask("idle", seconds=seconds)[0]["power"])
