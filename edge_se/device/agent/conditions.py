"""Under which conditions a device measures: power mode, clocks, temperatures, throttling."""

from __future__ import annotations

import os
import re
import subprocess

from .clocks import clocks, governors, locked
from .jetson import is_jetson
from .system import paths, program, read, read_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def state(root: str = "/") -> dict[str, Any]:
    """Power mode, governors, clocks, temperatures and throttling counters at this moment; None where unknown."""
    clocks_hz = clocks(root)
    return {"power_mode": _power_mode(root), "clocks_locked": locked(clocks_hz), "governors": governors(root),
            "clocks_hz": clocks_hz, "temps_c": temperatures(root), "throttle": throttling(root),
            "device": read("/proc/device-tree/model", root), "jetson": is_jetson(root)}


def _power_mode(root: str) -> str | None:
    nvpmodel = program("nvpmodel") if root == "/" else None
    if nvpmodel:
        try:
            said = subprocess.run([nvpmodel, "-q"], capture_output=True, text=True, timeout=10, check=False).stdout
        except (OSError, subprocess.TimeoutExpired):
            said = ""
        match = re.search(r"NV Power Mode:\s*(\S+)", said)
        if match:
            return match.group(1)
    return read("/var/lib/nvpmodel/status", root)  # `pmode:0002`


def temperatures(root: str) -> dict[str, float]:
    """Degrees Celsius of each thermal zone that is on."""
    return read_temperatures(temperature_files(root), root)


def throttling(root: str) -> dict[str, int]:
    """How often each over-current alarm and each processor's throttling has set in, and a Pi's alarm of low voltage."""
    counts = {name: read_number(path, root) for name, path in throttle_files(root).items()}
    return {name: value for name, value in counts.items() if value is not None}


def temperature_files(root: str) -> dict[str, str]:
    """The file of each thermal zone by its name."""
    kinds = [(read(folder + "/type", root), folder) for folder in paths("/sys/class/thermal/thermal_zone*", root)]
    return {re.sub(r"[-_]?thermal", "", kind): folder + "/temp" for kind, folder in kinds if kind}


def read_temperatures(files: dict[str, str], root: str) -> dict[str, float]:
    """Degrees Celsius of the zones that are on: the others read negative."""
    millidegrees = {name: read_number(path, root) for name, path in files.items()}
    return {name: value / 1000 for name, value in millidegrees.items() if value is not None and value > 0}


def throttle_files(root: str) -> dict[str, str]:
    """The file of each counter by its name: oc1, cpu0; of the alarm of a Raspberry Pi (rpi_volt_lcrit_alarm)."""
    events = {os.path.basename(path)[: -len("_event_cnt")]: path
              for path in paths("/sys/class/hwmon/hwmon*/oc*_event_cnt", root)}
    cores = paths("/sys/devices/system/cpu/cpu*/thermal_throttle/core_throttle_count", root)
    volts = {f"{chip}_lcrit_alarm": f"{os.path.dirname(name)}/in0_lcrit_alarm"
             for name in paths("/sys/class/hwmon/hwmon*/name", root)
             for chip in (read(name, root),) if chip == "rpi_volt"}  # those of other chips are often on without a cause
    return {**events, **volts, **{path.split("/")[-3]: path for path in cores}}
