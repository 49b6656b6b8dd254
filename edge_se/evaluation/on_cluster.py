"""Logits computed in shards by a cluster, the same to the bit as on this machine alone.

Shards are whole batches, so that every batch holds the images that it holds on one machine; float sums depend on the
shape of a batch. That they depend on nothing else is checked for every file: of the first shard that a machine of the
cluster answers, this machine answers the first batch, too.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from edge_se.backends.base import Backend, whole_machine
from edge_se.cluster.parts import Cluster, Part
from edge_se.core.errors import UnavailableError
from edge_se.data.images import Images
from edge_se.evaluation.accuracy import Advance, Compute, answers, batch_of, computed, require_shape
from edge_se.graph.onnx_model import OnnxModel

SHARDS = 16  # for each worker, where there are images enough: the last ones to end are then nearly equally late
LARGEST = 2**23  # bytes of pixels in a shard
Logits = NDArray[np.float32]
Answer = tuple[str, Logits]  # the machine that answered a shard, and what


def compute_on(cluster: Cluster | None) -> Compute:
    """How `logits_of` computes: on the cluster, or here where there is none."""
    return computed if cluster is None else partial(sharded, cluster)


def sharded(cluster: Cluster, model: OnnxModel, images: Images, judge: Backend, advance: Advance) -> Logits:
    """(N, classes) of `model` in the runtime `judge`.

    Raises UnavailableError where a worker computes other bits than this machine.
    """
    require_shape(model, images)
    size = model.input_shape[0] or batch_of(images, model.target)
    shard = size * _batches(len(images), size, images, cluster.workers)  # images
    starts, done, checks = range(0, len(images), shard), dict[int, Logits](), dict[str, Future[None]]()

    def check(machine: str, start: int, logits: Logits) -> None:
        batch = images.take(np.arange(start, min(start + size, len(images))))
        if computed(model, batch, judge, lambda images: None).tobytes() != logits[:size].tobytes():
            raise UnavailableError(f"its answers of {model.file_name} are not those of this machine to the bit",
                                   where=f"--cluster, {machine}",
                                   fix="take that machine out of the cluster, or leave --cluster out")

    # The model travels as bytes: a fresh value has not been parsed yet.
    with ThreadPoolExecutor(1) as here, closing(cluster.run(
            _File(model=replace(model), judge=judge), _parts(images, starts, shard))) as results:
        for position, (machine, logits) in results:
            done[position] = logits
            advance(len(logits))
            if machine not in checks:  # while the workers go on
                checks[machine] = here.submit(check, machine, starts[position], logits)
            for told in checks.values():
                if told.done() or len(done) == len(starts):
                    told.result()
    return np.concatenate([done[position] for position in range(len(starts))])


@dataclass(frozen=True, kw_only=True)
class _File:
    """The work: a file in its runtime, opened on the processors of the worker."""

    model: OnnxModel
    judge: Backend

    @contextmanager
    def opened(self) -> Iterator[Callable[[Images], Answer]]:
        """Answers shards of images."""
        machine = socket.gethostname()
        with self.judge.open(self.model, whole_machine()) as session:
            yield lambda images: (machine, answers(session, self.model, images, lambda images: None))


def _batches(count: int, size: int, images: Images, workers: int) -> int:
    """How many batches of `size` a shard of `count` images has."""
    even = -(-count // size) // (SHARDS * workers)
    return max(1, min(even, LARGEST // (size * int(np.prod(images.shape)))))


def _parts(images: Images, starts: range, shard: int) -> Iterator[Part]:
    for start in starts:
        end = min(start + shard, len(images))
        yield Part(name=f"images {start:,} to {end - 1:,} of {images.name}",
                   content=images.take(np.arange(start, end)).packed())
