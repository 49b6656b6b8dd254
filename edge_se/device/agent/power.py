"""Sensors of power."""

from __future__ import annotations

import os

from .jetson import is_thor
from .system import paths, program, read, read_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    Rail = tuple[tuple[str, ...], float, str]

# Single-channel monitors by the names that Linux's drivers give them (drivers/hwmon/ina2xx.c and ina238.c): the input
# of a Thor developer kit lies behind an INA238. Only the INA3221 has three channels.
SINGLE = ("ina219", "ina220", "ina226", "ina228", "ina230", "ina231", "ina234", "ina237", "ina238", "ina260", "sq52206")


def power_sources(root: str = "/") -> list[str]:
    """Where power can be read: tegrastats, ina3221 or another monitor by its chip's name, rapl."""
    sources = ["tegrastats"] if root == "/" and program("tegrastats") else []
    files = rail_files(root)
    readable = read_rails(files, root)
    sources += sorted({files[name][2] for name in readable})
    return sources + (["rapl"] if read_counters(counter_files(root), root) else [])


def rail_files(root: str) -> dict[str, Rail]:
    """For each rail: the files, the factor that turns the product of their numbers into milliwatts, and the chip.

    INA3221: JetPack 5 and later under hwmon (mV, mA), JetPack 4 under iio (mW). For single-channel monitors hwmon
    tells microwatts. One without a label is the input of a Thor, or gets the name of its chip and position.
    """
    rails: dict[str, Rail] = {}
    labels = paths("/sys/bus/i2c/drivers/ina3221/*/hwmon/hwmon*/in[1-3]_label", root)
    for name in paths("/sys/class/hwmon/hwmon*/name", root):
        folder, chip = os.path.dirname(name), read(name, root) or ""
        if chip == "ina3221":
            labels += paths(f"{folder}/in[1-3]_label", root)
        elif chip in SINGLE:
            shown = next(filter(None, (read(f"{folder}/{label}", root) for label in ("label", "in1_label"))),
                         "VIN" if is_thor(root) else f"{chip} in {os.path.basename(folder)}")
            told = read_number(f"{folder}/power1_input", root) is not None
            rails[shown] = ((f"{folder}/power1_input",), 1e-3, chip) if told else (
                (f"{folder}/in1_input", f"{folder}/curr1_input"), 1e-3, chip)
    for label in labels:
        folder, number = os.path.dirname(label), os.path.basename(label)[2]
        rails[read(label, root) or number] = ((f"{folder}/in{number}_input", f"{folder}/curr{number}_input"), 1e-3,
                                              "ina3221")
    for label in paths("/sys/bus/i2c/drivers/ina3221x/*/iio:device*/rail_name_[0-2]", root):
        power = f"{os.path.dirname(label)}/in_power{label[-1]}_input"
        rails[read(label, root) or label[-1]] = ((power,), 1.0, "ina3221")
    return rails


def read_rails(files: dict[str, Rail], root: str) -> dict[str, float]:
    """Milliwatts of each rail that can be read."""
    rails = {}
    for name, (sources, factor, _) in files.items():
        values = [read_number(path, root) for path in sources]
        if None not in values:
            rails[name] = factor
            for value in values:
                rails[name] *= value or 0
    return rails


def counter_files(root: str) -> dict[str, tuple[str, int | None]]:
    """RAPL's counter of each processor package, and where it wraps, in microjoules."""
    return {read(folder + "/name", root) or folder: (folder + "/energy_uj",
                                                     read_number(folder + "/max_energy_range_uj", root))
            for folder in paths("/sys/class/powercap/intel-rapl:[0-9]", root)}


def read_counters(files: dict[str, tuple[str, int | None]], root: str) -> dict[str, int]:
    """Microjoules of each package; reading them usually takes root."""
    microjoules = {name: read_number(path, root) for name, (path, _) in files.items()}
    return {name: value for name, value in microjoules.items() if value is not None}
