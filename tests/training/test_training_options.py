"""What a recipe may switch on: each does what it says to the update, the net or what is kept."""

import functools

import pytest
import torch
import torch.nn.functional as F

from edge_se.core.errors import UnavailableError
from edge_se.core.recipes import Recipe
from edge_se.data.augment import Batch
from edge_se.nets.zoo import build
from edge_se.training import compiling, loop
from edge_se.training.averaging import MovingAverage
from edge_se.training.checkpoint import load_checkpoint
from edge_se.training.distributed import ALONE
from edge_se.training.loop import Silent, train

CPU = torch.device("cpu")


def recipe(**changes):
    return Recipe(**({"batch_size": 32, "amp": "off", "phases": ({"epochs": 2, "resolution": 8},),
                      "optimizer": {"learning_rate": 0.05}} | changes))


@pytest.fixture
def images(random_images):
    return random_images(96, "train"), random_images(40, "validation")


@pytest.fixture
def run(tiny_spec, images, tmp_path):
    def start(name="run", watcher=None, resume=False, **changes):
        return train(tiny_spec("se"), recipe(**changes), *images, folder=tmp_path / name, device=CPU, resume=resume,
                     watcher=watcher or Silent())
    return start


@pytest.fixture
def made(tiny_spec, images, tmp_path):
    """A run that has not begun."""
    return lambda **changes: loop._Run(tiny_spec("se"), recipe(**changes), *images, tmp_path, CPU, ALONE)


class StopAt(Silent):
    def __init__(self, *place):
        self.place = place

    def step(self, epoch, step, steps_per_epoch, loss):
        if (epoch, step) == self.place:
            raise KeyboardInterrupt


def differing(one, other):
    return [name for name in one.state if not torch.equal(one.state[name], other.state[name])]


OPTIONS = {"ema": {"ema": 0.9}, "mixup": {"augmentation": {"mixup": 1.0}}, "fp16": {"amp": "fp16"},
           "adamw": {"optimizer": {"learning_rate": 0.01, "name": "adamw"}},
           "muon": {"optimizer": {"learning_rate": 0.05, "muon": {"learning_rate": 0.02}}},
           "clip": {"optimizer": {"learning_rate": 0.05, "clip_norm": 0.01}},
           "autoaugment": {"augmentation": {"policy": "autoaugment"}}, "step": {"schedule": {"decay": "step"}}}


@pytest.mark.parametrize("option", OPTIONS)
def test_each_changes_the_net_and_resumes_bit_exactly(run, images, tmp_path, option):
    data = images[0].sha256
    whole = run("whole", **OPTIONS[option])
    assert differing(whole, run("plain"))
    with pytest.raises(KeyboardInterrupt):
        run("stopped", watcher=StopAt(1, 1), **OPTIONS[option])
    assert differing(whole, run("stopped", resume=True, **OPTIONS[option])) == []
    one, other = (load_checkpoint(tmp_path / name / "checkpoint.pt", model_name="tiny_se", data_sha256=data,
                                  recipe_sha256=recipe(**OPTIONS[option]).sha256) for name in ("whole", "stopped"))
    assert (one.average is not None, one.scaler is not None) == (option == "ema", option == "fp16")
    for part in ("model", "average", "optimizer", "scaler", "best_model"):  # also what was not chosen
        assert_equal(getattr(one, part), getattr(other, part))


def assert_equal(one, other):
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_equal(one[key], other[key])
    elif isinstance(one, list):
        assert len(one) == len(other)
        for mine, its in zip(one, other):
            assert_equal(mine, its)
    else:
        assert torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


def test_the_average_follows_its_rule():
    net = torch.nn.BatchNorm1d(2)
    average, expected = MovingAverage(net, 0.9), None
    for number in range(30):
        with torch.no_grad():
            net.weight.fill_(float(number))
            net.running_mean.fill_(-float(number))
            net.num_batches_tracked.fill_(number)
        average.update_parameters(net)
        decay = min(0.9, (1 + number) / (10 + number))
        expected = float(number) if expected is None else decay * expected + (1 - decay) * number
        assert average.module.weight.tolist() == pytest.approx([expected] * 2)
        assert average.module.running_mean.tolist() == pytest.approx([-expected] * 2)
        assert int(average.module.num_batches_tracked) == number and int(average.n_averaged) == number + 1


def test_the_average_is_what_is_validated_and_kept(run, images, tiny_spec, tmp_path):
    trained = run(ema=0.9)
    saved = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)
    average = {name.removeprefix("module."): tensor for name, tensor in saved["average"].items() if "." in name}
    assert not torch.equal(average["fc.weight"], saved["model"]["fc.weight"])
    if trained.best_epoch == 2:
        assert torch.equal(trained.state["fc.weight"], average["fc.weight"])
    net = build(tiny_spec("se")).eval()
    net.load_state_dict(trained.state)
    with torch.no_grad():
        logits = net(loop.resize(torch.from_numpy(next(images[1].batches(40))), 8))
    right = 100 * float((logits.argmax(1).numpy() == images[1].labels).mean())
    assert right == pytest.approx(trained.history[trained.best_epoch - 1]["validation_top1"])


def test_the_scale_of_fp16_gradients_is_kept(run, tmp_path):
    assert run(amp="fp16").amp == "fp16"
    assert torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)["scaler"]["scale"] > 1


def test_clipping_bounds_the_step(made):
    bound = 1e-3
    run = made(optimizer={"learning_rate": 1.0, "momentum": 0.0, "weight_decay": 0.0, "clip_norm": bound},
               schedule={"warmup_fraction": 0.0, "decay": "constant"})
    before = [parameter.detach().clone() for parameter in run.net.parameters()]
    run._one_step(Silent(), loop.Interrupts())
    moved = sum(float((now.detach() - then).square().sum()) for now, then in zip(run.net.parameters(), before))
    assert moved**0.5 == pytest.approx(bound, rel=1e-3)  # rate 1: the clipped gradient itself


def test_mixup_weighs_both_labels(made):
    run = made(label_smoothing=0.1)
    images, labels = torch.randn(8, 3, 8, 8), run.labels
    sources, partners = torch.arange(8), torch.arange(8, 16)
    run.net.eval()
    logits = run.net(images)
    expected = sum(share * F.cross_entropy(logits, labels[rows], label_smoothing=0.1)
                   for share, rows in ((0.25, sources), (0.75, partners)))
    loss = run._loss(Batch(images=images, sources=sources, partners=partners, share=0.25))
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("wanted", [True, False])
def test_the_memory_format_is_as_asked(made, wanted):
    weight = made(channels_last=wanted).net.layer1[0].conv1.weight
    assert weight.is_contiguous(memory_format=torch.channels_last) is wanted


def test_a_compiled_net_trains_the_same_weights(run, monkeypatch):
    monkeypatch.setattr(compiling.torch, "compile", functools.partial(torch.compile, backend="eager"))
    monkeypatch.setattr(compiling, "why_not", lambda: None)
    plain = run("plain")
    assert not plain.compiled
    for choice in (True, "auto"):
        compiled = run(f"compiled-{choice}", compile=choice)
        assert compiled.compiled and differing(compiled, plain) == []


def test_every_resolution_is_compiled_not_only_as_many_as_torch_allows_by_default(run, monkeypatch):
    graphs = []

    def counting(graph, inputs):
        graphs.append(tuple(inputs[0].shape) if inputs[0].ndim == 4 else graph)
        return graph.forward
    monkeypatch.setattr(compiling.torch, "compile", functools.partial(torch.compile, backend=counting))
    monkeypatch.setattr(compiling, "why_not", lambda: None)
    with torch._dynamo.config.patch(recompile_limit=2):
        run(compile="auto", phases=tuple({"epochs": 1, "resolution": size} for size in (8, 12, 16, 20)))
        assert len(graphs) == 4
    with torch._dynamo.config.patch(recompile_limit=1):
        for number in range(2):  # what earlier runs compiled does not count against the limit
            run(f"again-{number}", compile="auto")
    assert len(graphs) == 6


def test_compiling_needs_a_compiler_and_auto_goes_without(run, monkeypatch, tmp_path):
    monkeypatch.setattr(compiling.shutil, "which", lambda name: None)
    with pytest.raises(UnavailableError, match=r"compile: torch\.compile needs a C\+\+ compiler, and there is no '.+'; "
                                               r'install .*compile = false or "auto"'):
        run(compile=True)
    assert not (tmp_path / "run").exists()
    eager = run("eager", compile="auto")
    assert not eager.compiled and differing(eager, run("plain")) == []


def test_a_compiler_that_fails_is_told_with_the_way_out(run, monkeypatch):
    def broken(graph, inputs):
        raise RuntimeError("no such instruction\nmore of it")
    monkeypatch.setattr(compiling.torch, "compile", functools.partial(torch.compile, backend=broken))
    monkeypatch.setattr(compiling, "why_not", lambda: None)
    with pytest.raises(UnavailableError, match=r"^compile: torch\.compile failed \(no such instruction\); .*= false"):
        run(compile="auto")


def test_compiling_needs_pythons_headers_and_the_compiler_that_torch_calls(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(compiling.shutil, "which", lambda name: asked.append(name) or f"/usr/bin/{name}")
    monkeypatch.setattr(compiling.sysconfig, "get_paths", lambda: {"include": str(tmp_path)})
    monkeypatch.setenv("CXX", "my-c++")
    assert compiling.why_not() == "Python's C headers, and there are none"
    (tmp_path / "Python.h").touch()
    assert compiling.why_not() is None and asked == ["my-c++"] * 2


@pytest.mark.slow
def test_images_are_enlarged_on_the_device_step_by_step(made):
    run, seen = made(phases=({"epochs": 1, "resolution": 224},)), []
    run.net.register_forward_pre_hook(lambda net, inputs: seen.append(inputs[0]))
    run.to_the_end(Silent())
    assert [tuple(batch.shape) for batch in seen] == [(32, 3, 224, 224)] * 3 + [(40, 3, 224, 224)]
    held = run.pixels.of(torch.arange(96))
    assert held.shape == (96, 32, 32, 3) and held.dtype == torch.uint8
    assert run.state.history[0]["resolution"] == 224
