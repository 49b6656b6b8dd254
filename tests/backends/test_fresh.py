"""Memory and first times come from a process that does nothing else; what fails there is a message."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edge_se.backends import fresh
from edge_se.backends import torch as torch_backend
from edge_se.backends.fresh import FIELDS, measure_fresh
from edge_se.backends.openvino import installed
from edge_se.core.errors import UnavailableError
from edge_se.graph.onnx_model import OnnxModel
from edge_se.nets.zoo import MODELS

SHAPE = (1, 3, 32, 32)
linux = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from Linux's /proc")


@linux
@pytest.mark.parametrize("backend", ["onnxruntime", pytest.param("openvino", marks=pytest.mark.skipif(
    not installed(), reason="openvino is not installed"))])
def test_figures_of_a_file(backend, tiny_onnx):
    found = measure_fresh(backend, tiny_onnx, threads=1, shape=SHAPE)
    assert tuple(found) == FIELDS
    assert found["load_ms"] > 0 and found["first_ms"] > 0
    assert 20e6 < found["peak_memory_bytes"] < 2e9
    assert 0 < found["model_memory_bytes"] < found["peak_memory_bytes"]


@linux
def test_memory_is_of_that_process_and_grows_with_the_model(graph_of):
    ballast = np.ones(64 << 20, np.uint8)  # of this process, which the other must not inherit
    weights = np.random.default_rng(0).standard_normal((10, 3 * 32 * 32), dtype=np.float32)

    def classifier(width):
        nodes = [("Flatten", ["x"], ["f"]), ("Gemm", ["f", "a"], ["g"], {"transB": 1}),
                 ("Gemm", ["g", "b"], ["y"], {"transB": 1})]
        constants = {"a": np.tile(weights, (width, 1)), "b": np.ones((10, 10 * width), np.float32)}
        return OnnxModel.of(graph_of(nodes, constants, x=("batch", 3, 32, 32)))
    small, large = (measure_fresh("onnxruntime", classifier(width), threads=1, shape=SHAPE)["model_memory_bytes"]
                    for width in (1, 300))
    assert large - small > 36e6  # bytes of the larger weights
    assert small < ballast.nbytes


@linux
def test_torch_is_not_charged_for_the_graph(zoo_net, monkeypatch):
    spec, weights, model = zoo_net
    monkeypatch.setitem(MODELS, spec.name, spec)
    monkeypatch.setattr(torch_backend, "weights_of", lambda name: weights)
    light = torch_backend.metadata_only(model)
    assert len(light.content) < len(model.content) / 5
    assert light.metadata == model.metadata and light.input_shape == model.input_shape
    request = {"backend": "torch", "precision": "fp32", "target": "any", "threads": 1, "shape": SHAPE}
    file = weights.with_name("light.onnx")
    file.write_bytes(light.content)
    assert fresh.measured(request | {"file": str(file)})["first_ms"] > 0


def test_a_file_that_does_not_load_is_a_message():
    with pytest.raises(UnavailableError, match=r"onnxruntime failed in a fresh process .*cannot load"):
        measure_fresh("onnxruntime", OnnxModel(content=b"no graph"), threads=1, shape=SHAPE)


def test_a_process_that_hangs_is_a_message(tiny_onnx, monkeypatch):
    monkeypatch.setattr(fresh, "TIMEOUT_S", 0.01)
    with pytest.raises(UnavailableError, match="took more than"):
        measure_fresh("onnxruntime", tiny_onnx, threads=1, shape=SHAPE)


def test_what_a_runtime_prints_is_not_the_answer(tiny_onnx, monkeypatch):
    answer = dict.fromkeys(FIELDS, 1)
    monkeypatch.setattr(subprocess, "run", lambda command, **_: subprocess.CompletedProcess(
        command, 0, f"hello from a library\n{json.dumps(answer)}\n", ""))
    assert measure_fresh("onnxruntime", tiny_onnx, threads=1, shape=SHAPE) == answer


@linux
def test_without_the_right_to_reset_the_peak_it_is_of_the_whole_process(tmp_path, tiny_onnx):
    path = tmp_path / "fp32.onnx"
    path.write_bytes(tiny_onnx.content)
    code = ("import json, sys\nfrom pathlib import Path\nfrom edge_se.backends import fresh\n"
            "def refuse(self, text): raise PermissionError\nPath.write_text = refuse\n"
            "print(json.dumps(fresh.measured(json.loads(sys.argv[1]))))")
    request = {"backend": "onnxruntime", "file": str(path), "precision": "fp32", "target": "any", "threads": 1,
               "shape": SHAPE}
    done = subprocess.run([sys.executable, "-c", code, json.dumps(request)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["peak_memory_bytes"] > 20e6
