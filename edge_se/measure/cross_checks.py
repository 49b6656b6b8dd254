"""The same file in the benchmark that the runtime's vendor ships: a second opinion by code and process not ours.

Each tool is a program of its own. It gets the file, the images and the settings of our session, so that both measure
one stream of synchronous calls; what it does not measure are the copies between numpy and the runtime.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import numpy as np
import onnx
from numpy.typing import NDArray

from edge_se.core import environment
from edge_se.core.environment import cpu_count
from edge_se.core.errors import UnavailableError
from edge_se.graph.onnx_model import OnnxModel

STARTUP_S = 300.0  # to load a file and to end, beside the seconds that are measured
PERF_TEST_VARIABLE = "ONNXRUNTIME_PERF_TEST"
NUMBER = r"([0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?)"
Images = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class CrossCheck:
    """What a tool found. A run is one call with the whole batch, `throughput_ips` counts images.

    `version` is that of the runtime, None where the tool does not tell it.
    """

    tool: str
    version: str | None
    median_ms: float
    mean_ms: float
    throughput_ips: float
    runs: int

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


class Tool(Protocol):
    """A vendor's benchmark."""

    name: str

    def why_not(self) -> str | None:
        """What is missing and how to get it, or None where it can run."""

    def run(self, model: OnnxModel, images: Images, *, threads: int, seconds: float) -> CrossCheck:
        """Its figures of `model` with `images` (N, C, H, W) as one batch; threads 0: all processors.

        It counts whole seconds: at least `seconds` are measured. UnavailableError with its last word where it fails.
        """


class BenchmarkApp:
    """OpenVINO's `benchmark_app` as its Python package brings it: the same libraries as our session's."""

    name = "benchmark_app"

    def why_not(self) -> str | None:
        """Old packages `openvino` lack it."""
        try:
            found = find_spec("openvino.tools.benchmark.main") is not None
        except (ImportError, ValueError):  # the parent is absent, or an import hook hides it
            found = False
        return None if found else "OpenVINO's benchmark_app is not installed: pip install 'edge-se[openvino]'"

    def run(self, model: OnnxModel, images: Images, *, threads: int, seconds: float) -> CrossCheck:
        """Its latency is the runtime's own of one `infer`; times of 1 ms and more it rounds to 0.01 ms."""
        with TemporaryDirectory(prefix="edge-se-") as name:
            folder = Path(name)
            file, settings, pixels = folder / model.file_name, folder / "settings.json", folder / "images.npy"
            file.write_bytes(model.content)
            # As backends/openvino.py opens its session. Not by -hint, -nthreads and -pin: with -nthreads the tool takes
            # no latency hint, which decides about streams and pinning. -ip: it would give an image net bytes, and the
            # graph a conversion.
            settings.write_text(json.dumps({"CPU": openvino_settings(threads)}))
            np.save(pixels, images)
            said = _said(self.name, [
                sys.executable, "-c", "from openvino.tools.benchmark.main import main; main()", "-m", str(file),
                "-d", "CPU", "-api", "sync", "-ip", "f32", "-load_config", str(settings), "-t", str(_whole(seconds)),
                "-shape", str(list(images.shape)).replace(" ", ""), "-i", str(pixels)], seconds)
        return parsed_benchmark_app(said, version=environment.version_of("openvino"))


def openvino_settings(threads: int) -> dict[str, str | int]:
    """Of a session of one stream; threads 0: all processors."""
    return {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads or cpu_count(),
            "INFERENCE_PRECISION_HINT": "f32"}


def parsed_benchmark_app(said: str, *, version: str | None) -> CrossCheck:
    """The figures at the end of its output; UnavailableError where one is missing."""
    def number(pattern: str) -> float:
        return _number(BenchmarkApp.name, pattern, said)

    return CrossCheck(
        tool=BenchmarkApp.name, version=version, median_ms=number(rf"Median:\s+{NUMBER} (ms|us)"),
        mean_ms=number(rf"Average:\s+{NUMBER} (ms|us)"), throughput_ips=number(rf"Throughput:\s+{NUMBER} FPS"),
        runs=int(number(rf"Count:\s+{NUMBER} iterations")))


class PerfTest:
    """onnxruntime's `onnxruntime_perf_test`, a C++ program in no Python package, with its own onnxruntime inside."""

    name = "onnxruntime_perf_test"

    def why_not(self) -> str | None:
        """It is looked for in $ONNXRUNTIME_PERF_TEST and on PATH."""
        if self._program() is not None:
            return None
        given = os.environ.get(PERF_TEST_VARIABLE)
        return (f"${PERF_TEST_VARIABLE} is no program: {given}" if given else
                f"{self.name} is neither on PATH nor in ${PERF_TEST_VARIABLE}: it comes with a build of onnxruntime, "
                "https://onnxruntime.ai/docs/build/inferencing.html")

    def run(self, model: OnnxModel, images: Images, *, threads: int, seconds: float) -> CrossCheck:
        """Its latency is that of one `Run` in C++, outputs allocated within as in ours."""
        with TemporaryDirectory(prefix="edge-se-") as name:
            folder = Path(name)
            file, data = folder / model.file_name, folder / "test_data_set_0"
            file.write_bytes(model.content)
            data.mkdir()  # inputs are read from there; -I would make some, and a batch of 1 only
            tensor = onnx.numpy_helper.from_array(images, name=model.input_name)
            (data / "input_0.pb").write_bytes(tensor.SerializeToString())
            spinning = [] if threads == 1 else ["-D"]  # ours spin at one thread only
            said = _said(self.name, [
                self._program() or self.name, "-e", "cpu", "-m", "duration", "-t", str(_whole(seconds)), "-c", "1",
                "-y", "1", "-x", str(threads or cpu_count()), *spinning, "-s", str(file), str(folder / "runs.csv")],
                seconds)
        return parsed_perf_test(said, batch=len(images))

    def _program(self) -> str | None:
        return shutil.which(os.environ.get(PERF_TEST_VARIABLE) or self.name)


def parsed_perf_test(said: str, *, batch: int) -> CrossCheck:
    """The figures of its output, whose percentiles are in seconds; UnavailableError where one is missing."""
    def number(pattern: str) -> float:
        return _number(PerfTest.name, pattern, said)

    return CrossCheck(
        tool=PerfTest.name, version=None, median_ms=1000 * number(rf"P50 Latency: {NUMBER} s"),
        mean_ms=number(rf"Average inference time cost(?: total)?: {NUMBER} ms"),
        throughput_ips=batch * number(rf"Number of inferences per second: {NUMBER}"),
        runs=int(number(rf"Total inference requests: {NUMBER}")))


def cross_checked(tool: Tool, model: OnnxModel, images: Images, *, threads: int, seconds: float) -> CrossCheck:
    """As `tool.run`; UnavailableError with the reason also where the tool is absent."""
    reason = tool.why_not()
    if reason is not None:
        raise UnavailableError(reason)
    return tool.run(model, images, threads=threads, seconds=seconds)


TOOLS: dict[str, Tool] = {"openvino": BenchmarkApp(), "onnxruntime": PerfTest()}  # by the name of the backend


def _whole(seconds: float) -> int:
    return max(1, math.ceil(seconds))


def _said(tool: str, command: list[str], seconds: float) -> str:
    known = os.pathsep.join(part for part in sys.path if part)  # as here, wherever openvino was imported from
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL,
                              timeout=seconds + STARTUP_S, env=os.environ | {"PYTHONPATH": known})
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnavailableError(f"does not run ({error})", where=tool, fix="bench without --referee") from error
    if done.returncode != 0:
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise UnavailableError(f"failed (exit {done.returncode}: {lines[-1] if lines else 'no word'})", where=tool,
                               fix="bench without --referee")
    return done.stdout


def _number(tool: str, pattern: str, said: str) -> float:
    """The first group as a positive number; where a second is the unit `us`, in ms."""
    found = re.search(pattern, said)
    value = float(found[1]) if found else 0.0
    if found is None or not 0 < value < math.inf:
        raise UnavailableError(f"its output holds no '{pattern.partition(NUMBER)[0]}'", where=tool,
                               fix="use another version of it")
    return value / 1000 if "us" in found.groups() else value
