"""Losses read several at once, as on a GPU: the same run bit for bit, and no checkpoint of one that went wrong."""

import math
import signal

import pytest
import torch

from edge_se.core.errors import TrainingError
from edge_se.core.recipes import Recipe
from edge_se.training import loop, losses
from edge_se.training.checkpoint import Checkpoint
from edge_se.training.distributed import ALONE
from edge_se.training.loop import Silent, train

CPU = torch.device("cpu")
RECIPE = Recipe(batch_size=16, amp="off", phases=({"epochs": 2, "resolution": 8},), ema=0.9,
                optimizer={"learning_rate": 0.05}, augmentation={"mixup": 0.4})
STEPS = 6  # of an epoch: a read after 4, and one after the last two


@pytest.fixture
def run(tiny_spec, random_images, tmp_path):
    images = random_images(100, "train"), random_images(40, "validation")

    def start(name, watcher=None, resume=False):
        return train(tiny_spec("se"), RECIPE, *images, folder=tmp_path / name, device=CPU, resume=resume,
                     watcher=watcher or Silent())
    return start


@pytest.fixture
def four(monkeypatch):
    monkeypatch.setitem(losses.STEPS_PER_READ, "cpu", 4)


class Told(Silent):
    """Keeps what it is told; interrupts at a place."""

    def __init__(self, *place):
        self.place, self.steps = place, []

    def step(self, epoch, step, steps_per_epoch, loss):
        self.steps.append((epoch, step, loss))
        if (epoch, step) == self.place:
            raise KeyboardInterrupt


@pytest.fixture
def wrong(monkeypatch):
    """From the n-th on, the losses that steps compute are no numbers, and neither are their gradients."""
    def start(first):
        cross_entropy, calls = loop.F.cross_entropy, []

        def broken(*arguments, **options):
            calls.append(1)
            loss = cross_entropy(*arguments, **options)
            return loss * math.nan if len(calls) > 2 * (first - 1) else loss  # two calls a step: mixup
        monkeypatch.setattr(loop.F, "cross_entropy", broken)
    return start


@pytest.fixture
def asked_after(monkeypatch):
    """A signal comes with the n-th update."""
    def start(number):
        update, calls = torch.optim.SGD.step, []

        def asked(optimizer):
            update(optimizer)
            calls.append(1)
            if len(calls) == number:
                signal.raise_signal(signal.SIGTERM)
        monkeypatch.setattr(torch.optim.SGD, "step", asked)
    return start


def timeless(trained):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in trained.history]


def assert_same(one, other):
    assert [name for name in one.state if not torch.equal(one.state[name], other.state[name])] == []
    assert timeless(one) == timeless(other) and one.best_epoch == other.best_epoch


def saved(path):
    return torch.load(path / "checkpoint.pt", weights_only=True)


def test_four_at_once_are_the_same_run_as_one_by_one(run, tmp_path, monkeypatch):
    told = {1: Told(), 4: Told()}
    trained = {}
    for count, watcher in told.items():
        monkeypatch.setitem(losses.STEPS_PER_READ, "cpu", count)
        trained[count] = run(str(count), watcher)
    assert_same(trained[1], trained[4])
    assert told[1].steps == told[4].steps and len(told[1].steps) == 2 * STEPS
    one, other = saved(tmp_path / "1"), saved(tmp_path / "4")
    for part in ("model", "average", "best_model"):
        assert [name for name in one[part] if not torch.equal(one[part][name], other[part][name])] == []


@pytest.mark.parametrize("place", [(0, 2), (0, 6), (1, 3)])
def test_a_run_interrupted_at_a_read_resumes_bit_exactly(run, four, monkeypatch, place):
    with pytest.raises(KeyboardInterrupt):
        run("stopped", Told(*place))
    resumed = run("stopped", resume=True)
    monkeypatch.setitem(losses.STEPS_PER_READ, "cpu", 1)
    assert_same(run("whole"), resumed)


def test_a_run_interrupted_between_reads_saves_the_whole_sum(run, four, asked_after, tmp_path):
    asked_after(STEPS + 2)
    whole = Told()
    with pytest.raises(KeyboardInterrupt):
        run("stopped")
    state = saved(tmp_path / "stopped")
    assert (state["epoch"], state["step"]) == (1, 2)  # alone, it does not wait for the read after step 4
    resumed, expected = run("stopped", resume=True), run("whole", whole)
    assert_same(expected, resumed)
    assert state["loss_sum"] == sum(loss for epoch, step, loss in whole.steps if epoch == 1 and step <= 2)


@pytest.mark.parametrize(("first", "message"), [
    (2, r"the loss became nan in epoch 1, step 2 \(read with those of steps 1 to 4\); lower"),
    (4, r"epoch 1, step 4 \(read with those of steps 1 to 4\)"),
    (STEPS + 5, r"epoch 2, step 5 \(read with those of steps 5 to 6\)")])
def test_a_loss_that_is_no_number_is_named_and_no_checkpoint_holds_it(run, four, wrong, tmp_path, monkeypatch, first,
                                                                      message):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0)
    wrong(first)
    told = Told()
    with pytest.raises(TrainingError, match=message):
        run("wrong", told)
    assert all(math.isfinite(loss) for _, _, loss in told.steps)
    if first <= 4:
        assert not (tmp_path / "wrong" / "checkpoint.pt").exists()
        return
    state = saved(tmp_path / "wrong")
    assert (state["epoch"], state["step"]) == (1, 4) and math.isfinite(state["loss_sum"])
    assert all(bool(tensor.isfinite().all()) for tensor in state["model"].values())


def test_an_interrupt_between_reads_saves_nothing_of_a_loss_that_is_no_number(run, four, wrong, asked_after, tmp_path):
    wrong(2)
    asked_after(3)
    with pytest.raises(TrainingError, match=r"step 2 \(read with those of steps 1 to 3\)"):
        run("wrong")
    assert not (tmp_path / "wrong" / "checkpoint.pt").exists()


def test_a_run_that_died_resumes_bit_exactly_from_the_last_read(run, four, tmp_path, monkeypatch):
    def die(watcher, epoch, step, steps_per_epoch, loss):
        if (epoch, step) == (1, 5):
            raise RuntimeError("died")
    with monkeypatch.context() as patch:
        patch.setattr(loop, "CHECKPOINT_SECONDS", 0)
        patch.setattr(Silent, "step", die)
        with pytest.raises(RuntimeError, match="died"):
            run("died")
    assert (saved(tmp_path / "died")["epoch"], saved(tmp_path / "died")["step"]) == (1, 4)
    assert_same(run("whole"), run("died", resume=True))


@pytest.mark.parametrize(("device", "together"), [("cpu", 1), ("cuda", 16)])
def test_how_many_are_read_at_once_goes_by_the_device(device, together, tmp_path):
    state = Checkpoint(model_name="", recipe_sha256="", data_sha256="", epoch=0, step=0, seconds=0.0, loss_sum=0.0,
                       model={}, optimizer={})
    unread, reads = losses.Losses(ALONE, torch.device(device), tmp_path), []
    for step in range(20):
        state.step = step
        read = unread.add(torch.tensor(float(step)), state, loop.Interrupts(), last=step == 19)
        assert unread.waiting is not bool(read)
        reads += [read] if read else []
    assert [len(read) for read in reads] == [together] * (20 // together) + [20 % together] * (20 % together > 0)
    assert [loss for read in reads for loss in read] == list(range(20)) and state.loss_sum == sum(range(20))


@pytest.fixture
def places(monkeypatch):
    """(epoch, step) of each checkpoint that is written."""
    places, save = [], loop.save_checkpoint
    monkeypatch.setattr(loop, "save_checkpoint", lambda path, state: (places.append((state.epoch, state.step)),
                                                                      save(path, state)))
    return places


def test_checkpoints_between_reads_wait_for_the_next(run, four, places, monkeypatch):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0)
    monkeypatch.setattr(loop, "CHECKPOINT_SHARE", math.inf)
    run("often")
    assert places == [(0, 4), (1, 0), (1, 4), (2, 0)]


def test_short_epochs_share_a_checkpoint_and_the_log_has_each(tiny_spec, random_images, places, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "CHECKPOINT_SHARE", 1e-9)
    train(tiny_spec("se"), RECIPE.shortened(4), random_images(100, "train"), random_images(40, "validation"),
          folder=tmp_path, device=CPU, resume=False, watcher=Silent())
    assert places == [(1, 0), (4, 0)]  # the first, since nothing tells yet what one takes, and the last
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 1 + 4
