"""One suite for every runtime: whoever adds a backend to the table is tested here."""

import numpy as np
import pytest

from edge_se.backends.base import Device
from edge_se.backends.table import BACKENDS
from edge_se.core.errors import EdgeSeError
from edge_se.graph.onnx_model import OnnxModel
from edge_se.measure.timing import TimingPlan

PLAN = TimingPlan(min_duration=0.02, min_runs=5, warmup=0.0)


@pytest.fixture(params=BACKENDS)
def backend(request, tiny_onnx):
    found = BACKENDS[request.param]
    assert found.name == request.param
    reason = found.why_not(tiny_onnx, Device())
    if reason:
        pytest.skip(f"{request.param}: {reason}")
    return found


@pytest.mark.parametrize("threads", [0, 1])
def test_runs_any_batch_and_gives_logits(backend, tiny_onnx, threads) -> None:
    images = np.random.default_rng(0).standard_normal((3, 3, 32, 32), dtype=np.float32)
    with backend.open(tiny_onnx, Device(threads=threads)) as session:
        together = session.run(images)
        apart = np.concatenate([session.run(images[i : i + 1]) for i in range(3)])
    assert together.shape == (3, 10) and together.dtype == np.float32
    np.testing.assert_allclose(together, apart, rtol=1e-3, atol=1e-3)


def test_times_what_it_runs(backend, tiny_onnx) -> None:
    images = np.zeros((2, 3, 32, 32), np.float32)
    with backend.open(tiny_onnx, Device(threads=1)) as session:
        latencies = session.time(images, PLAN)
    assert latencies.batch == 2 and len(latencies.milliseconds) >= 5 and (latencies.milliseconds > 0).all()


def test_says_why_it_cannot_run_elsewhere(backend, tiny_onnx) -> None:
    assert backend.why_not(tiny_onnx, Device(kind="toaster"))


def test_a_broken_graph_is_a_message(backend, tiny_onnx) -> None:
    graph = tiny_onnx.copy()
    graph.graph.node[0].op_type = "NoSuchOperator"
    with pytest.raises(EdgeSeError), backend.open(OnnxModel.of(graph), Device()):
        pass
