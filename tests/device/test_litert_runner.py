"""The agent drives LiteRT: a session of its own class, opened by the server as the host asks for it."""

import hashlib
import sys
from dataclasses import replace

import numpy as np
import pytest

from edge_se.backends.base import Device
from edge_se.backends.tflite import LiteRt
from edge_se.data.preprocessing import CIFAR10
from edge_se.device.agent import AgentError, Cache, LiteRtRunner, Server, describe
from edge_se.graph.metadata import ModelMetadata, write_metadata
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.tflite.conversion import to_tflite

pytest.importorskip("ai_edge_litert", reason="ai-edge-litert is not installed")


@pytest.fixture
def server(tmp_path):
    made = Server(None, None)
    made._cache = Cache(str(tmp_path))
    return made


def test_the_server_opens_a_file_and_answers_as_the_host_does(server, tiny_onnx):
    content, images = to_tflite(tiny_onnx), np.random.default_rng(0).standard_normal((3, 3, 32, 32), dtype=np.float32)
    digest = hashlib.sha256(content).hexdigest()
    server._cache.append(digest, 0, len(content), content)
    told, _ = server._op_open({"session": "s", "runtime": "litert", "sha256": digest, "threads": 1}, b"")
    assert told["tells"]["xnnpack_nodes"] == told["tells"]["nodes"] > 10
    answer, logits = server._op_run({"session": "s", "shape": images.shape, "dtype": "<f4"}, images.tobytes())
    with LiteRt().open(tiny_onnx, Device(threads=1)) as session:
        np.testing.assert_array_equal(np.frombuffer(logits, "<f4").reshape(answer["shape"]), session.run(images))
    server._op_close({"session": "s"}, b"")
    assert not server._sessions


def small_images(axes, graph_of):
    """A net of 3 channels whose images are 3x3, so that no shape tells where its channels are."""
    nodes = [("Conv", ["x" if axes == "NCHW" else "t", "w"], ["c"]), ("Flatten", ["c"], ["y"])]
    turned = [("Transpose", ["x"], ["t"], {"perm": [0, 3, 1, 2]})] if axes == "NHWC" else []
    weights = np.random.default_rng(1).standard_normal((4, 3, 2, 2), dtype=np.float32)
    proto = graph_of([*turned, *nodes], {"w": weights}, x=("batch", 3, 3, 3))
    write_metadata(proto, ModelMetadata(model="net", preprocessing=replace(CIFAR10, size=(3, 3), axes=axes)))
    return OnnxModel.of(proto)


@pytest.mark.parametrize("axes", ["NCHW", "NHWC"])
def test_images_as_wide_and_high_as_they_have_channels_lie_as_the_graph_says(axes, server, graph_of, run_onnx):
    model, images = small_images(axes, graph_of), np.random.default_rng(0).standard_normal((2, 3, 3, 3), np.float32)
    expected, content = run_onnx(model, images)[0], to_tflite(model)
    with LiteRt().open(model, Device(threads=1)) as session:
        np.testing.assert_allclose(session.run(images), expected, atol=1e-5)
    digest = hashlib.sha256(content).hexdigest()
    server._cache.append(digest, 0, len(content), content)
    server._op_open({"session": "s", "runtime": "litert", "sha256": digest, "threads": 1, "axes": model.axes}, b"")
    _, logits = server._op_run({"session": "s", "shape": images.shape, "dtype": "<f4"}, images.tobytes())
    np.testing.assert_allclose(np.frombuffer(logits, "<f4"), expected.ravel(), atol=1e-5)


def test_a_device_tells_its_version():
    assert describe()["runtimes"]["litert"]["version"].count(".") == 2


@pytest.mark.parametrize("content", [b"", b"no model", b"\x08\x08\x12\x07edge-se"], ids=["empty", "text", "ONNX"])
def test_what_is_no_file_of_it_is_refused(content):
    with pytest.raises(AgentError, match="LiteRT cannot load it"):
        LiteRtRunner(content, 1)


def test_a_device_without_it_says_what_brings_it(monkeypatch, tiny_onnx):
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(AgentError, match="cannot be imported") as raised:
        LiteRtRunner(to_tflite(tiny_onnx), 1)
    assert raised.value.fix == "pip install ai-edge-litert"
    assert "version" not in describe()["runtimes"]["litert"]
