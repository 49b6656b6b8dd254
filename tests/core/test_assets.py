"""Where shipped files and the cache are found."""

from pathlib import Path

import pytest

from edge_se.core import assets
from edge_se.core.assets import asset, cache_dir
from edge_se.nets.zoo import BUNDLED


@pytest.mark.parametrize("parts", [("calibration", "cifar10-test10k.json"), *(("models", name, "recipe.toml")
                                                                            for name in BUNDLED)])
def test_shipped_files_are_there(parts):
    assert asset(*parts).is_file()


def test_a_wheel_has_them_inside_the_package_and_a_checkout_beside_it(tmp_path, monkeypatch):
    package = tmp_path / "edge_se"
    package.mkdir()
    monkeypatch.setattr(assets, "_PACKAGE", package)
    assert asset("bench", "gate.toml") == tmp_path / "bench" / "gate.toml"
    (package / "bench").mkdir()
    assert asset("bench", "gate.toml") == package / "bench" / "gate.toml"


@pytest.mark.parametrize(("variables", "folder"), [
    ({"EDGE_SE_CACHE": "/a", "XDG_CACHE_HOME": "/b"}, "/a"),
    ({"EDGE_SE_CACHE": "", "XDG_CACHE_HOME": "/b"}, "/b/edge-se"),
    ({"XDG_CACHE_HOME": ""}, "/home/someone/.cache/edge-se"),
])
def test_cache_folder(monkeypatch, variables, folder):
    for name in ("EDGE_SE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(Path, "home", lambda: Path("/home/someone"))
    assert cache_dir() == Path(folder)
