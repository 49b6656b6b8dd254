"""Reading /proc and /sys, on this machine or below another root."""

from __future__ import annotations

import glob
import os
import re
import shutil

ADMIN_PATHS = ("/usr/local/sbin", "/usr/sbin", "/sbin")  # Dropbear, and sshd without PAM, leave them out


def cpu_count() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def read(path: str, root: str = "/") -> str | None:
    """The text of a file of /proc or /sys without its trailing NULs and spaces, or None."""
    try:
        with open(os.path.join(root, path.lstrip("/")), "rb") as file:
            return file.read().decode("utf-8", "replace").strip("\0 \n")
    except OSError:
        return None


def read_number(path: str, root: str = "/") -> int | None:
    """The integer in a file, or None."""
    text = read(path, root)
    try:
        return int(text) if text else None
    except ValueError:
        return None


def memory(name: str, root: str = "/") -> int | None:
    """Bytes of an entry of /proc/meminfo, such as MemTotal; None where it is not told."""
    match = re.search(rf"^{name}:\s*(\d+) kB", read("/proc/meminfo", root) or "", re.MULTILINE)
    return int(match.group(1)) * 1024 if match else None


def paths(pattern: str, root: str = "/") -> list[str]:
    """Files that match, as absolute paths without `root` in front."""
    matches = glob.glob(os.path.join(root, pattern.lstrip("/")))
    return sorted("/" + os.path.relpath(path, root) for path in matches)


def program(name: str) -> str | None:
    """The path of a program. It also looks in administrators' folders, which a login over SSH may not search."""
    return shutil.which(name) or shutil.which(name, path=os.pathsep.join(ADMIN_PATHS))
