"""Options that say where shards of images are evaluated."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from edge_se.core.errors import EdgeSeError
from edge_se.reporting.console import ConsoleProgress

if TYPE_CHECKING:
    from edge_se.cluster.parts import Cluster

OnCluster = Annotated[bool, typer.Option(
    "--cluster", help="Evaluate in shards on a Ray cluster: that at --address or $RAY_ADDRESS, else a local one.")]
Workers = Annotated[Optional[int], typer.Option(
    min=1, help="--cluster: workers of each machine, with equal shares of its processors. Default: one a processor.")]
Address = Annotated[Optional[str], typer.Option(help="--cluster: address of a running cluster.")]


@contextmanager
def cluster_of(wanted: bool, workers: Optional[int], address: Optional[str],
               progress: ConsoleProgress) -> Iterator[Optional[Cluster]]:
    """What `--cluster` asks for, ended with the block; None without it."""
    if not wanted:
        for option, value in (("--workers", workers), ("--address", address)):
            if value is not None:
                raise EdgeSeError("is for --cluster", where=option, fix=f"give --cluster, too, or leave {option} out")
        yield None
        return
    from edge_se.cluster.ray_cluster import RayCluster

    # Ray tells of a killed worker on stdout, which is the command's result alone.
    with redirect_stdout(sys.stderr), RayCluster(workers, address, progress.note) as cluster:
        yield cluster
