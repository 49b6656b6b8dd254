"""A label space is known or it is not, and what is assumed of a file from elsewhere is told."""

from dataclasses import replace

import numpy as np
import pytest
from onnx import TensorProto

from edge_se.core.errors import EdgeSeError
from edge_se.data.cifar10 import CLASSES, MEAN, STD
from edge_se.data.preprocessing import IMAGENET_MEAN
from edge_se.graph.metadata import ModelMetadata, write_metadata
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.source import SourceOptions, load_source, preprocessing_of
from edge_se.nets.zoo import MODELS, spec_of

HALF = (0.5, 0.5, 0.5)


@pytest.fixture
def stripped(tiny_onnx, tmp_path):
    """Ten classes at 32 px, and no word of what they are."""
    proto = tiny_onnx.copy()
    del proto.metadata_props[:]
    path = tmp_path / "mine.onnx"
    path.write_bytes(OnnxModel.of(proto).content)
    return str(path)


def test_ten_classes_at_32_pixels_are_no_cifar10(stripped):
    source = load_source(stripped, None)
    assert source.metadata.labels == () and not source.is_cifar10


def test_labels_say_that_it_is_one(stripped):
    source = load_source(stripped, None, SourceOptions(labels=CLASSES))
    assert source.is_cifar10 and source.metadata.labels == CLASSES
    other = load_source(stripped, None, SourceOptions(labels=tuple("abcdefghij")))
    assert not other.is_cifar10 and other.metadata.labels[9] == "j"


def test_so_many_names_as_outputs(stripped):
    with pytest.raises(EdgeSeError, match="--labels: 9 names for 10 classes"):
        load_source(stripped, None, SourceOptions(labels=CLASSES[:9]))


def with_labels(model, path, labels):
    proto = model.copy()
    how = replace(model.metadata.preprocessing, labels=labels)
    write_metadata(proto, ModelMetadata(model="own", preprocessing=how))
    path.write_bytes(OnnxModel.of(proto).content)
    return str(path)


def test_a_file_that_says_its_own_is_believed(tiny_onnx, tmp_path):
    names = tuple("abcdefghij")
    path = with_labels(tiny_onnx, tmp_path / "own.onnx", names)
    assert load_source(path, None).metadata.labels == names
    assert load_source(path, None, SourceOptions(labels=names)).metadata.labels == names
    with pytest.raises(EdgeSeError, match="labels of its own"):
        load_source(path, None, SourceOptions(labels=CLASSES))


def test_one_that_says_none_of_itself_can_be_told(tiny_onnx, tmp_path):
    path = with_labels(tiny_onnx, tmp_path / "none.onnx", ())
    assert not load_source(path, None).is_cifar10
    assert load_source(path, None, SourceOptions(labels=CLASSES)).is_cifar10


@pytest.mark.parametrize(("options", "told"), [
    ({}, "assumed --mean 0.4914,0.4822,0.4465 --std 0.247,0.2435,0.2616: CIFAR-10's, by the size of 32x32"),
    ({"mean": HALF}, "assumed --std 0.247,0.2435,0.2616: CIFAR-10's"),
    ({"std": HALF}, "assumed --mean 0.4914,0.4822,0.4465: CIFAR-10's"),
    ({"mean": HALF, "std": HALF}, None)])
def test_an_assumption_is_told_with_its_origin(stripped, options, told):
    source = load_source(stripped, None, SourceOptions(**options))
    assert (source.assumption or "").startswith(told or "") and (source.assumption is None) == (told is None)
    how = source.metadata.preprocessing
    assert (how.mean, how.std) == (options.get("mean", MEAN), options.get("std", STD))


def test_what_the_file_says_is_no_assumption(tiny_onnx, tmp_path):
    (tmp_path / "fp32.onnx").write_bytes(tiny_onnx.content)
    assert load_source(str(tmp_path / "fp32.onnx"), None).assumption is None


def test_a_size_that_is_not_32_gets_imagenets(graph_of, tmp_path):
    proto = graph_of([("GlobalAveragePool", ["x"], ["p"]), ("Flatten", ["p"], ["f"]), ("Gemm", ["f", "w"], ["y"])],
                     {"w": np.ones((3, 10), np.float32)}, x=("batch", 3, 64, 48))
    (tmp_path / "x.onnx").write_bytes(proto.SerializeToString())
    source = load_source(str(tmp_path / "x.onnx"), None)
    how = source.metadata.preprocessing
    assert (how.size, how.mean, how.share) == ((64, 48), IMAGENET_MEAN, 1.0)
    assert "ImageNet's, by the size of 64x48" in source.assumption


@pytest.mark.parametrize("options", [
    {"input_size": 64}, {"mean": HALF}, {"std": HALF}, {"labels": CLASSES}], ids=lambda options: next(iter(options)))
def test_options_that_do_not_apply_are_refused(tiny_onnx, tmp_path, options):
    name = f"--{next(iter(options)).replace('_', '-')}"
    for untrained in (False, True):
        with pytest.raises(EdgeSeError, match=f"{name}: a net of the zoo brings its own"):
            load_source("se_resnet18", None, SourceOptions(**options), untrained)


def test_a_net_of_the_zoo_says_what_it_was_trained_with():
    assert preprocessing_of(spec_of("se_resnet18")).labels == CLASSES
    for spec in MODELS.values():
        how = preprocessing_of(spec)
        assert how.size == (spec.input_size,) * 2
        assert how.mean == (MEAN if spec.input_size == 32 else IMAGENET_MEAN)
        assert (how.labels == CLASSES) == (spec.classes == 10 and spec.input_size == 32)


@pytest.mark.parametrize("kind", ["FLOAT16", "BFLOAT16"])
@pytest.mark.parametrize("damage", [lambda tensor: tensor.dims.append(7), lambda tensor: setattr(
    tensor, "raw_data", tensor.raw_data[:-1])], ids=["shape", "bytes"])
def test_half_floats_that_do_not_fit_their_shape_are_one_message(graph_of, tmp_path, kind, damage):
    proto = graph_of([("GlobalAveragePool", ["x"], ["p"]), ("Flatten", ["p"], ["f"]), ("Gemm", ["f", "w"], ["y"])],
                     {"w": np.ones((3, 10), np.float32)})
    tensor = proto.graph.initializer[0]
    tensor.data_type, tensor.raw_data = getattr(TensorProto, kind), bytes(60)
    damage(tensor)
    (tmp_path / "x.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(EdgeSeError, match="does not hold what its shape says"):
        load_source(str(tmp_path / "x.onnx"), None)


@pytest.mark.parametrize("name", ["net.tflite", "net.pth", "nets/net", "made.csv", "MADE.ONNX"])
def test_a_file_of_another_kind_is_no_unknown_name(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    for made in ("made.csv", "MADE.ONNX"):
        (tmp_path / made).write_text("x")
    with pytest.raises(EdgeSeError, match=rf"{name}: is no file that a model is read from; give an \.onnx file"):
        load_source(name, None)


def test_a_folder_beside_does_not_hide_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mini_es").mkdir()
    with pytest.raises(EdgeSeError, match="mini_es: is no file that a model is read from"):
        load_source("mini_es", None)
    (tmp_path / "mini_se").mkdir()
    with pytest.raises(EdgeSeError, match="no such weights"):
        load_source("mini_se", tmp_path / "none.safetensors")
