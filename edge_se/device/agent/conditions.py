"""Under which conditions a device measures: power mode, clocks, temperatures, throttling."""

from __future__ import annotations

import re
import shutil
import subprocess

from .system import paths, read, read_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def state(root: str = "/") -> dict[str, Any]:
    """Power mode, governors, clocks, temperatures and throttling counters at this moment; None where unknown."""
    clocks, governors = {}, {}
    for folder in paths("/sys/devices/system/cpu/cpu[0-9]*/cpufreq", root):
        cpu = folder.split("/")[-2]
        governors[cpu] = read(folder + "/scaling_governor", root)
        clocks[cpu] = {key: _scaled(read_number(f"{folder}/scaling_{name}_freq", root), 1000)
                       for key, name in (("now", "cur"), ("min", "min"), ("max", "max"))}
    for folder in paths("/sys/class/devfreq/*", root):
        if re.search(r"gpu|gv11b|ga10b|gp10b|gm20b", folder):
            clocks["gpu"] = {key: read_number(f"{folder}/{name}_freq", root)
                             for key, name in (("now", "cur"), ("min", "min"), ("max", "max"))}
    floors = [clock["min"] == clock["max"] for clock in clocks.values() if clock["min"] and clock["max"]]
    return {"power_mode": _power_mode(root), "clocks_locked": all(floors) if floors else None, "governors": governors,
            "clocks_hz": clocks, "temps_c": temperatures(root), "throttle": throttling(root),
            "device": read("/proc/device-tree/model", root)}


def _power_mode(root: str) -> str | None:
    if root == "/" and shutil.which("nvpmodel"):
        try:
            said = subprocess.run(["nvpmodel", "-q"], capture_output=True, text=True, timeout=10, check=False).stdout
        except (OSError, subprocess.TimeoutExpired):
            said = ""
        found = re.search(r"NV Power Mode:\s*(\S+)", said)
        if found:
            return found.group(1)
    return read("/var/lib/nvpmodel/status", root)  # `pmode:0002`


def _scaled(value: int | None, factor: int) -> int | None:
    return None if value is None else value * factor


def temperatures(root: str) -> dict[str, float]:
    """Degrees Celsius of each thermal zone that is on."""
    found = {}
    for folder in paths("/sys/class/thermal/thermal_zone*", root):
        kind, value = read(folder + "/type", root), read_number(folder + "/temp", root)
        if kind and value is not None and value > 0:  # zones that are switched off read negative
            found[re.sub(r"[-_]?thermal", "", kind)] = value / 1000
    return found


def throttling(root: str) -> dict[str, int]:
    """How often each over-current alarm and each processor's throttling has set in since the start."""
    found = {}
    for path in [*paths("/sys/class/hwmon/hwmon*/oc*_event_cnt", root),
                 *paths("/sys/devices/system/cpu/cpu*/thermal_throttle/core_throttle_count", root)]:
        value = read_number(path, root)
        if value is not None:
            parts = path.split("/")
            found[parts[-3] if parts[-1] == "core_throttle_count" else parts[-1][: -len("_event_cnt")]] = value
    return found
