"""Clocks of processor and GPU, and whether they are locked."""

from __future__ import annotations

import os
import re

from .system import paths, read, read_number

TYPE_CHECKING = False
if TYPE_CHECKING:

    Clock = dict[str, "int | None"]

_GPU = re.compile(r"gpu|gpc|gv11b|ga10b|gp10b|gm20b")
_RANGE = (("now", "cur"), ("min", "min"), ("max", "max"))


def cpu_folders(root: str = "/") -> dict[str, str]:
    """The cpufreq folder of each processor that is on. One that is off keeps its files, with another range."""
    return {folder.split("/")[-2]: folder for folder in paths("/sys/devices/system/cpu/cpu[0-9]*/cpufreq", root)
            if read_number(f"{os.path.dirname(folder)}/online", root) != 0}


def gpu_folders(root: str = "/") -> dict[str, str]:
    """The folder of devfreq of each of the GPU's clocks. `gpu` is the one of its cores; others keep their node's name.

    Thor has `gpu-gpc-0`, its cores, and `gpu-nvd-0`, its video engines.
    """
    nodes = {os.path.basename(folder): folder for folder in paths("/sys/class/devfreq/*", root)}
    nodes = {name: folder for name, folder in nodes.items() if _GPU.search(name)}
    cores = next((name for name in nodes if "gpc" in name), next(iter(nodes), None))
    return {"gpu" if name == cores else name: folder for name, folder in nodes.items()}


def clocks(root: str = "/") -> dict[str, Clock]:
    """`now`, `min` and `max` in Hz of each processor that is on and of each clock of the GPU."""
    by_name: dict[str, Clock] = {}
    for name, folder in cpu_folders(root).items():
        values = {key: read_number(f"{folder}/scaling_{file}_freq", root) for key, file in _RANGE}
        by_name[name] = {key: None if value is None else 1000 * value for key, value in values.items()}
    for name, folder in gpu_folders(root).items():
        by_name[name] = {key: read_number(f"{folder}/{file}_freq", root) for key, file in _RANGE}
    return by_name


def governors(root: str = "/") -> dict[str, str | None]:
    """The governor of each processor that is on."""
    return {name: read(folder + "/scaling_governor", root) for name, folder in cpu_folders(root).items()}


def locked(by_name: dict[str, Clock]) -> bool | None:
    """Whether the floor of each clock that matters to inference is its ceiling; None when no range is known."""
    counted = [clock for name, clock in by_name.items() if re.match(r"cpu\d|gpu$", name) or "gpc" in name]
    ranges = [clock["min"] == clock["max"] for clock in counted if clock["min"] and clock["max"]]
    return all(ranges) if ranges else None


def gpu_ceiling(root: str = "/") -> int | None:
    """Hz that the GPU may reach in the present power mode, or None where that is not told."""
    folder = gpu_folders(root).get("gpu")
    return read_number(f"{folder}/max_freq", root) if folder else None


def clock_files(root: str = "/") -> tuple[dict[str, str], dict[str, str]]:
    """The files of present clocks in Hz, the GPU's, and in kHz, the processors'."""
    return ({name: folder + "/cur_freq" for name, folder in gpu_folders(root).items()},
            {name: folder + "/scaling_cur_freq" for name, folder in cpu_folders(root).items()})
