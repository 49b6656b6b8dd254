"""Other providers of onnxruntime: told apart from the CPU's, never replaced by it in silence."""

import numpy as np
import onnxruntime
import pytest

from edge_se.backends import providers
from edge_se.backends.base import Device
from edge_se.backends.providers import PROVIDERS, OnnxRuntimeProvider
from edge_se.backends.table import BACKENDS
from edge_se.core.errors import ModelError, UnavailableError
from edge_se.graph.onnx_model import OnnxModel
from edge_se.measure.timing import TimingPlan

CUDA = OnnxRuntimeProvider("cuda")
IMAGES = np.zeros((2, 3, 32, 32), np.float32)


@pytest.fixture
def with_providers(monkeypatch):
    """(names) -> onnxruntime says that it has them."""
    return lambda *names: monkeypatch.setattr(onnxruntime, "get_available_providers",
                                              lambda: [*names, "CPUExecutionProvider"])


def test_each_is_in_the_table():
    assert {f"onnxruntime-{name}" for name in PROVIDERS} <= BACKENDS.keys()
    # Their answers are counted against those of onnxruntime's own provider.
    assert {name for name, backend in BACKENDS.items() if backend.compared} == {
        "opencv", "litert", *(f"onnxruntime-{name}" for name in PROVIDERS)}


def test_a_provider_that_is_not_there_says_what_brings_it(tiny_onnx, with_providers):
    with_providers()
    for name in PROVIDERS:
        assert PROVIDERS[name][0] in OnnxRuntimeProvider(name).why_not(tiny_onnx, Device())
    assert "onnxruntime-gpu" in CUDA.why_not(tiny_onnx, Device())
    with pytest.raises(UnavailableError, match="onnxruntime-gpu"), CUDA.open(tiny_onnx, Device()):
        pass


@pytest.mark.parametrize(("name", "target", "reason"), [
    ("cuda", "any", None), ("cuda", "cpu", "written for cpu"), ("tensorrt", "tensorrt", None),
    ("tensorrt", "cpu", "written for cpu"), ("openvino", "openvino", None)])
def test_which_files_a_provider_runs(tiny_onnx, with_providers, name, target, reason):
    with_providers(*(provider for provider, *_ in PROVIDERS.values()))
    found = OnnxRuntimeProvider(name).why_not(OnnxModel(content=tiny_onnx.content, target=target), Device())
    assert found is None if reason is None else reason in found


def test_a_provider_that_does_not_start_is_a_message_and_not_the_cpu(tiny_onnx, with_providers):
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("CUDA is really here")
    with_providers("CUDAExecutionProvider")
    with pytest.raises(ModelError, match="CUDAExecutionProvider does not"), CUDA.open(tiny_onnx, Device()):
        pass


def test_what_runs_is_run_and_timed(tiny_onnx, run_onnx, monkeypatch):
    monkeypatch.setitem(PROVIDERS, "cuda", ("CPUExecutionProvider", ""))  # the one that is here stands in
    monkeypatch.setattr(providers, "NO_FALLBACK", (providers.NO_FALLBACK[0], "0"))  # and falls back on itself
    with CUDA.open(tiny_onnx, Device(threads=1)) as session:
        np.testing.assert_allclose(session.run(IMAGES), run_onnx(tiny_onnx, IMAGES)[0], rtol=1e-4, atol=1e-4)
        latencies = session.time(IMAGES, TimingPlan(min_duration=0, min_runs=4, warmup=0))
    assert (len(latencies.milliseconds), latencies.batch) == (4, 2)
