"""Recipes: what is shipped parses, what is misspelled is named, and shortening keeps the plan's shape."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_se.core.assets import asset
from edge_se.core.errors import RecipeError
from edge_se.core.recipes import Phase, Recipe, read_recipe
from edge_se.nets.zoo import MODELS

GOOD = """
batch_size = 64
label_smoothing = 0.1
[[phases]]
epochs = 3
resolution = 16
[[phases]]
epochs = 2
[optimizer]
learning_rate = 0.1
[schedule]
decay = "cosine"
[augmentation]
translate = 2
"""


@pytest.fixture
def read(tmp_path):
    def parse(text):
        path = tmp_path / "recipe.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_recipe(path)
    return parse


@pytest.mark.parametrize("name", MODELS)
def test_every_net_ships_a_recipe_that_ends_at_its_own_resolution(name):
    recipe = read_recipe(asset("models", name, "recipe.toml"))
    assert recipe.resolutions[-1] == MODELS[name].input_size
    assert len(recipe.resolutions) == recipe.epochs


def test_values_and_defaults(read):
    recipe = read(GOOD)
    assert (recipe.batch_size, recipe.epochs, recipe.resolutions) == (64, 5, (16, 16, 16, 32, 32))
    assert (recipe.schedule.decay, recipe.augmentation.translate, recipe.optimizer.nesterov) == ("cosine", 2, True)


def test_the_hash_is_of_the_content_not_of_the_text(read):
    assert read(GOOD).sha256 == read("# a comment\n" + GOOD + "flip = \"alternating\"\n").sha256
    assert read(GOOD).sha256 != read(GOOD.replace("0.1", "0.2")).sha256


@pytest.mark.parametrize(("old", "new", "message"), [
    ("label_smoothing", "label_smooting", "unknown key 'label_smooting'; did you mean 'label_smoothing'?"),
    ("decay =", "decai =", "unknown key 'schedule.decai'; did you mean 'decay'?"),
    ("translate", "translat", "unknown key 'augmentation.translat'; did you mean 'translate'?"),
    ("resolution", "resolutions", "unknown key 'phases.0.resolutions'; did you mean 'resolution'?"),
    ("[schedule]", "[scheduler]", "unknown key 'scheduler'; did you mean 'schedule'?"),
    ("batch_size", "zzz", "unknown key 'zzz'; known: amp, augmentation, batch_size"),
])
def test_an_unknown_key_is_answered_with_the_nearest(read, old, new, message):
    with pytest.raises(RecipeError) as error:
        read(GOOD.replace(old, new, 1))
    assert "recipe.toml: " + message in str(error.value)


@pytest.mark.parametrize(("old", "new", "message"), [
    ("learning_rate", "learning_rat", "unknown key 'optimizer.learning_rat'; did you mean 'learning_rate'?"),
    ("epochs = 3", "epoch = 3", "unknown key 'phases.0.epoch'; did you mean 'epochs'?"),
    ("[optimizer]", "[optimiser]", "unknown key 'optimiser'; did you mean 'optimizer'?"),
    ("[[phases]]", "[[phase]]", "unknown key 'phase'; did you mean 'phases'?"),
])
def test_a_misspelled_required_key_is_answered_with_the_nearest_too(read, old, new, message):
    with pytest.raises(RecipeError) as error:
        read(GOOD.replace(old, new))
    assert message in str(error.value)


@pytest.mark.parametrize(("old", "new", "message"), [
    ("batch_size = 64", 'batch_size = "many"', r"'batch_size': .*integer.*, found 'many'"),
    ("batch_size = 64", "batch_size = 1", r"'batch_size': .*greater than 1, found 1"),
    ("batch_size = 64", "batch_size = 64.5", r"'batch_size': .*integer"),
    ("label_smoothing = 0.1", "label_smoothing = 1.0", "'label_smoothing': .*less than 1"),
    ("label_smoothing = 0.1", "label_smoothing = nan", "'label_smoothing'"),
    ("epochs = 3", "epochs = 0", r"'phases\.0\.epochs': .*greater than 0"),
    ("resolution = 16", "resolution = 4", r"'phases\.0\.resolution'"),
    ("learning_rate = 0.1", "", r"'optimizer\.learning_rate': field required$"),
    ("learning_rate = 0.1", "learning_rate = -1", r"'optimizer\.learning_rate'"),
    ('decay = "cosine"', 'decay = "step"', r"'schedule\.decay': .*'linear', 'cosine' or 'constant', found 'step'"),
    ("[augmentation]\ntranslate = 2", "[[augmentation]]", "'augmentation'"),
])
def test_a_wrong_value_is_named_with_what_was_found(read, old, new, message):
    with pytest.raises(RecipeError, match=message):
        read(GOOD.replace(old, new, 1))


@pytest.mark.parametrize(("text", "message"), [
    ("batch_size = ", "not readable as TOML"),
    (b"\xff\xfe", "not readable as TOML"),
    ("", "field required"),
    ("phases = []\n[optimizer]\nlearning_rate = 0.1", "'phases'"),
])
def test_a_broken_file_is_a_recipe_error(read, text, message):
    with pytest.raises(RecipeError, match=rf"recipe\.toml: .*{message}"):
        read(text)


def test_a_missing_recipe(tmp_path):
    with pytest.raises(RecipeError, match=r"no such recipe; .*--recipe"):
        read_recipe(tmp_path / "recipe.toml")


plans = st.lists(st.tuples(st.integers(1, 60), st.sampled_from([8, 16, 24, 32])), min_size=1, max_size=5)


@given(plans, st.integers(1, 200))
def test_shortened_trains_as_many_epochs_as_asked_and_ends_at_the_same_resolution(phases, epochs):
    recipe = Recipe(phases=tuple(Phase(epochs=count, resolution=size) for count, size in phases),
                    optimizer={"learning_rate": 0.1})
    short = recipe.shortened(epochs)
    assert short.epochs == epochs == len(short.resolutions)
    assert short.resolutions[-1] == recipe.resolutions[-1]
    assert Recipe.model_validate(short.model_dump()) == short
    order = iter(phase.resolution for phase in recipe.phases)
    assert all(phase.resolution in order for phase in short.phases)  # a subsequence: nothing is reordered
    assert recipe.shortened(recipe.epochs) == recipe


def test_shortened_keeps_the_proportions():
    recipe = Recipe(phases=({"epochs": 8, "resolution": 16}, {"epochs": 4, "resolution": 24}, {"epochs": 4}),
                    optimizer={"learning_rate": 0.1})
    assert recipe.shortened(4).resolutions == (16, 16, 24, 32)
    assert recipe.shortened(1).resolutions == (32,)
    assert recipe.shortened(18).resolutions == (16,) * 8 + (24,) * 4 + (32,) * 6
