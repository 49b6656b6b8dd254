"""`robustness` on a real build and made-up images: each figure is that of the answers it was made from."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from scipy.stats import norm

from edge_se.core.errors import ArtifactError, DataError, EdgeSeError, ModelError
from edge_se.data.corrupted_images import corrupted
from edge_se.data.corruptions import CORRUPTIONS
from edge_se.device.agent.preprocess import of_document
from edge_se.evaluation.accuracy import logits_of
from edge_se.evaluation.statistics import Paired, drop_interval, wilson_interval
from edge_se.graph.onnx_model import OnnxModel
from edge_se.reporting.report.inputs import Robustness, read_given
from edge_se.steps import robustness as step
from edge_se.steps.robustness import robustness

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "schema" / "robustness-1.json").read_text())
IMAGES = 120


@pytest.fixture(scope="module")
def exported(tiny_build):
    """A build of FP32, FP16 and two INT8 files."""
    return tiny_build("built", targets=["cpu", "tensorrt"], effort="quick", fp16=True).folder


@pytest.fixture
def build(exported, tmp_path):
    """One that a test may alter."""
    return shutil.copytree(exported, tmp_path / "built")


@pytest.fixture
def asked(instead_of_cifar10):
    """Random images in the place of CIFAR-10; the splits that were asked for."""
    return instead_of_cifar10(step, IMAGES)


@pytest.fixture
def answering(monkeypatch):
    """(file, corruption, images) -> classes, in the place of the build's files."""

    def make(answer):
        def logits(model, images, advance, **how):
            found = answer(model.file_name, images.name.partition("+")[2].rpartition("-")[0] or "clean", images)
            return np.eye(10, dtype=np.float32)[found]
        monkeypatch.setattr(step, "logits_of", logits)
    return make


def test_it_fits_its_schema_and_the_report_reads_it(build, asked, tmp_path) -> None:
    Draft202012Validator.check_schema(SCHEMA)
    document = robustness(str(build), images=24, corruptions=["jpeg_compression", "shot_noise"], severities=[3, 1, 3])
    whole = json.loads(json.dumps(document, allow_nan=False))
    Draft202012Validator(SCHEMA).validate(whole)
    (tmp_path / "r.json").write_text(json.dumps(document))
    assert read_given(Robustness, tmp_path / "r.json").n == document["n"] == 24
    assert [item["label"] for item in document["files"]] == ["fp32", "fp16", "int8.cpu", "int8.tensorrt"]
    assert [(one["corruption"], one["severity"], one["strength"]) for one in document["conditions"]] == [
        ("clean", 0, []), ("shot_noise", 1, [500]), ("shot_noise", 3, [100]), ("jpeg_compression", 1, [80]),
        ("jpeg_compression", 3, [58])]
    assert document["strengths"] == {"shot_noise": "photons of a white pixel", "jpeg_compression": "quality"}
    assert document["environment"]["versions"].keys() >= {"numpy", "pillow", "onnxruntime"}
    assert asked == ["test"] and document["split"] == "test" and str(tmp_path) not in json.dumps(document)


def test_figures_are_those_of_the_files_on_the_corrupted_images(build, asked) -> None:
    document = robustness(str(build), split="validation", corruptions=["gaussian_noise"], severities=[5], seed=3)
    manifest = json.loads((build / "manifest.json").read_text())
    pixels = manifest["preprocessing"]
    clean = asked.images("validation").seen_by(of_document(pixels))
    shown = {0: clean, 5: corrupted(clean, "gaussian_noise", 5, seed=3)}
    assert document["dataset_sha256"] == clean.sha256
    for condition in document["conditions"]:
        images = shown[condition["severity"]]
        assert condition["images_sha256"] == images.sha256
        reference = logits_of(OnnxModel.read(build / "fp32.onnx"), images).argmax(1)
        for row, item in zip(condition["files"], document["files"]):
            model = OnnxModel.read(build / row["file"], precision=item["precision"], target=item["target"])
            found = logits_of(model, images).argmax(1)
            right, was = found == clean.labels, reference == clean.labels
            assert row["top1"] == pytest.approx(100 * right.mean())
            assert row["top1_ci"] == pytest.approx([100 * end for end in wilson_interval(int(right.sum()), IMAGES)])
            if item["label"] == "fp32":
                assert row["drop_pp"] is row["ci_pp"] is row["flips"] is None
                continue
            paired = Paired(n=IMAGES, broken=int((was & ~right).sum()), fixed=int((~was & right).sum()))
            assert (row["broken"], row["fixed"], row["flips"]) == (paired.broken, paired.fixed,
                                                                   int((found != reference).sum()))
            assert row["ci_pp"] == pytest.approx([100 * end for end in drop_interval(paired, 0.025)])
    assert asked == ["validation"]


def test_means_take_an_image_as_one_unit(build, asked, answering) -> None:
    def answer(file, corruption, images):
        found = images.labels.astype(int).copy()
        if "int8.cpu" in file:  # 5 of 120 are wrong as they are, 20 under noise, 50 under JPEG
            found[: {"clean": 5, "shot_noise": 20, "jpeg_compression": 50}[corruption]] += 1
        return found % 10

    answering(answer)
    document = robustness(str(build), corruptions=["shot_noise", "jpeg_compression"], severities=[1, 5])
    fp32, fp16, cpu, _ = document["overall"]
    lost = np.repeat([1.0, 0.5, 0.0], [20, 30, 70])
    beyond = lost - np.repeat([1.0, 0.0], [5, 115])
    for key, interval, values in (("drop_pp", "ci_pp", lost), ("excess_pp", "excess_ci_pp", beyond)):
        width = norm.ppf(0.975) * values.std(ddof=1) / IMAGES**0.5
        assert cpu[key] == pytest.approx(100 * values.mean())
        assert cpu[interval] == pytest.approx([100 * (values.mean() - width), 100 * (values.mean() + width)])
    assert cpu["top1"] == pytest.approx(100 - cpu["drop_pp"]) and fp32["top1"] == 100
    assert fp32["drop_pp"] is None and fp16["drop_pp"] == 0 and fp16["ci_pp"] is None, "no image tells: no interval"


@pytest.mark.parametrize(("telling", "has"), [(9, False), (10, True)])
def test_few_images_have_no_normal_interval(build, asked, answering, telling, has) -> None:
    def answer(file, corruption, images):
        wrong = telling if corruption != "clean" and "int8.cpu" in file else 0
        return (images.labels + (np.arange(len(images)) < wrong)) % 10

    answering(answer)
    row = robustness(str(build), corruptions=["impulse_noise"], severities=[2])["overall"][2]
    assert row["drop_pp"] == pytest.approx(100 * telling / IMAGES) and (row["ci_pp"] is not None) == has


def test_by_default_all_corruptions_at_all_severities(build, asked, answering) -> None:
    seen = []

    def answer(file, corruption, images):
        seen.append((file, images.sha256))
        return np.zeros(len(images), int)

    answering(answer)
    document = robustness(str(build), images=2)
    assert len(document["conditions"]) == 26 and len(set(seen)) == 26 * 4
    assert {one["corruption"] for one in document["conditions"]} == {"clean", *CORRUPTIONS}


def test_noise_of_an_image_does_not_depend_on_how_many_are_asked_for(build, asked, answering) -> None:
    kept = {}

    def answer(file, corruption, images):
        kept.setdefault((corruption, len(images)), images.pixels)
        return np.zeros(len(images), int)

    answering(answer)
    for count in (4, 9):
        robustness(str(build), images=count, corruptions=["gaussian_noise"], severities=[4])
    assert (kept["gaussian_noise", 4] == kept["gaussian_noise", 9][:4]).all()


def test_progress_reaches_its_end(build, asked) -> None:
    told = []

    class Heard:
        def task(self, what, total):
            told.append(total)
            return self

        def __enter__(self):
            return lambda units: told.append(-units)

        def __exit__(self, *anything):
            return None

    robustness(str(build), images=5, corruptions=["shot_noise"], severities=[1], progress=Heard())
    assert told[0] == 2 * 4 * 5 and sum(told) == 0


@pytest.mark.parametrize(("settings", "says"), [
    ({"split": "train"}, "--split: 'train' is no split"),
    ({"corruptions": ["shot_nois"]}, "--corruptions: .*did you mean 'shot_noise'"),
    ({"corruptions": []}, "--corruptions: names no corruption"),
    ({"severities": [0, 1]}, "--severities: .*write 1,3,5"),
    ({"severities": []}, "--severities"),
    ({"images": 0}, "--images"),
    ({"seed": -1}, "--seed"),
])
def test_what_cannot_be_done_is_refused_first(settings, says, monkeypatch) -> None:
    monkeypatch.setattr(step, "read_build", lambda folder: pytest.fail("a build was read"))
    with pytest.raises((EdgeSeError, DataError), match=says):
        robustness("nothing", **settings)


def test_a_build_that_does_not_hold_is_refused_before_anything_is_evaluated(build, asked, monkeypatch) -> None:
    monkeypatch.setattr(step, "logits_of", lambda *anything, **how: pytest.fail("evaluated"))
    manifest = json.loads((build / "manifest.json").read_text())
    for changes, says in (({"artifacts": manifest["artifacts"][1:]}, "no FP32 file"),
                          ({"labels": ["a", "b"]}, "no CIFAR-10 classifier"),
                          ({"preprocessing": {"mean": [1]}}, "preprocessing")):
        (build / "manifest.json").write_text(json.dumps(manifest | changes))
        with pytest.raises(ArtifactError, match=says):
            robustness(str(build))
    (build / "manifest.json").write_text(json.dumps(manifest))
    with open(build / "int8.cpu.onnx", "ab") as file:
        file.write(b"x")
    with pytest.raises(ArtifactError, match="SHA-256 differs"):
        robustness(str(build))


def test_a_file_that_answers_with_other_classes_is_refused(build, asked, monkeypatch) -> None:
    monkeypatch.setattr(step, "logits_of", lambda model, images, *_, **how: np.zeros((len(images), 11), np.float32))
    with pytest.raises(ModelError, match="answers with 11 classes, its manifest names 10"):
        robustness(str(build))
