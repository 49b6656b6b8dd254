"""`models`: every net with its counts, at once and without torch; cards with weights and without them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from bench.tables import nets
from edge_se.cli import main
from edge_se.core import cards
from edge_se.core.assets import asset
from edge_se.core.errors import ArtifactError, ModelError
from edge_se.core.recipes import read_recipe, shipped_recipes
from edge_se.nets.zoo import BUNDLED, MODELS
from edge_se.steps import models as step
from edge_se.steps.models import NOT_SHIPPED, list_models, show_model

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "schema" / "card-1.json").read_text())
CARDS = sorted(path.parent.name for path in asset("models").glob("*/card.json"))


def test_every_net_is_listed_with_its_counts():
    items = {item["name"]: item for item in list_models()["models"]}
    assert items.keys() == MODELS.keys()
    assert {name for name, item in items.items() if item["weights"]} == set(BUNDLED)
    assert {name for name, item in items.items() if item["card"]} == set(CARDS) >= set(BUNDLED)
    for name, item in items.items():
        for split in ("test", "validation"):
            assert (item[f"{split}_top1"] is None) == (item[f"{split}_n"] is None)
        assert (item["validation_top1"] is None) == (name not in CARDS)
        assert item["test_top1"] is not None or name not in BUNDLED
    slim = items["slim_se"]
    assert (slim["params"], slim["macs"], slim["input"]) == (4_696_362, 233_705_856, "3x32x32")
    large = items["resnet50"]
    assert (large["macs"], large["input"], large["classes"]) == (4_089_184_256, "3x224x224", 1000)


@pytest.mark.parametrize("name", CARDS)
def test_cards_fit_their_schema_and_say_whether_their_weights_are_here(name):
    shown = show_model(name)
    Draft202012Validator(SCHEMA).validate(shown["card"])
    assert (shown["params"], shown["macs"]) == (shown["card"]["params"], shown["card"]["macs"])
    assert shown["card"]["weights"].get("shipped", True) == shown["weights"] == (name in BUNDLED)
    assert (shown["note"] is None) == shown["weights"]


@pytest.fixture
def card_of_mini_pre(tmp_path, monkeypatch):
    """(changes of the card) -> models/mini_pre/card.json, made from a bundled net's, beside the shipped recipes."""
    (tmp_path / "recipes").symlink_to(asset("models", "recipes"))
    for module in (step, cards):
        monkeypatch.setattr(module, "asset", lambda *parts: tmp_path.joinpath(*parts[1:]))

    def make(**changes):
        card = json.loads(asset("models", "se_resnet18", "card.json").read_text())
        card["weights"]["shipped"] = False
        card["test"] |= {"top1": 91.25, "n": 10_000}
        card["validation"] |= {"top1": 92.9, "n": 5_000}
        (tmp_path / "mini_pre").mkdir(exist_ok=True)
        (tmp_path / "mini_pre" / "card.json").write_text(json.dumps(
            {key: value for key, value in (card | {"model": "mini_pre"} | changes).items() if value is not None}))
        return tmp_path / "mini_pre"
    return make


def sha256_as_trained(recipe, epochs, seed):
    return recipe.shortened(epochs).model_copy(update={"seed": seed}).sha256


def test_a_card_without_weights_says_what_trains_them_again(card_of_mini_pre, capsys):
    recipe = read_recipe(shipped_recipes()["kuangliu"])
    card_of_mini_pre(epochs=12, seed=3, recipe={"sha256": sha256_as_trained(recipe, 12, 3), "content": {}})
    shown = show_model("mini_pre")
    assert shown["train_again"] == "edge-se train --model mini_pre --recipe kuangliu --epochs 12 --seed 3"
    assert shown["note"] == f"{NOT_SHIPPED}; train them again with `{shown['train_again']}`"
    assert not shown["weights"] and shown["card"]["test"]["top1"] == 91.25
    item = next(item for item in list_models()["models"] if item["name"] == "mini_pre")
    assert (item["weights"], item["card"], item["test_top1"], item["test_n"]) == (False, True, 91.25, 10_000)
    assert (item["validation_top1"], item["validation_n"]) == (92.9, 5_000)
    line = line_of("mini_pre", capsys)
    assert line.endswith("  91.25") and "  card  " in line
    assert "| card | 91.25 |" in next(line for line in nets.nets_table().splitlines() if "`mini_pre`" in line)


def test_its_own_recipe_comes_first(card_of_mini_pre):
    recipe = read_recipe(shipped_recipes()["kuangliu"])
    folder = card_of_mini_pre(epochs=12, seed=3, recipe={"sha256": sha256_as_trained(recipe, 12, 3), "content": {}})
    (folder / "recipe.toml").write_text(shipped_recipes()["kuangliu"].read_text())
    assert show_model("mini_pre")["train_again"] == "edge-se train --model mini_pre --epochs 12 --seed 3"


def test_a_card_whose_recipe_is_not_shipped_is_its_own_recipe(card_of_mini_pre):
    card_of_mini_pre(recipe={"sha256": "0" * 64, "content": {}})
    shown = show_model("mini_pre")
    assert shown["train_again"] is None and shown["note"] == f"{NOT_SHIPPED}; train them again by the recipe in it"


def test_a_validation_figure_does_not_pass_for_a_test_figure(card_of_mini_pre, capsys):
    card_of_mini_pre(test=None)
    item = next(item for item in list_models()["models"] if item["name"] == "mini_pre")
    assert (item["test_top1"], item["test_n"], item["validation_top1"]) == (None, None, 92.9)
    assert line_of("mini_pre", capsys).endswith(" 92.90 (validation)")
    assert "| card | 92.90 (validation) |" in nets.nets_table()


def test_a_recipe_alone_is_no_card(card_of_mini_pre):
    folder = card_of_mini_pre()
    (folder / "card.json").rename(folder / "recipe.toml")
    item = next(item for item in list_models()["models"] if item["name"] == "mini_pre")
    assert not item["card"] and item["validation_top1"] is None


def test_half_a_card_is_refused(card_of_mini_pre):
    card_of_mini_pre(seed=None)
    with pytest.raises(ArtifactError, match=r"card\.json: does not tell how it was trained \(KeyError\('seed'\)\)"):
        show_model("mini_pre")


def line_of(name, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["models", "list"])
    assert exit_.value.code == 0
    return next(line for line in capsys.readouterr().out.splitlines() if line.startswith(f"{name} ")).rstrip()


def test_a_net_without_weights_is_shown():
    shown = show_model("cmpe_resnet18_folded_imagenet7")
    assert shown["card"] is None and shown["note"] is None and not shown["weights"]
    assert (shown["params"], shown["macs"], shown["macs_at_224"]) == (11_299_282, 37_788_096, 1_814_337_984)
    assert shown["architecture"]["attention"] == "folded"


def test_an_unknown_net_is_refused():
    with pytest.raises(ModelError, match=r"unknown model 'slim_es'; did you mean 'slim_se'\?"):
        show_model("slim_es")


def test_the_list_needs_no_torch():
    code = "import sys; from edge_se.steps.models import list_models; list_models(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0
