"""The table of nets: importable and searchable without torch."""

import subprocess
import sys

import pytest

from edge_se.core.errors import ModelError, UnavailableError
from edge_se.nets.zoo import MODELS, build, spec_of


def test_names_are_their_specs():
    assert all(name == spec.name == spec_of(name).name for name, spec in MODELS.items())
    assert {"resnet18", "se_resnet18"} <= MODELS.keys()
    assert all(spec.about for spec in MODELS.values())


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(ModelError, match=r"unknown model 'se_resnet81'; did you mean 'se_resnet18'\?"):
        spec_of("se_resnet81")


@pytest.mark.parametrize("name", MODELS)
def test_every_net_is_built_in_training_mode(name):
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
