"""What a device's own facts say of a file, before anything is sent."""

import numpy as np
import pytest

from edge_se.backends.base import Device
from edge_se.backends.remote import RemoteRuntime, remote_runtimes
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.rewrites import raise_opset
from edge_se.graph.targets.table import rules_of
from edge_se.measure.timing import TimingPlan

REMOTE = Device(kind="remote")


def facts(machine, flags, **versions):
    return {"machine": machine, "flags": flags,
            "runtimes": {name: {"version": version} for name, version in versions.items()}}


@pytest.mark.parametrize(("machine", "flags", "target", "reason"), [
    ("x86_64", ["avx2"], "cpu", "its 8-bit weights saturate on this processor; export --target cpu-avx2"),
    ("x86_64", ["avx2"], "cpu-avx2", None), ("x86_64", ["avx2", "avx_vnni"], "cpu", None),
    ("aarch64", ["asimd", "asimddp"], "cpu", "onnxruntime runs the `arm` file faster here"),
    ("aarch64", ["asimd"], "arm", None), ("x86_64", ["avx2"], "any", None),
    ("x86_64", ["avx2"], "arm", "written for Arm: its latency is measured there")])
def test_onnxruntime_there(tiny_onnx, machine, flags, target, reason):
    model = OnnxModel(content=tiny_onnx.content, target=target)
    found = RemoteRuntime(None, "onnxruntime", facts(machine, flags, onnxruntime="1.20")).why_not(model, REMOTE)
    assert found is None if reason is None else found.endswith(reason)


@pytest.mark.parametrize(("version", "target", "opset", "reason"), [
    ("8.5.2", "tensorrt", 17, None), ("8.5.2", "tensorrt", 20, "its opset 20 needs TensorRT 10 or later"),
    ("10.3.0", "tensorrt", 20, None), ("8.6.1", "tensorrt-fp16", 19, "its FP16 scales need TensorRT 10 or later"),
    ("11.4.1", "tensorrt-fp16", 19, None), ("8.5.2", "any", 20, None)])
def test_tensorrt_there(tiny_onnx, version, target, opset, reason):
    proto = tiny_onnx.proto if opset == 17 else raise_opset(tiny_onnx.copy(), opset)
    model = OnnxModel.of(proto, target=target)
    assert model.opset == opset
    found = RemoteRuntime(None, "tensorrt", facts("aarch64", ["asimddp"], tensorrt=version)).why_not(model, REMOTE)
    assert found is None if reason is None else found.startswith(reason)


def test_open_sends_the_rules_of_the_target(tiny_onnx):
    sent = []

    class Link:
        def open(self, name, content, **fields):
            sent.append(fields)
            return {"engine": {"key": "k"}}

        def close(self, name):
            pass

    runtime = remote_runtimes(Link(), facts("aarch64", [], tensorrt="10.3.0"))["tensorrt"]
    assert runtime.gpu and runtime.automatic and runtime.compared and runtime.missing() is None
    with runtime.open(OnnxModel(content=tiny_onnx.content, precision="int8", target="tensorrt"), REMOTE) as session:
        session._opened(2)
        assert session.engine(2) == {"key": "k"} and session.engine(1) is None
    assert sent[0]["rules"] == rules_of("tensorrt") != [] and sent[0]["opset"] == 17


@pytest.mark.parametrize(("runtime", "timed", "answers"), [
    ("tensorrt", (1, 8), 8), ("tensorrt", (8, 1), 1), ("tensorrt", (), 5), ("onnxruntime", (1, 8), 0)])
def test_the_engine_that_was_timed_last_answers(tiny_onnx, runtime, timed, answers):
    """Of several batch sizes the first one's engine answered for all of them: `flips_against_onnxruntime` was its."""
    opened, asked = {}, []

    class Link:
        def open(self, name, content, batch, **fields):
            opened[name] = batch
            return {}

        def ask(self, operation, payload, session, **fields):
            asked.append((operation, opened[session]))
            return {"shape": [5, 10]}, (np.zeros(50, "<f4") if operation == "run" else np.ones(3, "<i8")).tobytes()

        def close(self, name):
            pass

    backend = RemoteRuntime(Link(), runtime, facts("aarch64", [], **{runtime: "10.3"}))
    with backend.open(tiny_onnx, REMOTE) as session:
        for batch in timed:
            session.time(np.zeros((batch, 3, 32, 32), np.float32), TimingPlan())
        session.run(np.zeros((5, 3, 32, 32), np.float32))
    assert asked[-1] == ("run", answers)
