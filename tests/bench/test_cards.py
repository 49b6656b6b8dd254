"""Cards of nets whose weights are not shipped: of a cell trained here, chosen by name, the test set read once."""

import importlib
import json
import shutil
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from edge_se.core.errors import ArtifactError, ModelError
from edge_se.core.progress import SILENT
from edge_se.data import cifar10, splits
from edge_se.nets import zoo
from edge_se.steps.train import train

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "docs" / "schema" / "card-1.json").read_text())
RECIPE = """
batch_size = 32
amp = "off"
[[phases]]
epochs = 1
resolution = 32
[optimizer]
learning_rate = 0.05
"""


@pytest.fixture
def cards(tmp_path, monkeypatch):
    """The script, whose models/ is a folder of this test."""
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    module = importlib.import_module("cards")
    shipped = module.asset
    monkeypatch.setattr(module, "asset", lambda kind, *parts: shipped(kind, *parts) if kind != "models"
                        else tmp_path.joinpath("models", *parts))
    return module


@pytest.fixture
def looks(random_images, tiny_spec, monkeypatch):
    """CIFAR-10 is a few random images, `tiny_se` a net of the zoo; which splits were read."""
    counts, read = {"train": 64, "validation": 40, "test": 60}, []
    monkeypatch.setitem(zoo.MODELS, "tiny_se", tiny_spec("se"))
    monkeypatch.setattr(cifar10, "require", lambda data=None: None)
    monkeypatch.setattr(splits, "load", lambda split, cifar: read.append(split) or random_images(counts[split], split))
    return read


@pytest.fixture
def cell(looks, tmp_path):
    """A cell as a study leaves it."""
    (tmp_path / "recipe.toml").write_text(RECIPE)
    folder = tmp_path / "cells" / "tiny_se-e1-s4-0123456789"
    train("tiny_se", recipe=tmp_path / "recipe.toml", epochs=1, seed=4, device="cpu", out=folder, test=False)
    looks.clear()
    return folder


def test_a_cell_becomes_a_card(cards, cell, looks):
    path = cards.write_card(cards.cell_of("tiny_se", cell.parent, None), None, SILENT)
    assert path.parts[-3:] == ("models", "tiny_se", "card.json") and looks == ["test"]
    made, trained = json.loads(path.read_text()), json.loads((cell / "card.json").read_text())
    Draft202012Validator(SCHEMA).validate(made)
    assert made["weights"] == trained["weights"] | {"shipped": False}
    assert made["test"]["n"] == 60 and 0 <= made["test"]["top1"] <= 100 and made["seed"] == 4
    assert made["splits"]["test"]["name"] == "cifar10-test10k" and len(made["splits"]["test"]["sha256"]) == 64
    assert {key: made[key] for key in trained if key not in ("weights", "splits")} == {
        key: trained[key] for key in trained if key not in ("weights", "splits")}
    assert [entry.name for entry in path.parent.iterdir()] == ["card.json"]
    before = path.read_bytes()
    assert cards.write_card(cell, None, SILENT) == path and path.read_bytes() == before
    assert looks == ["test"]  # not a second time


def test_the_card_of_another_cell_stays(cards, cell, looks):
    path = cards.write_card(cell, None, SILENT)
    content = json.loads(path.read_text())
    content["weights"]["sha256"] = "0" * 64
    path.write_text(json.dumps(content))
    with pytest.raises(ArtifactError, match="is the card of another training, whose test figure is known"):
        cards.write_card(cell, None, SILENT)
    assert looks == ["test"]


def test_the_card_of_a_bundled_net_stays(cards, cell, monkeypatch, looks, tmp_path):
    monkeypatch.setattr(cards, "BUNDLED", ("tiny_se",))
    with pytest.raises(ArtifactError, match="is the card of weights that are shipped; leave this net out"):
        cards.write_card(cell, None, SILENT)
    assert looks == [] and not (tmp_path / "models").exists()


def test_the_cell_is_chosen_by_name_and_seed(cards, tmp_path):
    for name in ("mini_se-e2-s1-0000000000", "mini_se-e2-s10-0000000000", "mini_se-e2-s0-0000000000",
                 "mini_se-e3-s1-1111111111", "mini-e2-s0-0000000000", "mini_se-e2-s0"):
        (tmp_path / name).mkdir()
    assert cards.cell_of("mini_se", tmp_path, None).name == "mini_se-e2-s0-0000000000"
    assert cards.cell_of("mini_se", tmp_path, 10).name == "mini_se-e2-s10-0000000000"
    assert cards.cell_of("mini_se-e3-s1-1111111111", tmp_path, None).name == "mini_se-e3-s1-1111111111"
    with pytest.raises(ArtifactError, match=r"2 cells of 'mini_se' with seed 1; name one of mini_se-e2-s1-0"):
        cards.cell_of("mini_se", tmp_path, 1)
    with pytest.raises(ArtifactError, match=r"0 cells of 'mini' with seed 7; name one of mini-e2"):
        cards.cell_of("mini", tmp_path, 7)
    with pytest.raises(ArtifactError, match="0 cells of 'slim' with seed 0; run a study that trains it"):
        cards.cell_of("slim", tmp_path, None)
    with pytest.raises(ModelError, match="unknown model 'mini_ze'"):
        cards.cell_of("mini_ze", tmp_path, None)


DAMAGE = {
    "no card": (lambda folder: (folder / "card.json").unlink(), r"card\.json: no such file; run its study again"),
    "half a card": (lambda folder: change(folder, weights=None), "is no whole card"),
    "no architecture": (lambda folder: change(folder, architecture=None), "is no whole card"),
    "another seed": (lambda folder: change(folder, seed=5), "than its folder's name"),
    "a net that has changed": (lambda folder: change(folder, architecture={"widths": [16]}), "has changed since"),
    "other weights": (lambda folder: (folder / "weights.safetensors").write_bytes(b"0"), "differ from those"),
}


def change(folder, **changes):
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps(card | changes))


def test_a_cell_that_does_not_hold_is_refused(cards, cell, looks, tmp_path):
    for number, (damage, message) in enumerate(DAMAGE.values()):
        folder = tmp_path / str(number) / cell.name
        shutil.copytree(cell, folder)
        damage(folder)
        with pytest.raises(ArtifactError, match=message):
            cards.write_card(folder, None, SILENT)
    assert looks == [] and not (tmp_path / "models").exists()


def test_the_command(cards, cell, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["cards.py", "tiny_se", "--cells", str(cell.parent)])
    cards.main()
    assert "tiny_se/card.json: test top-1 " in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["cards.py", "tiny_se", "--cells", str(cell.parent), "--seed", "3"])
    with pytest.raises(SystemExit) as exit_:
        cards.main()
    assert exit_.value.code == 2
    assert "holds 0 cells of 'tiny_se' with seed 3" in capsys.readouterr().err
