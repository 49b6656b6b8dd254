"""`export` on the user's own labelled images: accuracy, names of classes, calibration, what is refused."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from edge_se.core.artifacts import read_build
from edge_se.core.errors import ArtifactError, CalibrationError, DataError, EdgeSeError
from edge_se.core.progress import SILENT
from edge_se.data.dataset import open_dataset
from edge_se.data.preprocessing import CIFAR10
from edge_se.evaluation.accuracy import among_first, logits_of
from edge_se.evaluation.doubts import CHANCE
from edge_se.evaluation.settings import Settings
from edge_se.graph.metadata import ModelMetadata, write_metadata
from edge_se.graph.onnx_model import OnnxModel
from edge_se.reporting.tables import build_rows
from edge_se.reporting.verdict import explain
from edge_se.steps import sensitivity as sensitivity_step
from edge_se.steps.bench import Options, bench
from edge_se.steps.export import export
from edge_se.steps.gate import gate

NAMES = tuple("abcdefghij")


@pytest.fixture
def model(tmp_path, small_net):
    """(names of its outputs) -> the net as a file."""
    def make(labels=()):
        proto = small_net.copy()
        write_metadata(proto, ModelMetadata(model="mine", preprocessing=replace(CIFAR10, labels=labels)))
        (tmp_path / "mine.onnx").write_bytes(OnnxModel.of(proto).content)
        return tmp_path / "mine.onnx"
    return make


@pytest.fixture(scope="module")
def folder(letters):
    """Ten classes with 4 training, 1 validation and 3 test images each."""
    return letters({"train": 4, "val": 1, "test": 3}, 32, 32)


@pytest.fixture
def copied(folder, tmp_path):
    """A copy that a test may damage."""
    return shutil.copytree(folder, tmp_path / "letters")


class Notes(list):
    """Progress that keeps what it was told."""

    task = staticmethod(SILENT.task)
    note = list.append


def made(model, **settings):
    return export(model, int8=True, targets="cpu", effort="quick", out=model.parent / "build", **settings)


def test_accuracy_is_that_of_the_test_split(model, folder):
    build = made(model(), data=folder)
    assert build.labels == NAMES  # the order of the folders
    assert build.data == read_build(build.folder).data
    assert (build.data["name"], build.data["images"], build.data["split"]) == ("letters-test", 30, "test")
    own = OnnxModel.read(build.folder / "fp32.onnx")
    assert own.metadata.labels == NAMES
    images = open_dataset(folder).judged(own.metadata.preprocessing)
    logits = logits_of(own, images)
    fp32 = build.find("fp32")
    assert (fp32.top1, fp32.top1_n) == (100 * (logits.argmax(1) == images.labels).mean(), 30)
    low, high = fp32.top5_ci
    assert low < fp32.top5 < high and fp32.top5 >= fp32.top1
    assert fp32.top5 == pytest.approx(100 * among_first(logits, images.labels, 5).mean())
    assert (build.calibration["images"], build.calibration["name"]) == (40, "letters-train")
    columns, rows = build_rows(build)
    assert [row[columns.index("top-5 %")] for row in rows] == [f"{item.top5:.2f}" for item in build.artifacts]


def test_a_net_that_guesses_is_told_of_at_the_export(model, folder):
    notes = Notes()
    made(model(), data=folder, progress=notes)
    assert [note for note in notes if note == CHANCE] == [CHANCE]


def test_names_of_the_model_win_over_the_order_of_the_folders(model, folder):
    plain, turned = (made(model(labels), data=folder) for labels in ((), NAMES[::-1]))
    assert plain.data["sha256"] != turned.data["sha256"]  # other labels of the same images
    assert turned.labels == NAMES[::-1]


def test_another_split_can_be_judged_on(model, folder):
    build = made(model(), data=folder, split="validation")
    assert (build.data["split"], build.find("fp32").top1_n) == ("validation", 10)
    with pytest.raises(DataError, match=r"has no split 'tset'; did you mean 'test'"):
        made(model(), data=folder, split="tset")


@pytest.mark.parametrize("what", ["test", "copies"])
def test_calibrating_on_what_is_judged_is_refused(model, copied, what):
    path = copied / "test"
    if what == "copies":  # under other names, among others
        path = copied / "mixed"
        path.mkdir()
        for number, name in enumerate(NAMES):
            (path / f"x{number}.png").write_bytes((copied / "train" / name / "1.png").read_bytes())
        Image.open(copied / "test" / "c" / "2.png").save(path / "again.bmp")
    told = r"1 of the 11 .*, as is .*test/c/2\.png;" if what == "copies" else r"30 of the 30 .*, as is .*test/a/0\.png;"
    with pytest.raises(CalibrationError, match=told):
        made(model(), data=copied, calibration=path)


def test_a_table_remembers_what_it_was_collected_on(model, folder):
    first = made(model(NAMES), data=folder, calibration=folder / "test", accuracy=False)
    table = first.folder / "calibration.npz"
    with pytest.raises(CalibrationError, match=rf"{table}: 30 of the 30 images that it was calibrated on"):
        made(model(NAMES), data=folder, calibration=table)
    assert made(model(NAMES), data=folder, split="validation", calibration=table).calibration == first.calibration


def test_the_data_set_as_calibration_is_its_training_images(model, folder):
    build = made(model(), data=folder, calibration=folder)
    assert build.calibration["name"] == "letters-train" and build.calibration["images"] == 40
    alone = made(model(), data=folder, calibration=folder / "train", accuracy=False)
    assert alone.calibration["images"] == 40 and alone.data is None


@pytest.mark.parametrize(("labels", "message"), [
    ((*NAMES[:9], "z"), r"the images have 'j', which the model does not know; the model knows 'z', of which"),
    (tuple(f"class {name}" for name in NAMES), r"the images have 'a', 'b', 'c', 'd', 'e' and 5 more"),
    (tuple(name.upper() for name in NAMES), r"the model knows 'A', 'B', 'C', 'D', 'E' and 5 more")])
def test_names_that_do_not_match_are_refused(model, folder, labels, message):
    with pytest.raises(DataError, match=message):
        made(model(labels), data=folder)


def test_a_count_that_differs_and_an_empty_class_are_refused(model, copied):
    (copied / "test" / "k").mkdir()
    with pytest.raises(DataError, match=r"11 classes .* the model has 10 outputs"):
        made(model(), data=copied)
    (copied / "test" / "k").rmdir()
    for path in (copied / "test" / "d").iterdir():
        path.unlink()
    with pytest.raises(DataError, match="no image of 'd' in split 'test'"):
        made(model(), data=copied)


def test_broken_images_are_refused_or_counted(model, copied):
    (copied / "test" / "b" / "1.png").write_bytes(b"\x89PNG")
    (copied / "train" / "a" / "1.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"train/a/1\.png: cannot be read as an image .*--skip-broken"):
        made(model(), data=copied)
    build = made(model(), data=copied, skip_broken=True)
    assert (build.data["skipped"], build.data["images"], build.calibration["skipped"]) == (1, 29, 1)


def test_among_first_counts_equal_logits_in_order():
    logits = np.array([[0, 3, 3, 1, 2, 2], [5, 5, 5, 5, 5, 5], [0, 1, 2, 3, 4, 5]], np.float32)
    assert among_first(logits, np.array([2, 5, 1]), 5).tolist() == [True, False, True]
    assert among_first(logits, np.array([0, 4, 0]), 5).tolist() == [False, True, False]
    assert among_first(logits, logits.argmax(1), 1).all()


@pytest.fixture
def build(model, folder, monkeypatch):
    """A build that was made without the data set: nothing names its outputs."""
    monkeypatch.delenv("EDGE_SE_DATA", raising=False)
    return made(model(), calibration=folder / "train").folder


def test_the_gate_judges_on_the_test_split(build, folder):
    document = gate(build, data=folder, wanted=Settings(min_top1=0.0))
    assert (document["dataset"], document["n"], document["data"]["images"]) == ("letters-test", 30, 30)
    row = document["targets"][0]
    assert [item["class"] for item in row["classes"]] == list(NAMES)
    low, high = row["top1_ci"]
    assert low <= row["top1"] <= high and row["top5"] >= row["top1"] and document["fp32_top5"] >= document["fp32_top1"]
    assert [item["verdict"] for item in document["floor"]] == ["pass"]
    words = "\n".join(explain(document))
    assert f"top-5 {row['top5']:.2f} (" in words and f"FP32 {row['fp32_top5']:.2f} %" in words
    assert "floor PASS: int8.cpu.onnx has top-1" in words


@pytest.mark.parametrize(("floor", "verdict"), [(0.0, "pass"), (99.0, "fail"), (None, None)])
def test_a_floor_is_a_verdict_of_its_own(build, folder, floor, verdict):
    document = gate(build, data=folder, wanted=Settings(min_top1=floor))
    rows = document.get("floor", [])
    assert [row["verdict"] for row in rows] == [verdict] * (verdict is not None)
    assert document["overall"] == ("fail" if verdict == "fail" else document["verdict"])
    top1 = document["targets"][0]["top1"]
    unsure = gate(build, data=folder, wanted=Settings(min_top1=top1))
    assert unsure["floor"][0]["verdict"] == ("pass" if top1 == 0 else "inconclusive")


def test_looks_in_order_of_the_disk_see_the_images_of_each_look(build, folder):
    whole = gate(build, data=folder)
    looked = gate(build, data=folder, wanted=Settings(sequential=True))
    if looked["n"] == 30:
        assert (looked["broken"], looked["fixed"]) == (whole["broken"], whole["fixed"])
    with pytest.raises(EdgeSeError, match="--min-top1"):
        gate(build, data=folder, wanted=Settings(sequential=True, min_top1=10.0))


def test_the_gate_refuses_a_build_that_was_calibrated_on_what_it_judges(model, folder, monkeypatch):
    monkeypatch.delenv("EDGE_SE_DATA", raising=False)
    build = made(model(), calibration=folder / "test").folder
    with pytest.raises(CalibrationError, match=r"30 of the 30 images .* judge on another split with --split"):
        gate(build, data=folder)
    assert gate(build, data=folder, split="validation")["data"]["split"] == "validation"


def test_names_of_a_file_order_the_outputs_of_a_build_without_names(build, folder, tmp_path):
    turned = tmp_path / "names.txt"
    turned.write_text("\n".join(NAMES[::-1]))
    plain, other = gate(build, data=folder), gate(build, data=folder, labels=turned)
    assert [item["class"] for item in other["targets"][0]["classes"]] == list(NAMES[::-1])
    assert plain["data"]["sha256"] != other["data"]["sha256"]
    turned.write_text("one\ntwo")
    with pytest.raises(DataError, match="the model knows 'one', 'two', of which there are no images"):
        gate(build, data=folder, labels=turned)


def test_without_images_of_its_own_the_gate_says_what_to_give(build, cifar):
    with pytest.raises(ArtifactError, match="give labelled images of its classes with --data"):
        gate(build, data=cifar.root)


def test_broken_images_are_counted_by_the_gate(build, copied):
    (copied / "test" / "e" / "0.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"test/e/0\.png: cannot be read"):
        gate(build, data=copied)
    assert gate(build, data=copied, skip_broken=True)["data"]["skipped"] == 1


@pytest.mark.parametrize("what", ["calibration", "labelled images"])
def test_what_was_left_out_is_told(model, copied, what):
    notes = Notes()
    for name in ("train/a/1.png", "train/b/1.png"):
        (copied / name).write_bytes(b"no image")
    given = {"calibration": copied / "train"} if what == "calibration" else {"data": copied}
    with pytest.raises(DataError, match="--skip-broken"):
        made(model(), **given)
    assert made(model(), **given, skip_broken=True, progress=notes).calibration["skipped"] == 2
    assert sum("2 images that cannot be decoded were left out" in note for note in notes) == 1


def test_sensitivity_judges_on_held_out_images_an_equal_share_of_each_class(build, folder, monkeypatch):
    seen = []
    monkeypatch.setattr(sensitivity_step, "measure_units", lambda model, statistics, target, images, **options: (
        seen.append((images, statistics)) or []))
    document = sensitivity_step.sensitivity(build, data=folder, images=5)
    (images, statistics), = seen
    assert (document["dataset"], document["n"]) == ("letters-validation", 5)
    assert len(set(images.labels.tolist())) == 5 and statistics.calibration == "train"
    (build / "calibration.npz").unlink()
    document = sensitivity_step.sensitivity(build, data=folder)
    assert (document["n"], document["calibration"]) == (10, "letters-train")


def test_bench_measures_the_accuracy_that_a_build_lacks(build, folder):
    options = Options(min_duration=0.01)
    plain = bench("cpu", model=build, options=options)
    assert [row["top1"] for row in plain["measurements"]] == [None] * 2
    told = bench("cpu", model=build, data=folder, options=options)
    gated = gate(build, data=folder)
    by_file = {row["precision"]: (row["top1"], row["top1_n"]) for row in told["measurements"]}
    assert by_file == {"fp32": (gated["fp32_top1"], 30), "int8": (gated["top1"], 30)}
