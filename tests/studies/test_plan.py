"""Study files: what they make, what they share, and what is wrong with a bad one."""

from dataclasses import replace
from pathlib import Path

import pytest

from edge_se.core.assets import asset
from edge_se.core.errors import EdgeSeError
from edge_se.nets import zoo
from edge_se.studies.plan import read_plan

SHIPPED = sorted((Path(__file__).parents[2] / "bench" / "studies").glob("*.toml"))
STUDY = '''name = "tiny"
question = "Does SE help?"
models = ["mini", "mini_se"]
recipes = ["short.toml"]
seeds = [0, 1]
baseline = "mini"
'''
RECIPE = '''[[phases]]
epochs = 2
resolution = 16
[[phases]]
epochs = 8
[optimizer]
learning_rate = 0.1
[schedule]
warmup_fraction = 0.25
'''


@pytest.fixture
def write(tmp_path):
    """(replaced text, text instead, file's name) -> a study file beside its recipe."""
    (tmp_path / "short.toml").write_text(RECIPE)
    (tmp_path / "small.toml").write_text(RECIPE.replace("epochs = 8", "epochs = 8\nresolution = 16"))

    def make(old="", new="", more="", name="study.toml"):
        assert old in STUDY
        path = tmp_path / name
        path.write_text(STUDY.replace(old, new) + more if old else STUDY + more)
        return path
    return make


def test_every_model_by_every_seed_with_a_readable_folder(write):
    cells = read_plan(write()).cells
    assert [(cell.model, cell.recipe, cell.seed) for cell in cells] == [
        ("mini", "short", 0), ("mini", "short", 1), ("mini_se", "short", 0), ("mini_se", "short", 1)]
    assert cells[0].folder == f"mini-e10-s0-{cells[0].key[:10]}"
    assert len({cell.key for cell in cells}) == 4 and all(cell.curve_start == 3 for cell in cells)


def test_equal_content_is_an_equal_cell_whatever_it_is_called(write, tmp_path):
    first = read_plan(write()).cells
    (tmp_path / "renamed.toml").write_text("# the same\n" + RECIPE)
    other = read_plan(write('"short.toml"', '"renamed.toml"', name="other.toml")).cells
    assert [cell.key for cell in other] == [cell.key for cell in first]
    assert [cell.folder for cell in other] == [cell.folder for cell in first]
    assert read_plan(write("seeds =", "epochs = 10\nseeds =", name="as-it-is.toml")).cells[0].key == first[0].key
    with pytest.raises(EdgeSeError, match="two of its recipes differ only in their names"):
        read_plan(write('["short.toml"]', '["short.toml", "renamed.toml"]', name="twice.toml"))
    assert read_plan(write("seeds = [0, 1]", "seeds = [1, 0]")).cells[1].key == first[0].key


@pytest.mark.parametrize("change", [("learning_rate = 0.1", "learning_rate = 0.2"), ("epochs = 8", "epochs = 9")])
def test_another_recipe_is_another_cell(change, write, tmp_path):
    path = write()
    before = read_plan(path).cells[0].key
    (tmp_path / "short.toml").write_text(RECIPE.replace(*change))
    assert read_plan(path).cells[0].key != before


def test_other_epochs_another_net_or_other_images_are_another_cell(write, monkeypatch):
    path = write()
    before = read_plan(path).cells[0].key
    assert read_plan(write(more="epochs = 5\n")).cells[0].key != before
    monkeypatch.setitem(zoo.MODELS, "mini", replace(zoo.MODELS["mini"], about="told otherwise"))
    assert read_plan(write()).cells[0].key == before
    monkeypatch.setitem(zoo.MODELS, "mini", replace(zoo.MODELS["mini"], reduction=8))
    assert read_plan(write()).cells[0].key != before


def test_shipped_recipes_and_the_models_own(write):
    assert read_plan(write('"short.toml"', '"kuangliu"')).cells[0].recipe_file == asset("models", "recipes",
                                                                                        "kuangliu.toml")
    plan = read_plan(write('["mini", "mini_se"]\nrecipes = ["short.toml"]', '["mini", "resnet18"]\nrecipes = ["own"]'))
    assert plan.cells[-1].recipe_file == asset("models", "resnet18", "recipe.toml")


BAD = {
    "no study": (None, "no such study"),
    "a misspelled key": (("seeds =", "seads ="), "unknown key 'seads'; did you mean 'seeds'?"),
    "an unknown model": (('["mini",', '["mimi",'),
                         "'models' names 'mimi', which is unknown; did you mean 'mini'? `edge-se models list`"),
    "a model twice": (('["mini", "mini_se"]', '["mini", "mini"]'), "'models' names one twice: mini, mini"),
    "a seed twice": (("[0, 1]", "[1, 1]"), "'seeds' names one twice"),
    "no seeds": (("[0, 1]", "[]"), "'seeds'"),
    "a negative seed": (("[0, 1]", "[0, -1]"), "'seeds.1'"),
    "a baseline that is not trained": (('baseline = "mini"', 'baseline = "mini_post"'),
                                       "'baseline' is 'mini_post', which the study does not train"),
    "an unknown recipe": (('"short.toml"', '"kuanglu"'), "did you mean 'kuangliu'?"),
    "a missing recipe": (('"short.toml"', '"none.toml"'), "none.toml: no such recipe"),
    "a name that is no name": (('"tiny"', '"../tiny"'), "'name'"),
    "no epochs": (("seeds =", "epochs = 0\nseeds ="), "'epochs'"),
    "too few epochs for a volatility": (("seeds =", "epochs = 3\nseeds ="), "leave `volatility` out",
                                        "[evaluations]\nvolatility = true\n"),
    "an unknown evaluation": (("name", "name"), "did you mean 'int8'?", "[evaluations.int4]\ntargets = ['cpu']\n"),
    "an unknown setting of int8": (("name", "name"), "did you mean 'placements'?",
                                   "[evaluations.int8]\nplacement = ['all']\n"),
    "an unknown method": (("name", "name"), "'evaluations.int8.methods' names 'mes', which is unknown",
                          "[evaluations.int8]\nmethods = ['mes']\n"),
    "INT8 of a net trained at another size": (('"short.toml"', '"small.toml"'), "'small.toml' ends at 16 px",
                                              "[evaluations.int8]\n"),
    "an unknown corruption": (("name", "name"), "'evaluations.robustness.corruptions' names 'fog'",
                              "[evaluations.robustness]\ncorruptions = ['fog']\n"),
    "a severity beyond five": (("name", "name"), "'evaluations.robustness.severities.0'",
                               "[evaluations.robustness]\ncorruptions = ['gaussian_noise']\nseverities = [6]\n"),
    "test images to calibrate on": (("name", "name"), "'evaluations.int8.calibration' names 'cifar10-test10k'",
                                    "[evaluations.int8]\ncalibration = ['cifar10-test10k']\n"),
}


@pytest.mark.parametrize("case", BAD.values(), ids=BAD.keys())
def test_a_bad_study_gets_one_message_that_says_what_to_do(case, write, tmp_path):
    change, says, *more = case
    path = tmp_path / "nowhere.toml" if change is None else write(*change, more="".join(more))
    with pytest.raises(EdgeSeError) as refused:
        read_plan(path)
    assert says in str(refused.value)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_study_is_sound(path):
    plan = read_plan(path)
    assert plan.study.name == path.stem and len(plan.study.seeds) >= 3


def test_shipped_studies_share_their_cells():
    own = {path.stem: {cell.key for cell in read_plan(path).cells} for path in SHIPPED}
    assert own["noise"] <= own["placements"] and own["quantization"] <= own["placements"]
    assert own["stems"] & own["placements"]
