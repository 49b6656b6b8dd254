"""onnxruntime on the CPU: numbers as in numpy, options as asked, and why it does not run some files."""

import numpy as np
import pytest

from edge_se.backends.base import Device
from edge_se.backends.onnxruntime import OnnxRuntime
from edge_se.backends.table import BACKENDS
from edge_se.core.errors import ModelError
from edge_se.graph.onnx_model import OnnxModel
from edge_se.measure.timing import TimingPlan


@pytest.fixture(scope="module")
def pointwise(graph_of):
    """y = GAP(relu(W x + b)) and its weights."""
    random = np.random.default_rng(0)
    weight, bias = random.standard_normal((10, 3), np.float32), random.standard_normal(10, np.float32)
    graph = graph_of([("Conv", ["x", "w", "b"], ["c"]), ("Relu", ["c"], ["r"]), ("GlobalAveragePool", ["r"], ["p"]),
                      ("Flatten", ["p"], ["y"])], {"w": weight[:, :, None, None], "b": bias})
    return OnnxModel.of(graph), weight, bias


def test_it_is_in_the_table():
    assert BACKENDS["onnxruntime"].name == "onnxruntime"


@pytest.mark.parametrize("threads", [0, 1, 2])
def test_logits_are_numpys(pointwise, threads):
    model, weight, bias = pointwise
    images = np.random.default_rng(1).standard_normal((5, 3, 8, 8), np.float32)
    expected = np.maximum(np.einsum("oc,nchw->nohw", weight, images) + bias[None, :, None, None], 0).mean((2, 3))
    with OnnxRuntime().open(model, Device(threads=threads)) as session:
        logits = session.run(images)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)


def test_the_first_output_is_the_logits(graph_of):
    graph = graph_of([("GlobalAveragePool", ["x"], ["p"]), ("Flatten", ["p"], ["y"]), ("Neg", ["y"], ["second"])],
                     outputs=("y", "second"))
    with OnnxRuntime().open(OnnxModel.of(graph), Device()) as session:
        np.testing.assert_allclose(session.run(np.ones((1, 3, 8, 8), np.float32)), [[1, 1, 1]])


def test_timing(pointwise):
    images = np.zeros((4, 3, 8, 8), np.float32)
    with OnnxRuntime().open(pointwise[0], Device(threads=1)) as session:
        latencies = session.time(images, TimingPlan(min_duration=0, min_runs=6, warmup=0))
    assert (len(latencies.milliseconds), latencies.batch) == (6, 4)


@pytest.mark.parametrize(("target", "kind", "reason"), [
    ("any", "cpu", None), ("cpu", "cpu", None), ("tensorrt", "cpu", "written for TensorRT: onnxruntime has no fast"),
    ("tensorrt-fp16", "cpu", "written for TensorRT"), ("openvino", "cpu", "use --backend openvino"),
    ("cpu-avx2", "cpu", None),
    ("any", "cuda", "this backend runs on the CPU, not on 'cuda'")])
def test_why_not(tiny_onnx, target, kind, reason):
    model = OnnxModel(content=tiny_onnx.content, target=target)
    found = OnnxRuntime().why_not(model, Device(kind=kind))
    assert found is None if reason is None else reason in found


def test_a_file_that_does_not_load_is_a_model_error(graph_of):
    graph = graph_of([("Relu", ["x"], ["y"])])
    graph.graph.node[0].op_type = "Rleu"
    with pytest.raises(ModelError, match=r"fp32\.onnx: onnxruntime cannot load it") as error, \
            OnnxRuntime().open(OnnxModel.of(graph), Device()):
        pass
    assert "\n" not in str(error.value)
