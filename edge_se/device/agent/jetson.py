"""Whether this is a Jetson, and with which release of its system."""

from __future__ import annotations

import re

from .system import read


def l4t_version(root: str = "/") -> str | None:
    """`36.4.3` of `# R36 (release), REVISION: 4.3, ...`, or None when the system does not tell, as in containers."""
    match = re.search(r"R(\d+) \(release\), REVISION: ([\d.]+)", read("/etc/nv_tegra_release", root) or "")
    return "{}.{}".format(*match.groups()) if match else None


def is_jetson(root: str = "/") -> bool:
    """Whether the chip is a Tegra, also on boards and systems of other makers."""
    return (any(name.startswith("nvidia,tegra") for name in _compatible(root)) or l4t_version(root) is not None
            or "Jetson" in (read("/proc/device-tree/model", root) or ""))


def is_thor(root: str = "/") -> bool:
    """Whether the chip is a Thor's."""
    return "nvidia,tegra264" in _compatible(root)


def _compatible(root: str) -> list[str]:
    """What the device tree says that the board is compatible with, the chip among it."""
    return (read("/proc/device-tree/compatible", root) or "").split("\0")
