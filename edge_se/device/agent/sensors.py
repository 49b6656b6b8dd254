"""Everything that changes while a model runs."""

from __future__ import annotations

import time

from .clocks import clock_files
from .conditions import read_temperatures, temperature_files, throttle_files
from .power import counter_files, rail_files, read_counters, read_rails
from .system import read_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CPUS_EVERY = 5  # samples: reading a processor's clock takes half a millisecond of that processor's time


class Sensors:
    """The files of /sys, looked up once: a search takes longer than a reading, and would disturb the measurement."""

    def __init__(self, root: str = "/", power: bool = True) -> None:
        """Without `power`, rails and counters are left out, because another source tells them."""
        self._root, self._taken = root, 0
        self._rails, self._counters = (rail_files(root), counter_files(root)) if power else ({}, {})
        self._gpu, self._cpus = clock_files(root)
        self._temperatures, self._throttle = temperature_files(root), throttle_files(root)

    def sample(self) -> dict[str, Any]:
        """Rails in mW, RAPL counters in uJ, clocks in Hz, degrees Celsius and throttling counters now."""
        root = self._root
        taken: dict[str, Any] = {"t": time.monotonic()}
        rails, counters = read_rails(self._rails, root), read_counters(self._counters, root)
        if rails:
            taken["rails_mw"] = rails
        if counters:
            taken["rapl_uj"] = counters
            taken["rapl_max_uj"] = {name: limit for name, (_, limit) in self._counters.items()
                                    if limit and name in counters}
        clocks = {name: read_number(path, root) for name, path in self._gpu.items()}
        if self._taken % CPUS_EVERY == 0:
            clocks.update((name, 1000 * (read_number(path, root) or 0)) for name, path in self._cpus.items())
        throttle = {name: read_number(path, root) for name, path in self._throttle.items()}
        self._taken += 1
        return dict(taken, temps_c=read_temperatures(self._temperatures, root),
                    throttle={name: value for name, value in throttle.items() if value is not None},
                    clocks_hz={name: value for name, value in clocks.items() if value is not None})


def sample(root: str = "/") -> dict[str, Any]:
    """One sample of everything."""
    return Sensors(root).sample()
