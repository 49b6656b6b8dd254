"""Joining a Ray cluster (the extra `cluster`): a running one by its address, or a local one."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from edge_se.core.errors import UnavailableError


def imported_ray(option: str, instead: str) -> Any:
    """The package, or UnavailableError that names the `option` and what to do `instead`."""
    try:
        import ray
    except ModuleNotFoundError as missing:
        raise UnavailableError("Ray is not installed", where=option,
                               fix=f"pip install 'edge-se[cluster]', or {instead}") from missing
    return ray


def address_of(address: str | None) -> str | None:
    """The `address` that was given, else $RAY_ADDRESS; None means a cluster of this machine."""
    return address or os.environ.get("RAY_ADDRESS") or None


@contextmanager
def joined(ray: Any, address: str | None, processors: int, option: str) -> Iterator[None]:
    """Within the block this process belongs to the cluster at `address`, else to a local one of `processors`.

    A cluster that the process had joined before is used, and left alone afterwards. Raises UnavailableError where none
    answers; `option` is named where there is no address.
    """
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent home unless the user says so
    before = signal.getsignal(signal.SIGTERM)
    if address:
        _require_answer(address)
    where: dict[str, Any] = {"address": address} if address else {
        "address": "local", "num_cpus": processors, "include_dashboard": False}
    try:
        ray.init(**where, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise _no_cluster(address or option, error) from error
    try:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)  # Ray takes it for itself
        yield
    finally:
        ray.shutdown()


def _require_answer(address: str) -> None:
    """UnavailableError where nothing listens at `HOST:PORT`; Ray itself would try for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not port.isdigit():  # `auto` and its like, which Ray resolves
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except (OSError, OverflowError) as error:
        raise _no_cluster(address, error) from error


def _no_cluster(address: str, error: Exception) -> UnavailableError:
    return UnavailableError(f"no Ray cluster answers ({str(error).splitlines()[0]})", where=address,
                            fix="check --address, or leave it out for a local cluster")
