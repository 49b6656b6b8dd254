"""Whether runtimes compute the INT8 files of an export as they are written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from edge_se.backends.base import Device
from edge_se.backends.table import first_that_runs
from edge_se.core.artifacts import Artifact
from edge_se.core.progress import Progress
from edge_se.data.images import Images
from edge_se.evaluation.judges import judge_of
from edge_se.quantization.as_written import fidelity
from edge_se.steps.export_files import Made


def with_fidelity(artifacts: Sequence[Artifact], made: Sequence[Made], images: Images, progress: Progress
                  ) -> tuple[Artifact, ...]:
    """`artifacts` with the SQNR of each INT8 file, in its runtime and as it is written; a gap is told with its node.

    `made` are their graphs, FP32 first. A file whose runtime is not here is compared in the one that computes its
    accuracy.
    """
    told = []
    for artifact, item in zip(artifacts, made):
        if item.model.precision != "int8":
            told.append(artifact)
            continue
        backend, _ = first_that_runs(item.model, Device())
        with progress.task(f"comparing {artifact.file} with its own Q/DQ", 1) as advance:
            own = fidelity(made[0].model, item.model, images, backend or judge_of(item.model))
            advance(1)
        if own.node is not None:
            progress.note(f"{artifact.file}: {own.runtime} does not compute what the file says ({own.run_db:.1f} dB of "
                          f"signal to noise; operator by operator {own.written_db:.1f} dB). It shows from {own.node} "
                          "on: another --placement may leave that in float")
        told.append(replace(artifact, sqnr_db=round(own.run_db, 2), sqnr_runtime=own.runtime,
                            written_sqnr_db=round(own.written_db, 2), gap_node=own.node))
    return tuple(told)
