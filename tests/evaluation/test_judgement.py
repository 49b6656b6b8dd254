"""Pass, fail or inconclusive: the interval decides, and bad settings are one message."""

import pytest

from edge_se.core.errors import EdgeSeError
from edge_se.evaluation.gate import judge, margin_of
from edge_se.evaluation.statistics import Paired, drop_interval, mcnemar_p

N = 10_000


@pytest.mark.parametrize(("broken", "fixed", "margin", "verdict"), [
    (30, 30, 0.5, "pass"), (0, 0, 0.5, "pass"), (0, 500, 0.5, "pass"), (90, 30, 1.0, "pass"),
    (300, 30, 0.5, "fail"), (N, 0, 0.5, "fail"), (60, 0, 0.1, "fail"), (20, 0, 0.0, "fail"),
    (60, 10, 0.5, "inconclusive"), (200, 200, 0.1, "inconclusive"), (30, 30, 0.0, "inconclusive"),
    (0, 0, 0.0, "inconclusive"),
])
def test_verdicts(broken, fixed, margin, verdict):
    assert judge(Paired(n=N, broken=broken, fixed=fixed), margin, 0.025).verdict == verdict


@pytest.mark.parametrize("margin", [0.01, 0.3, 0.7, 2.0, 50.0])
def test_the_verdict_is_where_the_interval_lies(margin):
    paired = Paired(n=N, broken=90, fixed=40)
    low, high = drop_interval(paired, 0.025)
    judgement = judge(paired, margin, 0.025)
    expected = "pass" if 100 * high < margin else "fail" if 100 * low > margin else "inconclusive"
    assert judgement.verdict == expected
    assert judgement.ci_pp == (100 * low, 100 * high)
    assert judgement.drop_pp == pytest.approx(0.5)
    assert judgement.mcnemar_p == mcnemar_p(paired)
    assert (judgement.paired, judgement.margin_pp, judgement.alpha) == (paired, margin, 0.025)


def test_where_the_score_is_skewed_the_interval_reaches_down_to_the_margin():
    # Of 1,000 with 0.5 % broken, 10 or more come in 3.1 % of the cases, 11 or more in 1.3 %.
    few, many = (Paired(n=1000, broken=broken, fixed=0) for broken in (10, 11))
    assert 100 * drop_interval(few, 0.025)[0] > 0.5
    judgement = judge(few, 0.5, 0.025)
    assert judgement.verdict == "inconclusive" and judgement.ci_pp[0] == 0.5
    assert judge(many, 0.5, 0.025).verdict == "fail"


def test_few_images_prove_nothing():
    assert judge(Paired(n=100, broken=0, fixed=0), 0.5, 0.025).verdict == "inconclusive"
    assert judge(Paired(n=1000, broken=0, fixed=0), 0.5, 0.025).verdict == "pass"


@pytest.mark.parametrize("alpha", [0.0, -0.1, 0.5, 1.0, float("nan")])
def test_alpha_out_of_range(alpha):
    with pytest.raises(EdgeSeError, match=r"--alpha: alpha .* is not between 0 and 0\.5"):
        judge(Paired(n=N, broken=1, fixed=1), 0.5, alpha)


@pytest.mark.parametrize("margin", [-0.1, 100.5, float("nan"), float("inf")])
def test_margin_out_of_range(margin):
    with pytest.raises(EdgeSeError, match=r"--max-drop: a margin of .* points is not between 0 and 100"):
        judge(Paired(n=N, broken=1, fixed=1), margin, 0.025)


def test_presets():
    assert margin_of("mlperf99", 93.0) == pytest.approx(0.93)
    with pytest.raises(EdgeSeError, match=r"--preset: unknown preset 'mlperf'; did you mean 'mlperf99'\?"):
        margin_of("mlperf", 93.0)
