"""Whatever is wrong with the files of a cell, one message names the file and the way out."""

import json
from pathlib import Path

import pytest

from edge_se.core.errors import ArtifactError
from edge_se.core.files import sha256_of
from edge_se.studies.finished import evaluation_file, evaluations_of, finished, is_evaluated
from edge_se.studies.plan import Cell, Evaluations
from edge_se.studies.study import _notes

CELL = Cell(model="tiny", recipe="short", recipe_file=Path("short.toml"), epochs=4, seed=0, curve_start=1, key="0" * 64)
ALL = Evaluations(volatility=True, test=True, int8={"images": 10})
FIGURE = {"evaluation": "int8", "measure": "top1", "value": 50.0, "low": 40.0, "high": 60.0, "n": 10,
          "conditions": {"target": "cpu"}}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "weights.safetensors").write_bytes(b"weights")
    score = {"top1": 50.0, "n": 100, "ci95": [40.0, 60.0]}
    (tmp_path / "card.json").write_text(json.dumps({
        "validation": score, "seconds": 1.0, "epochs": 4, "best_epoch": 4,
        "weights": {"sha256": sha256_of(tmp_path / "weights.safetensors")}, "recipe": {"sha256": "1" * 64},
        "params": 10, "macs": 20, "device": "cpu", "commit": None, "hardware": {"cpu": "x"}, "versions": {}}))
    (tmp_path / "log.csv").write_text("epoch,validation_top1\n1,10\n2,30\n3,40\n4,60\n")
    figures = {"int8": FIGURE, "test": FIGURE | {"evaluation": "test", "value": 48.0, "conditions": {}}}
    for kind, settings in evaluations_of(ALL):
        evaluation_file(tmp_path, kind, settings).write_text(json.dumps({
            "weights_sha256": sha256_of(tmp_path / "weights.safetensors"), "figures": [figures[kind]]}))
    return tmp_path


def change(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_whole_cell_gives_its_figures(folder):
    found = finished(CELL, ALL, folder)
    assert [(row["evaluation"], row["value"]) for row in found["figures"]] == [
        ("validation", 50.0), ("volatility", pytest.approx(7.0710678)), ("test", 48.0), ("int8", 50.0)]
    assert found["curve"] == [10.0, 30.0, 40.0, 60.0] and found["weights_sha256"] == sha256_of(
        folder / "weights.safetensors")
    alone = finished(CELL, Evaluations(), folder)
    assert [row["evaluation"] for row in alone["figures"]] == ["validation"]


def test_each_evaluation_names_the_code_that_made_it(folder):
    change(next(folder.glob("int8-*")), commit="a1")
    assert finished(CELL, ALL, folder)["evaluated_by"] == {"test": None, "int8": "a1"}  # older ones noted nothing
    assert finished(CELL, Evaluations(), folder)["evaluated_by"] == {}


@pytest.mark.parametrize(("evaluators", "told"), [
    ([{"test": "a", "int8": "a"}, {"test": "a", "int8": "a"}], []),
    ([{"test": "a", "int8": "b"}, {"test": "a", "int8": "b"}], []),
    ([{"test": "a", "int8": "a"}, {"test": "a", "int8": "b"}, {"test": "a", "int8": "c"}],
     ["INT8 against FP32: the cells were evaluated by 3 states of the code."]),
    ([{"test": "a"}, {"test": None}], ["Test, read once: the cells were evaluated by 2 states of the code."]),
    ([{"test": None}, {"test": None}, {}], [])])
def test_cells_whose_evaluations_are_of_several_states_of_the_code_are_told(evaluators, told):
    cell = {"commit": "a", "hardware": {"cpu": "x"}, "device": "cpu"}
    assert _notes(cell | {"evaluated_by": own} for own in evaluators) == told


def test_a_cell_of_which_a_part_is_missing_is_not_done(folder):
    assert finished(CELL, Evaluations(int8={"images": 11}), folder) is None
    (folder / "card.json").unlink()
    assert finished(CELL, Evaluations(), folder) is None


@pytest.mark.parametrize("told", ["0" * 64, None])
def test_an_evaluation_of_other_weights_is_not_of_this_cell(folder, told):
    path = next(folder.glob("int8-*"))
    change(path, weights_sha256=told)
    assert not is_evaluated(path, sha256_of(folder / "weights.safetensors"))
    assert finished(CELL, ALL, folder) is None
    assert finished(CELL, Evaluations(test=True), folder) is not None


def test_settings_have_a_file_each(folder):
    names = {evaluation_file(folder, kind, settings).name
             for wanted in (ALL, Evaluations(int8={"images": 11}), Evaluations(int8={"images": 10, "latency": True}),
                            Evaluations(robustness={"corruptions": ["shot_noise"]}))
             for kind, settings in evaluations_of(wanted)}
    assert len(names) == 5


DAMAGES = {
    "altered weights": (lambda folder: (folder / "weights.safetensors").write_bytes(b"others"), "differ from those"),
    "a card without a figure": (lambda folder: change(folder / "card.json", validation={"top1": 1.0}),
                                "'validation.n': field required"),
    "a card with a text for a number": (lambda folder: change(folder / "card.json", seconds="1"), "'seconds'"),
    "an interval with one end": (lambda folder: change(
        folder / "card.json", validation={"top1": 1.0, "n": 5, "ci95": [1.0]}), "'validation.ci95'"),
    "half a card": (lambda folder: (folder / "card.json").write_text('{"validation": '), "not readable as JSON"),
    "a log without the column": (lambda folder: (folder / "log.csv").write_text("epoch\n1\n"), "is no log"),
    "a log with words": (lambda folder: (folder / "log.csv").write_text("validation_top1\nhigh\n"), "is no log"),
    "a log of bytes": (lambda folder: (folder / "log.csv").write_bytes(b"\xff\xfe\x00"), "is no log"),
    "a log that is cut": (lambda folder: (folder / "log.csv").write_text("validation_top1\n10\n"), "1 lines for 4"),
    "no log": (lambda folder: (folder / "log.csv").unlink(), "is no log"),
    "figures that are none": (lambda folder: change(next(folder.glob("int8-*")), figures=[{"value": "x"}]), "'0."),
    "no figures": (lambda folder: change(next(folder.glob("int8-*")), figures=None), "int8-"),
    "a commit that is none": (lambda folder: change(next(folder.glob("int8-*")), commit=7), "names 7 as a commit"),
    "a condition from elsewhere": (lambda folder: change(
        next(folder.glob("int8-*")), figures=[FIGURE | {"conditions": {"moon": "full"}}]), "names a condition 'moon'"),
}


@pytest.mark.parametrize("case", DAMAGES.values(), ids=DAMAGES.keys())
def test_damaged_files_get_one_message(case, folder):
    damage, says = case
    damage(folder)
    with pytest.raises(ArtifactError) as refused:
        finished(CELL, ALL, folder)
    assert says in str(refused.value) and str(folder) in str(refused.value)
