"""What fuzzing found and was mended, each by hand."""

import json

import numpy as np
import onnx
import pytest

from edge_se.core.artifacts import MANIFEST, read_build
from edge_se.core.errors import ArtifactError, CalibrationError, EdgeSeError, ModelError, RecipeError
from edge_se.core.files import read_json
from edge_se.core.recipes import read_recipe
from edge_se.data.cifar10 import MEAN, STD
from edge_se.graph.foreign import normalised
from edge_se.graph.onnx_model import OnnxModel
from edge_se.quantization.ranges import Statistics
from edge_se.quantization.table import read_table, write_table
from edge_se.steps.verify import verify

NESTED = b"[" * 200_000


def test_brackets_without_end_in_json(tmp_path):
    (tmp_path / "a.json").write_bytes(NESTED)
    with pytest.raises(ArtifactError, match="not readable as JSON"):
        read_json(tmp_path / "a.json")


def test_brackets_without_end_in_toml(tmp_path):
    (tmp_path / "a.toml").write_bytes(b"a = " + NESTED)
    with pytest.raises(RecipeError, match="not readable as TOML"):
        read_recipe(tmp_path / "a.toml")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_figures_that_are_no_numbers(tmp_path, number):
    (tmp_path / "a.json").write_text(f'{{"p50_ms": {number}}}')
    with pytest.raises(ArtifactError, match=f"{number} is no number"):
        read_json(tmp_path / "a.json")


@pytest.mark.parametrize(("key", "text"), [
    ("std", "[0.2, 0.0, 0.2]"), ("std", "[0.2, -1, 0.2]"), ("mean", "[0.1, 1e999, 0.1]"), ("mean", "[" * 100_000),
    ("labels", "[1, 2]"), ("params", '"many"'), ("source_sha256", "[]"),
])
def test_metadata_that_no_image_survives(tiny_onnx, key, text):
    proto = tiny_onnx.copy()
    next(entry for entry in proto.metadata_props if entry.key == f"edge_se.{key}").value = text
    with pytest.raises(ModelError, match="metadata is broken"):
        _ = OnnxModel.of(proto).metadata


def test_a_graph_that_loads_but_does_not_run(tiny_onnx, tmp_path):
    proto = tiny_onnx.copy()
    del proto.graph.value_info[:]
    proto.graph.output[0].type.tensor_type.shape.Clear()
    node = next(node for node in proto.graph.node if node.op_type == "Conv")
    bias = next(tensor for tensor in proto.graph.initializer if tensor.name == node.input[2])
    bias.CopyFrom(onnx.numpy_helper.from_array(np.zeros(3, np.float32), bias.name))
    with pytest.raises(ModelError, match=r"onnxruntime cannot (load|run) it"):
        normalised(OnnxModel.of(proto), tmp_path / "m.onnx")


def test_a_batch_beyond_any_memory(tiny_onnx, tmp_path):
    proto = tiny_onnx.copy()
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2**40
    with pytest.raises(ModelError, match="larger than 1 GiB"):
        normalised(OnnxModel.of(proto), tmp_path / "m.onnx")


def test_an_output_of_no_classifier(graph_of, tmp_path):
    model = OnnxModel.of(graph_of([("ReduceSum", ["x"], ["y"], {"keepdims": 0})]))
    with pytest.raises(ModelError, match=r"output of shape \(\) for 1 image"):
        normalised(model, tmp_path / "m.onnx")


@pytest.fixture
def build(tiny_onnx, calibration_npz, tmp_path, monkeypatch):
    from edge_se.steps.export import export

    monkeypatch.delenv("EDGE_SE_DATA", raising=False)
    (tmp_path / "tiny.onnx").write_bytes(tiny_onnx.content)
    export(str(tmp_path / "tiny.onnx"), calibration=str(calibration_npz), out=tmp_path / "built")
    return tmp_path / "built"


@pytest.mark.parametrize(("field", "value"), [
    ("flops", "many"), ("top1", [1]), ("sha256", []), ("bytes", None), ("int8_mac_share", {}), ("params", 2**70),
    ("top1_ci", ["a", "b"]), ("flips_n", True), ("placement", 3),
])
def test_a_manifest_with_a_field_of_another_type(build, field, value):
    document = json.loads((build / MANIFEST).read_text())
    document["artifacts"][0][field] = value
    (build / MANIFEST).write_text(json.dumps(document))
    with pytest.raises(ArtifactError, match=f"incomplete manifest.*{field}"):
        read_build(build)


def test_a_manifest_without_the_hash_of_its_source(build):
    document = json.loads((build / MANIFEST).read_text())
    del document["source"]["sha256"]
    (build / MANIFEST).write_text(json.dumps(document))
    with pytest.raises(EdgeSeError, match="another source"):
        verify(str(build))


@pytest.mark.parametrize("damage", ["tensors", "extents"])
def test_a_table_of_other_types(tiny_onnx, tmp_path, damage):
    path = tmp_path / "table.npz"
    from edge_se.quantization.histograms import Histogram

    histogram = Histogram()
    histogram.add(np.linspace(-1, 1, 9, dtype=np.float32))
    write_table(path, Statistics(model_sha256=tiny_onnx.sha256, calibration="x", calibration_sha256="0", images=9,
                                 split="calibration", mean=MEAN, std=STD, histograms={"x": histogram}))
    assert read_table(path, tiny_onnx, MEAN, STD).images == 9
    with np.load(path) as archive:
        arrays = dict(archive)
    about = json.loads(str(arrays["about"]))
    if damage == "tensors":
        arrays["about"] = np.array(json.dumps(about | {"tensors": [{}]}))
    else:
        arrays["extents"] = arrays["extents"].astype("U4")
    np.savez(path, **arrays)
    with pytest.raises(CalibrationError, match=r"not a calibration table|do not fit"):
        read_table(path, tiny_onnx, MEAN, STD)
