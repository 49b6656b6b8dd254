"""Shared fixtures: the data set where it is at hand, tiny nets, their ONNX graphs, hand-made graphs, random images.

Factories are fixtures that return a function, so that test files import nothing from each other.
"""

from __future__ import annotations

import functools
import gc
import os
import signal
from dataclasses import replace

import numpy as np
import onnx
import pytest
from hypothesis import settings
from onnx import TensorProto, helper, numpy_helper

from edge_se.core import environment
from edge_se.data import cifar10
from edge_se.data.splits import ImageSet
from edge_se.graph.onnx_model import OnnxModel
from edge_se.nets.spec import ModelSpec

# Tiny nets gain nothing from threads, and OpenMP's spinning ones lose tenfold on a machine that does other work. Set
# before torch is imported; subprocesses inherit it, as comparing their results bit by bit asks for.
os.environ.setdefault("OMP_NUM_THREADS", "1")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a job in the background inherits it; tests interrupt
    signal.signal(signal.SIGINT, signal.default_int_handler)
settings.register_profile("edge-se", deadline=None, derandomize=True)  # slow machines and CI must not be flaky
settings.load_profile("edge-se")
pytest_plugins = ("other_machines",)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    """Nothing is read from or left in the user's cache, unless $EDGE_SE_CACHE asks for a shared one."""
    if os.environ.get("EDGE_SE_CACHE"):
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGE_SE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def _vnni():
    """In this process every x86 has VNNI, so that `cpu` files are timed on whatever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        if flags := environment.processor_flags():
            patch.setattr(environment, "processor_flags", lambda: flags | {"avx512_vnni"})
        yield


@pytest.fixture(scope="module", autouse=True)
def _only_own_garbage():
    """What was there before a file of tests is no garbage of it.

    An export asks three times for all garbage to be collected, which takes half a second beside libraries and
    thousands of tests: more than everything else that the export of a tiny net does.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def cifar():
    if not os.environ.get("EDGE_SE_DATA"):
        pytest.skip("EDGE_SE_DATA is unset: needs CIFAR-10")
    return cifar10.require()


@pytest.fixture(scope="session")
def tiny_spec():
    """(attention) -> a spec that exports in a second and has identity and projected shortcuts."""

    def make(attention="se", **changes):
        return ModelSpec(**({"name": f"tiny_{attention}", "attention": attention, "widths": (16, 16, 32, 32),
                             "blocks": (1, 1, 1, 1), "reduction": 4} | changes))
    return make


@pytest.fixture(scope="session")
def tiny_net(tiny_spec):
    """(attention, seed) -> a net in evaluation mode whose batch norms were warmed and made unlike the identity."""
    import torch

    from edge_se.nets.zoo import build

    def make(attention="se", seed=0, **changes):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            net = build(tiny_spec(attention, **changes))
            for module in net.modules():
                if isinstance(module, torch.nn.BatchNorm2d):
                    torch.nn.init.uniform_(module.weight, 0.5, 1.5)
                    torch.nn.init.normal_(module.bias, std=0.2)
            torch.nn.init.normal_(net.fc.weight, std=0.5)
            with torch.no_grad():
                for _ in range(20):
                    net(torch.randn(32, 3, 32, 32))
        return net.eval()
    return make


def _exported(net):
    from edge_se.graph.export import to_onnx
    from edge_se.graph.metadata import ModelMetadata

    params = sum(parameter.numel() for parameter in net.parameters())
    return OnnxModel.of(to_onnx(net, ModelMetadata(model=net.spec.name, params=params), net.spec.input_size))


@pytest.fixture(scope="session")
def _graphs_of_nets():
    return {}


@pytest.fixture
def net_exported_once(_graphs_of_nets, monkeypatch):
    """torch writes the graph of a net of the zoo once for all tests of this fixture: that takes most of an export.

    That two exports of a net are equal is held by tests/graph/test_torch_export.py and
    tests/steps/test_untrained_export.py, which are without it.
    """
    from edge_se.graph import source

    def once(net, metadata, size, origin):
        key = metadata, size, repr(net)  # the metadata has the hash of the weights
        if key not in _graphs_of_nets:
            _graphs_of_nets[key] = written(net, metadata, size, origin)
        return replace(_graphs_of_nets[key], origin=origin | {"sha256": metadata.source_sha256})
    written = source._from_net
    monkeypatch.setattr(source, "_from_net", once)


@pytest.fixture(scope="session")
def tiny_onnx(tiny_net):
    """FP32 graph of a tiny SE net."""
    return _exported(tiny_net("se"))


@pytest.fixture(scope="session")
def tiny_plain_onnx(tiny_net):
    """FP32 graph of a tiny plain net."""
    return _exported(tiny_net("none"))


@pytest.fixture(scope="session")
def family_onnx(tiny_spec):
    """(attention, changes of the spec) -> FP32 graph of a small untrained net, wide enough for every attention."""
    from edge_se.nets.untrained import build_untrained

    made = {}

    def make(attention, **changes):
        key = (attention, *sorted(changes.items()))
        if key not in made:
            made[key] = _exported(build_untrained(tiny_spec(attention, **{"widths": (32, 32, 64, 64)} | changes)))
        return made[key]
    return make


@pytest.fixture(scope="session")
def zoo_net(tiny_spec, tiny_net, tmp_path_factory):
    """(spec, weights file, FP32 file made from it) of a tiny net, as `export` makes them of a net of the zoo."""
    from edge_se.core.files import sha256_of
    from edge_se.graph.export import to_onnx
    from edge_se.graph.metadata import ModelMetadata
    from edge_se.nets.weights import load_weights, save_weights

    net, path = tiny_net("se", seed=1), tmp_path_factory.mktemp("zoo") / "weights.safetensors"
    save_weights(path, net.state_dict(), {})
    load_weights(net, path)  # rounded to the file's fp16
    metadata = ModelMetadata(model=net.spec.name, source_sha256=sha256_of(path))
    return net.spec, path, OnnxModel.of(to_onnx(net, metadata, net.spec.input_size))


@pytest.fixture(scope="session")
def random_images():
    """(n, split) -> seeded random pixels and labels."""

    def make(n, split="calibration", *, seed=0, size=32, labelled=True):
        random = np.random.default_rng(seed)
        pixels = random.integers(0, 256, (n, 3, size, size), dtype=np.uint8)
        labels = random.integers(0, 10, n).astype(np.uint8) if labelled else None
        return ImageSet(name=f"random-{split}", split=split, pixels=pixels, labels=labels, mixed=True)
    return make


@pytest.fixture
def instead_of_cifar10(monkeypatch, random_images, tmp_path):
    """(module of a step, n) -> the splits that it asks for, in a list: n random images each, in the place of CIFAR-10.

    `images(split)` of it are these. They are none of those that `tiny_build` calibrates on.
    """
    from edge_se.data.contents import Contents
    from edge_se.data.dataset import Dataset

    class Asked(list):
        images = None

    def make(module, n):
        asked, names = Asked(), ("test", "validation")
        asked.images = lambda split: random_images(n, split, seed=1)
        (tmp_path / "data" / cifar10.BINARY_FOLDER).mkdir(parents=True, exist_ok=True)

        def read(split):
            asked.append(split)
            return asked.images(split)

        def found(data, *, split=None, **told):
            contents = Contents(classes=cifar10.CLASSES, splits={name: functools.partial(read, name) for name in names})
            return Dataset(name="random", path=tmp_path / "data", layout="CIFAR-10", classes=cifar10.CLASSES,
                           splits=names, judging=split or "test", contents=contents)
        name, = {"require_dataset", "find_dataset"} & vars(module).keys()
        monkeypatch.setattr(module, name, found)
        return asked
    return make


@pytest.fixture
def own_answers(monkeypatch, tiny_onnx, random_images, run_onnx, tmp_path):
    """(module of a step, n) -> it judges n images whose labels are the tiny net's answers, but for the last ten.

    Those have one of each class, so that none is without an image.
    """
    from edge_se.data.contents import Contents
    from edge_se.data.dataset import Dataset

    def make(module, n):
        images = random_images(n, "test", seed=1)
        labels = run_onnx(tiny_onnx, next(images.batches(n)))[0].argmax(1).astype(np.uint8)
        labels[-10:] = np.arange(10)
        own = ImageSet(name="own answers", split="test", pixels=images.pixels, labels=labels)
        name, = {"require_dataset", "find_dataset"} & vars(module).keys()
        monkeypatch.setattr(module, name, lambda data, **told: Dataset(
            name="own answers", path=tmp_path / "data", layout="image folder", classes=cifar10.CLASSES,
            splits=("test",), judging="test",
            contents=Contents(classes=cifar10.CLASSES, splits={"test": lambda: own})))
    return make


@pytest.fixture(scope="session")
def graph_of():
    """(nodes, constants) -> a checked ModelProto with input `x` and outputs without declared shapes.

    A node is (operator, inputs, outputs) or (operator, inputs, outputs, attributes).
    """

    def make(nodes, constants=None, *, x=("batch", 3, 8, 8), outputs=("y",), opset=17, shape=None):
        made = [helper.make_node(operator, inputs, results, **(rest[0] if rest else {}))
                for operator, inputs, results, *rest in nodes]
        graph = helper.make_graph(
            made, "handmade", [helper.make_tensor_value_info("x", TensorProto.FLOAT, x)],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in outputs],
            [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
        return onnx.shape_inference.infer_shapes(model, data_prop=True)
    return make


@pytest.fixture(scope="session")
def small_net(graph_of):
    """Two convolutions and a classifier of ten outputs, whose answers differ from image to image; needs no torch."""
    random = np.random.default_rng(1)
    constants = {"a": random.normal(0, 0.3, (16, 3, 3, 3)), "b": random.normal(0, 0.2, (16, 16, 3, 3)),
                 "c": random.normal(0, 3, (16, 10)), "d": random.normal(0, 0.1, 10)}
    stride = {"strides": [2, 2], "pads": [1, 1, 1, 1]}
    return OnnxModel.of(graph_of(
        [("Conv", ["x", "a"], ["1"], stride), ("Relu", ["1"], ["2"]), ("Conv", ["2", "b"], ["3"], stride),
         ("Relu", ["3"], ["4"]), ("GlobalAveragePool", ["4"], ["5"]), ("Flatten", ["5"], ["6"]),
         ("Gemm", ["6", "c", "d"], ["y"])],
        {name: value.astype(np.float32) for name, value in constants.items()}, x=("batch", 3, 32, 32),
        shape=("batch", 10)))


@pytest.fixture(scope="session")
def small_build(small_net, calibration_npz, tmp_path_factory):
    """The folder of FP32 and INT8 for `cpu` of that net, as a classifier of CIFAR-10's classes."""
    from edge_se.graph.metadata import ModelMetadata, write_metadata
    from edge_se.steps.export import export

    folder, proto = tmp_path_factory.mktemp("small"), small_net.copy()
    write_metadata(proto, ModelMetadata(model="small"))
    (folder / "small.onnx").write_bytes(OnnxModel.of(proto).content)
    export(str(folder / "small.onnx"), int8=True, targets=["cpu"], calibration=str(calibration_npz), effort="quick",
           out=folder / "built", accuracy=False)
    return str(folder / "built")


@pytest.fixture(scope="session")
def run_onnx():
    """(ModelProto or OnnxModel, images) -> outputs, straight through onnxruntime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3

    def run(model, images):
        content = model.content if isinstance(model, OnnxModel) else model.SerializeToString()
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        return session.run(None, {session.get_inputs()[0].name: images})
    return run


@pytest.fixture(scope="session")
def calibration_npz(random_images, tmp_path_factory):
    """64 random images as a calibration archive."""
    from edge_se.data.layouts.pixel_archive import write_archive

    path = tmp_path_factory.mktemp("calibration") / "random.npz"
    write_archive(path, random_images(64).pixels)
    return path


@pytest.fixture(scope="session")
def tiny_build(tiny_onnx, calibration_npz, tmp_path_factory):
    """(name of its folder, settings of `export`) -> an INT8 build of the tiny SE net, made without CIFAR-10."""
    from edge_se.steps.export import export

    def make(name, **settings):
        folder = tmp_path_factory.mktemp("tiny")
        (folder / "tiny.onnx").write_bytes(tiny_onnx.content)
        with pytest.MonkeyPatch.context() as patch:
            patch.delenv("EDGE_SE_DATA", raising=False)
            return export(str(folder / "tiny.onnx"), int8=True, calibration=str(calibration_npz), out=folder / name,
                          **settings)
    return make
