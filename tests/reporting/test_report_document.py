"""The report's document: what it says follows from what it was given, and what is missing is named."""

import base64
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from PIL import Image

from edge_se.core.artifacts import build_of
from edge_se.core.errors import ArtifactError, EdgeSeError
from edge_se.core.whole import require_whole
from edge_se.evaluation.statistics import Paired, drop_interval
from edge_se.reporting.report import charts, views
from edge_se.reporting.report.answers import files_of, gallery_of
from edge_se.reporting.report.document import report_document
from edge_se.reporting.report.inputs import Bench, Material, Sensitivity, read_given

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "schema" / "report-1.json").read_text())


def test_it_fits_its_schema_with_everything_and_with_nothing(whole, build_named) -> None:
    Draft202012Validator.check_schema(SCHEMA)
    bare = report_document([Material(name="net", build=build_named())], margin_pp=0.5, alpha=0.025)
    for document in (whole, bare):
        Draft202012Validator(SCHEMA).validate(json.loads(json.dumps(document, allow_nan=False)))
    assert whole["missing"] == [] and whole["notes"] == []
    assert [item["section"] for item in bare["missing"]] == [
        "Verdicts, drops by class and flipped images", "Latencies and Pareto", "Calibration of net",
        "Sensitivity of net", "Robustness of net"]
    assert bare["builds"][0]["verdict"] == "not judged" and bare["builds"][0]["gallery"] is None


@pytest.mark.parametrize(("told", "shown"), [
    ({"gates": {"folded": 3, "gates": [{}, {}, {}, {}]}}, ["3 of 4 are constants, folded into convolutions"]),
    ({}, []), ({"gates": {"folded": 3}}, []), ({"gates": "of another kind"}, [])])
def test_folded_excitations_are_among_the_facts(build_named, told, shown) -> None:
    source = build_named().source | told
    document = report_document([Material(name="net", build=build_named(source=source))], margin_pp=0.5, alpha=0.025)
    assert [value for fact, value in views.facts(document["builds"][0]).rows if fact == "excitations"] == shown


def test_drops_are_paired_and_judged(whole) -> None:
    (build,) = whole["builds"]
    fp32, cpu, tensorrt = build["files"]
    assert (cpu["broken"], cpu["fixed"], cpu["flips"]) == (3, 1, 4)
    assert cpu["drop_pp"] == pytest.approx(1.0)
    low, high = drop_interval(Paired(n=200, broken=3, fixed=1), 0.025)
    assert cpu["ci_pp"] == pytest.approx([100 * low, 100 * high])
    assert fp32["top1"] == 99.5 and fp32["ci_pp"] is None and tensorrt["drop_pp"] == 0
    assert (build["verdict"], build["worst"]) == ("inconclusive", "int8.cpu.onnx")
    assert build["size_ratio"] == 0.25


def test_a_wide_margin_passes_and_a_ruined_file_fails(build_named, answered) -> None:
    build = build_named()
    predictions = answered(build)
    material = Material(name="net", build=build, predictions=predictions)
    passed = report_document([material], margin_pp=10, alpha=0.025)["builds"][0]
    assert passed["verdict"] == "pass"
    predictions.logits["int8.tensorrt.onnx"][:100] = np.roll(predictions.logits["int8.tensorrt.onnx"][:100], 1, axis=1)
    failed = report_document([material], margin_pp=10, alpha=0.025)["builds"][0]
    assert (failed["verdict"], failed["worst"]) == ("fail", "int8.tensorrt.onnx")
    assert all(row["significant"] for row in failed["classes"][1]["classes"] if row["broken"] >= 10)
    assert not any(row["significant"] for row in failed["classes"][0]["classes"])


@pytest.mark.parametrize("wrong", [slice(0, 180), slice(0, 200), slice(0, 176)])
def test_where_fp32_guesses_nothing_passes_or_fails_as_in_the_gate(build_named, answered, wrong) -> None:
    build = build_named()
    predictions = answered(build)
    for logits in predictions.logits.values():
        logits[wrong] = np.roll(logits[wrong], 1, axis=1)
    document = report_document([Material(name="net", build=build, predictions=predictions)], margin_pp=10, alpha=0.025)
    assert [row["verdict"] for row in document["builds"][0]["files"]] == ["not judged", "inconclusive", "inconclusive"]
    assert [note for note in document["notes"] if "not surely better than chance" in note]
    Draft202012Validator(SCHEMA).validate(document)


@pytest.mark.parametrize(("data", "top1", "n"), [("others", 99.5, 200), ("the same", 91.0, 500), (None, 91.0, 500)])
def test_accuracy_is_of_the_images_of_the_drop(build_named, answered, data, top1, n) -> None:
    """An older manifest does not tell its images, and what it says of the same bytes is taken."""
    build = build_named()
    predictions = answered(build)
    known = {"top1": 91.0, "top1_n": 500, "top1_ci": (88.0, 93.0), "measured_by": {
        "runtime": "onnxruntime", "version": "1", "device": "a processor", "floats": "f32"}}
    sha256 = {"others": "0" * 64, "the same": predictions.images.sha256, None: None}[data]
    build = replace(build, artifacts=tuple(replace(item, **known) for item in build.artifacts),
                    data=data and {"name": "own", "sha256": sha256})
    fp32, cpu, _ = files_of(Material(name="net", build=build, predictions=predictions), 0.5, 0.025)
    assert (fp32["top1"], fp32["top1_n"]) == (top1, n)
    if data == "others":
        assert fp32["top1"] - cpu["top1"] == pytest.approx(cpu["drop_pp"])


def test_classes_add_up_to_the_file(whole) -> None:
    (build,) = whole["builds"]
    for file, classes in zip(build["files"][1:], build["classes"]):
        assert sum(row["n"] for row in classes["classes"]) == 200
        assert sum(row["broken"] for row in classes["classes"]) == file["broken"]
        assert sum(row["fixed"] for row in classes["classes"]) == file["fixed"]


def test_the_gallery_shows_what_flipped_and_nothing_else(whole, build_named, answered) -> None:
    gallery = whole["builds"][0]["gallery"]
    assert gallery["flipped"] == 4 and sorted(item["index"] for item in gallery["shown"]) == [0, 1, 2, 3]
    build = build_named()
    predictions = answered(build)
    for item in gallery["shown"]:
        pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(item["png"])))).transpose(2, 0, 1)
        assert (pixels == predictions.images.pixels[item["index"]]).all()
        assert [other["file"] for other in item["int8"]] == ["int8.cpu"]
        assert item["fp32"]["confidence"] == pytest.approx(np.exp(2) / (np.exp(2) + 9))
        assert (item["fp32"]["answer"] == item["label"]) == (item["index"] != 0)
    few = gallery_of(Material(name="net", build=build, predictions=predictions), 2)
    assert len(few["shown"]) == 2 and few["flipped"] == 4


def test_speedups_and_the_front(whole) -> None:
    rows = {(row["label"], row["backend"]): row for row in whole["latency"]["rows"]}
    assert rows["int8.cpu", "onnxruntime"]["x_fp32"] == 4 and rows["fp32", "openvino"]["x_fp32"] == 1
    (group,) = whole["latency"]["pareto"]
    assert [(point["label"], point["p50_ms"], point["front"]) for point in group["points"]] == [
        ("int8.cpu", 2.0, True), ("fp32", 7.0, True), ("fp32", 8.0, False)]
    assert whole["builds"][0]["fastest"]["p50_ms"] == 2.0


def test_files_that_are_the_same_to_the_byte_keep_their_own_latencies(build_named, bench_of) -> None:
    document = build_named().document()
    document["artifacts"][2]["sha256"] = document["artifacts"][1]["sha256"]
    bench = bench_of([("int8.cpu.onnx", "onnxruntime", 2.0)])
    shown = report_document([Material(name="net", build=build_of(document))], benches=[("bench.json", bench)],
                            margin_pp=0.5, alpha=0.025)
    assert [row["label"] for row in shown["latency"]["rows"]] == ["int8.cpu"]


def test_estimates_are_never_compared_with_measurements(build_named, answered, bench_of) -> None:
    build = build_named()
    material = Material(name="net", build=build, predictions=answered(build))
    rows = [("fp32.onnx", "roofline", 1.0), ("int8.cpu.onnx", "roofline", 0.1)]
    estimated = bench_of(rows, estimated=True, p90_ms=None, p99_ms=None, cv=None, board="Nano", mode="10 W")
    document = report_document([material], benches=[("e.json", estimated), ("m.json", bench_of(
        [("fp32.onnx", "onnxruntime", 5.0)]))], margin_pp=1, alpha=0.025)
    assert [(group["estimated"], len(group["points"])) for group in document["latency"]["pareto"]] == [
        (True, 2), (False, 1)]
    assert document["builds"][0]["fastest"] is None
    assert "ESTIMATE" in views.group_name(document["latency"]["pareto"][0])
    assert "at least 0.100 (estimate)" in str(views.matrix(document["latency"]["rows"]).rows)


def test_throughput_goes_by_images_per_second_and_is_no_latency(build_named, answered, bench_of) -> None:
    build = build_named()
    both = bench_of([("fp32.onnx", "onnxruntime", 8.0), ("int8.cpu.onnx", "onnxruntime", 4.0)])
    many = [row.model_copy(update={"scenario": "throughput", "streams": 2, "throughput_ips": 10.0 + 20 * number})
            for number, row in enumerate(both.measurements)]
    document = report_document(
        [Material(name="net", build=build, predictions=answered(build))], margin_pp=1, alpha=0.025,
        benches=[("b.json", both.model_copy(update={"measurements": (*both.measurements, *many)}))])
    assert [row["x_fp32"] for row in document["latency"]["rows"]] == [1, 2, 1, 3]
    assert [len(group["points"]) for group in document["latency"]["pareto"]] == [2]
    assert document["builds"][0]["fastest"]["x_fp32"] == 2
    assert "30 images/s, 3.00 x" in str(views.matrix(document["latency"]["rows"]).rows)


def test_documents_of_other_files_are_left_out_and_named(build_named, bench_of, sensitivity_of) -> None:
    document = report_document(
        [Material(name="net", build=build_named())], margin_pp=1, alpha=0.025,
        benches=[("old.json", bench_of([("fp32.onnx", "onnxruntime", 5.0)], model="older"))],
        sensitivities=[("other.json", sensitivity_of("conv1", model="older"))])
    assert document["latency"]["rows"] == [] and document["builds"][0]["sensitivity"] == []
    assert [note.split(":")[0] for note in document["notes"]] == ["old.json", "other.json"]


def test_ranges_and_what_is_beyond_them(whole, build_named, statistics) -> None:
    calibration = whole["builds"][0]["calibration"]
    wide = next(tensor for tensor in calibration["tensors"] if tensor["name"] == "wide")
    assert (wide["low"], wide["high"], wide["covered"], wide["clipped_share"]) == (-1, 3, [-1, 3], 0)
    assert sum(wide["counts"]) == 2000
    build = build_named(artifacts=[item | {"method": "mse"} for item in build_named().document()["artifacts"]])
    more = np.append(np.linspace(0, 1, 998_000), 100.0).astype(np.float32)
    statistics.histograms["wide"].add(more)
    document = report_document([Material(name="net", build=build, statistics=statistics)], margin_pp=1, alpha=0.025)
    first = document["builds"][0]["calibration"]["tensors"][0]
    assert first["name"] == "wide" and first["covered"][1] < 100
    beyond = (np.linspace(-1, 3, 1000) < first["covered"][0]).sum() + 1
    assert first["clipped_share"] == pytest.approx(beyond / 1_000_001, rel=0.1)  # of bins that are 1/16 wide


def test_gates_are_told_from_other_units(whole) -> None:
    (given,) = whole["builds"][0]["sensitivity"]
    assert [unit["name"] for unit in given["units"]] == ["fc", "layer1.0.se", "conv1"]
    assert views.gates(given) == "Excitations (1): SQNR 59.0 to 59.0 dB; other units (2): 58.0 to 60.0 dB."
    assert views.gates({"units": given["units"][:1]}) == ""


def test_files_that_name_each_other_as_parents_are_all_in_the_tree(build_named) -> None:
    items = list(build_named().document()["artifacts"])
    items[0] |= {"parent_sha256": items[1]["sha256"]}
    document = report_document([Material(name="net", build=build_named(artifacts=items))], margin_pp=1, alpha=0.025)
    names = [name for _, name, _ in views.tree(document["builds"][0])]
    assert len(names) == 4 and names[1] == "fp32.onnx"


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_are_few_rising_and_within(low, span) -> None:
    found = charts.ticks(low, low + span)
    assert len(found) <= 7 and found == sorted(found)
    assert all(low - 1e-6 * (abs(low) + span) <= tick <= low + span + 1e-6 * (abs(low) + span) for tick in found)


def test_charts_stay_within_their_box(whole) -> None:
    chart = charts.pareto_chart(whole["latency"]["pareto"][0], ["net"])
    for mark in chart["marks"]:
        assert 0 <= mark["x"] <= 100
        assert all(chart["top"] <= y <= chart["bottom"] for y in (mark["y"], *mark["interval"]))
    assert chart["marks"][0]["x"] < chart["marks"][1]["x"] and len(chart["line"]) == 1
    classes = charts.classes_chart(whole["builds"][0]["classes"][0], whole)
    assert all(charts.NAMES <= row["from"] <= row["x"] <= row["to"] <= 100 for row in classes["rows"])
    assert charts.unit_bars([{"sqnr_db": 40.0}, {"sqnr_db": 60.0}, {"sqnr_db": 50.0}]) == [100, 0, 50]


@pytest.mark.parametrize(("kind", "content", "says"), [
    (Bench, "{}", "'schema'"),
    (Bench, '{"schema": "edge-se/gate/1", "device": "cpu", "measurements": [], "environment": {}}', "'schema'"),
    (Bench, '{"schema": "edge-se/bench/1", "device": "cpu", "measurements": [{}], "environment": {}}', "ements.0"),
    (Sensitivity, '{"schema": "edge-se/sensitivity/1", "target": "", "method": "", "dataset": "", "n": 1, '
                  '"sha256": "", "units": [{"name": "", "kind": "layer", "macs": 1, "sqnr_db": 1e300, "flips": 0, '
                  '"brings_ms": 0}]}',
     "sqnr_db"),
    (Bench, "no JSON", "not readable as JSON"),
    (Sensitivity, "[]", "expected a JSON object"),
])
def test_what_is_no_such_document_is_refused(tmp_path, kind, content, says) -> None:
    path = tmp_path / "given.json"
    path.write_text(content)
    with pytest.raises(EdgeSeError, match=f"given.json: .*{says}.*--out FILE"):
        read_given(kind, path)


@pytest.mark.parametrize(("changes", "says"), [
    ({"environment": {}}, "'environment.versions'"),
    ({"preprocessing": {"mean": [1, 2]}}, "'preprocessing.mean"),
    ({"calibration": {"name": "x"}}, "'calibration.images'"),
    ({"parity": {"x": float("nan")}}, "holds a figure that is none"),
])
def test_a_manifest_that_lacks_what_is_told_is_refused(build_named, changes, says) -> None:
    require_whole(build_named())
    with pytest.raises(ArtifactError, match=says):
        require_whole(build_of(build_named().document() | changes))


@pytest.mark.parametrize("milliseconds", [0.0, -1.0, 1e-300, 1e300, float("nan"), float("inf")])
def test_a_latency_that_cannot_be_is_refused(bench_of, milliseconds) -> None:
    bench_of([("fp32.onnx", "onnxruntime", 1e12)], throughput_ips=1.0, p90_ms=1.0, p99_ms=1.0)
    with pytest.raises(ValueError, match="p50_ms"):
        bench_of([("fp32.onnx", "onnxruntime", 1.0)], p50_ms=milliseconds)


def test_logits_that_are_no_numbers_have_no_confidence(build_named, answered) -> None:
    build = build_named()
    predictions = answered(build)
    image = 10 + int(np.flatnonzero(predictions.images.labels[10:])[0])  # NaN answers with class 0
    predictions.logits["int8.cpu.onnx"][image] = np.nan
    document = report_document([Material(name="net", build=build, predictions=predictions)], margin_pp=1, alpha=0.025)
    json.dumps(document, allow_nan=False)
    broken = next(item for item in document["builds"][0]["gallery"]["shown"] if item["index"] == image)
    assert broken["int8"][0]["confidence"] == 0
