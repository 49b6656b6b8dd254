"""OpenCV 5 gives onnxruntime's answers, tells which convolutions are integers, and says what it lacks."""

import sys
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import helper

from edge_se.backends import opencv as module
from edge_se.backends.base import Device
from edge_se.backends.opencv import OpenCv
from edge_se.backends.table import AUTOMATIC, BACKENDS
from edge_se.core.errors import ModelError, UnavailableError
from edge_se.evaluation.accuracy import flips
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.targets.table import TARGETS
from edge_se.steps.verify import verify

installed = pytest.mark.skipif(module.missing() is not None, reason=str(module.missing()))


@pytest.fixture(scope="module")
def built(tiny_build):
    """A build for every target, with the last layer in float."""
    return tiny_build("tiny_in_opencv", accuracy=False, fp16=True, placement="ends-float",
                      targets=list(TARGETS)).folder


@pytest.fixture
def told(built):
    """(target) -> what OpenCV tells of the INT8 file."""
    def make(target):
        model = OnnxModel.read(built / f"int8.{target}.onnx", precision="int8", target=target)
        with OpenCv().open(model, Device(threads=1)) as session:
            return session.tells()
    return make


@installed
@pytest.mark.parametrize("target", ["cpu", "cpu-avx2", "arm"])
def test_files_for_it_keep_all_of_their_int8(told, target):
    found = told(target)
    assert found["int8_mac_share_engine"] == 1.0 and found["broken_promises"] == []
    assert 0 < found["int8_convolutions"] < found["convolutions"]  # excitations are float


@installed
@pytest.mark.parametrize("target", ["openvino", "tensorrt", "tensorrt-fp16"])
def test_files_that_quantize_nothing_behind_convolutions_are_float_there(told, target):
    """That is why their targets are not for OpenCV; each layer that breaks its promise is named."""
    found = told(target)
    assert found["int8_mac_share_engine"] < 0.5
    assert {(item["asked"], item["runs"]) for item in found["broken_promises"]} == {("int8", "fp32")}
    assert OpenCv().why_not(OnnxModel(content=b"", precision="int8", target=target), Device()).endswith("`cpu` file")


@installed
def test_it_answers_as_onnxruntime(built, random_images, run_onnx):
    images = np.concatenate(list(random_images(64).batches(64)))
    for name, target in (("fp32", "any"), ("fp16", "any"), ("int8.cpu", "cpu")):
        model = OnnxModel.read(built / f"{name}.onnx", precision=name.partition(".")[0], target=target)
        with OpenCv().open(model, Device(threads=1)) as session:
            assert flips(session.run(images), run_onnx(model, images)[0]) <= 3, name
            assert ("broken_promises" in session.tells()) == (target == "cpu")


@installed
def test_an_operator_that_it_does_not_know_is_one_message(graph_of, capfd):
    """OpenCV gives an empty net then, and words on stderr."""
    proto = graph_of([("Identity", ["x"], ["z"]), ("Identity", ["z"], ["y"])])
    proto.graph.node[0].CopyFrom(helper.make_node("StringNormalizer", ["x"], ["z"]))
    with pytest.raises(ModelError, match="does not know all of its operators"), OpenCv().open(
            OnnxModel.of(proto), Device()):
        pass
    assert capfd.readouterr().err == ""


@installed
@pytest.mark.parametrize(("bias", "loads"), [("int32", False), ("float", True), ("none", True)])
def test_a_gemm_with_an_int32_bias_and_an_output_in_int8_is_told_by_name(graph_of, bias, loads):
    nodes = [("QuantizeLinear", ["x", "s", "z"], ["q"]), ("DequantizeLinear", ["q", "s", "z"], ["d"]),
             ("GlobalAveragePool", ["d"], ["p"]), ("Flatten", ["p"], ["f"]),
             ("QuantizeLinear", ["f", "s", "z"], ["fq"]), ("DequantizeLinear", ["fq", "s", "z"], ["fd"]),
             ("DequantizeLinear", ["w", "s", "wz"], ["wd"]), ("DequantizeLinear", ["b", "s2", "bz"], ["bd"]),
             ("Gemm", ["fd", "wd", *{"int32": ["bd"], "float": ["bf"], "none": []}[bias]], ["g"]),
             ("QuantizeLinear", ["g", "s", "z"], ["gq"]), ("DequantizeLinear", ["gq", "s", "z"], ["y"])]
    if bias != "int32":
        nodes = [node for node in nodes if node[2] != ["bd"]]
    proto = graph_of(nodes, {"s": np.float32(0.1), "s2": np.float32(0.01), "z": np.uint8(9), "wz": np.int8(0),
                             "bz": np.int32(0), "w": np.ones((3, 5), np.int8), "b": np.zeros(5, np.int32),
                             "bf": np.zeros(5, np.float32)})
    next(node for node in proto.graph.node if node.op_type == "Gemm").name = "head"
    model = OnnxModel(content=OnnxModel.of(proto).content, precision="int8", target="cpu")
    if loads:
        with OpenCv().open(model, Device()) as session:
            assert session.run(np.ones((1, 3, 8, 8), np.float32)).shape == (1, 5)
            assert session.tells() == {"convolutions": 0, "int8_convolutions": 0, "int8_mac_share_engine": 1.0,
                                       "broken_promises": []}
        return
    with pytest.raises(ModelError, match=r"'head', a Gemm with an int32 bias.*--placement ends-float"), OpenCv().open(
            model, Device()):
        pass


@installed
def test_no_graph_is_a_message():
    with pytest.raises(ModelError, match="OpenCV cannot load it"), OpenCv().open(
            OnnxModel.of(onnx.ModelProto(ir_version=8)), Device()):
        pass


@installed
def test_images_of_another_type_are_a_message(tiny_onnx):
    with pytest.raises(ModelError, match="OpenCV cannot run it"), OpenCv().open(tiny_onnx, Device()) as session:
        session.run(np.zeros((1, 3, 32, 32), np.uint8))


@installed
def test_verify_counts_the_convolutions_of_what_is_for_it(built):
    found = {item["file"]: item.get("opencv") for item in verify(built, opencv=True)["files"]}
    assert {name for name, told in found.items() if told is None} == {
        "int8.litert-dynamic.onnx", "int8.litert.onnx", "int8.openvino.onnx", "int8.tensorrt.onnx",
        "int8.tensorrt-fp16.onnx"}
    assert found["fp32.onnx"]["int8_convolutions"] == found["fp16.onnx"]["int8_convolutions"] == 0
    assert found["int8.cpu.onnx"]["int8_convolutions"] > 0
    assert all("opencv" not in item for item in verify(built)["files"])


@pytest.mark.parametrize(("version", "reason"), [
    (None, "OpenCV is not installed: pip install 'edge-se[opencv]'"),
    ("4.12.0", "OpenCV 4.12.0 computes Q/DQ in float, 5 in integers: pip install 'edge-se[opencv]'")])
def test_what_is_missing_is_one_message(tiny_onnx, built, monkeypatch, version, reason):
    monkeypatch.setattr(module, "importable", lambda name: version is not None)
    monkeypatch.setitem(sys.modules, "cv2", SimpleNamespace(__version__=version))
    assert OpenCv().missing() == OpenCv().why_not(tiny_onnx, Device()) == reason
    with pytest.raises(UnavailableError, match="edge-se"), OpenCv().open(tiny_onnx, Device()):
        pass
    with pytest.raises(UnavailableError, match="edge-se"):
        verify(built, opencv=True)


def test_it_must_be_named_and_is_of_the_cpu(tiny_onnx):
    assert BACKENDS["opencv"] not in AUTOMATIC.values()
    assert "not on 'cuda'" in OpenCv().why_not(tiny_onnx, Device(kind="cuda"))


@installed
def test_it_says_which_version_measured(tiny_onnx):
    found = OpenCv().measured_by(tiny_onnx)
    assert found["runtime"] == "opencv" and int(found["version"].split(".")[0]) >= 5
