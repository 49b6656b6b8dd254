"""`train --data` with images of the user's own: classes, size, normalisation, what is judged, and the way to a file."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from jsonschema import Draft202012Validator
from PIL import Image

from edge_se.core.errors import DataError, EdgeSeError, RecipeError, TrainingError
from edge_se.core.progress import SILENT
from edge_se.core.recipes import default_recipe, read_recipe
from edge_se.data.dataset import find_dataset
from edge_se.data.records import Records
from edge_se.data.training_pixels import Decoded, Held, training_pixels
from edge_se.evaluation.settings import Settings
from edge_se.nets.weights import load_weights
from edge_se.steps import train as step
from edge_se.steps.export import export
from edge_se.steps.gate import gate
from edge_se.steps.train_data import training_data
from edge_se.steps.train_watch import Watch
from edge_se.training import loop

RECIPE = """
batch_size = 32
amp = "off"
[[phases]]
epochs = {epochs}
resolution = 32
[optimizer]
learning_rate = 0.1
[augmentation]
translate = 2
flip = "none"
"""
CARD = Draft202012Validator(json.loads(
    (Path(__file__).parents[2] / "docs" / "schema" / "card-1.json").read_text()))


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """scikit-learn's: 1,797 grey images of 8 x 8 as class folders, the last 360 of them to judge on."""
    loaded = pytest.importorskip("sklearn.datasets", reason="scikit-learn is not installed").load_digits()
    root = tmp_path_factory.mktemp("digits")
    for index, (image, label) in enumerate(zip(loaded.images, loaded.target)):
        folder = root / ("test" if index >= 1437 else "train") / f"digit {label}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image * 15.9).astype(np.uint8)).save(folder / f"{index}.png")
    return root


@pytest.fixture
def start(digits, tmp_path, tiny_spec, monkeypatch):
    monkeypatch.setattr(step, "spec_of", lambda name: tiny_spec("se", name=name))
    monkeypatch.setattr("edge_se.graph.source.spec_of", lambda name: tiny_spec("se", name=name))

    def run(epochs=1, data=digits, **options):
        (tmp_path / "recipe.toml").write_text(RECIPE.format(epochs=epochs))
        return step.train("tiny", recipe=tmp_path / "recipe.toml", device="cpu", out=tmp_path / "run", data=data,
                          **options)
    return run


def test_digits_from_folder_to_a_file_that_knows_them(start, tmp_path, digits):
    card = start(epochs=2, input_size=16)
    CARD.validate({key: value for key, value in card.items() if key != "out"})
    assert card["labels"] == [f"digit {number}" for number in range(10)] and card["architecture"]["classes"] == 10
    assert card["test"]["n"] == card["splits"]["test"]["n"] == 360 and card["test"]["top1"] > 60
    assert card["splits"]["train"]["n"] + card["splits"]["validation"]["n"] == 1437
    assert 0.05 < card["splits"]["validation"]["n"] / 1437 < 0.15
    assert card["dataset"] == {"name": digits.name, "layout": "image folder", "classes": 10}
    assert card["input"]["size"] == 16 and card["recipe"]["content"]["phases"][0]["resolution"] == 16
    assert card["input"]["mean"][0] == pytest.approx(0.3, abs=0.05)  # not CIFAR-10's
    build = export("tiny", weights=tmp_path / "run" / "weights.safetensors", int8=True, targets=["cpu"], data=digits,
                   out=tmp_path / "built")
    assert build.labels == tuple(card["labels"]) and build.find("fp32").top1_n == 360
    assert build.find("fp32").top1 == pytest.approx(card["test"]["top1"], abs=0.6)  # two of 360, in another runtime
    verdict = gate(str(tmp_path / "built"), data=digits, max_drop=10, wanted=Settings(min_top1=40.0))
    assert (verdict["overall"], verdict["n"]) == ("pass", 360) and verdict["fp32_top1"] == build.find("fp32").top1
    assert build.preprocessing["size"] == [16, 16] and build.preprocessing["mean"] == card["input"]["mean"]
    assert [item.precision for item in build.artifacts] == ["fp32", "int8"]


def test_the_card_speaks_for_its_own_weights_alone(start, tmp_path):
    start(input_size=16)
    other = tmp_path / "other"
    other.mkdir()
    for name in ("card.json", "weights.safetensors"):
        (other / name).write_bytes((tmp_path / "run" / name).read_bytes())
    with (other / "card.json").open("r+") as file:
        card = json.load(file) | {"preprocessing": {"size": 16}}
        file.seek(0)
        json.dump(card, file)
        file.truncate()
    with pytest.raises(EdgeSeError, match=r"card\.json: holds no readable preprocessing"):
        export("tiny", weights=other / "weights.safetensors", accuracy=False, out=tmp_path / "built")
    card["weights"]["sha256"] = "0" * 64
    (other / "card.json").write_text(json.dumps(card))
    assert export("tiny", weights=other / "weights.safetensors", accuracy=False,
                  out=tmp_path / "built").preprocessing["size"] == [32, 32]


@pytest.mark.parametrize(("shape", "what", "fix"), [
    ({"train/a": 3}, "one class alone", "two classes"),
    ({"train/a": 3, "train/b": 0, "test/b": 1}, "no image of 'b' in the training split", "add images of every class"),
    ({"test/a": 3, "test/b": 3}, "has no training images", "named train"),
])
def test_images_that_nothing_can_be_learned_from(start, tmp_path, shape, what, fix):
    for name, count in shape.items():
        (tmp_path / "data" / name).mkdir(parents=True)
        for index in range(count):
            Image.new("RGB", (8, 8), (index, 0, 0)).save(tmp_path / "data" / name / f"{index}.png")
    with pytest.raises(EdgeSeError) as told:
        start(data=tmp_path / "data")
    assert what in str(told.value) and fix in str(told.value) and not (tmp_path / "run").exists()


@pytest.fixture
def copied(letters, tmp_path):
    """Ten classes with 4 training, 2 validation and 2 test images each, to spoil."""
    return shutil.copytree(letters({"train": 4, "val": 2, "test": 2}, 8, 8), tmp_path / "copied")


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_a_broken_image_of_any_split_is_told_before_the_training(start, copied, tmp_path, split):
    (copied / split / "c" / "0.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=rf"{split}/c/0\.png: cannot be read as an image .*--skip-broken"):
        start(data=copied)
    assert not (tmp_path / "run" / "checkpoint.pt").exists()


def test_a_class_that_is_never_judged_is_told_before_the_training(start, copied, tmp_path):
    shutil.rmtree(copied / "test" / "c")
    with pytest.raises(DataError, match="no image of 'c' in split 'test'"):
        start(data=copied)
    assert not (tmp_path / "run").exists()


def test_broken_images_are_left_out_and_counted_in_the_card(start, copied, monkeypatch):
    looked, whole = [], Records.whole
    monkeypatch.setattr(Records, "whole", lambda records, how: looked.append(len(records)) or whole(records, how))
    for name in ("train/c/0.png", "train/d/0.png", "test/c/0.png"):
        (copied / name).write_bytes(b"no image")
    card = start(data=copied, skip_broken=True)
    CARD.validate({key: value for key, value in card.items() if key != "out"})
    assert {role: (told["n"], told.get("skipped")) for role, told in card["splits"].items()} == {
        "train": (38, 2), "validation": (20, None), "test": (19, 1)}
    assert looked == [40, 20, 20]  # each split once: all of it is decoded


@pytest.mark.parametrize("where", ["val", "test", None])
def test_images_that_are_judged_and_trained_on_are_counted(start, copied, where):
    """By their content: a name says nothing."""
    if where:
        for name in ("a", "b", "c"):
            shutil.copyfile(copied / "train" / name / "1.png", copied / where / name / "another.png")
    notes = []
    card = start(data=copied, progress=SimpleNamespace(task=SILENT.task, note=notes.append))
    CARD.validate({key: value for key, value in card.items() if key != "out"})
    role = {"val": "validation"}.get(where, where)
    assert {name: told["trained_on"] for name, told in card["splits"].items() if "trained_on" in told} == (
        {role: 3} if where else {})
    told = [note for note in notes if "trained on, too" in note]
    assert len(told) == bool(where) and (not where or told[0].startswith(f"copied-{role}: 3 of its 23 images"))


@pytest.mark.parametrize(("split", "what"), [("train", "train"), ("val", "validation")])
def test_a_run_goes_on_with_the_same_images_alone(start, copied, tmp_path, monkeypatch, split, what):
    monkeypatch.setattr(Watch, "step", lambda watch, *place: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        start(data=copied)
    manifest = tmp_path / "run" / "run.json"
    before = manifest.read_bytes()
    Image.new("RGB", (8, 8), (1, 2, 3)).save(copied / split / "a" / "new.png")
    with pytest.raises(TrainingError, match=rf"run\.json: belongs to another run: its {what} images are not these"):
        start(data=copied, resume=True)
    assert manifest.read_bytes() == before
    (copied / split / "a" / "new.png").unlink()
    start(data=copied, resume=True)
    assert len(json.loads(manifest.read_text())["started"]) == 2


@pytest.mark.parametrize("first", [1, 2])
@pytest.mark.parametrize("layout", ["npz", "csv"])
def test_classes_that_are_not_numbered_from_0_are_told(start, tmp_path, layout, first):
    labels = np.arange(40) % 3 + first
    path = tmp_path / f"mine.{layout}"
    if layout == "npz":
        np.savez(path, pixels=np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8), labels=labels)
    else:
        for number in range(40):
            Image.new("L", (8, 8), number).save(tmp_path / f"{number}.png")
        path.write_text("\n".join(["path,label", *(f"{number}.png,{label}" for number, label in enumerate(labels))]))
    with pytest.raises(DataError, match=rf"mine\.{layout}: its classes are numbered from {first}; number them from 0"):
        start(data=path)


@pytest.mark.parametrize("size", [7, 0, 225, -32])
def test_sizes_that_no_net_is_trained_at(start, size):
    with pytest.raises(RecipeError, match=r"--input-size: no net is trained at .*give 8 to 224"):
        start(input_size=size)


def test_cifar10_has_its_own_sizes(start):
    with pytest.raises(EdgeSeError, match="--input-size: CIFAR-10 is trained at the sizes that the recipe says"):
        start(data=None, input_size=64)


@pytest.mark.parametrize(("size", "resolutions", "translate"), [(32, [24, 32, 32], 4), (64, [48, 64, 64], 8),
                                                                 (224, [168, 224, 224], 16), (8, [8, 8, 8], 1)])
def test_a_recipe_grows_with_the_images(tmp_path, size, resolutions, translate):
    path = tmp_path / "recipe.toml"
    path.write_text("batch_size = 4\n[[phases]]\nepochs = 1\nresolution = 24\n[[phases]]\nepochs = 2\nresolution = 32\n"
                    "[optimizer]\nlearning_rate = 0.1\n")
    recipe = read_recipe(path).sized(size)
    assert list(recipe.resolutions) == resolutions and recipe.augmentation.translate == translate
    assert (recipe == read_recipe(path)) == (size == 32)


def test_decoding_for_each_batch_trains_the_same_net(start, tmp_path, monkeypatch):
    start(input_size=8)
    held = (tmp_path / "run" / "weights.safetensors").read_bytes()
    for path in (tmp_path / "run").iterdir():
        path.unlink()
    monkeypatch.setattr("edge_se.data.training_pixels.HELD", 0)
    seen = []
    monkeypatch.setattr(loop, "training_pixels", lambda *told: seen.append(training_pixels(*told)) or seen[0])
    start(input_size=8)
    assert isinstance(seen[0], Decoded) and (tmp_path / "run" / "weights.safetensors").read_bytes() == held


def test_pixels_are_the_same_whether_held_or_decoded(digits, tiny_spec, tmp_path, monkeypatch):
    (tmp_path / "recipe.toml").write_text(RECIPE.format(epochs=1))
    recipe = read_recipe(tmp_path / "recipe.toml")
    images = training_data(tiny_spec("se"), recipe, find_dataset(digits), 12).images.first(100)
    held = training_pixels(images, torch.device("cpu"))
    monkeypatch.setattr("edge_se.data.training_pixels.HELD", 0)
    decoded = training_pixels(images, torch.device("cpu"))
    assert isinstance(held, Held) and isinstance(decoded, Decoded) and len(held) == len(decoded) == 100
    for order in ([5, 99, 0], [7], [7, 7, 8]):
        indices = torch.tensor(order)
        decoded.expect(indices if order[0] == 5 else torch.tensor([1, 2]))  # what was expected, and something else
        assert torch.equal(held.of(indices), decoded.of(indices)) and held.of(indices).shape[1:] == (12, 12, 3)


def test_weights_of_a_run_fit_its_net(start, tmp_path, tiny_spec):
    from dataclasses import replace

    from edge_se.nets.zoo import build

    card = start(input_size=16)
    load_weights(build(replace(tiny_spec("se"), classes=card["architecture"]["classes"])),
                 tmp_path / "run" / "weights.safetensors")


def test_a_net_s_own_recipe_is_for_cifar10_alone(start, digits, tmp_path, monkeypatch):
    """Of a GPU's 512 images a step, say, a few hundred images make none."""
    asked = []

    def stop(spec, recipe, dataset, *rest, **options):
        asked.append((recipe.sha256, dataset is not None and not dataset.cifar))
        raise TrainingError("enough", where="test", fix="none")
    monkeypatch.setattr(step, "training_data", stop)
    own = tmp_path / "own.toml"
    own.write_text(RECIPE.format(epochs=7))
    monkeypatch.setattr(step, "recipe_of", lambda name: own)
    monkeypatch.delenv("EDGE_SE_DATA", raising=False)
    for data in (digits, None):
        with pytest.raises(TrainingError, match="enough"):
            step.train("tiny", device="cpu", out=tmp_path / "run", data=data)
    assert asked == [(read_recipe(default_recipe()).sha256, True), (read_recipe(own).sha256, False)]
