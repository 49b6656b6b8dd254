"""Why INT8 is (not) faster: verdict, advice and figures from layer information, profiles and latencies.

`kernel_ms` is the sum of an engine's profile; a cause's share is its part of that. `launch_ms` is the measured latency
less `kernel_ms`, at least 0: launches and waits between kernels; its share is of the latency. Causes are defined in
`causes`, speed-ups in `compare`, thresholds in `advice`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from edge_se.core.errors import EdgeSeError
from edge_se.measure.advice import advise, verdict_of
from edge_se.measure.causes import Breakdown, break_down
from edge_se.measure.compare import Comparison, compare
from edge_se.measure.layers import LONGEST_MS, SHORTEST_MS, Engine, engine_of

SCHEMA = "edge-se/explain/1"
WORST = 8  # layers


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """What an INT8 engine's time goes into; launches are None without a latency, `comparison` without a baseline."""

    verdict: str
    advice: tuple[str, ...]
    notes: tuple[str, ...]
    breakdown: Breakdown
    latency_ms: float | None
    launch_ms: float | None
    launch_share: float | None
    comparison: Comparison | None

    def document(self) -> dict[str, Any]:
        """JSON-able, as docs/schema/explain-1.json describes."""
        parts = self.breakdown
        document: dict[str, Any] = _plain({
            "schema": SCHEMA, "verdict": self.verdict, "advice": self.advice, "notes": self.notes,
            "detailed": parts.engine.detailed, "kernel_ms": parts.milliseconds, "latency_ms": self.latency_ms,
            "launch_ms": self.launch_ms, "launch_share": self.launch_share,
            "causes": [asdict(cause) for cause in parts.causes],
            "worst": [asdict(layer) for layer in parts.layers[:WORST]],
            "comparison": None if self.comparison is None else asdict(self.comparison)})
        return document


def explain(recorded: Engine | Mapping[str, Any], *, latency_ms: float | None = None,
            baseline: Engine | Mapping[str, Any] | None = None,
            baseline_latency_ms: float | None = None) -> Explanation:
    """The time of an INT8 engine by cause, and against a `baseline` (the same net in FP16 or FP32) where one is given.

    Engines are read ones or {"layers": ..., "profile": ...} of parsed JSON; latencies are those of runs without the
    profiler, in milliseconds. EdgeSeError where a recording does not hold or a latency is none.
    """
    _require_time(latency_ms, "--latency-ms")
    _require_time(baseline_latency_ms, "--baseline-latency-ms")
    if baseline is None and baseline_latency_ms is not None:
        raise EdgeSeError("needs the baseline's profile", where="--baseline-latency-ms", fix="give --baseline-profile")
    int8 = break_down(_engine(recorded, "the INT8 engine"))
    reference = None if baseline is None else break_down(_engine(baseline, "the baseline"))
    latencies = None if latency_ms is None or baseline_latency_ms is None else (latency_ms, baseline_latency_ms)
    comparison = None if reference is None else compare(int8, reference, latencies)
    launch = None if latency_ms is None else max(0.0, latency_ms - int8.milliseconds)
    share = None if launch is None or latency_ms is None else launch / latency_ms
    notes = _notes(int8.engine, latency_ms, "INT8")
    if reference is not None:
        notes += _notes(reference.engine, baseline_latency_ms, "baseline")
        if (latency_ms is None) != (baseline_latency_ms is None):
            notes.append("one latency alone compares nothing: the speed-up is that of the kernels")
    return Explanation(verdict=verdict_of(int8, share, comparison), advice=tuple(advise(int8, share, comparison)),
                       notes=tuple(notes), breakdown=int8, latency_ms=latency_ms, launch_ms=launch, launch_share=share,
                       comparison=comparison)


def _engine(recorded: Engine | Mapping[str, Any], where: str) -> Engine:
    if not isinstance(recorded, Engine):
        recorded = engine_of(recorded.get("layers"), recorded.get("profile") or [], where_layers=f"layers of {where}",
                             where_profile=f"profile of {where}")
    if not recorded.milliseconds:
        raise EdgeSeError("no layer takes any time", where=f"profile of {where}", fix="profile more runs")
    return recorded


def _require_time(milliseconds: float | None, where: str) -> None:
    if milliseconds is not None and not SHORTEST_MS < milliseconds <= LONGEST_MS:
        raise EdgeSeError(f"{milliseconds:g} ms is no latency", where=where, fix="give milliseconds, 0.8 for instance")


def _notes(engine: Engine, latency_ms: float | None, name: str) -> list[str]:
    """What a reader must know about a recording."""
    notes = []
    if not engine.detailed:
        notes.append(f"{name}: the layers are bare names, so precisions and excitations are read off them, some stay "
                     "unknown; build the engine with --profilingVerbosity=detailed")
    if engine.untimed:
        notes.append(f"{name}: the profile has no time for {_counted(engine.untimed)}")
    if engine.unlisted:
        notes.append(f"{name}: the layer information does not list {_counted(engine.unlisted)} of the profile")
    if latency_ms is not None and engine.milliseconds > latency_ms:
        notes.append(f"{name}: the kernels take {engine.milliseconds:.3f} ms in the profile and {latency_ms:.3f} ms in "
                     "the run, since profiling slows each of them: shares hold, launches cannot be told")
    return notes


def _counted(names: tuple[str, ...]) -> str:
    return f"layer '{names[0]}'" if len(names) == 1 else f"{len(names)} layers, '{names[0]}' for one,"


def _plain(value: Any) -> Any:
    """Tuples as lists, as JSON has them."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
