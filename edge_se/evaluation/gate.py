"""The verdict: is INT8 non-inferior to FP32 by a margin?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edge_se.core.errors import EdgeSeError, did_you_mean
from edge_se.evaluation.exact import decided
from edge_se.evaluation.statistics import Paired, drop_interval, mcnemar_p

Verdict = Literal["pass", "fail", "inconclusive"]
SEVERITY = {"pass": 0, "inconclusive": 1, "fail": 2}
MAX_DROP = 0.5
ALPHA = 0.025


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A margin, in points or as the share of FP32's top-1 that may be lost, and the error rate of either verdict."""

    about: str
    points: float | None = None
    share: float | None = None
    alpha: float = ALPHA


PRESETS = {
    "mlperf99": Preset(about="INT8 keeps 99 % of FP32's top-1 (MLPerf Inference's closed-division rule)", share=0.01),
    "strict": Preset(about="at most 0.25 points, either verdict wrong in at most 1 of 200", points=0.25, alpha=0.005),
}


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
    """Pass when the drop is below the margin with confidence 1 - alpha, fail when it is above it with the same.

    Where the interval leaves the margin out but the score is not beyond its exact critical value, the interval is
    lengthened to hold the margin: few pairs are discordant, or few images there are, and Tango's level does not hold.
    """
    if not 0 < alpha < 0.5:
        raise EdgeSeError(f"alpha {alpha} is not between 0 and 0.5", where="--alpha", fix="0.025 is usual")
    if not 0 <= margin_pp <= 100:
        raise EdgeSeError(f"a margin of {margin_pp} points is not between 0 and 100", where="--max-drop",
                          fix="give percentage points, 0.5 for instance")
    low, high = drop_interval(paired, alpha)
    verdict: Verdict = "inconclusive"
    margin = margin_pp / 100
    if 100 * high < margin_pp:
        if decided(paired, margin, alpha, fails=False):
            verdict = "pass"
        else:
            high = margin
    elif 100 * low > margin_pp:
        if decided(paired, margin, alpha, fails=True):
            verdict = "fail"
        else:
            low = margin
    return Judgement(verdict=verdict, paired=paired, margin_pp=margin_pp, alpha=alpha, drop_pp=100 * paired.drop,
                     ci_pp=(100 * low, 100 * high), mcnemar_p=mcnemar_p(paired))


def preset_of(name: str) -> Preset:
    """The preset of a name; EdgeSeError with a suggestion."""
    if name not in PRESETS:
        raise EdgeSeError(f"unknown preset '{name}'", where="--preset", fix=did_you_mean(name, PRESETS))
    return PRESETS[name]


def margin_of(preset: str, fp32_top1: float) -> float:
    """The margin in points of a preset, given FP32's top-1 in percent."""
    chosen = preset_of(preset)
    return chosen.points if chosen.points is not None else (chosen.share or 0.0) * fp32_top1
