"""The verdict: is INT8 non-inferior to FP32 by a margin?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edge_se.core.errors import EdgeSeError, did_you_mean
from edge_se.evaluation.statistics import Paired, drop_interval, mcnemar_p

Verdict = Literal["pass", "fail", "inconclusive"]
PRESETS = {"mlperf99": "INT8 keeps 99 % of FP32's top-1 (MLPerf Inference's closed-division rule)"}


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """Drop and margin in percentage points; the interval's ends are one-sided bounds at alpha."""

    verdict: Verdict
    paired: Paired
    margin_pp: float
    alpha: float
    drop_pp: float
    ci_pp: tuple[float, float]
    mcnemar_p: float


def judge(paired: Paired, margin_pp: float, alpha: float) -> Judgement:
    """Pass when the drop is below the margin with confidence 1 - alpha, fail when it is above it with the same."""
    if not 0 < alpha < 0.5:
        raise EdgeSeError(f"alpha {alpha} is not between 0 and 0.5", where="--alpha", fix="0.025 is usual")
    if not 0 <= margin_pp <= 100:
        raise EdgeSeError(f"a margin of {margin_pp} points is not between 0 and 100", where="--max-drop",
                          fix="give percentage points, 0.5 for instance")
    low, high = drop_interval(paired, alpha)
    verdict: Verdict = "inconclusive"
    if 100 * high < margin_pp:
        verdict = "pass"
    elif 100 * low > margin_pp:
        verdict = "fail"
    return Judgement(verdict=verdict, paired=paired, margin_pp=margin_pp, alpha=alpha, drop_pp=100 * paired.drop,
                     ci_pp=(100 * low, 100 * high), mcnemar_p=mcnemar_p(paired))


def margin_of(preset: str, fp32_top1: float) -> float:
    """The margin in points of a preset, given FP32's top-1 in percent."""
    if preset not in PRESETS:
        raise EdgeSeError(f"unknown preset '{preset}'", where="--preset", fix=did_you_mean(preset, PRESETS))
    return 0.01 * fp32_top1
