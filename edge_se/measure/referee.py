"""The same call under MLPerf LoadGen: a second opinion on latency and throughput, by code that is not ours.

SingleStream sends the next query when the last is answered and reports percentiles of latency; Offline sends all
samples at once and reports samples per second. See https://github.com/mlcommons/inference/tree/master/loadgen.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import metadata
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter_ns, sleep
from typing import Any

from edge_se.core.environment import importable
from edge_se.core.errors import UnavailableError

INSTALL = "pip install 'edge-se[referee]'"
MARK = ":::MLLOG "
LIBRARY = 1024  # samples that LoadGen chooses from; the call ignores its choice
WARMUP = 20
AFTER_FAILURE_S = 0.001  # a query's time once the call has failed, until LoadGen ends its test


@dataclass(frozen=True, kw_only=True)
class Refereed:
    """LoadGen's own figures; a query of SingleStream is one call, `throughput_ips` counts images."""

    version: str
    p50_ms: float
    p90_ms: float
    queries: int
    throughput_ips: float

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def require_referee() -> None:
    """UnavailableError where LoadGen is not installed."""
    if not importable("mlperf_loadgen"):
        raise UnavailableError("MLPerf LoadGen is not installed", where="--referee", fix=INSTALL)


def referee(call: Callable[[], object], *, seconds: float, batch: int) -> Refereed:
    """LoadGen's figures of `call`, which runs `batch` images and returns when they are done; `seconds` per scenario."""
    require_referee()
    readings = [perf_counter_ns()]
    for _ in range(WARMUP):
        call()
        readings.append(perf_counter_ns())
    expected = max(2, min(after - before for before, after in pairwise(readings)))  # nanoseconds
    # LoadGen makes its queries ahead, and a test that runs out of them is void: twice as many as should do.
    single = _run(call, "SingleStream", seconds, expected // 2, 1)
    offline = _run(call, "Offline", seconds, expected, batch)
    return Refereed(version=metadata.version("mlcommons-loadgen"),
                    p50_ms=single["result_50.00_percentile_latency_ns"] / 1e6,
                    p90_ms=single["result_90.00_percentile_latency_ns"] / 1e6,
                    queries=int(single["result_query_count"]),
                    throughput_ips=float(offline["result_samples_per_second"]))


def _run(call: Callable[[], object], scenario: str, seconds: float, expected: int, batch: int) -> dict[str, Any]:
    """The results of one test. A call answers `batch` samples; in SingleStream it counts as one."""
    import mlperf_loadgen as loadgen

    failures = list[BaseException]()  # an exception, Ctrl-C too, must not pass through LoadGen's C++

    def issue(samples: list[Any]) -> None:
        for first in range(0, len(samples), batch):
            try:
                if failures:
                    sleep(AFTER_FAILURE_S)
                else:
                    call()
            except BaseException as error:
                failures.append(error)
            loadgen.QuerySamplesComplete([loadgen.QuerySampleResponse(sample.id, 0, 0)
                                          for sample in samples[first : first + batch]])

    settings = loadgen.TestSettings()
    settings.scenario, settings.mode = getattr(loadgen.TestScenario, scenario), loadgen.TestMode.PerformanceOnly
    settings.min_duration_ms, settings.min_query_count = max(1, round(1000 * seconds)), 1
    settings.single_stream_expected_latency_ns = expected
    settings.offline_expected_qps = batch * 1e9 / expected
    with TemporaryDirectory(prefix="edge-se-") as folder:
        log = loadgen.LogSettings()
        log.log_output.outdir, log.log_output.copy_summary_to_stdout = folder, False
        log.enable_trace = False
        system = loadgen.ConstructSUT(issue, lambda: None)
        library = loadgen.ConstructQSL(LIBRARY, LIBRARY, lambda samples: None, lambda samples: None)
        try:
            loadgen.StartTestWithLogSettings(system, library, settings, log, str(Path(folder) / "none.config"))
        finally:
            loadgen.DestroyQSL(library)
            loadgen.DestroySUT(system)
        if failures:
            raise failures[0]
        return results_of((Path(folder) / "mlperf_log_detail.txt").read_text())


def results_of(log: str) -> dict[str, Any]:
    """Key -> value of LoadGen's detail log; UnavailableError with its own words where it reports errors."""
    entries = [json.loads(line[len(MARK):]) for line in log.splitlines() if line.startswith(MARK)]
    errors = [str(entry["value"]) for entry in entries if entry.get("metadata", {}).get("is_error")]
    if errors:
        raise UnavailableError(f"MLPerf LoadGen: {errors[0]}", where="--referee", fix="use another version of it")
    return {entry["key"]: entry["value"] for entry in entries
            if not (isinstance(entry["value"], float) and math.isnan(entry["value"]))}
