"""Each file's accuracy is computed by the runtime that serves it, where there is one here, and says by which."""

import numpy as np
import pytest
from onnx import TensorProto

from edge_se.backends import openvino
from edge_se.backends.base import Device
from edge_se.backends.onnxruntime import OnnxRuntime
from edge_se.backends.openvino import OpenVino
from edge_se.core import environment
from edge_se.evaluation.accuracy import logits_of
from edge_se.evaluation.judges import judge_of, measured_by
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.targets.table import TARGETS
from edge_se.graph.tflite import flatbuffer

installed = pytest.mark.skipif(not openvino.installed(), reason=f"openvino is missing: {openvino.INSTALL}")

with_litert = pytest.mark.skipif(flatbuffer.missing() is not None, reason=f"LiteRT is missing: {flatbuffer.INSTALL}")


@pytest.fixture(scope="module")
def files(tiny_build):
    """(target) -> its INT8 file."""
    folder = tiny_build("judged", accuracy=False, targets=list(TARGETS)).folder
    return lambda target: OnnxModel.read(folder / f"int8.{target}.onnx", precision="int8", target=target)


def named(target, precision="int8"):
    return OnnxModel(content=b"", precision=precision, target=target)


@installed
@pytest.mark.parametrize(("target", "runtime", "simulation"), [
    ("cpu", "onnxruntime", False), ("cpu-avx2", "onnxruntime", False), ("arm", "onnxruntime", False),
    ("openvino", "openvino", False), ("tensorrt", "openvino", True), ("tensorrt-fp16", "openvino", True),
    pytest.param("litert", "litert", False, marks=with_litert),
    pytest.param("litert-dynamic", "litert", False, marks=with_litert)])
def test_who_judges_which_target(target, runtime, simulation):
    told = measured_by(named(target))
    assert judge_of(named(target)).name == told["runtime"] == runtime
    assert told["version"] == environment.version_of(judge_of(named(target)).module) and told["version"]
    assert told.get("simulation", False) is simulation and "instead_of" not in told
    assert told["floats"] == "f32"


def test_every_target_has_a_judge_and_floats_have_onnxruntime():
    assert {target.judged_in for target in TARGETS.values()} <= {"onnxruntime", "openvino", "litert"}
    assert {name for name, target in TARGETS.items() if target.simulated} == {"tensorrt", "tensorrt-fp16"}
    for precision in ("fp32", "fp16"):
        told = measured_by(named("any", precision))
        assert (told["runtime"], told["floats"]) == ("onnxruntime", "f32") and "simulation" not in told


def test_onnxruntime_computes_fp16_files_in_f32(graph_of, run_onnx):
    """Or `measured_by` would say f16: in FP16 2048 + 1 is 2048."""
    proto = graph_of([("Cast", ["x"], ["h"], {"to": TensorProto.FLOAT16}), ("Add", ["h", "one"], ["a"]),
                      ("Sub", ["a", "big"], ["b"]), ("Cast", ["b"], ["y"], {"to": TensorProto.FLOAT})],
                     {"one": np.float16(1), "big": np.float16(2048)})
    assert set(run_onnx(proto, np.full((1, 3, 8, 8), 2048, np.float32))[0].ravel()) == {1.0}


def test_without_openvino_onnxruntime_computes_it_and_says_so(files, random_images, monkeypatch, tmp_path):
    monkeypatch.setattr(openvino, "importable", lambda name: False)
    monkeypatch.setenv("EDGE_SE_CACHE", str(tmp_path))
    model, images = files("openvino"), random_images(5)
    told = measured_by(model)
    assert (told["runtime"], told["instead_of"]) == ("onnxruntime", "openvino")
    with OnnxRuntime().open(model, Device()) as session:
        np.testing.assert_array_equal(logits_of(model, images), session.run(next(images.batches(5))))


@installed
def test_a_file_for_openvino_is_judged_in_openvino_alone(files, random_images, monkeypatch, tmp_path):
    monkeypatch.setenv("EDGE_SE_CACHE", str(tmp_path))
    monkeypatch.setattr(OnnxRuntime, "open", lambda *anything: pytest.fail("onnxruntime was asked"))
    model, images = files("openvino"), random_images(9)
    with OpenVino().open(model, Device(threads=1)) as session:
        expected = np.concatenate([session.run(batch) for batch in images.batches(1)])
    np.testing.assert_allclose(logits_of(model, images), expected, rtol=1e-5, atol=1e-5)


@installed
def test_another_judge_may_be_named(files, random_images, monkeypatch, tmp_path):
    """As `bench` does, which counts the answers that differ from onnxruntime's."""
    monkeypatch.setenv("EDGE_SE_CACHE", str(tmp_path))
    model, images = files("openvino"), random_images(4)
    with OnnxRuntime().open(model, Device()) as session:
        expected = session.run(next(images.batches(4)))
    own = logits_of(model, images)
    np.testing.assert_array_equal(logits_of(model, images, judge=OnnxRuntime()), expected)
    np.testing.assert_array_equal(logits_of(model, images), own)
    assert len(list((tmp_path / "logits").iterdir())) == 2


@installed
def test_what_one_runtime_computed_is_not_taken_for_the_others(files, random_images, monkeypatch, tmp_path):
    monkeypatch.setenv("EDGE_SE_CACHE", str(tmp_path))
    model, images = files("openvino"), random_images(4)
    logits_of(model, images)
    monkeypatch.setattr(openvino, "importable", lambda name: False)
    logits_of(model, images)
    assert len(list((tmp_path / "logits").iterdir())) == 2


@installed
@pytest.mark.parametrize("sizes", [[1], [7], [20, 20, 5]])
def test_several_images_at_once_have_the_answers_of_each_alone(files, random_images, sizes):
    pixels = next(random_images(sum(sizes)).batches(sum(sizes)))
    batches = np.split(pixels, np.cumsum(sizes)[:-1])
    for target in ("openvino", "tensorrt", "cpu"):
        with OpenVino().open(files(target), Device(threads=1, streams=3)) as session:
            many = list(session.answers(batches))
            alone = np.concatenate([session.run(pixels[at:at + 1]) for at in range(len(pixels))])
        assert [len(logits) for logits in many] == sizes
        np.testing.assert_allclose(np.concatenate(many), alone, rtol=1e-5, atol=1e-5)


@installed
@pytest.mark.parametrize("target", ["openvino", "tensorrt"])
def test_the_bits_of_openvino_do_not_depend_on_the_processors(files, random_images, monkeypatch, tmp_path, target):
    images, found = random_images(50), set()
    for processors in (1, 3):
        monkeypatch.setattr(environment, "cpu_count", lambda processors=processors: processors)
        monkeypatch.setenv("EDGE_SE_CACHE", str(tmp_path / str(processors)))
        found.add(logits_of(files(target), images).tobytes())
    assert len(found) == 1


@installed
def test_a_fixed_batch_stays_what_it_is(tiny_onnx, random_images):
    proto = tiny_onnx.copy()
    for value in (proto.graph.input[0], proto.graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_value = 3
    pixels = next(random_images(6).batches(6))
    with OpenVino().open(OnnxModel.of(proto), Device()) as session, OpenVino().open(tiny_onnx, Device()) as other:
        many = np.concatenate(list(session.answers([pixels[:3], pixels[3:]])))
        np.testing.assert_allclose(many, other.run(pixels), rtol=1e-4, atol=1e-4)


@installed
def test_floats_are_computed_in_f32_unless_another_type_is_asked_for(tiny_onnx, random_images):
    image = next(random_images(1).batches(1))
    with OpenVino().open(tiny_onnx, Device()) as session:
        assert session.floats(image) == "f32"
    if environment.has_fast_bf16():
        with OpenVino("bf16").open(tiny_onnx, Device()) as session:
            assert session.floats(image) == "bf16"
