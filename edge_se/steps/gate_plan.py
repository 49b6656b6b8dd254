"""`gate --plan`: how many images a margin needs; reads no image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edge_se.core.artifacts import Build, locate_build, read_build
from edge_se.core.errors import EdgeSeError
from edge_se.evaluation.gate import MAX_DROP, margin_of
from edge_se.evaluation.planning import images_needed
from edge_se.evaluation.sequential import last_level
from edge_se.evaluation.settings import NOTHING, Settings, read_settings

SCHEMA = "edge-se/gate-plan/1"
POWER = 0.9
FEWEST = 3  # flips: none among n images leaves open a rate of 3 / n, with 95 % confidence (the rule of three)
TYPICAL = (0.1, 0.3, 1.0, 3.0)  # percent of images; static INT8 of the bundled nets is near the second


def plan(model: str | None = None, *, config: Path | None = None, wanted: Settings = NOTHING, power: float = POWER,
         discordance: float | None = None) -> dict[str, Any]:
    """The document of `gate --plan --json`.

    Percent of discordant images: `discordance`, else those of the build `model`, else a few typical ones. A build gives
    its flips, and every discordant pair is a flip; fewer than FEWEST count as FEWEST. Of a sequential gate the
    last look alone is counted, to which others only add. Both make n too large rather than too small.
    """
    settings, source = read_settings(config, wanted)
    build = read_build(locate_build(model)) if model else None
    rates = [discordance] if discordance is not None else _flip_rates(build) if build else list(TYPICAL)
    margin = MAX_DROP if settings.max_drop is None else settings.max_drop
    if settings.preset:
        margin = margin_of(settings.preset, _fp32_top1(build, settings.preset))
    level = last_level(settings.level) if settings.sequential else settings.level
    rows = [images_needed(margin / 100, level, power, rate / 100) for rate in rates]
    most = max(rows, key=lambda row: row.n)
    return {"schema": SCHEMA, "model": build.model if build else None, "config": source, "preset": settings.preset,
            "margin_pp": margin, "alpha": settings.level, "power": power, "drop_pp": 0.0, "n": most.n,
            "design": "sequential" if settings.sequential else "fixed",
            "discordance_from": "given" if discordance is not None else "flips of the build" if build else "typical",
            "rows": [{"discordance_pct": 100 * row.discordance, "n": row.n, "power_at_n": row.power_at_n}
                     for row in rows]}


def _flip_rates(build: Build) -> list[float]:
    """Percent of predictions of the INT8 files that differ from FP32, each rate once."""
    return sorted({100 * min(1.0, max(item.flips, FEWEST) / item.flips_n) for item in build.artifacts
                   if item.precision == "int8" and item.flips_n}) or list(TYPICAL)


def _fp32_top1(build: Build | None, preset: str) -> float:
    """Top-1 of FP32 in percent; 100 when the margin of the preset does not depend on it."""
    fp32 = build.find("fp32") if build else None
    if fp32 is not None and fp32.top1 is not None:
        return fp32.top1
    if margin_of(preset, 100.0) != margin_of(preset, 50.0):
        raise EdgeSeError(f"the margin of '{preset}' is a share of FP32's top-1, which is not known here",
                          where="--plan", fix="give --model with a build whose accuracy was measured, or --max-drop")
    return 100.0
