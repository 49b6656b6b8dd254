"""The report shows what a device measured beside what this machine says of the same file."""

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from edge_se.core.errors import EdgeSeError
from edge_se.reporting.report import views
from edge_se.reporting.report.document import report_document
from edge_se.reporting.report.inputs import Bench, Material, read_given
from edge_se.reporting.report.page import page
from edge_se.reporting.report.text import text

THERE = {"top1": 91.5, "top1_ci": [90.0, 93.0], "judged_on": {"name": "own", "sha256": "0" * 64},
         "measured_by": {"runtime": "tensorrt", "version": "10.3.0", "device": "Orin", "floats": "f16"}}


@pytest.fixture
def report(build_named, answered, bench_of):
    """(fields of the bench's rows) -> a report of one build and that bench."""
    def make(**changes):
        build = build_named()
        given = bench_of([("fp32.onnx", "tensorrt", 3.0), ("int8.tensorrt.onnx", "tensorrt", 2.0)], **changes)
        return report_document([Material(name="net", build=build, predictions=answered(build))],
                               benches=[("b", given)], margin_pp=0.5, alpha=0.025)
    return make


def test_both_accuracies_stand_side_by_side(report):
    document = report(**THERE)
    schema = Path(__file__).parents[2] / "docs" / "schema" / "report-1.json"
    Draft202012Validator(json.loads(schema.read_text())).validate(document)
    row = document["latency"]["rows"][1]
    assert (row["top1"], row["top1_ci"], row["top1_here"]) == (91.5, [90.0, 93.0], 99.5)
    assert document["latency"]["pareto"][0]["points"][0]["top1"] == 91.5  # what serves the file
    view = views.on_devices(document["latency"]["rows"])
    assert view.rows[1][-3:] == ["91.50 (90.00–93.00)", "99.50", "-8.00"]
    assert "TensorRT 10.3.0, floats f16, on Orin" in view.note and "onnxruntime" in view.note
    for shown in (text(document), page(document)):
        assert "Accuracy where it runs, and here" in shown and "91.50 (90.00–93.00)" in shown


@pytest.mark.parametrize("changes", [{}, {"top1": 91.5, "measured_by": THERE["measured_by"]}])
def test_figures_of_the_manifest_are_no_devices(report, changes):
    document = report(**changes)
    assert document["latency"]["rows"][0]["top1"] == 99.5 and not document["latency"]["rows"][0]["judged_there"]
    assert views.on_devices(document["latency"]["rows"]) is None
    assert "Accuracy where it runs" not in text(document) + page(document)


@pytest.mark.parametrize("changes", [{"top1": 101.0}, {"measured_by": {"runtime": 3}}, {"top1_ci": [1.0]}])
def test_impossible_accuracies_are_refused(bench_of, changes):
    given = bench_of([("fp32.onnx", "tensorrt", 3.0)]).model_dump(by_alias=True)
    given["measurements"] = [row | changes for row in given["measurements"]]
    with pytest.raises(EdgeSeError, match="bench"):
        read_given(Bench, given)
