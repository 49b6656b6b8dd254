"""An agent knows no target by name: it asks the rules that `open` brings."""

import hashlib

import pytest

from edge_se.device.agent import AgentError, Cache, Server, TensorRt
from edge_se.graph.targets.table import TARGETS, rules_of

GPU = {"name": "Orin", "capability": [8, 7], "free": 1 << 30}


class Gpu:
    def device(self):
        return GPU


@pytest.fixture
def opened(tensorrt_of, tiny_onnx, tmp_path, monkeypatch):
    """(version, fields of `open`) -> what the agent answers, with a stand-in for TensorRT of that version."""
    monkeypatch.setattr("edge_se.device.agent.server.TensorRtRunner", lambda trt, cuda, engine: None)

    def ask(version, **fields):
        server, cache = Server(None, None), Cache(str(tmp_path))
        sha256 = hashlib.sha256(tiny_onnx.content).hexdigest()
        cache.append(sha256, 0, len(tiny_onnx.content), tiny_onnx.content)
        server._cache, server._tensorrt = cache, {"tensorrt": (TensorRt(tensorrt_of(version)), Gpu())}
        return server._op_open({"session": "s", "runtime": "tensorrt", "sha256": sha256, "precision": "int8",
                                "batch": 1, "threads": 0, "opset": 17, **fields}, b"")[0]
    return ask


@pytest.mark.parametrize(("version", "target", "opset", "reason"), [
    ("8.6.1", "tensorrt", 17, None), ("10.3.0", "tensorrt-fp16", 19, None), ("10.3.0", "any", 20, None),
    ("8.6.1", "tensorrt-fp16", 19, "its FP16 scales need TensorRT 10 or later; here is 8.6.1"),
    ("8.5.2", "tensorrt", 18, "its opset 18 needs TensorRT 10 or later; 8.5.2 reads up to 17"),
    ("10.3.0", "arm", 17, "written for arm, not for TensorRT"),
    ("10.3.0", "openvino", 17, "written for openvino, not for TensorRT")])
def test_open_asks_the_rules_of_the_target(opened, version, target, opset, reason):
    fields = {"target": target, "rules": rules_of(target), "opset": opset}
    if reason is None:
        assert opened(version, **fields)["engine"]["cached"] is False
    else:
        with pytest.raises(AgentError, match=reason):
            opened(version, **fields)


def test_a_target_of_tomorrow_runs_on_an_agent_of_today(opened):
    rules = [{"runtime": "tensorrt", "before": "10.5", "reason": "wants 10.5, not {version}"},
             {"runtime": "tensorrt", "reason": None}]
    assert "tomorrow" not in TARGETS
    assert opened("10.7.0", target="tomorrow", rules=rules)["engine"]
    with pytest.raises(AgentError, match=r"wants 10\.5, not 10\.3\.0"):
        opened("10.3.0", target="tomorrow", rules=rules)


@pytest.mark.parametrize(("target", "asked"), [
    ("cpu", {"as_written": False, "without": []}), ("any", {"as_written": False, "without": []}),
    ("tensorrt", {"as_written": False, "without": ["WeightBiasQuantization"]}),
    ("tensorrt-fp16", {"as_written": True, "without": []})])
def test_onnxruntime_rewrites_what_the_rules_allow(tiny_onnx, tmp_path, monkeypatch, target, asked):
    made = []
    monkeypatch.setattr("edge_se.device.agent.server.OnnxRuntimeRunner",
                        lambda content, threads, **how: made.append(how))
    server, cache = Server(None, None), Cache(str(tmp_path))
    sha256 = hashlib.sha256(tiny_onnx.content).hexdigest()
    cache.append(sha256, 0, len(tiny_onnx.content), tiny_onnx.content)
    server._cache = cache
    server._op_open({"session": "s", "runtime": "onnxruntime", "sha256": sha256, "precision": "int8", "batch": 0,
                     "threads": 1, "opset": 19, "target": target, "rules": rules_of(target)}, b"")
    assert made == [asked]
