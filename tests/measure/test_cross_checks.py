"""What the vendors' benchmarks are asked and what is read of their answers: real, recorded and a stand-in's."""

import json
import shlex
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import onnx
import pytest

from edge_se.backends.base import Device
from edge_se.backends.openvino import OpenVino, installed
from edge_se.core.errors import UnavailableError
from edge_se.measure import cross_checks as module
from edge_se.measure.cross_checks import (
    BenchmarkApp,
    PerfTest,
    cross_checked,
    openvino_settings,
    parsed_benchmark_app,
    parsed_perf_test,
)

RECORDED = Path(__file__).parents[1] / "recorded" / "perf_test"
FIGURES = {  # file: median ms, mean ms, calls per second, runs
    "arm-c1-pro.txt": (99.5086, 98.961997, 10.104, 5), "spacemit-k1.txt": (82.6095, 82.3382, 12.1435, 10)}
# The end of benchmark_app's log: its format is that of statements in openvino/tools/benchmark/main.py of 2026.4.
LOG = """[ INFO ] Count:            {count} iterations
[ INFO ] Duration:         1001.32 ms
[ INFO ] Latency:
[ INFO ]    Median:        {median}
[ INFO ]    Average:       {average}
[ INFO ]    Min:           {median}
[ INFO ]    Max:           {average}
[ INFO ] Throughput:   {throughput} FPS
"""
# It checks what it was asked, says what it was given, and prints figures in the words of the recorded ones.
STAND_IN = """
import json, pathlib, sys
asked = sys.argv[1:]
folder = pathlib.Path(asked[-1]).parent
data = (folder / "test_data_set_0" / "input_0.pb").read_bytes()
pathlib.Path({told!r}).write_text(json.dumps([asked, data.hex(), pathlib.Path(asked[-2]).read_bytes().hex()]))
print(pathlib.Path({recorded!r}).read_text())
"""


@pytest.fixture
def images():
    return np.random.default_rng(0).standard_normal((2, 3, 32, 32), dtype=np.float32)


def test_every_recorded_output_is_expected():
    assert {path.name for path in RECORDED.glob("*.txt")} == set(FIGURES)


@pytest.mark.parametrize("name", FIGURES)
def test_recorded_outputs_of_perf_test(name):
    text = (RECORDED / name).read_text()
    assert "https://" in text.splitlines()[1]
    found = parsed_perf_test(text, batch=2)
    median, mean, calls, runs = FIGURES[name]
    assert (found.median_ms, found.mean_ms, found.throughput_ips, found.runs) == (
        pytest.approx(median), pytest.approx(mean), pytest.approx(2 * calls), runs)
    assert found.version is None


@pytest.mark.parametrize(("median", "average", "expected"), [
    ("812.34 us", "815.00 us", (0.81234, 0.815)), ("8.12 ms", "8.30 ms", (8.12, 8.3)),
    ("1020.00 us", "990.01 us", (1.02, 0.99001))])
def test_the_log_of_benchmark_app(median, average, expected):
    text = LOG.format(count=1234, median=median, average=average, throughput="245.90")
    found = parsed_benchmark_app(text, version="1")
    assert (found.median_ms, found.mean_ms) == pytest.approx(expected)
    assert (found.throughput_ips, found.runs, found.version) == (245.9, 1234, "1")


@pytest.mark.parametrize("line", ["Median", "Average", "Throughput", "Count"])
def test_a_log_without_a_figure_is_refused(line):
    text = LOG.format(count=9, median="1.00 ms", average="1.00 ms", throughput="1.00")
    cut = "\n".join(other for other in text.splitlines() if line not in other)
    with pytest.raises(UnavailableError, match=rf"benchmark_app: its output holds no '{line}"):
        parsed_benchmark_app(cut, version="1")


@pytest.mark.parametrize("number", ["0", "nan", "1.2.3", "1e999", "-1", ""])
def test_what_is_no_time_is_refused(number):
    text = LOG.format(count=9, median=f"{number} ms", average="1.00 ms", throughput="1.00")
    with pytest.raises(UnavailableError, match="holds no 'Median"):
        parsed_benchmark_app(text, version="1")


@pytest.mark.parametrize("line", ["P50", "Average", "Number of inferences", "Total inference requests"])
def test_an_output_without_a_figure_is_refused(line):
    text = (RECORDED / "arm-c1-pro.txt").read_text()
    cut = "\n".join(other for other in text.splitlines() if not other.startswith(line))
    with pytest.raises(UnavailableError, match=rf"onnxruntime_perf_test: its output holds no '{line}"):
        parsed_perf_test(cut, batch=1)


def program(tmp_path, code):
    path = tmp_path / "perf_test"
    path.with_suffix(".py").write_text(code)
    path.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {shlex.quote(str(path))}.py "$@"\n')
    path.chmod(0o755)
    return str(path)


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a shell script")
@pytest.mark.parametrize(("threads", "asked"), [(1, ["-x", "1", "-s"]), (2, ["-x", "2", "-D", "-s"])])
def test_perf_test_gets_the_file_the_images_and_our_settings(tiny_onnx, images, tmp_path, monkeypatch, threads, asked):
    told = tmp_path / "told.json"
    recorded = RECORDED / "arm-c1-pro.txt"
    monkeypatch.setenv(module.PERF_TEST_VARIABLE, program(
        tmp_path, STAND_IN.format(told=str(told), recorded=str(recorded))))
    assert PerfTest().why_not() is None
    found = PerfTest().run(tiny_onnx, images, threads=threads, seconds=1.2)
    assert (found.median_ms, found.throughput_ips) == pytest.approx((99.5086, 20.208))
    arguments, data, model = json.loads(told.read_text())
    assert arguments[:-2] == ["-e", "cpu", "-m", "duration", "-t", "2", "-c", "1", "-y", "1", *asked]
    assert bytes.fromhex(model) == tiny_onnx.content
    tensor = onnx.TensorProto.FromString(bytes.fromhex(data))
    assert tensor.name == tiny_onnx.input_name and np.array_equal(onnx.numpy_helper.to_array(tensor), images)


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a shell script")
def test_the_last_word_of_a_tool_that_fails(tiny_onnx, images, tmp_path, monkeypatch):
    monkeypatch.setenv(module.PERF_TEST_VARIABLE, program(tmp_path, "import sys; sys.exit('first\\nno such flag')"))
    with pytest.raises(UnavailableError, match=r"onnxruntime_perf_test: failed \(exit 1: no such flag\)"):
        PerfTest().run(tiny_onnx, images, threads=1, seconds=1)


def test_without_the_tools_it_says_how_to_get_them(tiny_onnx, images, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(module.PERF_TEST_VARIABLE, raising=False)
    assert "https://onnxruntime.ai/docs/build" in PerfTest().why_not()
    with pytest.raises(UnavailableError, match="neither on PATH"):
        cross_checked(PerfTest(), tiny_onnx, images, threads=1, seconds=1)
    monkeypatch.setenv(module.PERF_TEST_VARIABLE, "/no/where")
    assert PerfTest().why_not() == "$ONNXRUNTIME_PERF_TEST is no program: /no/where"
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    assert "pip install 'edge-se[openvino]'" in BenchmarkApp().why_not()


@pytest.mark.skipif(BenchmarkApp().why_not() is not None, reason=f"{BenchmarkApp().why_not()}")
def test_benchmark_app_runs_with_the_settings_of_our_session(tiny_onnx, images, monkeypatch):
    asked = []
    said = module._said
    monkeypatch.setattr(module, "_said", lambda tool, command, seconds: asked.append(
        said(tool, command, seconds)) or asked[-1])
    found = BenchmarkApp().run(tiny_onnx, images, threads=1, seconds=0.5)
    assert 0 < found.median_ms < 1000 and 0 < found.mean_ms < 1000 and found.runs > 1
    assert found.throughput_ips == pytest.approx(2000 / found.mean_ms, rel=0.5)  # images, not calls
    assert found.version == metadata.version("openvino")
    assert "Model batch size: 2" in asked[0] and "images (node: images) : f32 / [N,C,H,W] / [2,3,32,32]" in asked[0]
    with OpenVino().open(tiny_onnx, Device(threads=1)) as session:
        ours = session._request(images).get_compiled_model()
        for name in ("NUM_STREAMS", "INFERENCE_NUM_THREADS", "INFERENCE_PRECISION_HINT", "PERFORMANCE_HINT",
                     "EXECUTION_MODE_HINT", "ENABLE_CPU_PINNING", "ENABLE_HYPER_THREADING", "SCHEDULING_CORE_TYPE",
                     "CPU_DENORMALS_OPTIMIZATION"):
            assert f"]   {name}: {ours.get_property(name)}\n" in asked[0]


@pytest.mark.skipif(not installed(), reason="OpenVINO is not installed: pip install 'edge-se[openvino]'")
@pytest.mark.parametrize("threads", [0, 1, 2])
def test_the_settings_are_those_of_our_session(tiny_onnx, threads):
    with OpenVino().open(tiny_onnx, Device(threads=threads)) as session:
        assert session._settings == openvino_settings(threads)


@pytest.mark.skipif(BenchmarkApp().why_not() is not None, reason=f"{BenchmarkApp().why_not()}")
def test_what_benchmark_app_refuses_is_told(tiny_onnx):
    with pytest.raises(UnavailableError, match=r"benchmark_app: failed \(exit 1: "):
        BenchmarkApp().run(tiny_onnx, np.zeros((1, 5, 32, 32), np.float32), threads=1, seconds=0.5)
