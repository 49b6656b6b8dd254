"""Whether this is a Jetson, and with which release of its system."""

from __future__ import annotations

import re

from .system import read


def l4t_version(root: str = "/") -> str | None:
    """`36.4.3` of `# R36 (release), REVISION: 4.3, ...`, or None where this is no Jetson."""
    found = re.search(r"R(\d+) \(release\), REVISION: ([\d.]+)", read("/etc/nv_tegra_release", root) or "")
    return "{}.{}".format(*found.groups()) if found else None
