"""Runs in turns, recipe_trials and time_to_accuracy on a tiny net: each goes on where it was stopped."""

import json

import pytest

from bench import recipe_trials, time_to_accuracy, training_runs
from bench.tables import measured, readme
from edge_se.core.recipes import Recipe, read_recipe


@pytest.fixture
def tiny(monkeypatch, random_images, tiny_spec):
    """Both scripts train a tiny net on a few images."""
    for script in (recipe_trials, time_to_accuracy):
        monkeypatch.setattr(script.cifar10, "require", lambda: None)
        monkeypatch.setattr(script.splits, "load", lambda split, cifar: random_images(40, split))
        monkeypatch.setattr(script, "spec_of", lambda name: tiny_spec("none"))


def recipe(epochs=2, **changes):
    return Recipe(**({"batch_size": 10, "amp": "off", "phases": [{"epochs": epochs, "resolution": 8}],
                      "optimizer": {"learning_rate": 0.05}} | changes))


def toml(path, epochs, resolution=8):
    path.write_text(f"batch_size = 10\namp = 'off'\n[[phases]]\nepochs = {epochs}\nresolution = {resolution}\n"
                    "[optimizer]\nlearning_rate = 0.05\n")
    return str(path)


def test_a_run_in_turns_ends_as_one_at_a_stretch(tmp_path, random_images, tiny_spec):
    images, validation = random_images(40, "train"), random_images(20, "validation")

    def go(name, seconds):
        return training_runs.advance(tiny_spec("none"), recipe(), images, validation, tmp_path / name, seconds)
    whole = go("whole", 1e9)
    turns = [go("turns", 0)]
    while turns[-1] is None:  # a step each
        turns.append(go("turns", 0))
    assert len(turns) == 9  # the last one ends the epoch of the eighth step
    curves = [[epoch["validation_top1"] for epoch in run["epochs"]] for run in (whole, turns[-1])]
    assert curves[0] == curves[1] and len(curves[0]) == 2 and whole["top1"] == max(curves[0])
    spent = [epoch["processor_seconds"] for epoch in turns[-1]["epochs"]]
    assert 0 < spent[0] < spent[1]
    assert go("turns", 0) == turns[-1]  # it has ended, and is not trained again
    assert training_runs.ended(tmp_path / "turns", recipe(), images) == turns[-1]
    assert training_runs.ended(tmp_path / "turns", recipe(3), images) is None
    assert training_runs.ended(tmp_path / "turns", recipe(), random_images(30, "train")) is None


def test_a_real_interrupt_is_not_taken_for_the_end_of_a_turn(tmp_path, random_images, tiny_spec, monkeypatch):
    def stop(self, *_):
        raise KeyboardInterrupt
    monkeypatch.setattr(training_runs.Turn, "step", stop)
    with pytest.raises(KeyboardInterrupt):
        training_runs.advance(tiny_spec("none"), recipe(), random_images(40, "train"), random_images(20, "validation"),
                              tmp_path, 1e9)
    assert json.loads((tmp_path / training_runs.PROCESSOR).read_text())["seconds"] > 0


@pytest.mark.parametrize("base", recipe_trials.BASES)
def test_each_trial_is_the_base_with_one_change_but_for_two_of_them(base):
    several = {"base": 0, "Muon, 0.1, shifts, lookahead": 2, "proxy filtering": 3}  # it also needs twice the batch
    whole = recipe_trials.recipe_of(base, "base", 0).model_dump()
    trials = recipe_trials.TRIALS[base]
    recipes = {name: recipe_trials.recipe_of(base, name, 0) for name in trials}
    assert len({(recipes[name].sha256, trial.change) for name, trial in trials.items()}) == len(trials)
    for name, own in recipes.items():
        changed = [key for key, value in own.model_dump().items() if value != whole[key]]
        assert len(changed) + (trials[name].change is not None) == several.get(name, 1), name


def test_trials_that_have_ended_are_kept_and_the_others_go_on(tiny, tmp_path, monkeypatch, capsys):
    small = {"batch_size": 10, "phases": [{"epochs": 1, "resolution": 8}], "amp": "off"}
    monkeypatch.setitem(recipe_trials.BASES, "sgd", recipe_trials.SGD | small)
    out = tmp_path / "recipe_trials.json"
    common = ["--seeds", "0", "--folder", str(tmp_path / "runs"), "--out", str(out), "--trials", "base", "EMA 0.98"]
    recipe_trials.main(["--seconds", "0", *common])
    assert json.loads(out.read_text())["runs"] == []
    recipe_trials.main(common)
    runs = json.loads(out.read_text())["runs"]
    assert [(run["trial"], run["seed"], run["recipe"]["ema"]) for run in runs] == [
        ("base", 0, 0), ("EMA 0.98", 0, 0.98)]
    monkeypatch.setattr(measured, "RESULTS", tmp_path)
    base, average = (run["top1"] for run in runs)
    rows = readme.FIGURES["recipe-trials"]().splitlines()[2:4]
    assert rows[0].startswith(f"| base | {base:.2f} |  | 1 |")
    assert rows[1].startswith(f"| EMA 0.98 | {average:.2f} | {average - base:+.2f} | 1 |")
    capsys.readouterr()
    recipe_trials.main(common)
    assert capsys.readouterr().out.splitlines()[0].startswith("2 of 2 runs have ended")


def test_both_recipes_run_in_turns_and_the_verdict_is_written_at_the_end(tiny, tmp_path, capsys):
    out = tmp_path / "verdict.json"
    call = ["--old", toml(tmp_path / "older.toml", 2), "--new", toml(tmp_path / "newer.toml", 5), "--new-epochs", "3",
            "--seeds", "0", "1", "--folder", str(tmp_path / "runs"), "--out", str(out)]
    time_to_accuracy.main([*call, "--seconds", "0"])
    assert "4 of 4 runs have not ended" in capsys.readouterr().out and not out.exists()
    time_to_accuracy.main([*call, "--turn", "0"])
    turns = [line for line in capsys.readouterr().out.splitlines() if "seed" in line]
    assert turns[:4] == ["old, seed 0", "new, seed 0", "old, seed 1", "new, seed 1"] == turns[4:8]
    document = json.loads(out.read_text())
    assert {side: told["epochs"] for side, told in document["recipes"].items()} == {"old": 2, "new": 3}
    assert [(run["side"], run["seed"], len(run["epochs"])) for run in document["runs"]] == [
        ("old", 0, 2), ("new", 0, 3), ("old", 1, 2), ("new", 1, 3)]
    assert document["target"] == sum(document["top1"]["old"]) / 2
    assert document["seconds"]["old"] == [run["epochs"][-1]["seconds"] for run in document["runs"][::2]]


def curve(*points):
    return [{"resolution": size, "validation_top1": top1, "seconds": 10.0 * number, "processor_seconds": 9.0 * number}
            for number, (size, top1) in enumerate(points, 1)]


def test_the_target_is_reached_at_the_last_resolution_alone():
    epochs = curve((24, 95.0), (32, 89.0), (32, 92.0), (32, 91.0))
    assert time_to_accuracy.reached(epochs, 92.0, "seconds") == 30.0
    assert time_to_accuracy.reached(epochs, 92.1, "seconds") is None


def test_the_ratio_is_of_medians_and_is_missing_where_one_does_not_get_there():
    def run(top1, *points):
        return {"top1": top1, "epochs": curve(*points)}
    old = [run(top1, (32, top1), (32, top1), (32, 1.0), (32, 1.0)) for top1 in (92.0, 92.2, 92.4)]
    new = [run(93.0, (32, 92.2)), run(93.0, (32, 90.0), (32, 93.0)), run(93.0, (32, 93.0))]
    found = time_to_accuracy.verdict({"old": old, "new": new})
    assert found["target"] == pytest.approx(92.2)
    assert found["seconds"] == {"old": [40.0] * 3, "new": [10.0, 20.0, 10.0], "ratio": 0.25}
    assert found["processor_seconds"]["ratio"] == pytest.approx(0.25)
    assert time_to_accuracy.verdict({"old": old, "new": [*new, run(90.0, (32, 90.0))]})["seconds"]["ratio"] is None


def test_the_older_recipe_is_that_of_the_first_bundled_weights():
    """The one that their cards named: it stays comparable now that the nets have another."""
    assert read_recipe(time_to_accuracy.OLD).sha256[:16] == "3c286bea5521bd33"
