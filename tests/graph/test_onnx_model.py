"""An ONNX file as a value: names, hashes, its one image input, and what is not such a file."""

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from edge_se.core.errors import ModelError
from edge_se.graph.image_input import image_facts
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.rewrites import prepare


def test_a_file_comes_back(tiny_onnx, tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(tiny_onnx.content)
    read = OnnxModel.read(path, precision="int8", target="cpu", parent_sha256="p")
    assert read.sha256 == tiny_onnx.sha256
    assert (read.precision, read.target, read.parent_sha256) == ("int8", "cpu", "p")
    assert read.metadata.model == "tiny_se"


@pytest.mark.parametrize(("precision", "target", "name"), [
    ("fp32", "any", "fp32.onnx"), ("fp16", "any", "fp16.onnx"), ("int8", "tensorrt", "int8.tensorrt.onnx")])
def test_file_names(precision, target, name):
    assert OnnxModel(content=b"", precision=precision, target=target).file_name == name


def test_a_copy_may_be_changed(tiny_onnx):
    tiny_onnx.copy().graph.name = "changed"
    assert tiny_onnx.proto.graph.name == "tiny_se"
    child = OnnxModel.of(tiny_onnx.copy(), parent=tiny_onnx)
    assert child.parent_sha256 == child.sha256 == tiny_onnx.sha256  # equal graphs, equal bytes


def test_missing(tmp_path):
    with pytest.raises(ModelError, match=r"m\.onnx: cannot be read \(No such file.*models list"):
        OnnxModel.read(tmp_path / "m.onnx")
    with pytest.raises(ModelError, match="cannot be read"):
        OnnxModel.read(tmp_path)


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x00" * 64, b"PK\x03\x04"])
def test_garbage(tmp_path, content):
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(ModelError, match=r"m\.onnx: not readable as ONNX"):
        OnnxModel.read(tmp_path / "m.onnx")


def test_truncated(tmp_path, tiny_onnx):
    (tmp_path / "m.onnx").write_bytes(tiny_onnx.content[:-1000])
    with pytest.raises(ModelError, match="not readable as ONNX"):
        OnnxModel.read(tmp_path / "m.onnx")


def test_weights_in_a_file_beside_it_are_read(tmp_path, tiny_onnx, run_onnx):
    path = tmp_path / "elsewhere" / "m.onnx"
    path.parent.mkdir()
    onnx.save_model(tiny_onnx.copy(), path, save_as_external_data=True, location="m.onnx.data", size_threshold=0)
    images = np.random.default_rng(0).standard_normal((2, 3, 32, 32), dtype=np.float32)
    model = OnnxModel.of(prepare(OnnxModel.read(path).copy()))
    np.testing.assert_array_equal(run_onnx(model, images)[0], run_onnx(tiny_onnx, images)[0])


def test_weights_in_a_file_that_is_gone_are_missed_by_name(tmp_path, tiny_onnx):
    onnx.save_model(tiny_onnx.copy(), tmp_path / "m.onnx", save_as_external_data=True, location="m.onnx.data",
                    size_threshold=0)
    (tmp_path / "m.onnx.data").unlink()
    with pytest.raises(ModelError, match=r"m\.onnx\.data"):
        OnnxModel.read(tmp_path / "m.onnx")


def test_what_torch_exports_by_default_is_read(tmp_path, run_onnx, tiny_net):
    """Newer versions of torch write the weights beside the graph."""
    net, path = tiny_net("se"), tmp_path / "m.onnx"
    torch.onnx.export(net, (torch.zeros(1, 3, 32, 32),), str(path), dynamo=True, verbose=False)
    model = OnnxModel.of(prepare(OnnxModel.read(path).copy()))
    images = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        np.testing.assert_allclose(run_onnx(model, images.numpy())[0], net(images), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("x", "shape"), [(("batch", 3, 8, 8), (None, 3, 8, 8)), ((4, 3, 8, 8), (4, 3, 8, 8)),
                                          ((None, 3, "height", 8), (None, 3, None, 8))])
def test_input_shape(graph_of, x, shape):
    model = OnnxModel.of(graph_of([("Relu", ["x"], ["y"])], x=x))
    assert (model.input_name, model.input_shape) == ("x", shape)


def test_two_inputs(graph_of):
    graph = graph_of([("Relu", ["x"], ["y"])])
    graph.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, [1]))
    with pytest.raises(ModelError, match=r"handmade: has 2 inputs \('x', 'mask'\); an image classifier has one"):
        OnnxModel.of(graph).input_name  # noqa: B018


@pytest.mark.parametrize(("change", "told"), [
    (lambda graph: graph.input.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, [1])), "has 2 inputs"),
    (lambda graph: graph.ClearField("input"), "has 0 inputs; an"),
    (lambda graph: graph.input[0].type.tensor_type.ClearField("shape"), "input 'x': must be float32 or uint8")])
def test_the_file_is_named(graph_of, tmp_path, change, told):
    model = graph_of([("Relu", ["x"], ["y"])])
    change(model.graph)
    with pytest.raises(ModelError, match=rf"two\.onnx: {told}"):
        image_facts(model, None, tmp_path / "two.onnx")


def test_no_input(graph_of):
    graph = graph_of([("Relu", ["x"], ["y"])])
    del graph.graph.input[:]
    with pytest.raises(ModelError, match="has 0 inputs"):
        OnnxModel.of(graph).input_shape  # noqa: B018


@pytest.mark.parametrize(("kind", "shape"), [(TensorProto.FLOAT, ["batch", 192]), (TensorProto.INT32, [1, 3, 8, 8]),
                                             (TensorProto.FLOAT16, [1, 3, 8, 8]), (TensorProto.FLOAT, [3, 8, 8])])
def test_an_input_that_is_no_image(graph_of, kind, shape):
    graph = graph_of([("Relu", ["x"], ["y"])])
    graph.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", kind, shape))
    with pytest.raises(ModelError, match="input 'x': must be float32 or uint8 of shape"):
        OnnxModel.of(graph).input_shape  # noqa: B018
