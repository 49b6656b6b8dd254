"""Which packages a device has, and which only look like it."""

import sys
from types import ModuleType

import pytest

from edge_se.device.agent import AgentError, describe, load_tensorrt
from edge_se.device.agent.packages import imported, installed_version


@pytest.fixture
def leave(monkeypatch, tmp_path):
    """(name) -> what pip leaves of a package when a second one that wrote into its folder is removed."""
    def leave(name):
        (tmp_path / name / "capi").mkdir(parents=True)
        (tmp_path / name / "capi" / "lib.so").write_bytes(b"")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setitem(sys.modules, name, ModuleType(name))  # the real one lies further back, and would be found
    return leave


@pytest.mark.parametrize("name", ["onnxruntime", "tensorrt", "tensorrt_rtx"])
def test_a_folder_that_was_left_behind_is_no_runtime(leave, name):
    """onnxruntime and onnxruntime-gpu share a folder (danielgatis/rembg#706): `describe` ended with a traceback."""
    leave(name)
    told = describe()["runtimes"]
    assert told[name]["reason"] == "not installed" and "version" not in told[name]
    assert told["litert"] and set(told) > {name}


def test_a_folder_alone_is_no_package(monkeypatch, tmp_path):
    (tmp_path / "nothing_but_a_folder" / "capi").mkdir(parents=True)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="No module named 'nothing_but_a_folder'"):
        imported("nothing_but_a_folder")
    (tmp_path / "nothing_but_a_folder" / "__init__.py").write_text("__version__ = '1.19.2'\n")
    sys.modules.pop("nothing_but_a_folder")
    assert installed_version("nothing_but_a_folder") == "1.19.2"


@pytest.mark.parametrize(("name", "version"), [("ai-edge-litert", "2.3.0"), ("ai-edge-litert-nightly", "2.4.0.dev1")])
def test_litert_has_two_names(monkeypatch, tmp_path, name, version):
    for file in ("__init__.py", "interpreter.py"):
        (tmp_path / "ai_edge_litert").mkdir(exist_ok=True)
        (tmp_path / "ai_edge_litert" / file).write_text("")
    meta = tmp_path / f"{name.replace('-', '_')}-{version}.dist-info"
    meta.mkdir()
    (meta / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    for module in [module for module in sys.modules if module.split(".")[0] == "ai_edge_litert"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *(folder for folder in sys.path if "site-packages" not in folder)])
    assert installed_version("litert") == version


@pytest.mark.parametrize(("l4t", "fix"), [
    ("32.7.1", "JetPack 4 ends at TensorRT 8.2, and 8.5 is needed: use onnxruntime there"),
    ("35.4.1", "JetPack installs it for /usr/bin/python3; a virtual environment needs --system-site-packages"),
    ("36.4.3", "JetPack installs it for /usr/bin/python3; a virtual environment needs --system-site-packages"),
    (None, "")])
def test_each_jetpack_without_tensorrt_gets_a_fix_that_helps_there(leave, monkeypatch, l4t, fix):
    """A Nano's owner was sent to /usr/bin/python3, which is 3.6, and from there back to another Python."""
    leave("tensorrt")
    monkeypatch.setattr("edge_se.device.agent.tensorrt.l4t_version", lambda: l4t)
    with pytest.raises(AgentError) as refused:
        load_tensorrt("tensorrt")
    assert (refused.value.what, refused.value.fix) == ("not installed", fix)
