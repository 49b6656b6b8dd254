"""`sensitivity`, `robustness` and `report` on labelled images of the user."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from PIL import Image

from edge_se.core.errors import ArtifactError, DataError, EdgeSeError
from edge_se.data.corrupted_images import corrupted
from edge_se.data.dataset import open_dataset
from edge_se.data.preprocessing import CIFAR10
from edge_se.evaluation.accuracy import logits_of
from edge_se.graph.metadata import ModelMetadata, write_metadata
from edge_se.graph.onnx_model import OnnxModel
from edge_se.reporting.report import charts, views
from edge_se.steps import robustness as robustness_step
from edge_se.steps.export import export
from edge_se.steps.report import report
from edge_se.steps.robustness import robustness
from edge_se.steps.sensitivity import sensitivity

NAMES = tuple("abcdefghij")
SCHEMAS = Path(__file__).parents[2] / "docs" / "schema"


@pytest.fixture(scope="module")
def folder(letters):
    """Ten classes with 6 training, 2 validation and 4 test images of 40 x 48 each."""
    return letters({"train": 6, "val": 2, "test": 4}, 40, 48)


@pytest.fixture(scope="module")
def build(folder, tiny_onnx, tmp_path_factory):
    """FP32 and INT8 of a tiny net whose classes are the folders'."""
    root, proto = tmp_path_factory.mktemp("built"), tiny_onnx.copy()
    write_metadata(proto, ModelMetadata(model="mine", preprocessing=replace(CIFAR10, labels=NAMES)))
    (root / "mine.onnx").write_bytes(OnnxModel.of(proto).content)
    return export(root / "mine.onnx", int8=True, targets="cpu", effort="quick", out=root / "build", data=folder).folder


def right(build, images):
    return 100 * (logits_of(OnnxModel.read(build / "fp32.onnx"), images).argmax(1) == images.labels).mean()


def fits(document, name):
    Draft202012Validator(json.loads((SCHEMAS / name).read_text())).validate(
        json.loads(json.dumps(document, allow_nan=False)))


def test_sensitivity_is_judged_on_held_out_images(build, folder):
    document = sensitivity(str(build), data=folder, images=15)
    fits(document, "sensitivity-1.json")
    assert (document["dataset"], document["n"]) == ("letters-validation", 15) and document["units"]
    assert sensitivity(str(build), data=folder)["n"] == 20


def test_sensitivity_falls_back_to_the_training_images(build, folder, tmp_path):
    for split in ("train", "test"):
        (tmp_path / "few").mkdir(exist_ok=True)
        (tmp_path / "few" / split).symlink_to(folder / split, target_is_directory=True)
    held_out = open_dataset(tmp_path / "few").held_out(replace(CIFAR10, labels=NAMES))
    document = sensitivity(str(build), data=tmp_path / "few")
    assert (document["dataset"], document["n"]) == ("few-held-out", len(held_out))


def test_robustness_of_own_images(build, folder):
    document = robustness(str(build), data=folder, corruptions=["shot_noise"], severities=[2], seed=7)
    fits(document, "robustness-1.json")
    assert (document["dataset"], document["n"], document["split"]) == ("letters-test", 40, "test")
    assert document["strengths_of"] == "CIFAR-10-C" and document["conditions"][1]["strength"] == [250]
    images = open_dataset(folder).judged(replace(CIFAR10, labels=NAMES))
    shown = images, corrupted(images, "shot_noise", 2, seed=7)
    assert [condition["files"][0]["top1"] for condition in document["conditions"]] == pytest.approx(
        [right(build, one) for one in shown])
    assert [condition["images_sha256"] for condition in document["conditions"]] == [one.sha256 for one in shown]
    assert robustness(str(build), data=folder, split="validation", corruptions=["jpeg_compression"],
                      severities=[1], images=7)["dataset"] == "letters-validation"


@pytest.mark.parametrize("count", [10, 7, 25])
def test_some_images_of_a_folder_are_of_all_its_classes(build, folder, monkeypatch, count):
    """Files lie class by class: the first ten were of three classes."""
    seen = []
    monkeypatch.setattr(robustness_step, "corrupted", lambda images, *told, **seed: seen.append(
        images.labels) or corrupted(images, *told, **seed))
    document = robustness(str(build), data=folder, images=count, corruptions=["jpeg_compression"], severities=[1])
    assert document["n"] == count
    shares = np.bincount(seen[0], minlength=10)
    assert shares.sum() == count and shares.max() - shares.min() <= 1


@pytest.mark.parametrize(("split", "error", "what"), [
    ("train", EdgeSeError, "'train' is no split to judge on"), ("tset", DataError, "has no split 'tset'")])
def test_splits_that_nothing_is_judged_on(build, folder, split, error, what):
    with pytest.raises(error, match=what):
        robustness(str(build), data=folder, split=split)


@pytest.mark.parametrize("step", [robustness, lambda *told, **options: report([told[0]], **options)])
def test_other_classes_are_refused_by_name(build, folder, tmp_path, step):
    for name in ("a", "z"):
        (tmp_path / "other" / "test" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "other" / "test" / name / "1.png")
    with pytest.raises(EdgeSeError, match="the images have 'z'"):
        step(str(build), data=tmp_path / "other")


def test_cifar10_says_nothing_of_other_classes(build, cifar):
    with pytest.raises(ArtifactError, match=r"corrupted on CIFAR-10.*--data"):
        robustness(str(build), data=cifar.root, images=3)


def test_a_report_has_verdicts_and_flips_of_own_images(build, folder, tmp_path):
    document = report([str(build)], data=folder, html=tmp_path / "r.html", markdown=tmp_path / "r.md")
    fits(document, "report-1.json")
    one, = document["builds"]
    assert one["judged_on"] == "letters-test" and one["verdict"] in ("pass", "fail", "inconclusive")
    assert [row["class"] for row in one["classes"][0]["classes"]] == list(NAMES)
    assert {row["n"] for row in one["classes"][0]["classes"]} == {4}
    assert one["gallery"]["images"] == "letters-test"
    assert not any("Verdicts" in json.dumps(entry) for entry in document["missing"])
    assert "letters-test" in (tmp_path / "r.html").read_text()


def test_without_images_the_report_says_how_to_get_verdicts(build, monkeypatch, tmp_path):
    monkeypatch.delenv("EDGE_SE_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    document = report([str(build)])
    assert document["builds"][0]["judged_on"] is None
    assert any("Give labelled images of mine with --data" in json.dumps(entry) for entry in document["missing"])


def test_of_many_classes_those_that_tell_most_are_shown():
    rows = [{"class": f"class {place}", "n": 50, "drop_pp": float(place % 7), "ci_pp": [-2.0, 8.0], "broken": place % 7,
             "fixed": 0, "p_holm": 0.01 if place in (3, 990) else 1.0, "significant": place in (3, 990)}
            for place in range(1000)]
    build = {"name": "wide", "worst": "int8.cpu.onnx",
             "classes": [{"file": "int8.cpu.onnx", "label": "int8.cpu", "precision": "int8", "classes": rows}]}
    document = {"confidence": 0.95}
    shown = views.classes(build, document)
    assert len(shown.rows) == views.CLASSES_SHOWN and "40 of 1,000 classes" in shown.title
    assert shown.rows[0][0] == "class 3" and shown.rows[0][1].endswith("*")
    assert "class 990" in [row[0] for row in shown.rows]
    assert len(charts.classes_chart(build["classes"][0], document)["rows"]) == views.CLASSES_SHOWN
    assert {row["drop_pp"] for row in (rows[place] for place in views.telling_classes(build["classes"][0]))} >= {6.0}
    few = build | {"classes": [build["classes"][0] | {"classes": rows[:10]}]}
    assert len(views.classes(few, document).rows) == 10 and views.classes_left_out(few) == ""
