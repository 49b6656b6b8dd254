"""`bench/training_parts.py` on few images and a tiny net."""

import json

import pytest
import torch

from bench import training_parts
from bench.tables import measured, readme
from edge_se.training import loop
from edge_se.training.distributed import ALONE


@pytest.fixture
def document(monkeypatch, random_images, tiny_spec, tmp_path):
    monkeypatch.setattr(training_parts.cifar10, "require", lambda: None)
    monkeypatch.setattr(training_parts.splits, "load", lambda split, cifar: random_images(40, split))
    monkeypatch.setattr(training_parts, "spec_of", tiny_spec)
    monkeypatch.setattr(training_parts, "BATCH", 8)
    monkeypatch.setattr(training_parts, "SIDE", 32)
    monkeypatch.setitem(training_parts.SETTINGS, "batch 256", {"batch_size": 16})
    training_parts.main(["--model", "se", "--rounds", "2", "--out", str(tmp_path / "parts.json"),
                         "--settings", "batch 256", "FP32", *training_parts.NAMES[len(training_parts.SETTINGS):]])
    return json.loads((tmp_path / "parts.json").read_text())


def test_each_setting_is_compared_with_the_base(document):
    settings = {row["setting"]: row for row in document["settings"]}
    assert list(settings) == [training_parts.BASE, "batch 256", "FP32", *training_parts.RELUS, training_parts.HELD]
    assert settings[training_parts.BASE]["times_base"] == 1
    for row in settings.values():
        assert len(row["seconds_of_128"]) == 2
        assert row["images_per_s"] == pytest.approx(settings[training_parts.BASE]["images_per_s"] * row["times_base"])


def test_the_parts_of_a_step_are_its_whole(document):
    shares = {part["kind"]: part["share"] for part in document["parts"]}
    assert sum(shares.values()) == pytest.approx(1)
    assert all(shares[kind] > 0 for kind in training_parts.KINDS)
    convolutions = shares["convolutions, forward"] + shares["convolutions, backward"]
    assert document["times_base_without_the_rest"] == pytest.approx(1 / convolutions)
    assert document["convolution_gflop_per_s"] > 0 and document["product_gflop_per_s"] > 0


def test_the_table_quotes_the_document(document, monkeypatch, tmp_path):
    (tmp_path / "parts.json").rename(tmp_path / "training_parts.json")
    monkeypatch.setattr(measured, "RESULTS", tmp_path)
    table = readme.FIGURES["training-parts"]()
    for part in document["parts"]:
        assert f"| {part['kind']} | {100 * part['share']:.1f} % |" in table
    last = document["settings"][2]
    assert f"| FP32 | {sum(last['seconds_of_128']) / 2:.2f} (" in table
    assert f"| {last['images_per_s']:.0f} | {last['times_base']:.2f} |" in table
    assert f"{document['times_base_without_the_rest']:.2f} times as fast" in table and "`se`, processor time" in table
    (tmp_path / "training_parts-bounds.json").write_text(json.dumps(document | {"model": "other"}))
    assert readme.FIGURES["training-parts"]().count("| setting |") == 2  # each call has its own base
    assert "`other`, processor time" in readme.FIGURES["training-parts"]()


@pytest.mark.parametrize("figure", ["training-parts", "recipe-trials"])
def test_without_a_result_the_document_says_so(figure, monkeypatch, tmp_path):
    monkeypatch.setattr(measured, "RESULTS", tmp_path)
    assert readme.FIGURES[figure]() == "Not measured yet.\n"


@pytest.mark.parametrize(("operation", "kind"), [
    ("aten::convolution_backward", "convolutions, backward"), ("aten::mkldnn_convolution", "convolutions, forward"),
    ("aten::native_batch_norm_backward", "batch norm"), ("aten::threshold_backward", "ReLU"),
    ("aten::_fused_sgd_", "optimiser"), ("aten::copy_", "copies and casts"), ("aten::addmm", "other")])
def test_an_operation_is_counted_once_under_its_kind(operation, kind):
    assert training_parts.kind_of(operation) == kind


@pytest.mark.parametrize("name", training_parts.NAMES)
def test_each_setting_is_a_recipe(name):
    assert training_parts.recipe_of(name).epochs == 1


@pytest.fixture
def step_and_run(random_images, tiny_spec, tmp_path):
    """(setting) -> its step, and the run that it is a step of."""

    def make(name):
        recipe = training_parts.recipe_of(name).model_copy(update={"batch_size": 8})
        run = loop._Run(tiny_spec("none"), recipe, random_images(16, "train"), random_images(8, "validation"), tmp_path,
                        torch.device("cpu"), ALONE)
        return training_parts.step_of(name, run), run
    return make


def test_relu_in_place_trains_the_same_net(step_and_run):
    nets = []
    for name in (training_parts.BASE, "ReLU in place", "bound: no ReLU"):
        step, run = step_and_run(name)
        step()
        step()
        nets.append(torch.cat([parameter.detach().flatten() for parameter in run.net.parameters()]))
    assert torch.equal(nets[0], nets[1]) and not torch.equal(nets[0], nets[2])


def test_weights_held_in_bf16_are_no_masters_and_stay(step_and_run):
    step, run = step_and_run(training_parts.HELD)
    before = [parameter.detach().clone() for parameter in run.net.parameters()]
    step()
    assert all(map(torch.equal, before, run.net.parameters()))
    assert run.net.conv1.weight.dtype == run.net.conv1.weight.grad.dtype == torch.bfloat16
    assert run.net.bn1.weight.dtype == torch.float32
