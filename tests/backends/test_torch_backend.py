"""Torch runs the very net that a file was made from, in FP32, or says why it cannot."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from edge_se.backends import torch as module
from edge_se.backends.base import Device
from edge_se.backends.table import AUTOMATIC, BACKENDS, first_that_runs
from edge_se.backends.torch import Torch
from edge_se.core.errors import ModelError, UnavailableError
from edge_se.graph.metadata import ModelMetadata, write_metadata
from edge_se.graph.onnx_model import OnnxModel
from edge_se.measure.timing import TimingPlan
from edge_se.nets.zoo import MODELS

EAGER, COMPILED = Torch("torch", compiled=False), Torch("torch-compiled", compiled=True)


@pytest.fixture
def zoo(zoo_net, monkeypatch):
    """The file of a tiny net that is in the zoo."""
    spec, weights, model = zoo_net
    monkeypatch.setitem(MODELS, spec.name, spec)
    monkeypatch.setattr(module, "weights_of", lambda name: weights)
    return model


def told(file: OnnxModel, **changes) -> OnnxModel:
    """`file` with other metadata."""
    graph = file.copy()
    write_metadata(graph, replace(file.metadata or ModelMetadata(model="x"), **changes))
    return OnnxModel.of(graph)


@pytest.mark.parametrize(("precision", "kind", "reason"), [
    ("fp32", "cpu", None), ("int8", "cpu", "Q/DQ in ONNX"), ("fp16", "cpu", "FP16 in torch is for GPUs"),
    ("fp32", "cuda", "not on 'cuda'")])
def test_what_it_runs(zoo, precision, kind, reason):
    found = EAGER.why_not(OnnxModel(content=zoo.content, precision=precision), Device(kind=kind))
    assert found is None if reason is None else reason in found


@pytest.mark.parametrize(("changes", "reason"), [
    ({"model": "mobilenet"}, "'mobilenet', which is not in the zoo"),
    ({"source_sha256": "0" * 64}, "not made from the bundled weights"),
    ({"source_sha256": None}, "not made from the bundled weights")])
def test_a_file_of_other_weights_is_refused(zoo, changes, reason):
    other = told(zoo, **changes)
    assert reason in EAGER.why_not(other, Device())
    with pytest.raises(ModelError, match=reason), EAGER.open(other, Device()):
        pass


def test_a_file_from_elsewhere_is_refused(graph_of):
    model = OnnxModel.of(graph_of([("GlobalAveragePool", ["x"], ["p"]), ("Flatten", ["p"], ["y"])]))
    assert "does not say which net" in EAGER.why_not(model, Device())


def test_without_the_zoos_weights_it_says_so(zoo, monkeypatch, tmp_path):
    monkeypatch.setattr(module, "weights_of", lambda name: tmp_path / "none.safetensors")
    assert "no such weights" in EAGER.why_not(zoo, Device())


def test_without_torch_it_says_how_to_get_it(zoo, monkeypatch):
    monkeypatch.setattr(module, "importable", lambda name: False)
    assert "pip install 'edge-se[torch]'" in EAGER.why_not(zoo, Device())
    with pytest.raises(UnavailableError, match="torch is not installed"), EAGER.open(zoo, Device()):
        pass


def test_compiling_asks_for_a_compiler(zoo, monkeypatch):
    monkeypatch.setattr(module.shutil, "which", lambda name: None)
    assert "install g++" in COMPILED.why_not(zoo, Device())
    assert EAGER.why_not(zoo, Device()) is None


def test_threads_are_given_back(zoo):
    import torch

    before = torch.get_num_threads()
    images = np.zeros((1, 3, 32, 32), np.float32)
    with EAGER.open(zoo, Device(threads=before + 1)) as session:
        session.time(images, TimingPlan(min_duration=0, min_runs=1, warmup=0))
        session.run(images)
    assert torch.get_num_threads() == before


def test_auto_never_takes_it(zoo):
    assert {"torch", "torch-compiled"} <= BACKENDS.keys() - AUTOMATIC.keys()
    assert first_that_runs(zoo, Device(), {"torch": EAGER}) == (None, [])
    assert first_that_runs(zoo, Device(), BACKENDS)[0].name == "onnxruntime"


def test_the_table_imports_no_runtime():
    code = ("import sys, edge_se.backends.table\n"
            "sys.exit(bool({'torch', 'openvino', 'onnxruntime'} & set(sys.modules)))")
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
