"""The bundled nets through the whole path: figures, drop, gate, and a gate that fails on a sabotaged model."""

import json
import time
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from edge_se.core.assets import asset
from edge_se.data import splits
from edge_se.data.layouts.pixel_archive import write_archive
from edge_se.evaluation.accuracy import flips, logits_of
from edge_se.graph.onnx_model import OnnxModel
from edge_se.nets.zoo import MODELS
from edge_se.steps.export import export
from edge_se.steps.gate import gate

BUNDLED = sorted(name for name in MODELS if asset("models", name, "weights.safetensors").is_file())
PARAMS = {"resnet18": 11_173_962, "se_resnet18": 11_261_002, "slim_se": 4_696_362}
MACS = {"resnet18": 555_422_720, "se_resnet18": 555_509_760, "slim_se": 233_705_856}
SCHEMAS = Path(__file__).parents[2] / "docs" / "schema"


def test_both_nets_of_the_main_job_are_bundled() -> None:
    assert {"resnet18", "se_resnet18"} <= set(BUNDLED)


@pytest.mark.parametrize("name", BUNDLED)
def test_card_fits_its_schema_and_its_weights(name) -> None:
    from edge_se.core.files import sha256_of
    from edge_se.core.recipes import read_recipe

    card = json.loads(asset("models", name, "card.json").read_text())
    Draft202012Validator(json.loads((SCHEMAS / "card-1.json").read_text())).validate(card)
    assert card["weights"]["sha256"] == sha256_of(asset("models", name, "weights.safetensors"))
    assert card["recipe"]["sha256"] == read_recipe(asset("models", name, "recipe.toml")).sha256
    assert (card["params"], card["macs"]) == (PARAMS[name], MACS[name])
    assert card["test"]["n"] == 10_000 and card["validation"]["n"] == 5_000
    assert card["test"]["top1"] >= 90


@pytest.mark.slow
@pytest.mark.parametrize("name", BUNDLED)
def test_without_cifar10_it_quantizes_on_the_synthetic_set(name, tmp_path, monkeypatch) -> None:
    monkeypatch.delenv("EDGE_SE_DATA", raising=False)
    monkeypatch.setenv("EDGE_SE_CACHE", str(tmp_path / "cache"))
    started = time.monotonic()
    build = export(name, int8=True, out=tmp_path / "build")
    assert time.monotonic() - started < 300  # the 30 s of the promise belong to a benchmark; this finds a hang
    assert build.calibration["name"] == "synthetic-256"
    for item in build.artifacts:
        assert (item.params, item.macs, item.flops) == (PARAMS[name], MACS[name], 2 * MACS[name])
        assert item.top1 is None and item.dataset == "synthetic-256" and item.agreement_with_fp32 >= 95
    assert build.parity["torch_vs_onnx"]["max_abs"] <= build.parity["torch_vs_onnx"]["tolerance"]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """(name) -> its build for the CPU with CIFAR-10, made once: the accuracy of a file takes half a minute."""
    folder = tmp_path_factory.mktemp("zoo")

    @cache
    def make(name):
        return export(name, int8=True, targets=["cpu"], out=folder / name)
    return make


@pytest.mark.slow
@pytest.mark.parametrize("name", ["se_resnet18", "slim_se"])  # resnet18's figures take CI a minute and a half
def test_int8_keeps_accuracy_on_the_test_set_and_passes_the_gate(name, cifar, exported) -> None:
    build = exported(name)
    card = json.loads(asset("models", name, "card.json").read_text())
    fp32 = build.find("fp32")
    assert abs(fp32.top1 - card["test"]["top1"]) <= 0.05  # two runtimes, a few ties
    item = build.find("int8", "cpu")
    assert item.top1_n == 10_000 and item.dataset == "cifar10-test10k"
    assert fp32.top1 - item.top1 <= 0.15
    assert item.flips < 39  # onnxruntime's default recipe on the same images, docs/peers.md
    assert item.int8_mac_share > 0.99
    document = gate(str(build.folder))
    Draft202012Validator(json.loads((SCHEMAS / "gate-1.json").read_text())).validate(document)
    assert document["verdict"] == "pass" and len(document["targets"]) == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", BUNDLED)
def test_int8_for_tensorrt_answers_as_fp32_does(name, cifar, tmp_path) -> None:
    """On 400 images: onnxruntime has no fast kernels for these files on x86."""
    build = export(name, int8=True, targets=["tensorrt"], out=tmp_path / "build", accuracy=False)
    images = splits.load("test", cifar).first(400)
    logits = [logits_of(OnnxModel.read(build.folder / item.file, precision=item.precision, target=item.target), images)
              for item in build.artifacts]
    assert flips(logits[1], logits[0]) <= 6  # one or two are expected: 32 of 10,000
    assert build.artifacts[1].int8_mac_share > 0.99


@pytest.mark.slow
def test_synthetic_calibration_serves_about_as_well_as_real(cifar, exported, tmp_path) -> None:
    real = exported("se_resnet18")
    synthetic = export("se_resnet18", int8=True, targets=["cpu"], calibration="synthetic-256", out=tmp_path / "made")
    assert abs(real.find("int8", "cpu").top1 - synthetic.find("int8", "cpu").top1) <= 0.2


@pytest.mark.slow
def test_gate_fails_on_a_sabotaged_calibration(cifar, tmp_path, capsys) -> None:
    from edge_se.cli import main

    black = tmp_path / "black.npz"
    write_archive(black, np.zeros((32, 3, 32, 32), np.uint8))
    export("se_resnet18", int8=True, targets=["cpu"], calibration=str(black), effort="quick",
           out=tmp_path / "build", accuracy=False)
    with pytest.raises(SystemExit) as exit_:
        main(["gate", "--model", str(tmp_path / "build"), "--json", "--quiet"])
    assert exit_.value.code == 1
    document = json.loads(capsys.readouterr().out)
    assert document["verdict"] == "fail"
    assert document["ci_pp"][0] > document["margin_pp"] and document["drop_pp"] > 1
    with pytest.raises(SystemExit) as exit_:
        main(["gate", "--model", str(tmp_path / "build"), "--quiet"])
    output = capsys.readouterr().out
    assert "FAIL: the drop is above the margin" in output and "interval [" in output


@pytest.mark.slow
def test_gate_is_inconclusive_when_the_interval_holds_the_margin(cifar, exported, capsys) -> None:
    from edge_se.cli import main

    folder = str(exported("se_resnet18").folder)
    drop = gate(folder)["drop_pp"]
    with pytest.raises(SystemExit) as exit_:
        main(["gate", "--model", folder, "--max-drop", str(max(drop, 0.0)), "--quiet"])
    assert exit_.value.code == 3
