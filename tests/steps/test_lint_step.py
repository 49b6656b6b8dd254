"""`lint` as a step: what is told, what it costs, what is repaired, what a file is held against."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from jsonschema import Draft202012Validator
from onnx import numpy_helper

from edge_se.core.errors import ArtifactError, EdgeSeError, ModelError
from edge_se.graph.onnx_model import OnnxModel
from edge_se.quantization.placement import place
from edge_se.quantization.ranges import collect
from edge_se.quantization.static import quantize
from edge_se.quantization.targets import TARGETS
from edge_se.steps import export_notes
from edge_se.steps.export_files import Made
from edge_se.steps.lint import lint

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "schema" / "lint-1.json").read_text())


@pytest.fixture(scope="module")
def int8(tiny_onnx, random_images):
    """target -> the INT8 file of a tiny SE net."""
    statistics = collect(tiny_onnx, random_images(16))

    def make(name):
        target = TARGETS[name]
        return quantize(tiny_onnx, statistics.ranges("mse", target.activations), target, place(tiny_onnx.proto, target))
    return make


@pytest.fixture
def written(int8, tmp_path):
    """(target, name of the file, what is done to its graph) -> its path."""
    def make(target, name=None, change=lambda proto: None):
        proto = int8(target).copy()
        change(proto)
        path = tmp_path / (name or f"int8.{target}.onnx")
        onnx.save(proto, path)
        return path
    return make


def broken(document):
    return {row["rule"]: row for row in document["rules"]}


def with_wrong_gemm(proto):
    """The bias of the Gemm at 0.3 of its scale, and its integers as much larger: the same float bias."""
    view = {node.output[0]: node for node in proto.graph.node}
    pair = view[next(node for node in proto.graph.node if node.op_type == "Gemm").input[2]]
    values = {item.name: item for item in proto.graph.initializer}
    for name, factor in ((pair.input[0], 1 / 0.3), (pair.input[1], 0.3)):
        value = numpy_helper.to_array(values[name])
        made = np.round(value * factor).astype(np.int32) if value.dtype == np.int32 else (value * factor).astype("f4")
        values[name].CopyFrom(numpy_helper.from_array(made, name))


@pytest.fixture
def wrong_gemm(tiny_onnx, random_images, tmp_path):
    """A file of which onnxruntime computes other logits than it says: the whole net in INT8, its last bias rescaled."""
    target = TARGETS["cpu"]
    made = quantize(tiny_onnx, collect(tiny_onnx, random_images(16)).ranges("mse", "uint8"), target,
                    place(tiny_onnx.proto, target, "all"))
    proto = made.copy()
    with_wrong_gemm(proto)
    onnx.save(proto, tmp_path / "int8.cpu.onnx")
    return tmp_path / "int8.cpu.onnx"


@pytest.mark.parametrize("target", ["cpu", "openvino", "tensorrt"])
def test_a_file_of_edge_se_is_held_against_its_own_runtime_and_is_clean(target, written):
    told = lint(written(target), static=True)
    Draft202012Validator(SCHEMA).validate(told)
    assert told["verdict"] == "clean" and told["rules"] == told["runs"] == [] and told["images"] is None
    assert told["runtimes"][-1] == "any" and len(told["runtimes"]) == 2


def test_other_names_and_other_runtimes(written):
    told = lint(written("cpu", "renamed.onnx"), static=True)
    assert told["runtimes"] == ["onnxruntime", "openvino", "tensorrt", "opencv", "tools", "any"]
    assert "int32-bias" in broken(told) and told["verdict"] == "faults"
    assert lint(written("cpu"), runtimes="onnxruntime", static=True)["verdict"] == "clean"
    assert lint(written("openvino"), runtimes=["opencv"], static=True)["verdict"] == "warnings"


def test_what_it_costs_where_it_is_run(wrong_gemm, tmp_path):
    told = lint(wrong_gemm, images=8, fix=tmp_path / "mended.onnx")
    Draft202012Validator(SCHEMA).validate(told)
    row = broken(told)["gemm-bias-scale"]
    default = next(run for run in told["runs"] if (run["runtime"], run["setting"]) == ("onnxruntime", "default"))
    assert row["nodes"][0]["node"].startswith("Gemm node") and row["cost"]["setting"] == "simulated"
    assert default["sqnr_db"] == pytest.approx(row["cost"]["sqnr_db"], abs=0.5) and default["sqnr_db"] < 40
    assert told["images"]["n"] == 8 and told["verdict"] == "faults"
    assert told["fixed"]["changes"]["gemm-bias-scale"] and not told["fixed"]["left"] and told["fixed"]["flips"] == 0
    mended = lint(tmp_path / "mended.onnx", runtimes="onnxruntime", images=8)
    assert "gemm-bias-scale" not in broken(mended)
    own = next(run for run in mended["runs"] if (run["runtime"], run["setting"]) == ("onnxruntime", "default"))
    assert own["sqnr_db"] > default["sqnr_db"] + 5


def test_a_repaired_file_is_replaced_and_a_users_is_not(wrong_gemm, tmp_path):
    for _ in range(2):
        lint(wrong_gemm, images=2, fix=tmp_path / "mended.onnx")
    (tmp_path / "mine.onnx").write_bytes(b"mine")
    for path in (tmp_path / "mine.onnx", wrong_gemm):
        before = path.read_bytes()
        with pytest.raises(ArtifactError, match="choose another f"):
            lint(wrong_gemm, images=2, fix=path)
        assert path.read_bytes() == before
    with pytest.raises(EdgeSeError, match="--static: runs nothing"):
        lint(wrong_gemm, static=True, fix=tmp_path / "static.onnx")


def test_a_repair_that_would_change_answers_is_refused(wrong_gemm, tmp_path, monkeypatch):
    from edge_se.steps import lint as step

    def worse(model, rules):
        proto = model.copy()
        weights = max(proto.graph.initializer, key=lambda item: len(item.raw_data))
        weights.raw_data = bytes(len(weights.raw_data))
        return OnnxModel.of(proto), {"gemm-bias-scale": 1}
    monkeypatch.setattr(step, "repaired", worse)
    with pytest.raises(EdgeSeError, match="repairing gemm-bias-scale would change its answers"):
        lint(wrong_gemm, images=4, fix=tmp_path / "mended.onnx")
    assert not (tmp_path / "mended.onnx").exists()


def test_the_users_images(written, calibration_npz):
    told = lint(written("cpu"), data=calibration_npz, images=4)
    assert told["images"]["n"] == 4 and told["images"]["name"] == "random"
    with pytest.raises(EdgeSeError, match="unknown calibration set 'nowhere'"):
        lint(written("cpu"), data="nowhere")


def test_a_file_of_another_tool_and_size(int8, tmp_path, capsys):
    """Without metadata and for images of 64 pixels."""
    proto = int8("cpu").copy()
    del proto.metadata_props[:], proto.graph.value_info[:]
    for dim in proto.graph.input[0].type.tensor_type.shape.dim[2:]:
        dim.dim_value = 64
    onnx.save(proto, tmp_path / "other.onnx")
    notes = []

    class Notes:
        note = staticmethod(notes.append)

        def task(self, what, total):
            from contextlib import nullcontext

            return nullcontext(lambda units: None)
    told = lint(tmp_path / "other.onnx", runtimes="cpu", images=4, progress=Notes())
    assert told["images"]["name"] == "synthetic-256-at-64" and any("assumed --mean" in note for note in notes)


def test_what_is_no_image_classifier_is_linted_without_being_run(tmp_path, graph_of):
    proto = graph_of([("QuantizeLinear", ["x", "s"], ["q"]), ("DequantizeLinear", ["q", "s"], ["y"])],
                     {"s": np.float32(0.1)}, x=("batch", 7))
    onnx.save(proto, tmp_path / "rows.onnx")
    told = lint(tmp_path / "rows.onnx", runtimes="tensorrt")
    assert [*broken(told)] == ["zero-point-left-out"] and told["images"] is None
    assert all(run["setting"].startswith("parser") for run in told["runs"])


def test_what_onnxruntime_does_not_load_is_still_held_against_the_rules(written, tmp_path):
    def newer(proto):
        proto.opset_import[0].version = 28
    path = written("cpu", change=newer)
    told = lint(path)
    assert broken(told)["opset-too-new"]["kind"] == "refused" and told["verdict"] == "faults" and not told["images"]
    with pytest.raises(ModelError, match="does not run here, so what is repaired cannot be compared"):
        lint(path, fix=tmp_path / "mended.onnx")


def test_a_batch_that_is_dynamic_in_name_alone(tmp_path, graph_of):
    """A reshape to one row takes one image at a time."""
    proto = graph_of([("QuantizeLinear", ["x", "s", "z"], ["q"]), ("DequantizeLinear", ["q", "s", "z"], ["d"]),
                      ("Reshape", ["d", "shape"], ["y"])],
                     {"s": np.float32(0.02), "z": np.uint8(128), "shape": np.array([1, 192])})
    onnx.save(proto, tmp_path / "one.onnx")
    told = lint(tmp_path / "one.onnx", runtimes="cpu", images=3, preprocessing="cifar10")
    assert told["images"]["n"] == 3 and [run["flips"] for run in told["runs"]][:2] == [0, 0]


def test_a_graph_that_is_not_valid_is_refused(tmp_path, graph_of):
    proto = graph_of([("DequantizeLinear", ["x", "s"], ["y"])], {"s": np.float32(0.02)})
    del proto.graph.node[0].input[1:]
    onnx.save(proto, tmp_path / "broken.onnx")
    with pytest.raises(ModelError, match=r"broken\.onnx: not a valid ONNX graph"):
        lint(tmp_path / "broken.onnx", static=True)


def test_a_float_file_is_refused(tiny_onnx, tmp_path):
    (tmp_path / "fp32.onnx").write_bytes(tiny_onnx.content)
    with pytest.raises(ModelError, match=r"fp32\.onnx: has no QuantizeLinear and no DequantizeLinear"):
        lint(tmp_path / "fp32.onnx")


def test_an_export_tells_of_a_rule_that_its_file_breaks(wrong_gemm, int8):
    said = []

    class Notes:
        note = staticmethod(said.append)
    export_notes.tell_of_broken_rules([Made(model=int8(name), seconds=0) for name in ("cpu", "tensorrt")], Notes())
    assert said == []
    model = OnnxModel.read(wrong_gemm, precision="int8", target="cpu")
    export_notes.tell_of_broken_rules([Made(model=model, seconds=0)], Notes())
    assert len(said) == 1 and "int8.cpu.onnx: onnxruntime 1.31.1: QGemm" in said[0] and "Gemm node" in said[0]
