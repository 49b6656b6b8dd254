"""LiteRT as a runtime: what it runs, what it tells, and that its streams change no answer."""

from dataclasses import replace

import numpy as np
import pytest

from edge_se.backends.base import Device
from edge_se.backends.fresh import FIELDS, measure_fresh
from edge_se.backends.table import BACKENDS, first_that_runs
from edge_se.backends.tflite import LiteRt
from edge_se.core.errors import UnavailableError
from edge_se.data.preprocessing import CIFAR10
from edge_se.graph.metadata import ModelMetadata, write_metadata
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.tflite import flatbuffer
from edge_se.graph.tflite.conversion import to_tflite
from edge_se.measure.timing import TimingPlan

pytest.importorskip("ai_edge_litert", reason="ai-edge-litert is not installed")
RANDOM = np.random.default_rng(0)


@pytest.fixture(scope="module")
def int8(tiny_build):
    build = tiny_build("litert", accuracy=False, targets=["litert"], effort="quick")
    return OnnxModel.read(build.folder / "int8.litert.onnx", precision="int8", target="litert")


@pytest.mark.parametrize(("precision", "target", "reason"), [
    ("fp32", "any", None), ("int8", "litert", None), ("int8", "litert-dynamic", None), ("fp16", "any", "no FP16 file"),
    ("int8", "cpu", "written for cpu"),
    ("int8", "openvino", "written for openvino"), ("int8", "tensorrt", "written for tensorrt")])
def test_which_files_it_runs(precision, target, reason):
    told = LiteRt().why_not(OnnxModel(content=b"", precision=precision, target=target), Device())
    assert told is None if reason is None else reason in told


def test_its_own_files_go_to_it_and_float_ones_to_onnxruntime(int8, tiny_onnx):
    assert first_that_runs(int8, Device())[0].name == "litert"
    assert first_that_runs(tiny_onnx, Device())[0].name == "onnxruntime"


def test_streams_change_no_answer(int8):
    batches = [RANDOM.normal(size=(count, 3, 32, 32)).astype(np.float32) for count in (4, 4, 4, 4, 4, 3)]
    answers = []
    for streams in (1, 3):
        with LiteRt().open(int8, Device(threads=1, streams=streams)) as session:
            answers.append(list(session.answers(batches)))
    assert [len(one) for one in answers[0]] == [len(batch) for batch in batches]
    for alone, together in zip(*answers):
        np.testing.assert_array_equal(alone, together)


def test_it_tells_how_much_xnnpack_computes(int8, graph_of):
    with LiteRt().open(int8, Device(threads=1)) as session:
        told = session.tells()
        assert told["xnnpack_nodes"] == told["nodes"] > 20
    # XNNPACK has no kernel for a cast between equal types.
    mixed = OnnxModel.of(graph_of(
        [("Tanh", ["x"], ["t"]), ("Cast", ["t"], ["c"], {"to": 1}), ("Sigmoid", ["c"], ["s"]),
         ("Flatten", ["s"], ["y"])]))
    with LiteRt().open(mixed, Device(threads=1)) as session:
        assert session.tells() == {"nodes": 5, "xnnpack_nodes": 4}  # with the order of axes before they are flattened


def test_the_whole_document_of_a_run(int8):
    with LiteRt().open(int8, Device(threads=1)) as session:
        latencies = session.time(np.zeros((2, 3, 32, 32), np.float32), TimingPlan(min_duration=0.02, min_runs=5))
    assert latencies.batch == 2 and (latencies.milliseconds > 0).all()
    fresh = measure_fresh("litert", int8, threads=1, shape=(1, 3, 32, 32))
    assert set(fresh) == set(FIELDS) and fresh["load_ms"] > 0


def test_a_file_that_is_written_already_is_read_as_it_is(int8):
    images = RANDOM.normal(size=(2, 3, 32, 32)).astype(np.float32)
    answers = []
    for model in (int8, LiteRt().read_part(int8)):
        with LiteRt().open(model, Device(threads=1)) as session:
            answers.append(session.run(images))
    assert LiteRt().read_part(int8).content == to_tflite(int8)
    np.testing.assert_array_equal(*answers)


def test_a_file_that_is_written_already_takes_images_in_the_order_of_its_graph(graph_of):
    graph = graph_of([("Transpose", ["x"], ["t"], {"perm": [0, 3, 1, 2]}), ("Conv", ["t", "w"], ["c"]),
                      ("Flatten", ["c"], ["y"])], {"w": RANDOM.normal(size=(2, 3, 3, 5)).astype(np.float32)},
                     x=("batch", 5, 7, 3))
    write_metadata(graph, ModelMetadata(model="net", preprocessing=replace(CIFAR10, size=(5, 7), axes="NHWC")))
    fresh = measure_fresh("litert", OnnxModel.of(graph), threads=1, shape=(1, 5, 7, 3))
    assert fresh["load_ms"] > 0 and fresh["first_ms"] > 0


def test_without_the_package(monkeypatch, int8):
    monkeypatch.setattr(flatbuffer, "importable", lambda module: False)
    assert "edge-se[litert]" in BACKENDS["litert"].why_not(int8, Device())
    with pytest.raises(UnavailableError, match="not installed"), LiteRt().open(int8, Device()):
        pass
