"""Recorded tegrastats lines of real boards; means and intervals against closed forms and simulated noise."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_se.core.errors import EdgeSeError
from edge_se.measure.power import MIN_SAMPLES, Power, energy_per_inference, mean_power, parse_tegrastats, total_power

RECORDED = Path(__file__).parents[1] / "recorded" / "tegrastats"
AGX_ORIN = "sum of VDD_GPU_SOC + VDD_CPU_CV + VIN_SYS_5V0"
AGX_XAVIER = "sum of GPU + CPU + SOC + CV + VDDRQ + SYS5V"
THOR = "sum of VDD_GPU + VDD_CPU_SOC_MSS + VIN_SYS_5V0"
# file: rail, milliwatts of each line, and of the first line GPU load in %, GPU clock in MHz, cores that run, hottest
# sensor in °C. Added up by hand.
EXPECTED = {
    "nano-l4t-32.txt": ("POM_5V_IN", [7097, 7460, 6981, 7602, 7846], 66, None, 4, 66.5),
    "nano-l4t-32-as-root.txt": ("POM_5V_IN", [4122, 4531, 4523, 4531], 28, 76, 4, 47.5),
    "nano-swapped-labels.txt": (None, [None, None], 99, None, 4, 63),
    "tx2.txt": ("VDD_IN", [5297], 0, 114, 6, 42.5),
    "no-rails-jetpack-4.6.txt": (None, [None, None], 0, None, 4, 50.5),
    "xavier-nx-l4t-32.txt": ("VDD_IN", [14703, 14703, 14664], 99, None, 6, 44.5),
    "agx-xavier-l4t-32.txt": (AGX_XAVIER, [463 + 618 + 2936 + 0 + 309 + 3306], 0, None, 8, 32),
    "agx-orin-capitals.txt": (AGX_ORIN, [2340 + 390 + 4025], 0, None, 12, 44.562),
    "agx-orin-l4t-36.4.4.txt": (AGX_ORIN, [2412 + 1607 + 4707, 2412 + 1607 + 4607], 0, None, 12, 52.562),
    "agx-orin-l4t-39.2.txt": (AGX_ORIN, [2265 + 2643 + 4722], 0, None, 8, 50.718),
    "orin-nano.txt": ("VDD_IN", [4824], 0, None, 6, 50.25),
    "orin-8gb-as-root.txt": ("VDD_IN", [17946], 84, 713, 6, 65.562),
    "thor-l4t-38.4.txt": (THOR, [0 + 4165 + 4126, 0 + 4923 + 4327], None, None, 14, 34.5),
    "thor-l4t-39.2.txt": (THOR, [4925 + 8710 + 6767, 4925 + 7953 + 6667], None, 314, 14, 35.906),
}


def recorded(name):
    return [line for line in (RECORDED / name).read_text().splitlines() if not line.startswith("#")]


@pytest.mark.parametrize("path", sorted(RECORDED.glob("*.txt")), ids=lambda path: path.stem)
def test_lines_of_real_boards(path):
    assert re.search(r"^# https://\S+$", path.read_text(), re.MULTILINE), "no source"
    rail, milliwatts, load, megahertz, cores, hottest = EXPECTED[path.name]
    lines = [parse_tegrastats(line) for line in recorded(path.name)]
    assert [total_power(line.rails_mw) for line in lines] == [
        None if value is None else (pytest.approx(value / 1000), rail) for value in milliwatts]
    clocks = lines[0].clocks_hz
    assert (lines[0].gpu_percent, clocks.get("gpu")) == (load, megahertz and 1e6 * megahertz)
    assert sum(name.startswith("cpu") for name in clocks) == cores
    assert max(lines[0].temps_c.values()) == hottest
    assert lines[0].flags == ()


def test_each_expected_recording_is_there():
    assert {path.name for path in RECORDED.glob("*.txt")} == set(EXPECTED)


def test_cores_keep_their_number_when_others_are_off():
    (first, _) = (parse_tegrastats(line) for line in recorded("no-rails-jetpack-4.6.txt"))
    assert first.clocks_hz == {"cpu0": 345e6, "cpu3": 345e6, "cpu4": 345e6, "cpu5": 345e6}


def test_totals():
    parts = {"VDD_GPU": -392.0, "VDD_CPU_SOC_MSS": 4000.0, "VIN_SYS_5V0": 4000.0}  # Thor's idle GPU reads below 0
    assert total_power(parts) == (pytest.approx(7.608), THOR)
    assert total_power(parts | {"VIN": 20000.0}) == (20.0, "VIN")
    assert total_power({"A": 1000.0, "B": 2000.0, "NC": 5.0, "sum of shunt voltages": 9.0}) == (3.0, "sum of A + B")
    assert total_power({"ONE": 1000.0}) == (1.0, "ONE")
    assert total_power({}) is None and total_power({"NC": 0.0}) is None
    assert total_power({"POM_5V_IN": 3000.0, "POM_5V_GPU": 3001.0}) is None
    for alone in ({"VDD_CPU_GPU_CV": 500.0, "VDD_SOC": 1300.0}, {"POM_5V_GPU": 900.0, "POM_5V_CPU": 400.0},
                  {"VDD_SOC": 1300.0, "OTHER": 10.0}):
        assert total_power(alone) is None  # parts, and not the input that feeds them


def test_a_made_up_line_with_vin_and_words_about_throttling():
    line = parse_tegrastats("VDD_GPU 5517mW VDD_CPU_SOC_MSS 7484mW VIN_SYS_5V0 6309mW VIN 28548mW/28548mW over-current")
    assert total_power(line.rails_mw) == (pytest.approx(28.548), "VIN")
    assert line.flags == ("over-current",)


# ---- means

def rails(watts, start=0.0, step=0.1, name="VDD_IN"):
    return [{"t": start + step * position, "rails_mw": {name: 1000 * value}} for position, value in enumerate(watts)]


def test_independent_readings_have_the_textbook_error():
    watts = np.random.default_rng(0).normal(10, 1, 2000)
    found = mean_power(rails(watts))
    # The first and last reading stand for half the time.
    assert found.watts == pytest.approx((watts.sum() - (watts[0] + watts[-1]) / 2) / 1999)
    assert found.standard_error == pytest.approx(watts.std() / np.sqrt(2000), rel=0.1)
    assert (found.samples, found.rail, found.source) == (2000, "VDD_IN", "INA3221 through sysfs")


def test_the_mean_is_weighted_by_time():
    # 1 W for 1.8 s at 5 Hz, then 3 W for 1 s at 20 Hz.
    samples = rails([1.0] * 10, step=0.2) + rails([3.0] * 20, start=1.85, step=0.05)
    assert mean_power(samples).watts == pytest.approx((1.8 * 1 + 0.05 * 2 + 0.95 * 3) / 2.8)


def test_constant_power_has_no_error():
    found = mean_power(rails([4.08] * MIN_SAMPLES))
    assert (found.watts, found.standard_error) == (pytest.approx(4.08), 0)


def autoregressive(generator, correlation, count):
    noise = generator.normal(size=count)
    series = [noise[0] / np.sqrt(1 - correlation**2)]
    for value in noise[1:]:
        series.append(correlation * series[-1] + value)
    return np.array(series)


def test_the_error_of_correlated_noise_is_that_of_theory():
    """Of a long series: variance (1 + r) / (1 - r) / n of the stationary variance 1 / (1 - r^2)."""
    correlation, count = 0.8, 20_000
    found = mean_power(rails(autoregressive(np.random.default_rng(1), correlation, count)))
    theory = np.sqrt((1 + correlation) / (1 - correlation) / count / (1 - correlation**2))
    assert found.standard_error == pytest.approx(theory, rel=0.1)
    assert found.effective_samples == pytest.approx(count / 9, rel=0.15)


@pytest.mark.parametrize(("correlation", "count", "least", "most"), [
    (0.0, 50, 0.93, 0.99), (0.5, 50, 0.90, 0.99), (0.8, 100, 0.91, 0.99), (0.9, 100, 0.90, 0.99),
    (0.9, MIN_SAMPLES, 0.90, 0.99)])
def test_intervals_cover_the_truth_under_autocorrelated_noise(correlation, count, least, most):
    """400 simulated runs of 2 W above idle. At 0.9, ignoring correlation covers 33 %, its bias 84 % of the last row."""
    generator, covered = np.random.default_rng(2), 0
    for _ in range(400):
        active, idle = (mean_power(rails(level + autoregressive(generator, correlation, count))) for level in (7, 5))
        found = energy_per_inference(active, idle, 0.001)
        covered += found.low <= 2.0 <= found.high
    assert least <= covered / 400 <= most


def test_the_best_source_is_taken_and_odd_rails_are_dropped():
    samples = rails([5.0] * 5) + [{"t": 1 + position, "tegrastats": recorded("orin-nano.txt")[0]}
                                  for position in range(30)]
    found = mean_power([*samples, *rails([9.0], start=40, name="OTHER")])
    assert (found.source, found.rail, found.samples, found.watts) == (
        "tegrastats", "VDD_IN", 30, pytest.approx(4.824))


def rapl(microjoules, step=1.0, ranges=None, name="package-0"):
    return [{"t": step * position, "rapl_uj": {name: value, "core": 1, "psys": 2}}
            | ({"rapl_max_uj": {name: ranges}} if ranges else {}) for position, value in enumerate(microjoules)]


def test_rapl_counters_wrap_around():
    largest = 262143328850
    counts = [(largest - 45_000_000 + 10_000_000 * position) % largest for position in range(30)]
    found = mean_power(rapl(counts, ranges=largest))
    assert counts[-1] < counts[0]
    assert (found.watts, found.rail, found.source, found.samples) == (pytest.approx(10), "package-0", "RAPL", 29)
    lost = mean_power(rapl(counts))  # at an unknown range one interval is lost, not guessed
    assert (lost.watts, lost.samples) == (pytest.approx(10), 28)


def test_rapl_is_weighted_by_time_and_adds_packages():
    samples = [{"t": time, "rapl_uj": {"package-0": 5e6 * time, "package-1": 1e6 * time**2}}
               for time in [*np.arange(0, 10, 0.5), 12.0, 14.0]]
    found = mean_power(samples)
    assert found.watts == pytest.approx(5 + 14)  # 5 J/s, and 196 J in 14 s
    assert found.rail == "sum of package-0 + package-1"


def test_what_others_drew_in_a_pause_counts_for_nothing():
    times = [start + step / 20 for start in (0, 10, 20) for step in range(20)]
    watts = [4.0 if step % 20 else 5.0 for step in range(60)]  # a turn begins with 5 W
    readings = [{"t": time, "rails_mw": {"VDD_IN": 1000 * watt}} for time, watt in zip(times, watts)]
    assert mean_power(readings).watts == pytest.approx(4 + 0.5 / 19)  # half an interval of 19 in each turn
    counted, drawn = 0.0, []
    for before, after in zip([0.0, *times], times):
        counted += (after - before) * (2.0 if after - before < 1 else 30.0) * 1e6
        drawn.append({"t": after, "rapl_uj": {"package-0": counted}})
    found = mean_power(drawn)
    assert found.watts == pytest.approx(2.0) and found.samples == 57


def test_no_figure_without_enough_of_a_source():
    none = mean_power([{"t": position} for position in range(50)])
    assert none.watts is None and "no power in 50 samples" in none.reason
    swapped = [{"t": position, "tegrastats": recorded("nano-swapped-labels.txt")[0]} for position in range(50)]
    assert "labels of its rails are swapped" in mean_power(swapped).reason
    few = mean_power(rails([5.0] * (MIN_SAMPLES - 1)))
    assert few.watts is None and few.samples == MIN_SAMPLES - 1
    assert few.reason == ("19 readings of VDD_IN (INA3221 through sysfs); at least 20 are needed: measure longer")
    assert mean_power([]).watts is None


def test_time_runs_forward():
    with pytest.raises(EdgeSeError, match=r"power sample 1: it has no time; send samples"):
        mean_power([{"t": 1.0}, {"t": None}])
    with pytest.raises(EdgeSeError, match=r"power sample 1: its time 0\.5 s lies before 1\.0 s"):
        mean_power([{"t": 1.0}, {"t": 0.5}])


# ---- energy

ACTIVE = Power(watts=7.0, standard_error=0.3, samples=100, effective_samples=31.0, source="tegrastats", rail="VDD_IN")
IDLE = replace(ACTIVE, watts=5.0, standard_error=0.4, samples=80)


def test_energy_is_what_lies_above_idle():
    found = energy_per_inference(ACTIVE, IDLE, 0.010)
    assert (found.millijoules, found.active_watts, found.idle_watts) == (pytest.approx(20), 7.0, 5.0)
    assert (found.source, found.rail, found.samples, found.reason) == ("tegrastats", "VDD_IN", 100, None)
    # sqrt(0.3^2 + 0.4^2) W; Welch: 0.5^4 / (0.3^4 / 30 + 0.4^4 / 30) = 55.6 degrees of freedom, t = 2.0035
    assert found.high - found.millijoules == pytest.approx(0.5 * 2.0035 * 10, rel=1e-3)
    assert found.millijoules - found.low == pytest.approx(found.high - found.millijoules)
    exact = energy_per_inference(replace(ACTIVE, standard_error=0.0), replace(IDLE, standard_error=0.0), 0.010)
    assert exact.low == exact.millijoules == exact.high


@pytest.mark.parametrize(("active", "idle", "reason"), [
    (Power(reason="none", samples=3), IDLE, "while running: none"),
    (ACTIVE, Power(reason="none"), "while idle: none"),
    (ACTIVE, replace(IDLE, rail="VIN"), r"measured on VDD_IN \(tegrastats\), idling on VIN"),
    (ACTIVE, replace(IDLE, source="RAPL"), "their difference means nothing")])
def test_no_energy_without_both_on_one_rail(active, idle, reason):
    found = energy_per_inference(active, idle, 0.010)
    assert found.millijoules is None and found.low is None and found.high is None
    assert re.search(reason, found.reason)
    assert (found.active_watts, found.idle_watts, found.samples) == (active.watts, idle.watts, active.samples)


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
def test_an_inference_takes_time(seconds):
    with pytest.raises(EdgeSeError, match="is no time"):
        energy_per_inference(ACTIVE, IDLE, seconds)


# ---- anything a device may send

@given(st.text() | st.lists(st.sampled_from([
    "VDD_IN", "4080mW/4080mW", "POM_5V_IN", "1/2", "CPU", "[2%@729,off", "]", "GR3D_FREQ", "0%@[305]", "@[,]", "tj@",
    "C", "GPU@51.5C", "-256C", "9" * 400 + "mW", "٣mW"])).map(" ".join))
def test_any_line_is_read(line):
    found = parse_tegrastats(line)
    total = total_power(found.rails_mw)
    assert total is None or np.isfinite(total[0])


VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
SAMPLES = st.lists(st.fixed_dictionaries({"t": st.floats(0, 1e6) | VALUES}, optional={
    "tegrastats": st.just("VDD_IN 5mW/5mW") | VALUES,
    "rails_mw": st.dictionaries(st.sampled_from(["VDD_IN", "B"]), VALUES) | VALUES,
    "rapl_uj": st.dictionaries(st.sampled_from(["package-0", "package-1"]), VALUES) | VALUES,
    "rapl_max_uj": st.dictionaries(st.sampled_from(["package-0"]), VALUES) | VALUES}), max_size=60)


@given(SAMPLES, st.booleans())
def test_any_samples_give_a_figure_a_reason_or_an_error(samples, in_order):
    if in_order:
        samples = [sample | {"t": float(position)} for position, sample in enumerate(samples)]
    try:
        found = mean_power(samples)
    except EdgeSeError:
        assert not in_order
        return
    assert (found.watts is None) != (found.reason is None)
    assert found.watts is None or (np.isfinite(found.watts) and found.standard_error >= 0)
    energy = energy_per_inference(found, IDLE, 0.001)
    assert (energy.millijoules is None) != (energy.reason is None)
