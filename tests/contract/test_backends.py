"""One suite for every runtime: whoever adds a backend to the table is tested here."""

import numpy as np
import pytest

from edge_se.backends import torch as torch_backend
from edge_se.backends.base import Backend, Device, Session
from edge_se.backends.providers import missing
from edge_se.backends.table import BACKENDS
from edge_se.core.errors import EdgeSeError
from edge_se.graph.onnx_model import OnnxModel
from edge_se.measure.timing import TimingPlan
from edge_se.nets.zoo import MODELS

PLAN = TimingPlan(min_duration=0.02, min_runs=5, warmup=0.0)
# Compiling is slow. A provider that this onnxruntime lacks has nothing to run. Those that run a net in place of the
# graph have tests of their own for what they refuse.
NAMES = [pytest.param(name, marks=pytest.mark.slow) if name == "torch-compiled" else name for name in BACKENDS
         if not name.startswith("onnxruntime-") or missing(name.partition("-")[2]) is None]
OF_THE_NET = ("torch", "torch-compiled")


@pytest.fixture
def zoo_onnx(zoo_net, monkeypatch):
    """The file of a tiny net that is in the zoo, with its weights."""
    spec, weights, model = zoo_net
    monkeypatch.setitem(MODELS, spec.name, spec)
    monkeypatch.setattr(torch_backend, "weights_of", lambda name: weights)
    return model


@pytest.fixture(params=NAMES)
def backend(request, zoo_onnx):
    found = BACKENDS[request.param]
    assert found.name == request.param
    reason = found.why_not(zoo_onnx, Device())
    if reason:
        pytest.skip(f"{request.param}: {reason}")
    return found


@pytest.mark.parametrize("threads", [0, 1])
def test_runs_any_batch_and_gives_the_logits_of_onnxruntime(backend, zoo_onnx, run_onnx, threads) -> None:
    images = np.random.default_rng(0).standard_normal((3, 3, 32, 32), dtype=np.float32)
    with backend.open(zoo_onnx, Device(threads=threads)) as session:
        together = session.run(images)
        apart = np.concatenate([session.run(images[i : i + 1]) for i in range(3)])
    assert together.shape == (3, 10) and together.dtype == np.float32
    np.testing.assert_allclose(together, apart, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(together, run_onnx(zoo_onnx, images)[0], rtol=1e-3, atol=1e-3)


def test_times_what_it_runs(backend, zoo_onnx) -> None:
    images = np.zeros((2, 3, 32, 32), np.float32)
    with backend.open(zoo_onnx, Device(threads=1)) as session:
        latencies = session.time(images, PLAN)
    assert latencies.batch == 2 and len(latencies.milliseconds) >= 5 and (latencies.milliseconds > 0).all()


def test_every_member_is_declared(backend, zoo_onnx) -> None:
    """Callers use them without asking whether they are there: a name that is not declared is a runtime's own."""
    images = np.zeros((2, 3, 32, 32), np.float32)
    public = {name for kind in type(backend).__mro__ for name in vars(kind) if not name.startswith("_")}
    assert isinstance(backend, Backend) and public <= set(dir(Backend)) | {"name"}
    assert backend.missing() is None and backend.module and isinstance(backend.automatic and backend.gpu, bool)
    assert len(backend.read_part(zoo_onnx).content) <= 1.1 * len(zoo_onnx.content)  # some read another form of it
    with backend.open(zoo_onnx, Device(threads=1)) as session:
        assert isinstance(session, Session)
        session.prepare(images)
        assert session.run(images).shape == (2, 10)
        assert session.profile(images) is None and session.engine(2) is None  # of the CPU's, none tells


def test_says_why_it_cannot_run_elsewhere(backend, zoo_onnx) -> None:
    assert backend.why_not(zoo_onnx, Device(kind="toaster"))


def test_a_broken_graph_is_a_message(backend, zoo_onnx) -> None:
    if backend.name in OF_THE_NET:
        pytest.skip("runs the net that the file was made from, not its graph")
    graph = zoo_onnx.copy()
    graph.graph.node[0].op_type = "NoSuchOperator"
    with pytest.raises(EdgeSeError), backend.open(OnnxModel.of(graph), Device()):
        pass
