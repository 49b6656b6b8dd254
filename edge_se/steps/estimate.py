"""`bench --estimate`: rooflines of boards that are not here, unmistakably labelled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edge_se.backends.machines.choice import no_jetson
from edge_se.core import environment
from edge_se.core.artifacts import Artifact, Build, check_file, read_builds
from edge_se.core.errors import EdgeSeError, UnavailableError
from edge_se.core.progress import SILENT, Progress
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.targets.table import TARGETS, is_for, runs_in
from edge_se.measure.boards import Board, Mode, board_names, read_board
from edge_se.measure.roofline import Estimate, estimate, kernels_of
from edge_se.reporting.estimates import error_in_words, read_estimator

SCHEMA = "edge-se/bench/1"
DEFAULT_BOARD = "orin-nano-8gb"
ALL = "all"
SCOPE = "GPU alone, DLA not counted"


def instead_of_measuring(measured_only: bool) -> str:
    """Why there is an estimate instead of a measurement; raises UnavailableError when only measurements will do."""
    if measured_only:
        raise UnavailableError(no_jetson(), where="--device jetson")
    return (f"{no_jetson()}. What follows is an ESTIMATE from the peak figures of {DEFAULT_BOARD}: {SCOPE}, a "
            "lower bound that nothing measured stands behind. docs/estimates.md tells how far it is off where it could "
            "be checked.")


def estimates(board: str, *, model: str | Sequence[str] | None = None, batches: Sequence[int] = (1,),
              launch_us: float = 0.0, progress: Progress = SILENT) -> dict[str, Any]:
    """The document of `bench --estimate BOARD|all --json`; every row has `estimated: true`.

    `launch_us` is what one kernel launch adds, in microseconds; 0 for a captured CUDA graph. Files for other runtimes
    than TensorRT are left out.
    """
    if launch_us < 0:
        raise EdgeSeError(f"{launch_us} is negative", where="--launch-us", fix="give microseconds, 5 for instance")
    boards = {name: read_board(name) for name in (board_names() if board == ALL else [board])}
    builds = read_builds(model)
    artifacts = [(build.model, artifact, check_file(build, artifact)) for build in builds
                 for artifact in build.artifacts if is_for(artifact.target, "tensorrt")]
    progress.note(f"a roofline is a lower bound: {error_in_words(read_estimator())}. {SCOPE}. It was not checked on a "
                  "Jetson")
    for name in {build.model: None for build in builds if not _has_int8(build)}:
        progress.note(f"{name} has no INT8 file for TensorRT: edge-se export --int8 --target tensorrt")
    rows = []
    for name, artifact, path in artifacts:
        loaded = OnnxModel.read(path, precision=artifact.precision, target=artifact.target)
        for sheet in boards.values():
            reason = runs_in(artifact.target, "tensorrt", sheet.tensorrt, opset=loaded.opset)
            if reason is not None:
                progress.note(f"{sheet.name}: {artifact.file} is left out: {reason}")
                continue
            floats = _floats(artifact, sheet)
            kernels = kernels_of(loaded.proto, floats)
            modes = [mode for mode in sheet.modes if artifact.precision != "int8" or mode.int8_tops is not None]
            for reason in dict.fromkeys(mode.without_int8 for mode in sheet.modes if mode not in modes):
                progress.note(f"{sheet.name}: {reason}; {artifact.file} is left out")
            for mode in modes:
                for batch in batches:
                    result = estimate(kernels, mode, floats, batch=batch, launch_us=launch_us)
                    rows.append(_row(name, artifact, sheet.name, mode, result, batch, launch_us) | {"floats": floats})
    return {"schema": SCHEMA, "device": "jetson", "estimated": True, "measurements": rows,
            "environment": {"versions": environment.versions(), "hardware": environment.hardware(),
                            "commit": environment.commit()}}


def _has_int8(build: Build) -> bool:
    return any(item.precision == "int8" and is_for(item.target, "tensorrt") for item in build.artifacts)


def _floats(artifact: Artifact, board: Board) -> str:
    """The float type of layers outside INT8: that of the file, or FP16 where TensorRT chooses by itself."""
    if artifact.precision != "int8":
        return artifact.precision
    return "fp16" if TARGETS[artifact.target].half_floats or not board.strongly_typed else "fp32"


def _row(model: str, artifact: Artifact, board: str, mode: Mode, result: Estimate, batch: int,
         launch_us: float) -> dict[str, Any]:
    """Percentiles, spread and samples do not exist: they are null."""
    figures = {"gpu_mhz": mode.gpu_mhz, "memory_gbs": mode.memory_gbs, "fp16_tflops": mode.fp16_tflops,
               "int8_tops": mode.int8_tops}
    return {
        "model": model, "precision": artifact.precision, "target": artifact.target, "backend": "roofline",
        "scope": SCOPE, "board": board, "mode": mode.name, "batch": batch, "threads": None,
        "p50_ms": result.milliseconds, "p90_ms": None, "p99_ms": None, "mean_ms": result.milliseconds, "cv": None,
        "throughput_ips": 1000 * batch / result.milliseconds, "samples": 0, "estimated": True,
        "kernels_compute_bound": result.compute_bound, "kernels_memory_bound": result.memory_bound,
        "launch_us": launch_us, "launch_share": result.launch_share,
        "figures": {name: figure.model_dump() for name, figure in figures.items() if figure}, "top1": artifact.top1,
        "top1_n": artifact.top1_n, "measured_by": artifact.measured_by if artifact.top1 is not None else None,
        "params": artifact.params, "macs": artifact.macs, "flops": artifact.flops,
        "bytes": artifact.bytes, "peak_memory_bytes": None, "energy_mj": None, "sha256": artifact.sha256}
