"""Training learns, resumes bit-exactly however it was stopped, and says what is wrong with what it is given."""

import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch

from edge_se.core.errors import TrainingError
from edge_se.core.recipes import Recipe
from edge_se.data.splits import ImageSet
from edge_se.nets.spec import ModelSpec
from edge_se.training import compiling, loop
from edge_se.training.loop import Silent, train

SPEC = ModelSpec(name="tiny", widths=(16, 16, 32, 32), blocks=(1, 1, 1, 1), reduction=4, attention="se")
RECIPE = Recipe(batch_size=64, label_smoothing=0.1, amp="off", seed=3, optimizer={"learning_rate": 0.1},
                phases=({"epochs": 1, "resolution": 8}, {"epochs": 2, "resolution": 16}),
                augmentation={"translate": 2, "flip": "alternating", "cutout": 4})
# Whatever draws, keeps a state of its own or changes the update.
EVERYTHING = Recipe(batch_size=64, label_smoothing=0.1, amp="fp16", seed=3, ema=0.9, phases=RECIPE.phases,
                    optimizer={"learning_rate": 0.01, "name": "adamw", "clip_norm": 1.0}, schedule={"decay": "step"},
                    augmentation={"translate": 2, "flip": "random", "cutout": 4, "padding": "zero", "rotation": 15,
                                  "policy": "randaugment", "color_jitter": 0.2, "hue": 0.05, "sharpness": 0.2,
                                  "blur": 0.3, "erasing": 0.3, "mixup": 0.4})
COMPILED = RECIPE.model_copy(update={"compile": "auto", "phases": RECIPE.phases[:1] * 3})  # a resolution compiles once
STEPS = 300 // 64


def toy(count, split, seed):
    """Images of ten classes that differ in colour."""
    random, colours = np.random.default_rng(seed), np.random.default_rng(9).integers(0, 256, (10, 3, 1, 1))
    labels = random.integers(0, 10, count).astype(np.uint8)
    pixels = np.clip(colours[labels] + random.integers(-30, 31, (count, 3, 32, 32)), 0, 255).astype(np.uint8)
    return ImageSet(name=f"toy-{split}", split=split, pixels=pixels, labels=labels)


TRAIN, VALIDATION = toy(300, "train", 1), toy(100, "validation", 2)


def run(folder, *, resume=False, watcher=None, recipe=RECIPE, spec=SPEC, images=TRAIN, validation=VALIDATION):
    return train(spec, recipe, images, validation, folder=folder, device=torch.device("cpu"), resume=resume,
                 watcher=watcher or Silent())


def timeless(history):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in history]


def assert_same(one, other):
    assert one.state.keys() == other.state.keys()
    assert [name for name in one.state if not torch.equal(one.state[name], other.state[name])] == []
    assert timeless(one.history) == timeless(other.history)
    assert one.best_epoch == other.best_epoch


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    return run(tmp_path_factory.mktemp("uninterrupted"))


class StopAt(Silent):
    def __init__(self, epoch, step):
        self.place = (epoch, step)

    def step(self, epoch, step, steps_per_epoch, loss):
        assert steps_per_epoch == STEPS
        if (epoch, step) == self.place:
            raise KeyboardInterrupt


def test_it_learns(tmp_path):
    recipe = RECIPE.model_copy(update={"phases": RECIPE.phases[:1] * 5, "batch_size": 20})
    trained = run(tmp_path, recipe=recipe)
    losses = [row["loss"] for row in trained.history]
    assert losses[-1] < 0.8 * losses[0]
    assert trained.history[trained.best_epoch - 1]["validation_top1"] > 50
    assert trained.seconds > 0 and trained.amp == "off" and trained.device == "cpu"


def test_the_log_has_a_line_per_epoch(uninterrupted):
    assert [(row["epoch"], row["resolution"]) for row in uninterrupted.history] == [(1, 8), (2, 16), (3, 16)]
    total = 3 * STEPS
    expected = [RECIPE.optimizer.learning_rate * loop.learning_rate_factor(RECIPE.schedule, step, total)
                for step in (STEPS - 1, 2 * STEPS - 1, 3 * STEPS - 1)]
    assert [row["learning_rate"] for row in uninterrupted.history] == pytest.approx(expected)


def test_the_best_epoch_is_of_the_last_resolution_and_its_state_is_what_was_scored(uninterrupted):
    native = [row for row in uninterrupted.history if row["resolution"] == 16]
    best = max(native, key=lambda row: row["validation_top1"])
    assert uninterrupted.best_epoch == best["epoch"]
    net = loop.build(SPEC).eval()
    net.load_state_dict(uninterrupted.state)
    with torch.no_grad():
        logits = net(loop.resize(torch.from_numpy(next(VALIDATION.batches(100))), 16))
    assert 100 * np.mean(logits.argmax(1).numpy() == VALIDATION.labels) == best["validation_top1"]


def test_only_epochs_at_the_last_resolution_are_chosen_from(tmp_path, monkeypatch):
    scores = iter([90.0, 50.0, 60.0])
    monkeypatch.setattr(loop._Run, "_validate", lambda run, resolution, interrupts: next(scores))
    assert run(tmp_path).best_epoch == 3


def test_the_chosen_state_is_not_trained_on(tmp_path, monkeypatch):
    chosen = {}
    for best, scores in ((2, [0.0, 60.0, 50.0]), (3, [0.0, 50.0, 60.0])):
        rest = iter(scores)
        monkeypatch.setattr(loop._Run, "_validate", lambda run, resolution, interrupts, rest=rest: next(rest))
        chosen[best] = run(tmp_path)
        assert chosen[best].best_epoch == best
    assert not torch.equal(chosen[2].state["fc.weight"], chosen[3].state["fc.weight"])


def test_equal_seeds_give_equal_nets_and_others_others(uninterrupted, tmp_path):
    assert_same(uninterrupted, run(tmp_path / "a"))
    other = run(tmp_path / "b", recipe=RECIPE.model_copy(update={"seed": 4}))
    assert not torch.equal(other.state["fc.weight"], uninterrupted.state["fc.weight"])


@pytest.mark.parametrize("place", [(0, 1), (1, 2), (2, STEPS)])
def test_an_interrupted_run_resumes_bit_exactly(uninterrupted, tmp_path, place):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, watcher=StopAt(*place))
    assert_same(uninterrupted, run(tmp_path, resume=True))


def test_interrupted_twice(uninterrupted, tmp_path):
    for resume, place in ((False, (0, 3)), (True, (1, 1))):
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, resume=resume, watcher=StopAt(*place))
    assert_same(uninterrupted, run(tmp_path, resume=True))


def test_a_run_interrupted_while_it_validates_resumes_bit_exactly(uninterrupted, tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt
    with monkeypatch.context() as patch:
        patch.setattr(loop, "resize", interrupt)  # the loop itself resizes validation images only
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path)
    assert_same(uninterrupted, run(tmp_path, resume=True))


@pytest.mark.parametrize("moment", ["before the update", "after the update"])
def test_a_run_interrupted_within_a_step_resumes_bit_exactly(uninterrupted, tmp_path, monkeypatch, moment):
    update, calls = torch.optim.SGD.step, []

    def interrupted(optimizer):
        calls.append(1)
        if len(calls) == STEPS + 2 and moment.startswith("before"):
            raise KeyboardInterrupt
        update(optimizer)
        if len(calls) == STEPS + 2:
            raise KeyboardInterrupt
    with monkeypatch.context() as patch:
        patch.setattr(torch.optim.SGD, "step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path)
    assert_same(uninterrupted, run(tmp_path, resume=True))


def test_a_finished_run_resumes_to_its_result(uninterrupted, tmp_path):
    run(tmp_path)
    assert_same(uninterrupted, run(tmp_path, resume=True, watcher=StopAt(0, 1)))


def test_without_resume_it_starts_anew(uninterrupted, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, watcher=StopAt(1, 2))
    assert_same(uninterrupted, run(tmp_path))


def test_resuming_where_nothing_is_starts(uninterrupted, tmp_path):
    assert_same(uninterrupted, run(tmp_path, resume=True))


def test_seconds_add_up_over_interruptions(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, watcher=StopAt(2, 1))
    before = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["seconds"]
    assert 0 < before < run(tmp_path, resume=True).seconds


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["RECIPE", "EVERYTHING", "COMPILED"])
def test_a_killed_run_resumes_bit_exactly(uninterrupted, tmp_path, recipe):
    if recipe == "COMPILED" and (lacking := compiling.why_not()):
        pytest.skip(f"torch.compile needs {lacking}")
    script = textwrap.dedent(f"""
        import os, signal, sys
        sys.path.insert(0, {str(__file__.rpartition("/")[0])!r})
        import test_training_loop as own
        own.loop.CHECKPOINT_SECONDS = 0
        class Kill(own.Silent):
            def step(self, epoch, step, steps_per_epoch, loss):
                if (epoch, step) == (1, 3):
                    os.kill(os.getpid(), signal.SIGKILL)
        from pathlib import Path
        own.run(Path({str(tmp_path)!r}), recipe=own.{recipe}, watcher=Kill())
    """)
    killed = subprocess.run([sys.executable, "-c", script], timeout=300, check=False)
    assert killed.returncode == -signal.SIGKILL
    checkpoint = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert (checkpoint["epoch"], checkpoint["step"]) == (1, 2)
    expected = uninterrupted if recipe == "RECIPE" else run(tmp_path / "uninterrupted", recipe=globals()[recipe])
    assert_same(expected, run(tmp_path, recipe=globals()[recipe], resume=True))
    assert expected.compiled == (recipe == "COMPILED")
    if recipe == "EVERYTHING":
        ends = [torch.load(folder / "checkpoint.pt", weights_only=True) for folder in
                (tmp_path, tmp_path / "uninterrupted")]
        for part in ("model", "average"):
            one, other = (end[part] for end in ends)
            assert [name for name in one if not torch.equal(one[name], other[name])] == []


def test_the_log_grows_while_the_run_goes_on(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, watcher=StopAt(2, 1))
    lines = (tmp_path / "log.csv").read_text().splitlines()
    assert lines[0] == "epoch,resolution,loss,validation_top1,learning_rate,seconds"
    assert [line.split(",")[0] for line in lines[1:]] == ["1", "2"]


def test_a_loss_that_is_no_number_stops_the_run(tmp_path):
    recipe = RECIPE.model_copy(update={"optimizer": RECIPE.optimizer.model_copy(update={"learning_rate": 1e30})})
    with pytest.raises(TrainingError, match=r"the loss became (nan|inf) in epoch 1, step \d; lower .*learning_rate"):
        run(tmp_path, recipe=recipe)


@pytest.mark.parametrize(("changes", "what"), [
    ({"recipe": RECIPE.model_copy(update={"batch_size": 32})}, "recipe_sha256"),
    ({"spec": ModelSpec(name="other", widths=SPEC.widths, blocks=SPEC.blocks)}, "model_name"),
    ({"images": toy(300, "train", 5)}, "data_sha256"),
])
def test_the_checkpoint_of_another_run_is_refused(tmp_path, changes, what):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, watcher=StopAt(0, 1))
    with pytest.raises(TrainingError, match=f"belongs to another run: its {what}"):
        run(tmp_path, resume=True, **changes)


def test_a_broken_checkpoint_is_refused(tmp_path):
    (tmp_path / "checkpoint.pt").write_bytes(b"broken")
    with pytest.raises(TrainingError, match=r"(?s)not a checkpoint of edge-se .*; start again without --resume"):
        run(tmp_path, resume=True)


@pytest.mark.parametrize(("images", "validation"), [
    ("train", "test"), ("test", "validation"), ("validation", "train"), ("calibration", "validation")])
def test_it_trains_on_train_and_chooses_on_validation_only(tmp_path, random_images, images, validation):
    with pytest.raises(TrainingError, match=f"not on '{images}' and '{validation}'"):
        run(tmp_path, images=random_images(64, images), validation=random_images(8, validation))


def test_unlabelled_or_too_few_images(tmp_path, random_images):
    with pytest.raises(TrainingError, match="needs labelled images"):
        run(tmp_path, images=random_images(64, "train", labelled=False))
    with pytest.raises(TrainingError, match=r"batch_size 64 exceeds the 10 images; .* a smaller batch_size"):
        run(tmp_path, images=random_images(10, "train"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_within_a_step_waits_for_its_end_and_loses_nothing(uninterrupted, tmp_path, monkeypatch, number):
    calls, cross_entropy = [], loop.F.cross_entropy

    def interrupting(*arguments, **options):
        calls.append(1)
        if len(calls) == STEPS + 2:  # the second step of the second epoch, before its backward pass
            signal.raise_signal(number)
        return cross_entropy(*arguments, **options)

    before = signal.getsignal(number)
    with monkeypatch.context() as patch:
        patch.setattr(loop.F, "cross_entropy", interrupting)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path)
    assert signal.getsignal(number) is before
    saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert (saved["epoch"], saved["step"]) == (1, 2)
    assert_same(uninterrupted, run(tmp_path, resume=True))
