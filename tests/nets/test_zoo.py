"""The table of nets: importable and searchable without torch."""

import subprocess
import sys

import pytest

from edge_se.core.assets import asset
from edge_se.core.errors import ModelError, UnavailableError
from edge_se.nets.zoo import BUNDLED, MODELS, build, spec_of


def test_names_are_their_specs():
    assert all(name == spec.name == spec_of(name).name for name, spec in MODELS.items())
    assert {"resnet18", "se_resnet18"} <= MODELS.keys()
    assert all(spec.about for spec in MODELS.values())
    assert len({spec.about for spec in MODELS.values()}) == len(MODELS)


@pytest.mark.parametrize("name", MODELS)
def test_a_name_says_what_the_net_is(name):
    spec = MODELS[name]
    stem = next((stem for stem in ("imagenet7", "paper3s2") if name.endswith(stem)), "cifar3")
    assert spec.stem == ("imagenet7" if "resnet50" in name else stem)
    variant = next((word for word in ("pre", "post", "identity", "double_fc", "pair2x1", "pair1x1", "folded")
                    if f"_{word}" in name.replace("_preact", "")), "se" if "se" in name.split("_") else "none")
    assert spec.attention == variant
    assert spec.preact == name.endswith("_preact")
    assert ("cmpe" in name) == (name.startswith("cmpe_") and variant in ("double_fc", "pair2x1", "pair1x1", "folded"))


def test_the_bundled_nets_are_those_with_weights():
    assert set(BUNDLED) == {name for name in MODELS if asset("models", name, "weights.safetensors").is_file()}


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(ModelError, match=r"unknown model 'se_resnet81'; did you mean 'se_resnet18'\?"):
        spec_of("se_resnet81")


@pytest.mark.parametrize("name", MODELS)
def test_every_net_is_built_in_training_mode(name):
    torch = pytest.importorskip("torch")
    with torch.device("meta"):  # no memory, no initial values: quick
        assert build(MODELS[name]).training


def test_building_without_torch_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    for name in ("edge_se.nets.resnet", "edge_se.nets.attention"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(UnavailableError, match=r"se_resnet18: building a net needs torch; pip install"):
        build(spec_of("se_resnet18"))


def test_another_missing_module_is_a_bug_and_keeps_its_traceback(monkeypatch):
    monkeypatch.setitem(sys.modules, "edge_se.nets.attention", None)
    monkeypatch.delitem(sys.modules, "edge_se.nets.resnet", raising=False)
    with pytest.raises(ModuleNotFoundError):
        build(spec_of("resnet18"))


def test_the_table_needs_no_torch():
    code = "import sys, edge_se.nets.zoo; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0
