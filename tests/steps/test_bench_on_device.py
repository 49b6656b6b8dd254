"""Accuracy in a bench of a device: by the session that was timed, within the time that nobody asked for, compared."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from edge_se.core.errors import EdgeSeError
from edge_se.core.progress import SILENT
from edge_se.data import cifar10
from edge_se.evaluation.baseline import packed, unpacked
from edge_se.graph.onnx_model import OnnxModel
from edge_se.reporting.tables import measurement_rows
from edge_se.steps import bench_accuracy, bench_rows
from edge_se.steps.bench import Options, bench
from edge_se.steps.bench_against import set_beside

N = 300
SCHEMA = Path(__file__).parents[2] / "docs" / "schema" / "bench-1.json"


class Notes(list):
    """Progress that keeps what it was told."""

    def __init__(self):
        self.task, self.note = SILENT.task, self.append


@pytest.fixture(scope="module")
def built(tiny_build):
    return tiny_build("build", targets=["cpu"]).out


@pytest.fixture
def run(built, own_answers, monkeypatch, tmp_path):
    """(options) -> the document of a bench of a device behind an agent, and its notes."""
    own_answers(bench_accuracy, N)
    monkeypatch.setenv("EDGE_SE_CACHE", str(tmp_path / "cache"))

    def make(**options):
        notes = Notes()
        document = bench("loopback", model=built, options=Options(min_duration=0.02, **options), progress=notes,
                         data=tmp_path)
        Draft202012Validator(json.loads(SCHEMA.read_text())).validate(json.loads(json.dumps(document)))
        return document, notes
    return make


def test_files_that_are_the_same_to_the_byte_keep_their_own_accuracies(tiny_build):
    build = tiny_build("build", targets=["cpu"])
    items = [replace(build.artifacts[1], target=target, top1=top1, top1_n=N, measured_by={"runtime": runtime})
             for target, top1, runtime in (("arm", 90.0, "onnxruntime"), ("litert", 91.0, "LiteRT"))]
    entries = [bench_accuracy.Entry(build=build, artifact=item, model=None, backend=None) for item in items]
    assert [told[0] for told in bench_accuracy.accuracies(entries, None, SILENT)] == [90.0, 91.0]


def test_files_that_are_the_same_to_the_byte_are_each_asked_on_a_device(tiny_build, tiny_onnx, random_images,
                                                                        monkeypatch):
    build, asked = tiny_build("build", targets=["cpu"]), []
    images = replace(random_images(20, "test"), labels=np.zeros(20, np.uint8))
    labelled = SimpleNamespace(of=lambda entry: (images, images.labels))
    backend = SimpleNamespace(name="onnxruntime", gpu=False, measured_by=lambda model: {"target": model.target})
    monkeypatch.setattr(bench_accuracy, "answers_of_all", lambda session, *told: asked.append(
        (session, told[-1])) or np.eye(10, dtype=np.float32)[np.full(20, session)])
    entries = [bench_accuracy.Entry(build=build, artifact=replace(build.artifacts[1], target=target),
                                    model=replace(tiny_onnx, target=target), backend=backend)
               for target in ("arm", "litert", "arm")]
    timed = [(entry, session, SimpleNamespace(batch=8, throughput=1e9)) for entry, session in zip(entries, (0, 1, 0))]
    rows = bench_accuracy.Judging(labelled, True, SILENT).of(timed)
    assert [(row["top1"], row["measured_by"]["target"]) for row in rows] == [
        (100.0, "arm"), (0.0, "litert"), (100.0, "arm")]
    assert asked == [(0, None), (1, None)]  # only an engine has the batch size of its row


def profiled(model, precision, milliseconds, **changes):
    """A row of a bench of TensorRT engines, and what its engine told of one kernel that takes so long."""
    row = {"model": model, "precision": precision, "target": "tensorrt", "backend": "tensorrt", "batch": 1,
           "threads": 1, "scenario": "latency", "p50_ms": milliseconds} | changes
    return row, {"layers": [{"Name": "conv"}], "profile": [{"name": "conv", "averageMs": milliseconds}]}


@pytest.mark.parametrize("changes", [{}, {"batch": 8}, {"backend": "tensorrt_rtx"}])
def test_int8_is_explained_beside_its_own_model(monkeypatch, changes):
    """FP16 of another model, batch or runtime would explain nothing."""
    found = []
    monkeypatch.setattr(bench_rows, "explain", lambda profile, **told: found.append(told) or SimpleNamespace(
        document=dict))
    rows = [profiled("a", "fp16", 5.0), profiled("a", "int8", 3.0), profiled("b", "fp32", 9.0, **changes),
            profiled("b", "fp16", 2.0, **changes), profiled("b", "int8", 1.0, **changes),
            profiled("c", "int8", 4.0)]
    bench_rows.add_why(rows)
    assert [told["baseline_latency_ms"] for told in found] == [5.0, 2.0, None]
    assert found[1]["baseline"] is rows[3][1] and ["why" in row for row, _ in rows] == [
        False, True, False, False, True, True]


def test_the_session_that_was_timed_tells_its_accuracy(run):
    document, _ = run(batches=(1, 4))
    for row in document["measurements"]:
        assert (row["top1_n"], row["judged_on"]["name"]) == (N, "own answers")
        assert row["top1"] == pytest.approx(100 * unpacked(row["right"], N).mean())
        assert row["top1_ci"][0] < row["top1"] <= row["top1_ci"][1]
        assert row["measured_by"] == row["measured_by"] | {"runtime": "onnxruntime", "floats": "f32"}
        assert row["top1_here"] == row["top1"] and row["here_measured_by"]["runtime"] == "onnxruntime"
    fp32 = [row for row in document["measurements"] if row["precision"] == "fp32"]
    assert len({row["top1"] for row in fp32}) == 1 and fp32[0]["top1"] > 95
    columns, rows = measurement_rows(document["measurements"])
    assert [cells[columns.index("top-1 here %")] == cells[columns.index("top-1 %")] for cells in rows]


def test_what_would_take_long_is_asked_for(run, monkeypatch):
    monkeypatch.setattr(bench_accuracy, "UNASKED_S", 0.0)
    document, notes = run()
    assert not any("judged_on" in row for row in document["measurements"])
    assert sum("accuracy was not measured on the device, which would take some 0 minutes: --accuracy" in note
               for note in notes) == 1
    document, notes = run(accuracy=True)
    assert all("judged_on" in row for row in document["measurements"]) and not any("accuracy" in note for note in notes)


def test_nothing_is_measured_that_is_not_wanted(run, monkeypatch):
    monkeypatch.setattr(bench_accuracy, "logits_of", lambda *_: pytest.fail("evaluates here"))
    document, notes = run(accuracy=False)
    assert not any("judged_on" in row or row["top1"] for row in document["measurements"])
    assert not any("accuracy" in note for note in notes)


def test_images_that_must_not_judge_are_a_note_unless_accuracy_is_asked_for(run, monkeypatch):
    def calibrated(*told):
        raise EdgeSeError("was calibrated on these images", where="build")
    monkeypatch.setattr(bench_accuracy.Labelled, "of", calibrated)
    monkeypatch.setattr(bench_accuracy, "accuracies", lambda chosen, *rest: [(None, None, None)] * len(chosen))
    monkeypatch.setattr("edge_se.steps.bench.accuracies", bench_accuracy.accuracies)
    _, notes = run()
    told = "accuracy was not measured on the device: build: was calibrated on these images"
    assert [note for note in notes if "accuracy" in note] == [told]  # once, of two files
    with pytest.raises(EdgeSeError, match="was calibrated on these images"):
        run(accuracy=True)


def test_accuracy_that_is_asked_for_without_images_is_told_once(run, monkeypatch):
    monkeypatch.setattr(bench_accuracy.Labelled, "of", lambda *told: None)
    assert not [note for note in run()[1] if "on the device" in note]
    assert [note for note in run(accuracy=True)[1] if "on the device" in note] == [
        "accuracy was not measured on the device: tiny has no labelled images here; give them with --data"]


def test_here_accuracy_needs_no_option(built):
    with pytest.raises(EdgeSeError, match="--accuracy: is for a device"):
        bench("cpu", model=built, options=Options(accuracy=True))


@pytest.mark.parametrize(("accuracy", "images"), [(False, 0), (None, 2 * N)])
def test_here_accuracy_is_measured_unless_it_is_not_wanted(built, own_answers, monkeypatch, tmp_path, accuracy, images):
    own_answers(bench_accuracy, N)
    judged, whole = [], bench_accuracy.logits_of
    monkeypatch.setattr(bench_accuracy, "logits_of", lambda model, test, advance: judged.append(len(test)) or whole(
        model, test, advance))
    monkeypatch.setenv("EDGE_SE_CACHE", str(tmp_path / "cache"))
    rows = bench("cpu", model=built, options=Options(min_duration=0.02, accuracy=accuracy),
                 data=tmp_path)["measurements"]
    assert sum(judged) == images and [row["top1"] is None for row in rows] == [not images] * 2


@pytest.mark.parametrize(("data", "named", "top1"), [
    ("others", True, 100.0), ("the same", True, 91.0), (None, True, 91.0), ("others", False, 91.0)])
def test_top1_is_of_the_images_that_were_named(tiny_build, random_images, monkeypatch, tmp_path, data, named, top1):
    """A manifest's was of the images of the export, and stood beside a device's of others."""
    images = random_images(N, "test")
    monkeypatch.setattr(bench_accuracy, "find_dataset", lambda data, **told: SimpleNamespace(judges=lambda how: True))
    monkeypatch.setattr(bench_accuracy, "judging", lambda *told: (images, images.labels))
    monkeypatch.setattr(bench_accuracy, "logits_of", lambda *told: np.eye(10, dtype=np.float32)[images.labels])
    build = tiny_build("build", targets=["cpu"])
    sha256 = {"others": "0" * 64, "the same": images.sha256, None: None}[data]
    build = replace(build, labels=cifar10.CLASSES, data=data and {"sha256": sha256})
    entries = [bench_accuracy.Entry(build=build, artifact=replace(item, top1=91.0, top1_n=N),
                                    model=OnnxModel.read(build.folder / item.file), backend=None)
               for item in build.artifacts]
    labelled = bench_accuracy.Labelled(entries, tmp_path if named else None, False, SILENT)
    assert [told[0] for told in bench_accuracy.accuracies(entries, labelled, SILENT)] == [top1] * 2


# ---- --against

BY = {"runtime": "tensorrt", "version": "10.3.0", "device": "Orin", "floats": "f16"}


def measured(wrong=(), **changes):
    """A document of one row, right but for the images of these numbers out of 1,000."""
    right = ~np.isin(np.arange(1000), list(wrong))
    row = {"model": "net", "precision": "int8", "target": "tensorrt", "backend": "tensorrt", "batch": 1, "threads": 1,
           "scenario": "latency", "p50_ms": 1.0, "top1": 100 * float(right.mean()), "top1_n": 1000, "measured_by": BY,
           "right": packed(right), "judged_on": {"name": "own", "sha256": "0" * 64}}
    return {"measurements": [row | changes], "environment": {"device": {"name": "Orin", "power_mode": "15W"}}}


def test_a_loss_since_then_is_paired_and_told():
    now, notes = measured(range(40)), Notes()
    set_beside(now, measured(range(30, 42)), notes)
    row, = now["measurements"]
    assert (row["top1_before"], row["p50_before_ms"]) == (98.8, 1.0)
    assert {key: row["drop_from_before"][key] for key in ("n", "broken", "fixed", "drop_pp")} == {
        "n": 1000, "broken": 30, "fixed": 2, "drop_pp": pytest.approx(2.8)}
    assert notes == [f"int8.tensorrt in tensorrt: lost 2.80 points of top-1 since then, "
                     f"{row['drop_from_before']['ci_pp'][0]:.2f} to {row['drop_from_before']['ci_pp'][1]:.2f} at 95 %"]


@pytest.mark.parametrize(("changes", "fields"), [
    ({}, {"top1_before", "drop_from_before"}),
    ({"measured_by": BY | {"device": "Thor"}}, set()), ({"top1": None, "measured_by": None}, set())])
def test_only_what_compares_is_compared(changes, fields):
    now, notes = measured(range(3)), Notes()
    set_beside(now, measured(range(5), **changes), notes)
    assert {"top1_before", "drop_from_before"} & now["measurements"][0].keys() == fields and not notes


def test_a_figure_of_other_images_is_told_as_one():
    now, notes = measured(range(3)), Notes()
    set_beside(now, measured(range(5), judged_on={"name": "other", "sha256": "1" * 64}), notes)
    assert now["measurements"][0]["top1_before"] == 99.5 and "drop_from_before" not in now["measurements"][0]
    assert notes == ["--against: int8.tensorrt in tensorrt: its top-1 before is of 1,000 images of other, now of 1,000 "
                     "images of own: not the same ones"]


@pytest.mark.parametrize(("unsaid", "count", "told"), [
    ((True, True), 500, "500 images, now of 1,000 images"),
    ((True, False), 500, "500 images of own, now of 1,000 images"),
    ((False, True), 500, "500 images, now of 1,000 images of own"),
    ((True, True), 1000, None), ((True, True), None, None)])
def test_a_figure_of_another_number_of_images_is_told_as_one(unsaid, count, told):
    now, earlier, notes = measured(), measured(range(5), top1_n=count), Notes()
    for document, without in zip((now, earlier), unsaid):
        row, = document["measurements"]
        del row["right"]
        if without:
            del row["judged_on"]
    set_beside(now, earlier, notes)
    assert now["measurements"][0]["top1_before"] == 99.5
    assert notes == ([] if told is None else [
        f"--against: int8.tensorrt in tensorrt: its top-1 before is of {told}: not the same ones"])


@pytest.mark.parametrize("changes", [
    {"right": "x"}, {"right": packed(np.ones(8, bool)), "top1_n": 8}, {"top1": "high"}, {"top1": float("nan")},
    {"top1": 101.0}, {"measured_by": "TensorRT"}, {"judged_on": None}])
def test_broken_accuracies_are_one_message(changes):
    with pytest.raises(EdgeSeError, match="--against: its accuracies are incomplete"):
        set_beside(measured(), measured(**changes))


def test_predictions_of_unknown_images_are_not_paired():
    earlier = measured()
    del earlier["measurements"][0]["judged_on"]
    with pytest.raises(EdgeSeError, match="--against: its accuracies are incomplete"):
        set_beside(measured(), earlier)
