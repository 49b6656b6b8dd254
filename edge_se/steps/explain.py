"""`explain`: why INT8 is (not) faster on a device, from recorded layer information and profiles."""

from __future__ import annotations

from typing import Any

from edge_se.core.arguments import PathLike, path_of
from edge_se.core.errors import EdgeSeError
from edge_se.core.progress import SILENT, Progress
from edge_se.measure import explain as measure
from edge_se.measure.layers import read_engine


def explain(layers: PathLike, profile: PathLike, *, baseline_layers: PathLike | None = None,
            baseline_profile: PathLike | None = None, latency_ms: float | None = None,
            baseline_latency_ms: float | None = None, progress: Progress = SILENT) -> dict[str, Any]:
    """The document of `explain --json`; what a reader must know about the recordings goes to `progress` too.

    Paths are those of an INT8 engine and of the same net in FP16 or FP32; latencies are in milliseconds.
    """
    layers, profile = path_of(layers), path_of(profile)
    baseline_layers, baseline_profile = path_of(baseline_layers), path_of(baseline_profile)
    if baseline_layers is not None and baseline_profile is None:
        raise EdgeSeError("has no times", where="--baseline-layers", fix="give --baseline-profile")
    engine = read_engine(layers, profile)
    baseline = None if baseline_profile is None else read_engine(baseline_layers, baseline_profile)
    account = measure.explain(engine, latency_ms=latency_ms, baseline=baseline, baseline_latency_ms=baseline_latency_ms)
    for note in account.notes:
        progress.note(note)
    sources = {"layers": layers, "profile": profile, "baseline_layers": baseline_layers,
               "baseline_profile": baseline_profile}
    return account.document() | {"sources": {name: path.name for name, path in sources.items() if path is not None}}
