"""Sensors of power, and one sample of everything that changes while a model runs."""

from __future__ import annotations

import os
import shutil
import time

from .conditions import state, temperatures, throttling
from .system import paths, read, read_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def power_sources(root: str = "/") -> list[str]:
    """Where power can be read: tegrastats, ina3221, rapl."""
    found = ["tegrastats"] if root == "/" and shutil.which("tegrastats") else []
    found += ["ina3221"] if _ina3221(root) else []
    return found + (["rapl"] if _rapl(root) else [])


def sample(root: str = "/") -> dict[str, Any]:
    """One sample of everything that /sys tells: rails in mW, RAPL counters in uJ, clocks, temperatures, throttling."""
    taken: dict[str, Any] = {"t": time.monotonic()}
    rails, counters = _ina3221(root), _rapl(root)
    if rails:
        taken["rails_mw"] = rails
    if counters:
        taken["rapl_uj"] = {name: counter for name, (counter, _) in counters.items()}
        taken["rapl_max_uj"] = {name: limit for name, (_, limit) in counters.items() if limit}
    now = state(root) if not rails and not counters else None
    taken["temps_c"], taken["throttle"] = temperatures(root), throttling(root)
    clocks = (now or {"clocks_hz": {}})["clocks_hz"]
    taken["clocks_hz"] = {name: clock["now"] for name, clock in clocks.items() if clock["now"]}
    return taken


def _ina3221(root: str) -> dict[str, float]:
    """Milliwatts of each rail: JetPack 5 and later under hwmon (mV, mA), JetPack 4 under iio (mW)."""
    rails = {}
    for label in paths("/sys/bus/i2c/drivers/ina3221/*/hwmon/hwmon*/in[1-3]_label", root):
        folder, number = os.path.dirname(label), os.path.basename(label)[2]
        volts, amperes = (read_number(f"{folder}/{kind}{number}_input", root) for kind in ("in", "curr"))
        if volts is not None and amperes is not None:
            rails[read(label, root) or number] = volts * amperes / 1000
    for label in paths("/sys/bus/i2c/drivers/ina3221x/*/iio:device*/rail_name_[0-2]", root):
        watts = read_number(f"{os.path.dirname(label)}/in_power{label[-1]}_input", root)
        if watts is not None:
            rails[read(label, root) or label[-1]] = float(watts)
    return rails


def _rapl(root: str) -> dict[str, tuple[int, int | None]]:
    """(counter, where it wraps) in microjoules of each processor package; reading them usually takes root."""
    found = {}
    for folder in paths("/sys/class/powercap/intel-rapl:[0-9]", root):
        counter = read_number(folder + "/energy_uj", root)
        if counter is not None:
            limit = read_number(folder + "/max_energy_range_uj", root)
            found[read(folder + "/name", root) or folder] = (counter, limit)
    return found
