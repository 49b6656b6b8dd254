"""The `train` step on few images: what lies in the folder, what the card and run.json say, what is refused."""

import csv
import functools
import json
import re
import signal
from pathlib import Path

import pytest
import torch
from jsonschema import Draft202012Validator
from safetensors.torch import load_file

from edge_se.core import environment
from edge_se.core.errors import ArtifactError, RecipeError, TrainingError, UnavailableError
from edge_se.core.files import sha256_of
from edge_se.core.progress import SILENT
from edge_se.core.recipes import Recipe
from edge_se.data import cifar10, splits
from edge_se.nets.arithmetic import size_of
from edge_se.steps import train as step
from edge_se.steps.train_data import training_data
from edge_se.steps.train_watch import Watch
from edge_se.training import compiling

RECIPE = """
batch_size = 32
amp = "off"
{top}
[[phases]]
epochs = 2
resolution = {resolution}
[optimizer]
learning_rate = 0.05
"""
SCHEMAS = Path(__file__).parents[2] / "docs" / "schema"
RUN = Draft202012Validator(json.loads((SCHEMAS / "run-1.json").read_text()))


@pytest.fixture
def few(random_images, tiny_spec, monkeypatch):
    """CIFAR-10 is a few random images, and every net a tiny one."""
    counts = {"train": 130, "validation": 40, "test": 60}
    monkeypatch.setattr(cifar10, "require", lambda data=None: None)
    monkeypatch.setattr(splits, "load", lambda split, cifar: random_images(counts[split], split))
    monkeypatch.setattr(step, "spec_of", lambda name: tiny_spec("se", name=name))


@pytest.fixture
def train(few, tmp_path):
    def start(out="out", *, top="", resolution=32, **options):
        (tmp_path / "recipe.toml").write_text(RECIPE.format(top=top, resolution=resolution))
        return step.train("resnet18", recipe=tmp_path / "recipe.toml", device="cpu", out=tmp_path / out, **options)
    return start


class Notes:
    def __init__(self):
        self.said = []

    def task(self, what, total):
        return SILENT.task(what, total)

    def note(self, message):
        self.said.append(message)


def test_a_card_counts_the_net_as_models_list_does(train, tiny_spec, monkeypatch):
    """Not as the graph is after the view of a competitive SE was folded, which is what `export` counts."""
    spec = tiny_spec("pair2x1")
    monkeypatch.setattr(step, "spec_of", lambda name: spec)
    card, size = train(), size_of(spec)
    assert (card["params"], card["macs"]) == (size.params, size.macs)


def test_the_folder_of_a_run(train, tmp_path):
    notes = Notes()
    card = train(progress=notes)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["card.json", "checkpoint.pt", "log.csv",
                                                                         "run.json", "weights.safetensors"]
    Draft202012Validator(json.loads((SCHEMAS / "card-1.json").read_text())).validate(card)
    assert card["weights"]["sha256"] == sha256_of(tmp_path / "out" / "weights.safetensors")
    assert (card["validation"]["n"], card["test"]["n"], card["input"]["size"], card["amp"]) == (40, 60, 32, "off")
    assert card["compiled"] is False
    assert "tta" not in card
    with open(tmp_path / "out" / "log.csv", newline="") as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2"]
    assert [note.split()[1] for note in notes.said] == ["1/2", "2/2"]
    assert "min left" in notes.said[0] and "min left" not in notes.said[1]


def test_the_manifest_says_what_the_run_is_made_of(train, tmp_path):
    card, run = train(), json.loads((tmp_path / "out" / "run.json").read_text())
    assert run["schema"] == "edge-se/run/1" and run["recipe"]["name"] == "recipe.toml"
    same = ("model", "seed", "epochs", "hardware", "versions", "commit", "amp", "compiled")
    assert {name: run[name] for name in same} == {name: card[name] for name in same}
    assert run["recipe"]["sha256"] == card["recipe"]["sha256"]
    assert run["data"] == {name: card["splits"][name] for name in ("train", "validation")}
    assert run["processes"] == 1 and len(run["started"]) == 1 and run["finished"] >= run["started"][0]
    assert str(tmp_path) not in json.dumps(run)
    assert not list(RUN.iter_errors(run))


def test_the_manifest_of_a_run_that_goes_on_fits_its_schema_too(train, tmp_path, monkeypatch):
    monkeypatch.setattr(Watch, "epoch", lambda watch, row: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        train()
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert run["finished"] is None and not list(RUN.iter_errors(run))
    for damage in ({"started": []}, {"finished": "now"}, {"amp": "fast"}, {"compiled": "yes"},
                   {"data": {"train": run["data"]["train"]}}, {"recipe": {"name": "x"}}):
        assert list(RUN.iter_errors(run | damage))


def test_a_run_that_goes_on_with_other_arithmetic_says_so(train, tmp_path, monkeypatch):
    monkeypatch.setattr(compiling.torch, "compile", functools.partial(torch.compile, backend="eager"))
    said, run = {}, {}
    for choice, lacking in (("first", None), ("same", None), ("other", "a C++ compiler")):
        monkeypatch.setattr(compiling, "why_not", lambda lacking=lacking: lacking)
        notes = Notes()
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(Watch, "step", lambda watch, *place: (_ for _ in ()).throw(KeyboardInterrupt))
            train(top='compile = "auto"', resume=choice != "first", progress=notes)
        said[choice] = [note for note in notes.said if note.startswith("goes on with another value of compiled ")]
        run[choice] = json.loads((tmp_path / "out" / "run.json").read_text())
    assert [len(notes) for notes in said.values()] == [0, 0, 1]
    assert [document["compiled"] for document in run.values()] == [True, True, False]
    assert len(run["other"]["started"]) == 3


@pytest.mark.parametrize("damage", [{"started": "x"}, {"started": [None]}, {"recipe": None}])
def test_a_damaged_manifest_is_refused_with_the_way_out(train, tmp_path, monkeypatch, damage):
    with monkeypatch.context() as patch:
        patch.setattr(Watch, "step", lambda watch, *place: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            train()
        manifest = tmp_path / "out" / "run.json"
        manifest.write_text(json.dumps(json.loads(manifest.read_text()) | damage))
        with pytest.raises(TrainingError, match=r"run\.json: is not the manifest of a run; delete it and resume"):
            train(resume=True)
        manifest.unlink()
        with pytest.raises(KeyboardInterrupt):
            train(resume=True)
    assert json.loads(manifest.read_text())["model"] == "resnet18"


@pytest.mark.parametrize("there", [(), ("run.json",), ("card.json",)])
def test_going_on_from_nothing_is_refused(train, tmp_path, there):
    (tmp_path / "out").mkdir()
    for name in there:
        (tmp_path / "out" / name).write_text(json.dumps({"schema": f"edge-se/{name[:-5]}/1"}))
    with pytest.raises(TrainingError, match=r"out: holds no checkpoint\.pt to go on from; leave --resume out"):
        train(resume=True)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(there)


def test_an_interrupt_says_what_is_kept_and_how_to_go_on(train, tmp_path, monkeypatch):
    notes = Notes()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Watch, "step", lambda watch, *place: (_ for _ in ()).throw(KeyboardInterrupt))
        train(progress=notes)
    folder = tmp_path / "out"
    assert notes.said[-1] == (f"{folder / 'checkpoint.pt'} is kept: the same command with --resume --out {folder} goes "
                              "on from there")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):  # in the evaluation after the last step
        patch.setattr(step, "_scored", lambda *given: (_ for _ in ()).throw(KeyboardInterrupt))
        train(resume=True, progress=notes)
    assert "is kept" in notes.said[-1]


def test_sigterm_while_validating_ends_after_a_batch(train, tmp_path, monkeypatch):
    from edge_se.training import loop

    batches = []

    def resized(images, resolution):
        batches.append(len(images))
        signal.raise_signal(signal.SIGTERM)
        return images

    monkeypatch.setattr(loop, "EVALUATION_BATCH", 10)  # of 40 validation images
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loop, "resize", resized)
        train()
    assert len(batches) == 1
    saved = torch.load(tmp_path / "out" / "checkpoint.pt", weights_only=True)
    assert (saved["epoch"], saved["step"]) == (0, 130 // 32)  # the epoch's steps are kept, its validation is done anew
    assert train(resume=True)["epochs"] == 2


@pytest.mark.parametrize("name", ["weights.safetensors", "log.csv", "card.json", "run.json"])
def test_a_folder_of_the_users_own_is_left_alone(train, tmp_path, name):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text('{"schema": "mine"}')
    with pytest.raises(ArtifactError, match=f"{re.escape(name)}: would be overwritten"):
        train()
    assert [path.name for path in (tmp_path / "out").iterdir()] == [name]


@pytest.mark.slow
def test_a_run_that_was_stopped_has_a_manifest_and_goes_on(train, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Watch, "epoch", lambda watch, row: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            train("stopped")
    manifest = tmp_path / "stopped" / "run.json"
    assert json.loads(manifest.read_text())["finished"] is None
    with pytest.raises(TrainingError, match="holds the checkpoint of an earlier run; go on with --resume"):
        train("stopped")
    before = manifest.read_text()
    with pytest.raises(TrainingError, match=r"run\.json: belongs to another run"):
        train("stopped", resume=True, seed=5)
    assert manifest.read_text() == before
    resumed, whole, run = train("stopped", resume=True), train("whole"), json.loads(manifest.read_text())
    assert len(run["started"]) == 2 and run["finished"]
    assert (resumed["best_epoch"], resumed["test"]) == (whole["best_epoch"], whole["test"])
    one, other = (load_file(tmp_path / name / "weights.safetensors") for name in ("stopped", "whole"))
    assert [name for name in one if not torch.equal(one[name], other[name])] == []  # the header's order is by chance


@pytest.mark.slow
def test_views_are_scored_apart(train):
    plain, both = train("plain"), train("both", top='tta = "flip"')
    assert both["tta"]["views"] == "flip" and both["tta"]["test"]["n"] == 60
    assert both["test"] == plain["test"] and both["validation"] == plain["validation"]


def test_the_mean_of_both_views_is_what_is_scored(tiny_net, random_images):
    from edge_se.core.progress import SILENT

    net, images = tiny_net("se"), random_images(200, "validation")
    pixels = torch.from_numpy(next(images.batches(200)))
    with torch.no_grad():
        mean = (net(pixels) + net(pixels.flip(3))) / 2
    main, views = step._scored(net, images, 32, "flip", SILENT)
    assert views["top1"] == pytest.approx(100 * (mean.argmax(1).numpy() == images.labels).mean())
    assert main == step._scored(net, images, 32, "none", SILENT)[0]


@pytest.mark.slow
def test_a_net_trained_at_another_resolution_is_scored_there_and_says_so(train):
    notes = Notes()
    card = train(resolution=64, progress=notes)
    assert card["input"]["size"] == 64 and card["macs"] > 3 * train("native")["macs"]
    assert "trained at 64 px, where 'resnet18' is exported at 32 px" in notes.said


def test_tensorboard_is_written_where_asked(train, tmp_path):
    pytest.importorskip("tensorboard")
    train(tensorboard=True)
    assert [path.name for path in (tmp_path / "out" / "tensorboard").iterdir()]


@pytest.mark.parametrize("choice", ["true", '"auto"'])
def test_card_and_manifest_say_whether_the_net_was_compiled(train, tmp_path, monkeypatch, choice):
    monkeypatch.setattr(compiling.torch, "compile", functools.partial(torch.compile, backend="eager"))
    monkeypatch.setattr(compiling, "why_not", lambda: None)
    notes = Notes()
    card = train(top=f"compile = {choice}", progress=notes)
    assert card["compiled"] is json.loads((tmp_path / "out" / "run.json").read_text())["compiled"] is True
    assert notes.said[0].startswith("compiles the net in the first step at each resolution")


@pytest.mark.parametrize(("amp", "fast", "told"), [
    ("bf16", False, True), ("bf16", True, False), ("auto", False, False)])
def test_a_processor_without_fast_bf16_is_told_what_takes_less_time(train, monkeypatch, amp, fast, told):
    monkeypatch.setattr(environment, "has_fast_bf16", lambda: fast)
    monkeypatch.setitem(globals(), "RECIPE", RECIPE.replace('amp = "off"', f'amp = "{amp}"'))
    notes = Notes()
    train(progress=notes)
    assert any("--recipe best-cpu" in note for note in notes.said) is told


def test_without_a_compiler_auto_trains_eagerly_and_true_leaves_nothing_behind(train, tmp_path, monkeypatch):
    monkeypatch.setattr(compiling.shutil, "which", lambda name: None)
    card = train(top='compile = "auto"')
    assert card["compiled"] is json.loads((tmp_path / "out" / "run.json").read_text())["compiled"] is False
    with pytest.raises(UnavailableError, match=r"torch\.compile needs a C\+\+ compiler"):
        train("refused", top="compile = true")
    assert not (tmp_path / "refused").exists()


def test_a_recipe_is_a_shipped_name_too(few, tmp_path, monkeypatch):
    monkeypatch.setattr(compiling, "why_not", lambda: "nothing, but compiling is slow")
    card = step.train("resnet18", recipe="fast-cpu", epochs=1, device="cpu", out=tmp_path / "named")
    assert json.loads((tmp_path / "named" / "run.json").read_text())["recipe"]["name"] == "fast-cpu.toml"
    assert card["recipe"]["content"]["augmentation"]["translate"] == 2
    with pytest.raises(RecipeError, match="did you mean 'fast-cpu'"):
        step.train("resnet18", recipe="fast-cpo", device="cpu", out=tmp_path / "none")


def test_a_net_of_other_classes_is_refused(monkeypatch, tiny_spec, tmp_path):
    monkeypatch.setattr(step, "spec_of", lambda name: tiny_spec("se", name=name, classes=1000))
    with pytest.raises(TrainingError, match="resnet50: has 1000 classes, and CIFAR-10 10"):
        step.train("resnet50", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_only_the_first_process_writes_and_scores(train, tmp_path, monkeypatch):
    from contextlib import contextmanager

    from edge_se.training import distributed

    second = distributed.Group(rank=1, size=2)

    @contextmanager
    def alone(device):
        yield distributed.ALONE  # it trains everything, for want of a first one
    monkeypatch.setattr(distributed, "own_process", lambda: second)
    monkeypatch.setattr(distributed, "joined", alone)
    given = []
    monkeypatch.setattr(step, "training_data", lambda *data, progress, **options: (
        given.append(progress) or training_data(*data, progress=progress, **options)))
    said = train(progress=Notes())
    assert given == [SILENT]  # or each process would tell the same
    assert said == {"schema": "edge-se/card/1", "model": "resnet18", "out": str(tmp_path / "out"), "rank": 1}
    assert not (tmp_path / "out" / "card.json").exists()


@pytest.mark.parametrize(("done", "left"), [(1, 4 + 16 + 16), (2, 32), (3, 16)])
def test_the_time_that_is_left_goes_by_pixels(monkeypatch, done, left):
    clock = [0.0]
    monkeypatch.setattr("edge_se.steps.train_watch.time.monotonic", lambda: clock[0])
    recipe = Recipe(phases=({"epochs": 1, "resolution": 8}, {"epochs": 1, "resolution": 16},
                            {"epochs": 2, "resolution": 32}), optimizer={"learning_rate": 0.1})
    watch, costs = Watch(Notes(), recipe), (1, 4, 16, 16)
    clock[0] = 60.0  # the first step compiles, which is no pace
    assert watch.seconds_left() is None
    for epoch in range(done):
        for number in range(1, 6):
            clock[0] += costs[epoch]
            watch.step(epoch, number, 5, 1.0)
    assert watch.seconds_left() == pytest.approx(5 * left)
