"""What fuzzing found and was mended, each by hand."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from edge_se.core.artifacts import MANIFEST, read_build
from edge_se.core.errors import ArtifactError, CalibrationError, EdgeSeError, ModelError, RecipeError
from edge_se.core.files import read_json
from edge_se.core.recipes import read_recipe
from edge_se.data.preprocessing import CIFAR10
from edge_se.evaluation.baseline import judge_against, read_baseline, write_baseline
from edge_se.evaluation.limits import latency_verdicts
from edge_se.graph.foreign import normalised
from edge_se.graph.onnx_model import OnnxModel
from edge_se.measure.layers import read_engine
from edge_se.quantization.ranges import Statistics
from edge_se.quantization.table import read_table, write_table
from edge_se.reporting.report.inputs import Sensitivity, read_given
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


@pytest.mark.parametrize("content", [b'{"a": "\\ud800"}', b'{"\\uDFFF": 1}', b'{"a": "\xed\xa0\x80"}'])
def test_half_a_character_in_json(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ArtifactError, match=r"not readable as JSON.*surrogates"):
        read_json(tmp_path / "a.json")
    (tmp_path / "a.json").write_bytes('{"a": "\\ud83d\\ude00 é"}'.encode())
    assert read_json(tmp_path / "a.json") == {"a": "\U0001f600 é"}


def test_half_a_character_in_the_name_of_a_layer(tmp_path):
    recorded = Path(__file__).parents[1] / "recorded" / "layers"
    layers, profile = (recorded / f"a100-resnet18-int8.{kind}.json" for kind in ("layers", "profile"))
    text = layers.read_text().replace('"Name": "', '"Name": "\\ud800', 1)
    assert text != layers.read_text() and read_engine(layers, profile).layers
    (tmp_path / "layers.json").write_text(text)
    with pytest.raises(EdgeSeError, match=r"not readable as JSON.*surrogates"):
        read_engine(tmp_path / "layers.json", profile)


def test_a_sensitivity_without_units(tmp_path):
    path = tmp_path / "sensitivity.json"
    path.write_text(json.dumps({"schema": "edge-se/sensitivity/1", "target": "cpu", "method": "mse", "dataset": "d",
                                "n": 1, "sha256": "0", "units": []}))
    with pytest.raises(EdgeSeError, match="'units'"):
        read_given(Sensitivity, path)


@pytest.mark.parametrize(("key", "text"), [
    ("std", "[0.2, 0.0, 0.2]"), ("std", "[0.2, -1, 0.2]"), ("mean", "[0.1, 1e999, 0.1]"), ("mean", "[" * 100_000),
    ("labels", "[1, 2]"), ("labels", '["\\ud800"]'), ("params", '"many"'), ("source_sha256", "[]"),
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


@pytest.mark.parametrize("damage", ["tensors", "extents", "text"])
def test_a_table_of_other_types(tiny_onnx, tmp_path, damage):
    path = tmp_path / "table.npz"
    from edge_se.quantization.histograms import Histogram

    histogram = Histogram()
    histogram.add(np.linspace(-1, 1, 9, dtype=np.float32))
    write_table(path, Statistics(model_sha256=tiny_onnx.sha256, calibration="x", calibration_sha256="0", images=9,
                                 split="calibration", preprocessing=CIFAR10, histograms={"x": histogram}))
    assert read_table(path, tiny_onnx, CIFAR10).images == 9
    with np.load(path) as archive:
        arrays = dict(archive)
    about = json.loads(str(arrays["about"]))
    if damage == "tensors":
        arrays["about"] = np.array(json.dumps(about | {"tensors": [{}]}))
    elif damage == "text":
        arrays["about"] = np.array(json.dumps(about | {"calibration": "\ud800"}))
    else:
        arrays["extents"] = arrays["extents"].astype("U4")
    np.savez(path, **arrays)
    with pytest.raises(CalibrationError, match=r"not a calibration table|do not fit"):
        read_table(path, tiny_onnx, CIFAR10)


@pytest.mark.parametrize(("field", "value"), [
    ("p50_ms", [1.5]), ("ci_pp", [{}, {}]), ("ci_pp", [0.1]), ("flips", "many"), ("sha256", {}), ("float_units", [1]),
    ("sqnr_db", None), ("ratio_ci", [0.5]), ("refused", 1)])
def test_a_log_of_candidates_with_a_field_of_another_type(tmp_path, field, value):
    from edge_se.quantization.candidates import SCHEMA, read_log

    row = {"name": "all", "float_units": ["fc"], "sha256": "a", "n": 9, "drop_pp": 0.1, "ci_pp": [-0.1, 0.3],
           "flips": 1, "sqnr_db": 30.0, "p50_ms": None, "within_budget": True}
    key = {"schema": SCHEMA, "target": "cpu"}
    path = tmp_path / "candidates.json"
    path.write_text(json.dumps(key | {"candidates": [row]}))
    assert read_log(path, key)["a"].ci_pp == (-0.1, 0.3)
    path.write_text(json.dumps(key | {"candidates": [row | {field: value}]}))
    with pytest.raises(CalibrationError, match=rf"not a log of candidates \(0.{field}"):
        read_log(path, key)
    path.write_text(json.dumps(key | {"candidates": [row | {"ratio": 0.5}]}))
    with pytest.raises(CalibrationError, match="a ratio without what it was measured of"):
        read_log(path, key)


def test_a_baseline_of_another_number_of_images(tmp_path):
    path, right = tmp_path / "baseline.json", np.ones(12, bool)
    write_baseline(path, model="m", dataset="d", dataset_sha256="s", rights={"cpu": right}, files={"cpu": {}})
    path.write_text(path.read_text().replace('"n": 12', '"n": 13'))
    before = read_baseline(path, model="m", dataset_sha256="s").rights
    with pytest.raises(EdgeSeError, match="holds 13 images for cpu, not 12"):
        judge_against(before, {"cpu": right}, 0.5, 0.025)


@pytest.mark.parametrize("p50", [5e-324, 1e308, True, 10**400], ids=["tiny", "huge", "true", "integer"])
def test_latencies_whose_ratio_no_number_holds(tmp_path, p50):
    path = tmp_path / "bench.json"
    row = {"backend": "onnxruntime", "batch": 1, "threads": 1, "estimated": False, "sha256": "0", "target": "cpu",
           "p50_ms": p50}
    path.write_text(json.dumps({"schema": "edge-se/bench/1", "measurements": [row]}))
    with pytest.raises(EdgeSeError, match="a latency is not a positive number"):
        latency_verdicts(None, [], 0.9, 0.025, path)


def test_epochs_without_end(tmp_path):
    from edge_se.studies.plan import read_plan

    recipe = tmp_path / "r.toml"
    recipe.write_text("[optimizer]\nlearning_rate = 0.1\n[[phases]]\nepochs = 99999999999999999999\n")
    with pytest.raises(RecipeError, match=r"'phases\.0\.epochs': .*less than or equal to 100000"):
        read_recipe(recipe)
    recipe.write_text(recipe.read_text().replace("9" * 20, "2"))
    with pytest.raises(RecipeError, match="--epochs: 100001 epochs never end; give 100,000 at most"):
        read_recipe(recipe).shortened(100_001)
    (tmp_path / "s.toml").write_text('name = "s"\nquestion = "?"\nmodels = ["mini"]\nrecipes = ["r.toml"]\n'
                                     'seeds = [0]\nbaseline = "mini"\nepochs = 99999999999999999999\n')
    with pytest.raises(EdgeSeError, match=r"s\.toml: 'epochs': .*less than or equal to 100000"):
        read_plan(tmp_path / "s.toml")


@pytest.fixture
def cell(tmp_path):
    """(what is changed in the card, log or figures) -> what a study reads of that cell."""
    from edge_se.core.files import sha256_of
    from edge_se.studies.finished import evaluation_file, finished
    from edge_se.studies.plan import Cell, Evaluations

    wanted = Evaluations(volatility=True, int8={"images": 10})
    plan = Cell(model="mini", recipe="r", recipe_file=Path("r.toml"), epochs=4, seed=0, curve_start=0, key="0" * 64)
    (tmp_path / "weights.safetensors").write_bytes(b"weights")
    card = {"validation": {"top1": 50.0, "n": 100, "ci95": [40.0, 60.0]}, "seconds": 1.0, "epochs": 4, "best_epoch": 4,
            "weights": {"sha256": sha256_of(tmp_path / "weights.safetensors")}, "recipe": {"sha256": "1"}, "params": 10,
            "macs": 20, "device": "cpu", "commit": None, "hardware": {"cpu": "x"}, "versions": {}}
    figure = {"evaluation": "int8", "measure": "top1", "value": 50.0, "conditions": {"target": "cpu"}}

    def read(card_changes=None, log="10\n20\n30\n40", **changes):
        (tmp_path / "card.json").write_text(json.dumps(card | (card_changes or {})))
        (tmp_path / "log.csv").write_text(f"validation_top1\n{log}\n")
        path = evaluation_file(tmp_path, "int8", wanted.model_dump(mode="json")["int8"])
        path.write_text(json.dumps({"weights_sha256": card["weights"]["sha256"], "figures": [figure | changes]}))
        return finished(plan, wanted, tmp_path)
    return read


@pytest.mark.parametrize(("changes", "message"), [
    ({"card_changes": {"hardware": {}}}, "'hardware': .*names no cpu"),
    ({"card_changes": {"hardware": {"cpu": ["x"]}}}, "'hardware': .*names no cpu"),
    ({"card_changes": {"validation": {"top1": 1e308, "n": 100, "ci95": [40.0, 60.0]}}}, r"'validation\.top1'"),
    ({"card_changes": {"seconds": -1.0}}, "'seconds'"),
    ({"log": "10\n20\nnan\n40"}, r"log\.csv: tells a validation top-1 of nan %"),
    ({"log": "10\n20\n1e300\n40"}, r"log\.csv: tells a validation top-1 of 1e\+300 %"),
    ({"measure": "top"}, "holds a figure 'top' of 'int8'"),
    ({"evaluation": "test"}, "holds a figure 'top1' of 'test'"),
    ({"value": 1e308}, r"tells a top1 of 1e\+308"),
    ({"conditions": {"severity": "high"}}, "has 'severity' 'high'"),
    ({"conditions": {"target": 3}}, "has 'target' 3"),
])
def test_a_cell_whose_files_no_table_can_hold(cell, changes, message):
    assert len(cell()["figures"]) == 3
    with pytest.raises(ArtifactError, match=message):
        cell(**changes)
