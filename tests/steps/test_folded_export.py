"""`export --fold-excitations`: every file made from the folded graph, under a name of its own, with what it cost."""

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from edge_se.cli import main
from edge_se.core.files import sha256_of
from edge_se.graph import source
from edge_se.graph.onnx_model import OnnxModel
from edge_se.nets.zoo import MODELS
from edge_se.quantization.excitations import find_excitations
from edge_se.steps.verify import verify

pytestmark = pytest.mark.usefixtures("net_exported_once")
SCHEMA = Path(__file__).parents[2] / "docs" / "schema" / "export-1.json"


@pytest.fixture
def tiny(zoo_net, monkeypatch, tmp_path):
    """The name of a tiny net of the zoo, its weights beside it, in an empty folder; CIFAR-10 is not here."""
    spec, weights, _ = zoo_net
    monkeypatch.setitem(MODELS, spec.name, spec)
    monkeypatch.setattr(source, "weights_of", lambda name: weights)
    monkeypatch.delenv("EDGE_SE_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    return spec.name


def run(*arguments):
    with pytest.raises(SystemExit) as exit_:
        main(list(arguments))
    return exit_.value.code


def export(name, calibration, *more):
    return run("export", "--model", name, "--int8", "--target", "cpu", "--calibration", str(calibration), *more)


def test_files_manifest_and_what_is_told(tiny, zoo_net, calibration_npz, capsys):
    assert export(tiny, calibration_npz, "--fold-excitations", "--max-drop", "100") == 0
    captured = capsys.readouterr()
    assert f"written to build/{tiny}-folded" in captured.out
    assert "4 of 4 excitations folded: " in captured.err and "flips on 64 images" in captured.err
    folder = Path(f"build/{tiny}-folded")
    manifest = json.loads((folder / "manifest.json").read_text())
    Draft202012Validator(json.loads(SCHEMA.read_text())).validate(manifest)
    told = manifest["source"]["gates"]
    assert (told["folded"], told["n"], told["top1"]) == (4, 64, None) and all(one["folded"] for one in told["gates"])
    assert manifest["source"]["sha256"] == sha256_of(zoo_net[1])
    assert manifest["parity"]["torch_vs_onnx"]["max_abs"] <= 1e-3  # of the graph as it was trained
    fp32, int8 = (OnnxModel.read(folder / item["file"]) for item in manifest["artifacts"])
    assert manifest["artifacts"][1]["parent_sha256"] == fp32.sha256
    assert fp32.metadata.model == int8.metadata.model == manifest["model"] == f"{tiny}-folded"
    assert not find_excitations(fp32.proto) and not find_excitations(int8.proto)
    assert verify(str(folder))["files"]


def test_the_build_as_it_was_trained_stays_beside_it(tiny, calibration_npz):
    assert export(tiny, calibration_npz) == 0
    assert export(tiny, calibration_npz, "--fold-excitations", "--max-drop", "100") == 0
    assert sorted(path.name for path in Path("build").iterdir()) == [tiny, f"{tiny}-folded"]
    plain, folded = (json.loads(Path(f"build/{name}/manifest.json").read_text()) for name in (tiny, f"{tiny}-folded"))
    assert folded["source"]["gates"]["parent_sha256"] == plain["artifacts"][0]["sha256"]
    assert folded["artifacts"][0]["params"] < plain["artifacts"][0]["params"]


@pytest.mark.parametrize(("more", "message"), [
    (("--fold-excitations", "--max-drop", "0"), "no excitation can be folded within 0 points"),
    (("--fold-excitations", "--untrained"), "random weights"),
])
def test_refused_with_nothing_written(tiny, calibration_npz, capsys, more, message):
    assert export(tiny, calibration_npz, *more) == 2
    assert message in capsys.readouterr().err
    assert not Path("build").exists()
