"""Power and energy from what a device sampled: tegrastats lines, INA3221 rails, RAPL counters.

What a figure covers depends on its `rail`, which every figure names:
VDD_IN         the whole module: processor, GPU, memory, storage; neither carrier board nor fan nor camera
               (https://forums.developer.nvidia.com/t/interpretation-of-jetson-nx-power-rail/200883)
POM_5V_IN      all that the 5 V input feeds (https://forums.developer.nvidia.com/t/power-consumption-monitoring/73608/8)
VIN            a Thor developer kit with its carrier board (https://github.com/rbonghi/jetson_stats/pull/900)
sum of ...     AGX modules measure no input: the rails named are added up, without losses before them
package-0      RAPL: the processor package; no memory modules, no board
Never the GPU's rail alone: boards split their rails differently, and what the GPU makes memory and CPU do counts too.
The sensors' own error (INA3221 and shunt, or RAPL's model) is in no interval.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_se.core.errors import EdgeSeError

Sample = Mapping[str, Any]
MIN_SAMPLES = 20  # below, autocorrelation cannot be told and a 95 % interval covers too little
PAUSE = 5.0  # times the usual interval: in longer pauses other models had their turn
SHORTEST = 1e-3  # seconds; no sensor reads faster, and nothing may be divided by less
INPUT_RAILS = ("VDD_IN", "POM_5V_IN", "VIN")
# jtop adds up every rail it finds. VDDQ_VDD2_1V8AO is left out here: tegrastats of L4T 36.4.4 and 39.2 no longer prints
# it (tests/recorded/tegrastats), so totals would not compare, and memory may be counted twice.
SUMS = (("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"), ("VDD_GPU", "VDD_CPU_SOC_MSS", "VIN_SYS_5V0"),
        ("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"))
# Each is fed by an input rail that the board's monitor does not measure, or not under a name that is known: their sum
# leaves out memory and all that lies beside them.
PARTS = ("VDD_CPU_GPU_CV", "VDD_CPU_GPU", "VDD_SOC", "POM_5V_GPU", "POM_5V_CPU")
NOT_RAILS = ("NC", "VDDQ_VDD2_1V8AO")  # NC: not connected
NOT_THE_CHIP = ("pmic", "iwlwifi")     # PMIC is a constant of the driver: 100 or 50
OFFLINE_C = -40.0                      # sensors of a block without power say -256

_RAIL = re.compile(r"(?<!\S)([A-Z][A-Z0-9_]*) (-?[0-9]{1,7})(?:mW(?:/-?[0-9]+mW)*|(?:/-?[0-9]+)+)(?!\S)")
_TEMPERATURE = re.compile(r"(?<!\S)([A-Za-z][A-Za-z0-9_]*)@(-?[0-9]{1,4}(?:\.[0-9]{1,6})?)C(?![A-Za-z0-9])")
_GPU = re.compile(r"(?<!\S)GR3D_FREQ (?:([0-9]{1,3})%)?(?:@\[?([0-9]{1,5}(?:,[0-9]{1,5})*)\]?)?(?!\S)")
_CPUS = re.compile(r"(?<!\S)CPU \[([^\]]*)\]")
_CPU = re.compile(r"\s*[0-9]{1,3}%@([0-9]{1,5})\s*")
_FLAG = re.compile(r"\S*(?:throttl|over-?current)\S*", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Tegrastats:
    """One line: milliwatts by rail at that moment (not the averages after the slash), degrees Celsius by sensor in
    lower case, GPU load in percent, Hz by clock (`gpu`, `cpu0`) and the words that speak of throttling.
    """

    rails_mw: dict[str, float] = field(default_factory=dict)
    temps_c: dict[str, float] = field(default_factory=dict)
    gpu_percent: float | None = None
    clocks_hz: dict[str, float] = field(default_factory=dict)
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Power:
    """Mean watts of a run and its standard error in watts, over `samples` readings that are worth `effective_samples`
    independent ones; without watts there is the reason.
    """

    watts: float | None = None
    standard_error: float | None = None
    samples: int = 0
    effective_samples: float | None = None
    source: str | None = None
    rail: str | None = None
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class Energy:
    """Millijoules of one inference above idle with their 95 % interval; without millijoules there is the reason.

    `low` below 0 says that the run cannot be told from idling. `samples` counts the readings of the run.
    """

    millijoules: float | None = None
    low: float | None = None
    high: float | None = None
    idle_watts: float | None = None
    active_watts: float | None = None
    source: str | None = None
    rail: str | None = None
    samples: int = 0
    reason: str | None = None


def parse_tegrastats(line: str) -> Tegrastats:
    """Reads a line of JetPack 4 to 7. Unknown fields are ignored, so any text gives a result."""
    temperatures = {name.lower(): float(value) for name, value in _TEMPERATURE.findall(line)}
    clocks = {}
    if cpus := _CPUS.search(line):
        cores = enumerate(_CPU.fullmatch(core) for core in cpus[1].split(","))
        clocks = {f"cpu{number}": 1e6 * int(core[1]) for number, core in cores if core}
    gpu = _GPU.search(line)
    if gpu and gpu[2] and (megahertz := max(map(int, gpu[2].split(",")))):  # 0: the GPU has no power
        clocks["gpu"] = 1e6 * megahertz
    return Tegrastats(
        rails_mw={name: float(value) for name, value in _RAIL.findall(line)}, clocks_hz=clocks,
        temps_c=chip_temperatures(temperatures), gpu_percent=float(gpu[1]) if gpu and gpu[1] else None,
        flags=tuple(_FLAG.findall(line)))


def chip_temperatures(celsius: Mapping[str, float]) -> dict[str, float]:
    """Without sensors that are off, constant or of another part, in degrees Celsius."""
    return {name: value for name, value in celsius.items()
            if value > OFFLINE_C and not name.lower().startswith(NOT_THE_CHIP)}


def total_power(rails_mw: Mapping[str, float]) -> tuple[float, str] | None:
    """(watts, rail) of the module as jtop totals it: the input rail, else a sum that names its rails.

    None without rails, where parts of an input are told without it, and where an input rail reads less than a part of
    it: then labels are swapped, as on a carrier board whose Nano says POM_5V_IN 3227 and POM_5V_GPU 8949
    (tests/recorded/tegrastats).
    """
    rails = {name: value for name, value in rails_mw.items() if name not in NOT_RAILS and not name.startswith("sum ")}
    for name in INPUT_RAILS:
        if name in rails:
            return (rails[name] / 1000, name) if rails[name] >= max(rails.values()) else None
    if any(name in PARTS for name in rails):
        return None
    names = next((names for names in SUMS if all(name in rails for name in names)), tuple(rails))
    return (sum(rails[name] for name in names) / 1000, _sum_of(names)) if names else None


def mean_power(samples: Sequence[Sample]) -> Power:
    """Time-weighted mean over one run, from the source with most readings; EdgeSeError when time does not run forward.

    The standard error takes the readings for a first-order autoregressive series: n of them with correlation r of
    neighbours are worth n (1 - r) / (1 + r) independent ones, r corrected for its bias (1 + 4 r) / n (Marriott and
    Pope, Bias in the estimation of autocorrelations, Biometrika 1954) and never taken as negative.
    """
    times = _times(samples)
    series = [_readings("INA3221 through sysfs", samples, times, _from_sysfs),
              _readings("tegrastats", samples, times, _from_tegrastats), _counters("RAPL", samples, times)]
    best = max(series, key=lambda one: len(one.watts))
    count = len(best.watts)
    if not count:
        if not samples:
            return Power(reason="nothing was sampled: no tegrastats, INA3221 or readable RAPL there")
        return Power(reason=f"no power in {len(samples)} samples: neither RAPL nor a rail that stands for the module "
                            "(or the labels of its rails are swapped: the input reads less than a part of it)")
    if count < MIN_SAMPLES:
        return Power(samples=count, source=best.source, rail=best.rail,
                     reason=f"{count} readings of {best.rail} ({best.source}); at least {MIN_SAMPLES} are needed: "
                            "measure longer")
    watts, error, effective = _mean(best.watts, best.weights)
    return Power(watts=watts, standard_error=error, samples=count, effective_samples=effective, source=best.source,
                 rail=best.rail)


def energy_per_inference(active: Power, idle: Power, seconds_per_inference: float) -> Energy:
    """(active - idle) x seconds in millijoules, for inferences back to back; 95 % interval from both standard errors.

    `active` is the mean over the timed windows and `seconds_per_inference` their length over the inferences in them
    (`Latencies.seconds_per_inference`): their product is power integrated over the windows for each inference. A median
    of durations in its place would leave out the energy of the slow runs.

    Includes all that the rail of `active` covers (see the docstring of the module) above idle: also memory, CPU and, if
    the rail is in front of them, converters. Excludes idle power, consumers that the rail does not feed, and the spread
    of `seconds_per_inference`. The interval is Student's with the degrees of freedom of Welch and Satterthwaite.
    """
    if not (math.isfinite(seconds_per_inference) and seconds_per_inference > 0):
        raise EdgeSeError(f"{seconds_per_inference} s is no time", where="energy per inference",
                          fix="give the mean seconds of one inference")
    known = Energy(idle_watts=idle.watts, active_watts=active.watts, samples=active.samples)
    if active.watts is None or active.standard_error is None or active.effective_samples is None:
        return replace(known, reason=f"while running: {active.reason}")
    if idle.watts is None or idle.standard_error is None or idle.effective_samples is None:
        return replace(known, reason=f"while idle: {idle.reason}")
    if (active.source, active.rail) != (idle.source, idle.rail):
        return replace(known, reason=f"running was measured on {active.rail} ({active.source}), idling on {idle.rail} "
                                     f"({idle.source}): their difference means nothing")
    from scipy.stats import t
    variances = (active.standard_error**2, idle.standard_error**2)
    error = math.sqrt(sum(variances))
    spread = sum(variance**2 / (count - 1) for variance, count in
                 zip(variances, (active.effective_samples, idle.effective_samples), strict=True))
    half = error * float(t.ppf(0.975, error**4 / spread)) if spread else 0.0
    watts, scale = active.watts - idle.watts, 1000 * seconds_per_inference
    return replace(known, millijoules=watts * scale, low=(watts - half) * scale, high=(watts + half) * scale,
                   source=active.source, rail=active.rail)


def numbers(values: object) -> dict[str, float]:
    """The finite numbers of a JSON object by name; what is null or something else is left out."""
    readings = {str(name): number(value) for name, value in values.items()} if isinstance(values, Mapping) else {}
    return {name: value for name, value in readings.items() if value is not None}


def number(value: object) -> float | None:
    """A JSON number as float; None for anything else, and from 1e15 on, which no sensor reads."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e15:
        return None
    return float(value)


@dataclass(frozen=True, kw_only=True)
class _Series:
    """Watts and the seconds each of them stands for."""

    source: str
    rail: str | None
    watts: NDArray[np.float64]
    weights: NDArray[np.float64]


def _sum_of(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"sum of {' + '.join(names)}"


def _times(samples: Sequence[Sample]) -> list[float]:
    fix = "send samples as the device took them, each with its monotonic time 't' in seconds"
    times: list[float] = []
    for position, sample in enumerate(samples):
        time = number(sample.get("t")) if isinstance(sample, Mapping) else None
        if time is None:
            raise EdgeSeError("it has no time", where=f"power sample {position}", fix=fix)
        if times and time < times[-1]:
            raise EdgeSeError(f"its time {time} s lies before {times[-1]} s", where=f"power sample {position}", fix=fix)
        times.append(time)
    return times


def _from_sysfs(sample: Sample) -> tuple[float, str] | None:
    return total_power(numbers(sample.get("rails_mw")))


def _from_tegrastats(sample: Sample) -> tuple[float, str] | None:
    line = sample.get("tegrastats")
    return total_power(parse_tegrastats(line).rails_mw) if isinstance(line, str) else None


def _readings(source: str, samples: Sequence[Sample], times: list[float],
              read: Callable[[Sample], tuple[float, str] | None]) -> _Series:
    """Readings of the rail that is read most often. Each stands for half the time to its neighbours, without pauses."""
    readings = [(time, *reading) for time, sample in zip(times, samples, strict=True) if (reading := read(sample))]
    rail = Counter(name for _, _, name in readings).most_common(1)[0][0] if readings else None
    kept = [(time, watts) for time, watts, name in readings if name == rail]
    at = np.array([time for time, _ in kept])
    if len(kept) < 2 or at[-1] - at[0] < SHORTEST:
        return _Series(source=source, rail=rail, watts=np.empty(0), weights=np.empty(0))
    gaps = np.diff(at) / 2
    gaps[gaps > PAUSE * np.median(gaps)] = 0
    return _Series(source=source, rail=rail, watts=np.array([watts for _, watts in kept]),
                   weights=np.append(gaps, 0) + np.append(0, gaps))


def _counters(source: str, samples: Sequence[Sample], times: list[float]) -> _Series:
    """One reading for each interval in which all packages counted, pauses left out; one that fell wrapped around."""
    counts = [(time, _packages(sample), numbers(sample.get("rapl_max_uj"))) for time, sample in
              zip(times, samples, strict=True) if _packages(sample)]
    names = sorted(set.intersection(*(set(packages) for _, packages, _ in counts))) if counts else []
    steps_s = [after[0] - before[0] for before, after in pairwise(counts)]
    longest = PAUSE * float(np.median(steps_s)) if steps_s else 0.0
    watts, weights = [], []
    for (start, before, _), (end, after, ranges) in pairwise(counts):
        steps = [after[name] - before[name] + (ranges.get(name, math.nan) if after[name] < before[name] else 0)
                 for name in names]
        if SHORTEST <= end - start <= longest and steps and all(step >= 0 for step in steps):  # NaN: an unknown range
            watts.append(sum(steps) / 1e6 / (end - start))
            weights.append(end - start)
    return _Series(source=source, rail=_sum_of(names) if names else None, watts=np.array(watts),
                   weights=np.array(weights))


def _packages(sample: Sample) -> dict[str, float]:
    """Microjoules; `core` and `uncore` are parts of a package, `psys` contains it."""
    return {name: value for name, value in numbers(sample.get("rapl_uj")).items() if name.startswith("package")}


def _mean(watts: NDArray[np.float64], weights: NDArray[np.float64]) -> tuple[float, float, float]:
    """(mean, standard error, effective samples) of a weighted, autocorrelated series."""
    mean = float(np.average(watts, weights=weights))
    apart = watts - mean
    count = float(weights.sum()**2 / (weights**2).sum())
    square = float(np.average(apart**2, weights=weights))
    if square <= (1e-12 * abs(mean))**2:  # nothing but rounding
        return mean, 0.0, max(count, 2.0)
    raw = float(apart[1:] @ apart[:-1]) / float(apart @ apart)
    correlation = min(max(raw + (1 + 4 * raw) / len(watts), 0.0), 1 - 2 / len(watts))
    effective = max(count * (1 - correlation) / (1 + correlation), 2.0)
    return mean, math.sqrt(square / (effective - 1)), effective
