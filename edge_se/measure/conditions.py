"""The conditions of a measurement on a device: why its figures are uncertified, and which runs may be compared.

Computed on the host from two snapshots of the device's state and from what it sampled during the run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from edge_se.core.errors import EdgeSeError
from edge_se.measure.power import Sample, Tegrastats, chip_temperatures, number, numbers, parse_tegrastats

State = Mapping[str, Any]
# The lowest limit that a maker of carrier boards lists, AUX of Xavier NX (CPU 90.5, GPU 91.5, Nano 97):
# https://github.com/Frederik-AiBlox/ai-blox.github.io/blob/HEAD/pages/module-x/hardware/stress-test.md
HOT_C = 90.0
# "When the core temperature is between 80°C and 85°C, the Arm cores will be progressively throttled back", and cpufreq
# goes on telling what it asked for: frequency-management.adoc and config.txt of raspberrypi/documentation.
PI, PI_HOT_C = "Raspberry Pi", 80.0
FLOOR_SHARE = 0.95  # clocks are counted, and truncated to MHz: they lie beside the nominal ones
# One reading below the floor is a misreading: 247 MHz of a core at 93 % load beside five at 1984 MHz
# (tests/recorded/tegrastats/orin-8gb-as-root.txt).
SLOW_READINGS = 2
# jetson_clocks locks memory by an override that min and max do not show; Thor's gpu-nvd are its video engines.
OTHER_CLOCKS = ("emc", "mem", "gpu-nvd")
# What must be alike, with the share that one may be of the other: systems reserve unlike parts of one memory.
SAME = (("memory", (2**30, "GiB"), 0.8, ("memory",)), ("ceilings of the GPU's clock", (1e6, "MHz"), 0.98,
                                                      ("clocks_hz", "gpu", "max")))
TOLD = {"L4T": ("l4t",), "TensorRT": ("runtimes", "tensorrt", "version"),
        "TensorRT for RTX": ("runtimes", "tensorrt_rtx", "version"), "CUDA": ("gpu", "cuda"),
        "onnxruntime-web": ("runtimes", "onnxruntime-web", "version"), "the browser's version": ("browser", "version")}
LOCK = "run `sudo jetson_clocks`"
MODE = "set one mode with `sudo nvpmodel -m 0`"
COOL = "cool the board, or run it in a lower power mode (`sudo nvpmodel -q` tells the present one)"
COOL_HERE = "cool the machine: its fans, its dust, what else runs on it"
FEED = ("this is too much current, not heat: give the board a stronger supply, or run it in a lower power mode "
        "(`sudo nvpmodel -q` tells the present one)")
FELL = ("cool the board or give it a stronger supply (temperatures and over-current counters beside it tell which), or "
        "run it in a lower power mode (`sudo nvpmodel -q` tells the present one)")
SUPPLY = "the board's voltage fell: give it a stronger supply and a shorter cable"
IN_FRONT = "keep it in front and the screen on, and measure again"
GOVERN = "set the CPU governor: `sudo cpupower frequency-set -g performance`"


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """How a run was measured. `temperature_c` is the lowest and highest of the chip's sensors in degrees Celsius.

    `uncertified` holds the reasons, each with its fix, for which the figures may not repeat; empty when they should.
    """

    power_mode: str | None
    clocks_locked: bool | None
    throttling: tuple[str, ...]
    temperature_c: tuple[float, float] | None
    uncertified: tuple[str, ...]


def conditions_of(before: State, after: State, samples: Sequence[Sample]) -> Conditions:
    """The conditions of the run between two snapshots; EdgeSeError when the power mode changed in between.

    A value that a device could not tell may be missing or null. What is unknown then is a reason in `uncertified`.
    """
    mode, later = _mode(before), _mode(after)
    if mode is not None and later is not None and mode != later:
        raise EdgeSeError(f"the power mode changed from {mode} to {later} during the run", where=_device(before, after),
                          fix=f"{MODE} and measure again")
    mode = later if mode is None else mode
    samples = [sample for sample in samples if isinstance(sample, Mapping)]
    lines = [parse_tegrastats(line) for sample in samples if isinstance(line := sample.get("tegrastats"), str)]
    locked = _both(_locked(before), _locked(after))
    temperatures = _temperatures(before, after, samples, lines)
    hot, which = (PI_HOT_C, "Raspberry Pis") if PI in _device(before, after) else (HOT_C, "some Jetsons")
    throttling = (*_rises(before, after, samples), *_slow(before, after, samples, lines),
                  *(f"{name} reached {celsius:.1f} °C, and {which} slow down from {hot:.0f} °C on"
                    for name, celsius in sorted(_hottest(temperatures).items()) if celsius >= hot),
                  *sorted({f"tegrastats said '{flag}'" for line in lines for flag in line.flags}))
    span = [celsius for _, celsius in temperatures]
    return Conditions(
        power_mode=mode, clocks_locked=locked, throttling=throttling,
        temperature_c=(min(span), max(span)) if span else None,
        uncertified=tuple(_reasons(before, after, mode, locked, throttling, sampled=bool(samples),
                                   unseen=_gpu_unseen(before, samples, lines))))


def require_comparable(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """Raises EdgeSeError unless two documents come from like conditions. Returns other differences, as notes.

    Refused: an estimate beside a measurement, two devices, two power modes, a power mode that only one of them tells,
    and two sizes of memory or ceilings of the GPU's clock: modules of one name differ in them, and one name of a mode
    may mean two clocks in two firmwares. Told: another system or TensorRT, whose comparison may be the purpose. Values
    that one document lacks do not count as different, nor a power mode that both lack.
    """
    where, again = "comparison", "measure both on one device in one power mode"
    estimates = _is_estimate(first), _is_estimate(second)
    if estimates[0] != estimates[1]:
        which = ("first", "second") if estimates[0] else ("second", "first")
        raise EdgeSeError(f"the {which[0]} is an estimate, the {which[1]} was measured", where=where,
                          fix="compare measurements with measurements, estimates with estimates")
    devices = _described(first, "name"), _described(second, "name")
    if None not in devices and devices[0] != devices[1]:
        raise EdgeSeError(f"measured on different devices: {devices[0]} and {devices[1]}", where=where, fix=again)
    modes = _described(first, "power_mode"), _described(second, "power_mode")
    if modes[0] != modes[1]:
        told = " and ".join("none told" if mode is None else mode for mode in modes)
        raise EdgeSeError(f"measured in different power modes: {told}", where=where, fix=f"{again}; {MODE}")
    for what, unit, share, path in SAME:
        sizes = [number(_below(document, path)) for document in (first, second)]
        if None not in sizes and min(sizes) < share * max(sizes):  # type: ignore[type-var, operator]
            shown = " and ".join(f"{(size or 0) / unit[0]:.0f} {unit[1]}" for size in sizes)
            raise EdgeSeError(f"measured with different {what}: {shown}", where=where, fix=again)
    versions = [(name, *(_below(document, path) for document in (first, second))) for name, path in TOLD.items()]
    return [f"the runs differ in {name}: {one} and {other}" for name, one, other in versions
            if None not in (one, other) and one != other]


def _reasons(before: State, after: State, mode: str | None, locked: bool | None, throttling: tuple[str, ...], *,
             sampled: bool, unseen: bool) -> Iterator[str]:
    if before.get("browser"):
        yield ("a page can read neither clocks nor temperatures; compare the ratios of one run, and run it several "
               "times")
        if after.get("hidden"):
            yield f"the page was in the background, where browsers slow it down; {IN_FRONT}"
        return
    jetson = (mode is not None or "jetson" in _device(before, after).lower()
              or any(state.get("jetson") is True for state in (before, after)))
    fix = LOCK if jetson else GOVERN
    # Elsewhere nothing locks clocks as jetson_clocks does: all that a user can ask for is the governor.
    governors = sorted({str(name) for state in (before, after) for name in _values(state.get("governors"))})
    if jetson and mode is None:
        yield f"the power mode is not known; {MODE}"
    settled = bool(locked) or (not jetson and governors == ["performance"])
    if not settled and locked is None:
        yield f"whether the clocks were locked is not known; {fix}"
    elif not settled:
        yield f"the clocks were not locked, so they followed load and temperature; {fix}"
    if not locked and governors and governors != ["performance"]:  # locked clocks leave a governor no choice
        yield f"the CPU governor was {', '.join(governors)}; {fix}"
    for event in throttling:
        yield f"throttled: {event}; {_advice(event, jetson)}"
    if unseen:
        yield ("the GPU's clock was not seen during the run, so it may have fallen unseen; run tegrastats as root, or "
               "let the user read /sys/class/devfreq there")
    if not sampled:
        yield ("nothing was sampled during the run, as there is no power sensor; compare several runs: throttling may "
               "have passed unseen")


def _advice(event: str, jetson: bool) -> str:
    """What helps against an event of throttling: over-current is no heat, and a fallen clock may come from both."""
    if "_lcrit_alarm" in event:
        return SUPPLY
    if re.match(r"oc\d|curr\d|\S+_(?:crit|max)_alarm", event) or re.search(r"over-?current", event, re.IGNORECASE):
        return FEED
    if not jetson:
        return COOL_HERE
    return FELL if " fell to " in event else COOL


def _gpu_unseen(before: State, samples: Sequence[Sample], lines: list[Tegrastats]) -> bool:
    """Whether the samples hold other clocks, or the GPU's load, but never the GPU's clock."""
    clocks = [numbers(sample["clocks_hz"]) for sample in samples if isinstance(sample.get("clocks_hz"), Mapping)]
    if any("gpu" in taken for taken in clocks) or any("gpu" in line.clocks_hz for line in lines):
        return False
    expected = "gpu" in _clocks(before) or before.get("jetson") is True
    return (expected and bool(clocks)) or any(line.gpu_percent is not None for line in lines)


def _mode(state: State) -> str | None:
    mode = state.get("power_mode")
    return None if mode is None or mode == "" else str(mode)


def _device(*states: State) -> str:
    return next((str(state["device"]) for state in states if state.get("device")), "device")


def _values(values: object) -> list[object]:
    return [value for value in values.values() if value is not None] if isinstance(values, Mapping) else []


def _clocks(state: State) -> dict[str, dict[str, float]]:
    """`now`, `min` and `max` in Hz by clock, without clocks that do not matter to inference."""
    clocks = state.get("clocks_hz")
    return {str(name): numbers(clock) for name, clock in clocks.items()
            if not str(name).lower().startswith(OTHER_CLOCKS)} if isinstance(clocks, Mapping) else {}


def _locked(state: State) -> bool | None:
    """The device's own answer, else whether the floor of every clock is its ceiling."""
    if isinstance(said := state.get("clocks_locked"), bool):
        return said
    ranges = [(clock["min"], clock["max"]) for clock in _clocks(state).values() if "min" in clock and "max" in clock]
    return all(low >= high for low, high in ranges) if ranges else None


def _both(one: bool | None, other: bool | None) -> bool | None:
    """False wins: clocks that were loose at the start or the end may have been loose in between."""
    return False if one is False or other is False else one if one is not None else other


def _temperatures(before: State, after: State, samples: Sequence[Sample],
                  lines: list[Tegrastats]) -> list[tuple[str, float]]:
    """(sensor, degrees Celsius) of the run, and of the snapshots where nothing was sampled."""
    taken = [chip_temperatures(numbers(sample.get("temps_c"))) for sample in samples] + [line.temps_c for line in lines]
    if not any(taken):
        taken = [chip_temperatures(numbers(state.get("temps_c"))) for state in (before, after)]
    return [reading for readings in taken for reading in readings.items()]


def _hottest(temperatures: list[tuple[str, float]]) -> dict[str, float]:
    return {name: max(celsius for other, celsius in temperatures if other == name) for name, _ in temperatures}


def _rises(before: State, after: State, samples: Sequence[Sample]) -> Iterator[str]:
    """Counters that rose, and alarms that were on all the time."""
    series: dict[str, list[float]] = {}
    for taken in (before, *samples, after):
        for name, value in numbers(taken.get("throttle")).items():
            series.setdefault(name, []).append(value)
    for name, values in sorted(series.items()):
        rise = sum(max(later - earlier, 0) for earlier, later in pairwise(values))
        if rise:
            yield f"{name} rose by {rise:g}"
        elif name.lower().endswith("alarm") and values[-1]:
            yield f"{name} was on from the beginning"


def _slow(before: State, after: State, samples: Sequence[Sample], lines: list[Tegrastats]) -> Iterator[str]:
    """Clocks that fell below their floor, and ceilings that came down; 0 Hz is a block without power."""
    later, taken = _clocks(after), [numbers(sample.get("clocks_hz")) for sample in samples]
    taken += [line.clocks_hz for line in lines]
    for name, clock in sorted(_clocks(before).items()):
        floor = clock.get("min", 0.0)
        slow = [readings[name] for readings in taken if 0 < readings.get(name, 0) < FLOOR_SHARE * floor]
        if len(slow) >= SLOW_READINGS:
            yield f"{name} fell to {min(slow) / 1e6:.0f} MHz, below its floor of {floor / 1e6:.0f} MHz"
        ceiling, lowered = clock.get("max"), later.get(name, {}).get("max")
        if ceiling is not None and lowered is not None and lowered < FLOOR_SHARE * ceiling:
            yield f"the ceiling of {name} came down from {ceiling / 1e6:.0f} to {lowered / 1e6:.0f} MHz"


def _is_estimate(document: Mapping[str, Any]) -> bool:
    rows = document.get("measurements")
    return document.get("estimated") is True or (isinstance(rows, Sequence) and any(
        isinstance(row, Mapping) and row.get("estimated") is True for row in rows))


def _below(document: Mapping[str, Any], path: Sequence[str]) -> Any:
    """A value below environment.device, or None."""
    value: Any = document
    for key in ("environment", "device", *path):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _described(document: Mapping[str, Any], key: str) -> str | None:
    """A field of environment.device, or None."""
    environment = document.get("environment")
    device = environment.get("device") if isinstance(environment, Mapping) else None
    value = device.get(key) if isinstance(device, Mapping) else None
    return None if value is None or value == "" else str(value)
