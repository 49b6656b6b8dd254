"""Recipes: what is shipped parses, what is misspelled is named, and shortening keeps the plan's shape."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_se.core.assets import asset
from edge_se.core.errors import RecipeError
from edge_se.core.recipes import DEFAULT, Part, Phase, Recipe, find_recipe, read_recipe, recipe_of, shipped_recipes
from edge_se.nets.zoo import MODELS

PROGRESSIVE = Path(__file__).parents[2] / "bench" / "recipes" / "progressive18.toml"
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


@pytest.mark.parametrize("name", [name for name, spec in MODELS.items() if spec.classes == 10])
def test_every_net_for_cifar10_has_a_recipe_that_ends_at_its_own_resolution(name):
    recipe = read_recipe(recipe_of(name))
    assert recipe.resolutions[-1] == MODELS[name].input_size
    assert len(recipe.resolutions) == recipe.epochs


def test_the_own_recipe_of_a_net_comes_before_the_default():
    assert recipe_of("resnet18") == asset("models", "resnet18", "recipe.toml")
    assert recipe_of("net of nobody") == shipped_recipes()[DEFAULT]


def test_the_published_recipes_and_the_own_ones_are_shipped():
    assert set(shipped_recipes()) == {"dai4", "dai4-low", "dai5", "dai5-low", "slim", "cmpe", "kuangliu", "fast-cpu",
                                      "fast-gpu", "best", "best-cpu"}


@pytest.mark.parametrize("name", shipped_recipes())
def test_a_shipped_recipe_parses_and_says_what_it_is_of(name):
    recipe = read_recipe(find_recipe(name))
    assert len(recipe.resolutions) == recipe.epochs
    assert find_recipe(name).read_text().startswith("# ")


def test_published_figures_arrive():
    """Those of the specification's table of recipes."""
    shipped = {name: read_recipe(path) for name, path in shipped_recipes().items()}
    table = {name: (recipe.optimizer.learning_rate, recipe.schedule.decay, recipe.optimizer.weight_decay,
                    recipe.epochs, recipe.batch_size, recipe.resolutions[-1]) for name, recipe in shipped.items()}
    assert table["dai4"] == (0.1, "constant", 5e-4, 200, 128, 32)
    assert table["dai4-low"] == (0.001, "constant", 5e-4, 200, 128, 32)
    assert table["dai5"] == (0.1, "constant", 5e-4, 100, 128, 224)
    assert table["dai5-low"] == (0.001, "constant", 5e-4, 100, 128, 224)
    assert table["slim"] == (0.02, "cosine", 1e-4, 300, 64, 32)
    assert table["kuangliu"] == table["cmpe"] == (0.1, "cosine", 5e-4, 200, 128, 32)
    assert shipped["slim"].label_smoothing == 0 and shipped["slim"].augmentation.policy == "autoaugment"
    assert shipped["cmpe"].augmentation.mixup == 1 and shipped["kuangliu"].augmentation.mixup == 0
    assert shipped["cmpe"].model_copy(update={"augmentation": shipped["kuangliu"].augmentation}) == shipped["kuangliu"]
    for name in ("dai4", "dai4-low", "dai5", "dai5-low", "slim", "cmpe", "kuangliu"):
        assert shipped[name].optimizer.decay_norm_and_bias and not shipped[name].optimizer.nesterov


def test_a_recipe_by_name_or_file(tmp_path, monkeypatch):
    (tmp_path / "slim").write_text(GOOD)
    (tmp_path / "own.toml").write_text(GOOD)
    monkeypatch.chdir(tmp_path)
    assert read_recipe(find_recipe("own.toml")).epochs == read_recipe(find_recipe("./slim")).epochs == 5
    assert find_recipe("slim") == shipped_recipes()["slim"]
    for wanted, advice in (("fastcpu", "did you mean 'fast-cpu'"), ("kuangliu.toml", "did you mean 'kuangliu'"),
                           ("zzz", "known: best, best-cpu, cmpe"), (".", "known: best, best-cpu, cmpe")):
        with pytest.raises(RecipeError, match=f"no such recipe; give a TOML file with --recipe.*{advice}"):
            find_recipe(wanted)


def test_values_and_defaults(read):
    recipe = read(GOOD)
    assert (recipe.batch_size, recipe.epochs, recipe.resolutions) == (64, 5, (16, 16, 16, 32, 32))
    assert (recipe.schedule.decay, recipe.augmentation.translate, recipe.optimizer.nesterov) == ("cosine", 2, True)


def test_the_hash_is_of_the_content_not_of_the_text(read):
    assert read(GOOD).sha256 == read("# a comment\n" + GOOD + "flip = \"alternating\"\n").sha256
    assert read(GOOD).sha256 != read(GOOD.replace("0.1", "0.2")).sha256


@pytest.mark.parametrize("change", [lambda text: "\ufeff" + text, lambda text: text.replace("\n", "\r\n"),
                                    lambda text: "\ufeff" + text.replace("\n", "\r\n")])
def test_a_file_as_windows_writes_it_is_the_same_recipe(read, change):
    assert read(change(GOOD)) == read(GOOD)


def test_a_recipe_of_the_first_version_keeps_its_hash():
    """The hash is over the content as it was before there were newer keys; cards of the first nets had this one."""
    assert read_recipe(PROGRESSIVE).sha256 == "3c286bea5521bd33139c83ad1d349944f4ba96c9aeb2d6bdc92f9be416d4013f"


def test_compile_auto_changes_no_hash_of_those_that_compile_or_not():
    """The first two are from when `compile` was true or false."""
    hashes = [Recipe(phases=({"epochs": 1},), optimizer={"learning_rate": 0.1}, compile=choice).sha256
              for choice in (False, True, "auto")]
    assert hashes[:2] == ["aac12bd195166b87387f0dd2d750357d8be2713ec45bf4dd840b15f3dad6ca8a",
                          "3b71cf2184c182b163debb2e59c872be04feff7f26b987838d3592e54ee44768"]
    assert hashes[2] not in hashes[:2]


def newer_fields():
    def fields(table, place):
        for name, field in table.model_fields.items():
            if isinstance(field.annotation, type) and issubclass(field.annotation, Part):
                yield from fields(field.annotation, (*place, name))
            elif name not in table.ALWAYS_HASHED:
                yield (*place, name)
    return list(fields(Recipe, ()))


CHANGED = {"name": "adamw", "milestones": [0.3], "padding": "zero", "policy": "randaugment", "operations": 3,
           "muon": {"learning_rate": 0.02},
           "magnitude": 5, "tta": "flip", "channels_last": False, "compile": True}


@pytest.mark.parametrize("place", newer_fields(), ids=".".join)
def test_a_newer_key_counts_for_the_hash_only_where_it_changes_something(place):
    base = {"phases": [{"epochs": 1}], "optimizer": {"learning_rate": 0.1}, "schedule": {}, "augmentation": {}}
    plain = Recipe.model_validate(base)
    default = plain
    for part in place:
        default = getattr(default, part)
    hashes = []
    for value in (default, CHANGED.get(place[-1], 0.25)):
        document = json.loads(json.dumps(base))
        table = document
        for part in place[:-1]:
            table = table[part]
        table[place[-1]] = value
        hashes.append(Recipe.model_validate(document).sha256)
    assert hashes[0] == plain.sha256 != hashes[1]


@pytest.mark.parametrize(("switch", "message"), [
    ("compile = 1", "'compile': input should be True, False or 'auto', found '1'"),
    ("compile = 0.0", "'compile': input should be True, False or 'auto', found '0.0'"),
    ("channels_last = 0", "'channels_last': input should be a valid boolean, found 0"),
    ('channels_last = "off"', "'channels_last': input should be a valid boolean, found 'off'")])
def test_a_switch_is_true_or_false_and_nothing_like_it(read, switch, message):
    with pytest.raises(RecipeError, match=message):
        read(f"{switch}\n{GOOD}")


def test_muon_takes_no_scaled_gradients(read):
    muon = GOOD.replace("[schedule]", "[optimizer.muon]\nlearning_rate = 0.02\n[schedule]")
    assert read('amp = "bf16"' + muon).optimizer.muon.momentum == 0.95
    with pytest.raises(RecipeError, match="muon takes no scaled gradients"):
        read('amp = "fp16"' + muon)


@pytest.mark.parametrize(("old", "new", "message"), [
    ("label_smoothing", "label_smooting", "unknown key 'label_smooting'; did you mean 'label_smoothing'?"),
    ("decay =", "decai =", "unknown key 'schedule.decai'; did you mean 'decay'?"),
    ("translate", "translat", "unknown key 'augmentation.translat'; did you mean 'translate'?"),
    ("resolution", "resolutions", "unknown key 'phases.0.resolutions'; did you mean 'resolution'?"),
    ("[schedule]", "[optimizer.muon]\nlearning_rates = 0.1\n[schedule]",
     "unknown key 'optimizer.muon.learning_rates'; did you mean 'learning_rate'?"),
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
    ("learning_rate = 0.1", "", r"'optimizer\.learning_rate' is missing; add it$"),
    ("learning_rate = 0.1", "learning_rate = -1", r"'optimizer\.learning_rate'"),
    ('decay = "cosine"', 'decay = "steps"', r"'schedule\.decay': .*'cosine', 'constant' or 'step', found 'steps'"),
    ("[augmentation]\ntranslate = 2", "[[augmentation]]", "'augmentation'"),
    ('decay = "cosine"', "milestones = [0.5, 0.5]", r"'schedule\.milestones': .*milestones must rise"),
    ('decay = "cosine"', "milestones = [0.5, 1.5]", r"'schedule\.milestones\.1': .*less than 1"),
    ("translate = 2", 'policy = "augmix"', r"'augmentation\.policy': .*'randaugment' or 'autoaugment'"),
    ("translate = 2", "erasing = 1.5", r"'augmentation\.erasing': .*less than or equal to 1"),
    ("batch_size = 64", "ema = 1.0", "'ema': .*less than 1"),
    ("batch_size = 64", 'compile = "Auto"', "'compile': .*True, False or 'auto', found 'Auto'"),
])
def test_a_wrong_value_is_named_with_what_was_found(read, old, new, message):
    with pytest.raises(RecipeError, match=message):
        read(GOOD.replace(old, new, 1))


@pytest.mark.parametrize(("text", "message"), [
    ("batch_size = ", "not readable as TOML"),
    (b"\xff\xfe", "not readable as TOML"),
    ("", "'phases' is missing; add it, a table with epochs$"),
    ("[[phases]]\nepochs = 2", "'optimizer' is missing; add it, a table with learning_rate$"),
    ("phases = [{resolution = 16}]\n[optimizer]\nlearning_rate = 0.1", r"'phases\.0\.epochs' is missing; add it$"),
    ("phases = []\n[optimizer]\nlearning_rate = 0.1", "'phases'"),
])
def test_a_broken_file_is_a_recipe_error(read, text, message):
    with pytest.raises(RecipeError, match=rf"recipe\.toml: .*{message}"):
        read(text)


def test_a_missing_recipe(tmp_path):
    with pytest.raises(RecipeError, match=r"no such recipe; .*--recipe"):
        read_recipe(tmp_path / "recipe.toml")


@pytest.mark.parametrize("seed", [-1, 2**63, 10**30])
def test_a_seed_that_torch_does_not_take(read, seed):
    recipe = read(GOOD)
    assert recipe.seeded(2**63 - 1).seed == 2**63 - 1 and recipe.seeded(5) == recipe.model_copy(update={"seed": 5})
    with pytest.raises(RecipeError, match=f"--seed: {seed} is no seed; give 0 to 9,223,372,036,854,775,807"):
        recipe.seeded(seed)
    with pytest.raises(RecipeError, match=r"'seed': .*than or equal to"):
        read(f"seed = {seed}\n" + GOOD)


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


def test_the_recipe_of_the_guide_is_one(read):
    guide = (Path(__file__).parents[2] / "docs" / "training.md").read_text()
    recipe = read(guide.partition("```toml\n# few.toml")[2].partition("```")[0].partition("\n")[2])
    assert recipe.optimizer.learning_rate == pytest.approx(0.1 * recipe.batch_size / 128)
