"""`sensitivity` judges a build as it was made: its calibration, its method, its size and its preprocessing."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from edge_se.core.errors import EdgeSeError
from edge_se.data.cifar10 import BINARY_FOLDER, CLASSES
from edge_se.data.contents import Contents
from edge_se.data.dataset import Dataset
from edge_se.data.layouts.pixel_archive import write_archive
from edge_se.data.preprocessing import CIFAR10
from edge_se.steps import sensitivity as step
from edge_se.steps.export import export


@pytest.fixture
def asked(monkeypatch):
    """What the units are measured on, instead of measuring them."""
    seen = SimpleNamespace()

    def units(model, statistics, target, images, **options):
        seen.images, seen.statistics, seen.method = images, statistics, options["method"]
        return []
    monkeypatch.setattr(step, "measure_units", units)
    return seen


@pytest.fixture
def built(family_onnx, random_images, tmp_path, monkeypatch):
    """(size, settings) -> the folder of a build of a net of that size, calibrated on its own images."""
    monkeypatch.delenv("EDGE_SE_DATA", raising=False)
    monkeypatch.chdir(tmp_path)

    def make(size, **settings):
        (tmp_path / "net.onnx").write_bytes(family_onnx("se", input_size=size).content)
        write_archive(tmp_path / "own.npz", random_images(16, size=size).pixels)
        export(str(tmp_path / "net.onnx"), int8=True, targets=["cpu"], calibration=str(tmp_path / "own.npz"),
               out=tmp_path / "build", accuracy=False, **settings)
        return str(tmp_path / "build")
    return make


def test_the_method_is_the_builds(built, asked):
    folder = built(32, method="percentile")
    document = step.sensitivity(folder, calibration="own.npz")
    assert (asked.method, document["method"]) == ("percentile", "percentile")
    step.sensitivity(folder, calibration="own.npz", method="entropy")
    assert asked.method == "entropy"


def test_a_target_that_the_build_was_not_made_for_is_calibrated_again(built, asked):
    folder = built(32, effort="quick")
    step.sensitivity(folder, target="openvino", calibration="own.npz", images=7)
    made_for_cpu = asked.statistics
    assert made_for_cpu.logits is None  # those of the build's table
    export("net.onnx", int8=True, targets=["openvino"], calibration="own.npz", out=folder, accuracy=False,
           effort="quick")
    step.sensitivity(folder, target="cpu", calibration="own.npz", images=7)
    assert asked.statistics.logits is not None and asked.statistics.histograms.keys() == made_for_cpu.histograms.keys()


@pytest.mark.parametrize("size", [32, 64])
def test_images_are_of_the_builds_size_and_prepared_as_it_says(built, asked, size):
    folder = built(size)
    document = step.sensitivity(folder, calibration="own.npz", images=7)
    assert asked.images.pixels.shape == (7, 3, size, size) and document["n"] == 7
    assert asked.images.preprocessing.size == (size, size)
    assert (asked.statistics.calibration, asked.statistics.images) == ("own", 16)


def test_other_images_than_its_own_are_not_taken_in_silence(built, asked):
    with pytest.raises(EdgeSeError, match=r"was calibrated on 'own', which is not bundled.*--calibration"):
        step.sensitivity(built(64))


def test_a_net_of_other_classes_is_not_judged_on_cifar10(built, asked, random_images, tmp_path, monkeypatch):
    """Its 10 outputs of 32 pixels mean something else."""
    folder, data = built(32), tmp_path / "data"
    (data / BINARY_FOLDER).mkdir(parents=True)
    monkeypatch.setattr(step, "find_dataset", lambda named, **told: Dataset(
        name="data", path=data, layout="CIFAR-10", classes=CLASSES, splits=("validation",), judging=None,
        contents=Contents(classes=CLASSES, splits={"validation": lambda: random_images(32, "validation")})))
    step.sensitivity(folder)
    assert asked.images.split == "validation" and asked.images.preprocessing.mean == CIFAR10.mean
    read = step.read_build
    monkeypatch.setattr(step, "read_build", lambda folder: replace(read(folder), labels=CLASSES[::-1]))
    with pytest.raises(EdgeSeError, match="--calibration"):
        step.sensitivity(folder)
