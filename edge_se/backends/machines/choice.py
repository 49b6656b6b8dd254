"""Which machine `--device` means, and the way there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from edge_se.backends.machines.destination import ALIAS, HOST_VARIABLE, find_jetson, read_destination
from edge_se.backends.machines.link import Link
from edge_se.backends.machines.machine import Here, Machine, There
from edge_se.backends.machines.transport import LocalProcess, OpenSsh, Transport
from edge_se.backends.machines.web_files import find_runtime
from edge_se.backends.machines.web_page import LOOPBACK, InBrowser, InNode, WebPage, read_address
from edge_se.core.environment import importable
from edge_se.core.errors import EdgeSeError, UnavailableError, did_you_mean
from edge_se.core.progress import SILENT, Progress
from edge_se.device import agent

DEVICES = ("cpu", "cuda", "jetson", "loopback", "web")
TREE = "/proc/device-tree"
SYSTEM_PYTHON = "/usr/bin/python3"


@dataclass(frozen=True, kw_only=True)
class Web:
    """`--device web`: in a browser that opens the served page, else in node; `runtime` is onnxruntime-web's folder."""

    serve: bool = False
    runtime: Path | None = None


def is_jetson() -> bool:
    """Whether this very machine is a Jetson."""
    return agent.is_jetson()


def way_to_jetson(host: str | None) -> Transport | None:
    """The way to the Jetson that the user means; None when there is none. `host` wins over this machine."""
    destination = None if is_jetson() and not host else find_jetson(host)
    if destination:
        return OpenSsh(destination=destination)
    return LocalProcess() if is_jetson() else None


def no_jetson() -> str:
    """Where a Jetson was looked for, and how to name one."""
    return (f"no Jetson found: looked for nvidia,tegra in {TREE}/compatible, 'Jetson' in {TREE}/model and for "
            "/etc/nv_tegra_release here, for --host, for "
            f"${HOST_VARIABLE} and for the alias '{ALIAS}' in your SSH configuration. To measure on one: "
            "`edge-se bench --device jetson --host USER@HOST` (docs/jetson.md)")


@contextmanager
def machine_of(device: str, *, host: str | None = None, python: str | None = None, web: Web | None = None,
               threads: int = 1, progress: Progress = SILENT) -> Iterator[Machine]:
    """The machine, ready to measure; EdgeSeError when it is unknown, cannot be reached or is not what it should be."""
    transport = way_to(device, host, python, web, progress)
    if transport is None:
        yield Here(threads)
        return
    local = isinstance(transport, LocalProcess)
    python = python or (_python_with_tensorrt() if local else None)
    with (closing(transport) if isinstance(transport, WebPage) else nullcontext(),
          Link(transport, python=python, progress=progress) as link):
        machine = There(link, threads)
        if device == "jetson" and not machine.facts["jetson"]:
            raise EdgeSeError(f"is no Jetson but {machine.facts['name']}", where=link.shown,
                              fix=f"use --device {link.shown}")
        if device == "cuda" and machine.facts["gpu"] is None:
            told = machine.facts["runtimes"].items()
            reasons = [f"{name}: {facts['reason']}" for name, facts in told if "reason" in facts]
            raise UnavailableError("; ".join(["no CUDA device", *reasons]), where="--device cuda",
                                   fix="use --device cpu, or ssh://USER@HOST of a machine that has a GPU")
        yield machine


@dataclass(frozen=True, kw_only=True)
class Place:
    """A machine as a user names it: `--device`, `--host`, `--python`. `cpu` is this machine, without an agent."""

    device: str = "cpu"
    host: str | None = None
    python: str | None = None
    name: str | None = None

    @property
    def shown(self) -> str:
        """Its name, else where it is."""
        return self.name or " ".join(part for part in (self.device, self.host) if part)

    @property
    def here(self) -> bool:
        """Whether this process measures."""
        return self.device == "cpu"

    def require_sensible(self) -> None:
        """Raises EdgeSeError for a device that is none and for options that are not of it; it need not be there."""
        with suppress(UnavailableError):
            way_to(self.device, self.host, self.python)

    def open(self, progress: Progress) -> AbstractContextManager[Machine]:
        """The machine, ready to measure on one thread."""
        return machine_of(self.device, host=self.host, python=self.python, progress=progress)


HERE = Place()


def way_to(device: str, host: str | None = None, python: str | None = None, web: Web | None = None,
           progress: Progress = SILENT) -> Transport | None:
    """The way to the agent of `device`; None for the processor of this machine.

    EdgeSeError for an unknown device and for options that are not of it.
    """
    way = _way_to(device, host, web or Web(), progress)
    if python and (way is None or not way.bootstraps):
        raise EdgeSeError("is for a device with an agent in Python", where="--python",
                          fix=f"leave it out with --device {device}")
    return way


def _way_to(device: str, host: str | None, web: Web, progress: Progress) -> Transport | None:
    if host and device != "jetson" and not (device == "web" and web.serve):
        raise EdgeSeError(f"names a Jetson, and the device is '{device}'", where="--host",
                          fix="use it with --device jetson or --device web --serve, or write --device ssh://USER@HOST")
    if device != "web" and web != Web():
        raise EdgeSeError(f"is of a page, and the device is '{device}'",
                          where="--serve" if web.serve else "--web-runtime", fix="use it with --device web")
    if device == "cpu":
        return None
    if device == "web":
        runtime = find_runtime(web.runtime)
        if not web.serve:
            return InNode(runtime=runtime)
        return InBrowser(runtime=runtime, listen=read_address(host) if host else (LOOPBACK, 0), progress=progress)
    if device.startswith("ssh://"):
        return OpenSsh(destination=read_destination(device, "--device"))
    if device in ("cuda", "loopback"):  # the second is this machine as a device sees itself, to try the way there
        return LocalProcess()
    if device == "jetson":
        way = way_to_jetson(host)
        if way is None:
            raise UnavailableError(no_jetson(), where="--device jetson")
        return way
    raise EdgeSeError(f"unknown device '{device}'", where="--device", fix=did_you_mean(device, (*DEVICES, "ssh://")))


def _python_with_tensorrt() -> str | None:
    """The Python with TensorRT: None for that of this process, else the system's, where JetPack puts it."""
    here = any(importable(name) for name in ("tensorrt", "tensorrt_rtx"))
    return SYSTEM_PYTHON if not here and is_jetson() and Path(SYSTEM_PYTHON).exists() else None
