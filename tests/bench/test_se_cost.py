"""bench/se_cost.py with tiny nets: what it exports, what it compares with what, and that it times what is there."""

import importlib.util
import json
import statistics
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.tables import readme, se_cost
from edge_se.core.artifacts import Artifact, read_build
from edge_se.graph.onnx_model import OnnxModel
from edge_se.measure.timing import Latencies
from edge_se.nets import zoo
from edge_se.nets.arithmetic import size_of

slow = pytest.mark.slow  # the first of these makes three exports
ROOT = Path(__file__).parents[2]
SETTINGS = ["--repeats", "6", "--seconds", "0.003"]


@pytest.fixture(scope="module")
def script(tiny_spec):
    """The script, whose only family is of two tiny nets, the one with SE in two INT8 placements."""
    spec = importlib.util.spec_from_file_location("bench_se_cost", ROOT / "bench" / "se_cost.py")
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "bench_se_cost", module)  # where its dataclass looks names up
        spec.loader.exec_module(module)
        for attention in ("none", "se"):
            patch.setitem(zoo.MODELS, f"tiny_{attention}", tiny_spec(attention))
        patch.setattr(module, "FAMILIES", {"tiny": ("tiny_none", "tiny_se")})
        patch.setattr(module, "PLACED", ("tiny_se",))
        patch.setattr(module, "PLACEMENTS", {name: module.PLACEMENTS[name] for name in ("all", "se-float")})
        patch.setattr(module, "WARM_UP_S", 0.001)
        yield module


@pytest.fixture(scope="module")
def exports(script, calibration_npz, tmp_path_factory):
    """The folder of the tiny nets' builds, made with less effort than the script's own."""
    folder, export = tmp_path_factory.mktemp("exports"), script.export
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(script, "export", lambda net, **settings: export(net, **settings | {
            "calibration": str(calibration_npz), "effort": "quick"}))
        script.main(["--exports", str(folder), "--exports-only"])
    return folder


@pytest.fixture(scope="module")
def document(script, exports, tmp_path_factory):
    """What the script writes where another file than the documents' one is asked for."""
    out = tmp_path_factory.mktemp("out") / "se_cost.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(script, "export", None)  # everything was exported
        patch.setattr(readme, "main", None)    # no document is made from another file
        script.main(["--exports", str(exports), "--out", str(out), *SETTINGS])
    return json.loads(out.read_text())


@slow
def test_only_what_is_missing_is_exported(script, exports, monkeypatch):
    assert sorted(path.name for path in exports.iterdir()) == ["tiny_none", "tiny_se", "tiny_se-all"]
    build = read_build(exports / "tiny_se-all")
    assert build.model == "tiny_se-untrained" and build.source["kind"] == "untrained"
    assert {item.placement for item in build.artifacts if item.precision == "int8"} == {"all"}
    asked = []
    monkeypatch.setattr(script, "export", lambda net, **settings: asked.append((net, settings["out"].name)))
    monkeypatch.setattr(script, "read_build", lambda folder: replace(
        read_build(folder), environment={"versions": {"onnx": "of before"}} if folder.name == "tiny_se-all" else
        build.environment))
    script.exported("tiny_se", exports / "tiny_se-all", "all", False, False, script.ConsoleProgress())
    script.exported("tiny_none", exports / "tiny_none", None, False, False, script.ConsoleProgress())
    script.exported("tiny_none", exports / "tiny_none", None, False, True, script.ConsoleProgress())
    assert asked == [("tiny_se", "tiny_se-all"), ("tiny_none", "tiny_none")]


@slow
def test_an_altered_file_is_exported_anew(script, exports, tmp_path, monkeypatch, capsys):
    for path in (exports / "tiny_none").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "fp32.onnx").write_bytes(b"altered")
    monkeypatch.setattr(script, "export", lambda net, **settings: settings["out"])
    assert script.exported("tiny_none", tmp_path, None, False, False, script.ConsoleProgress()) == tmp_path
    assert "SHA-256 differs" in capsys.readouterr().err


@slow
def test_every_file_is_timed_in_its_runtimes(script, document):
    kinds = [(row["net"], row["precision"], row["placement"], row["default"]) for row in document["rows"]
             if row["backend"] == "onnxruntime"]
    assert kinds == [("tiny_none", "fp32", None, True), ("tiny_none", "int8", "se-float", True),
                     ("tiny_se", "fp32", None, True), ("tiny_se", "int8", "se-float", True),
                     ("tiny_se", "int8", "all", False)]
    assert {row["backend"] for row in document["rows"]} == set(script.runtimes())
    for row in document["rows"]:
        assert len(row["p50_ms_of_repeats"]) == document["repeats"] == 6 and row["cv"] > 0
        assert row["p50_ms"] == statistics.median(row["p50_ms_of_repeats"]) > 0
        assert row["target"] == ("any" if row["precision"] == "fp32" else script.TARGET[row["backend"]])


@slow
def test_ratios_are_of_the_rows(document):
    rows = {(row["net"], row["backend"], row["precision"], row["placement"]): row for row in document["rows"]}
    own, plain = (rows[net, "onnxruntime", "int8", "se-float"] for net in ("tiny_se", "tiny_none"))
    expected = statistics.median(mine / theirs for mine, theirs in zip(own["p50_ms_of_repeats"],
                                                                       plain["p50_ms_of_repeats"]))
    found = own["against"]["plain"]
    assert found["ratio"] == expected and found["low"] <= expected <= found["high"]
    assert own["against"].keys() == {"plain", "fp32", "all"}
    assert rows["tiny_se", "onnxruntime", "int8", "all"]["against"].keys() == {"fp32"}  # no such file of the plain net
    assert rows["tiny_se", "onnxruntime", "fp32", None]["against"].keys() == {"plain"}


@slow
def test_counts_are_those_of_the_specs(document):
    plain, se = document["nets"]
    sizes = [size_of(zoo.MODELS[name]) for name in ("tiny_none", "tiny_se")]
    assert (plain["added_params"], plain["added_macs"]) == (0, 0)
    assert (se["added_params"], se["added_macs"]) == (sizes[1].params / sizes[0].params - 1,
                                                      sizes[1].macs / sizes[0].macs - 1)
    assert se["macs_of_the_file"] == sizes[1].macs and se["added_macs"] > 0
    for net in document["nets"]:
        assert net["values"]["denormals"] == net["values"]["not_finite"] == 0
        assert 0.1 < net["values"]["rms_min"] <= net["values"]["rms_max"] < 10


def test_denormals_and_dead_maps_are_found(script, graph_of):
    constants = {"tiny": np.float32(1e-41), "none": np.float32(0), "of": np.float32(2)}
    nodes = [("Mul", ["x", "tiny"], ["small"]), ("Mul", ["x", "none"], ["dead"]), ("Mul", ["x", "of"], ["big"]),
             ("Add", ["dead", "big"], ["y"])]
    graph = graph_of(nodes, constants, x=(1, 3, 8, 8), shape=(1, 3, 8, 8))
    found = script.values_of(OnnxModel.of(graph))
    assert found["denormals"] > 150  # nearly all of 192 products, and the constant itself
    assert found["largest_share_of_zeros"] == 1.0 and found["rms_min"] == 0.0
    assert (found["values"], found["weights"], found["feature_maps"]) == (4 * 192, 3, 4)


def test_ratios_are_paired_by_repeat_and_controls_have_theirs(script):
    def file(weights, precision, placement, digest):
        artifact = Artifact(**dict.fromkeys(Artifact.__dataclass_fields__) | {
            "precision": precision, "placement": placement, "sha256": digest, "target": "any", "bytes": 1})
        return script.File(family="tiny", net="tiny_se", weights=weights, is_default=True, artifact=artifact,
                           model=None)

    files = [file("untrained", "fp32", None, "a"), file("untrained", "int8", "se-float", "b"),
             file("trained", "int8", "se-float", "c"), file("untrained", "int8", "conv-only", "b")]
    times = ([8.0, 80.0, 8.0], [2.0, 20.0, 4.0], [2.2, 22.0, 4.4], [1.8, 22.0, 4.0])  # all suffered in the second one
    rows = script.rows_of(files, [[Latencies(milliseconds=np.full(3, value), batch=1) for value in own]
                                  for own in times], "onnxruntime")
    assert [row["against"].keys() for row in rows] == [set(), {"fp32"}, {"untrained"}, {"fp32", "same_file"}]
    assert rows[1]["against"]["fp32"] == {"ratio": 0.25, "low": None, "high": None}
    assert rows[2]["against"]["untrained"]["ratio"] == pytest.approx(1.1)
    assert rows[3]["against"]["same_file"]["ratio"] == 1.0


@pytest.mark.parametrize(("arguments", "message"), [(["resnet81"], "unknown family 'resnet81'; known: tiny"),
                                                    (["--repeats", "0"], "must be above 0"),
                                                    (["--seconds", "nan"], "must be above 0")])
def test_bad_input_is_one_message(script, capsys, arguments, message):
    with pytest.raises(SystemExit) as exit_:
        script.main(arguments)
    assert exit_.value.code == 2 and message in capsys.readouterr().err


def test_the_figure_lies_where_the_document_looks_for_it(script):
    assert script.FIGURE.resolve() == ROOT / "docs" / se_cost.FIGURE


@slow
def test_the_documents_show_what_was_measured(document, monkeypatch, tmp_path):
    monkeypatch.setattr(se_cost, "read_se_cost", lambda: document)
    assert "`tiny_se`" in se_cost.shares_table() and "`tiny_none`" in se_cost.times_table()
    assert "(default)" in se_cost.excitations_table() and "0 are denormal" in se_cost.controls()
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: pip install 'edge-se[plots]'")
    se_cost.cost_figure(document, tmp_path / "figure.svg")
    assert "tiny_se" in (tmp_path / "figure.svg").read_text()
