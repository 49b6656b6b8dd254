"""What a figure was measured on."""

import re
import subprocess

import pytest

import edge_se
from edge_se.core import environment
from edge_se.device.agent import AgentError
from edge_se.device.agent.tensorrt import load_tensorrt
from edge_se.steps.doctor import Package


def test_versions_name_this_package_python_and_what_is_installed():
    versions = environment.versions()
    assert versions["edge-se"] == edge_se.__version__
    assert {"python", "numpy", "onnx", "onnxruntime"} <= versions.keys()
    assert all(isinstance(version, str) for version in versions.values())
    assert environment.version_of("no-such-distribution") is None


def installed(folder, module, *distributions):
    """A module, and the (distribution, version) that say that they brought it."""
    (folder / module).mkdir()
    (folder / module / "__init__.py").touch()
    for name, version in distributions:
        told = folder / f"{name.replace('-', '_')}-{version}.dist-info"
        told.mkdir()
        (told / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (told / "top_level.txt").write_text(f"{module}\n")


@pytest.mark.parametrize(("module", "asked", "distributions", "version"), [
    ("a_runtime", "a_runtime", [("a-runtime-gpu", "1.24.4")], "1.24.4"),
    ("b_runtime", "b-runtime", [("b-runtime-nightly", "2.0.dev3")], "2.0.dev3"),
    ("c_runtime", "c_runtime", [("c-runtime", "3.1"), ("c-runtime-gpu", "3.0")], "3.1"),
    ("d_runtime", "d_runtime", [("d-runtime-openvino", "1.1"), ("d-runtime-gpu", "1.2")], "1.2"),
    ("e_runtime", "e_runtime", [], None),
])
def test_a_module_has_the_version_of_the_distribution_that_brought_it(tmp_path, monkeypatch, module, asked,
                                                                      distributions, version):
    installed(tmp_path, module, *distributions)
    monkeypatch.syspath_prepend(tmp_path)
    assert environment.version_of(asked) == version


@pytest.mark.parametrize(("most", "count"), [("1", 1), ("2", 2), ("64", 4), ("0", 4), ("", 4), ("many", 4)])
def test_processors_are_bounded_for_a_worker_among_others(monkeypatch, most, count):
    monkeypatch.setattr(environment.os, "sched_getaffinity", lambda process: range(4), raising=False)
    monkeypatch.setenv(environment.MOST_PROCESSORS, most)
    assert environment.cpu_count() == environment.hardware()["cores"] == count


def test_hardware_has_its_keys():
    hardware = environment.hardware()
    assert hardware.keys() == {"cpu", "cores", "flags", "machine", "system"}
    assert hardware["cpu"] and hardware["cores"] >= 1
    assert set(hardware["flags"]) <= set(environment._TELLING_FLAGS)


@pytest.mark.parametrize(("flags", "int8", "bf16"), [
    ((), False, False), (("avx2", "avx512f"), False, False), (("avx512_vnni",), True, False),
    (("amx_int8", "amx_bf16"), True, True), (("asimddp",), True, False), (("avx512_bf16",), False, True),
])
def test_fast_kernels_follow_the_flags(monkeypatch, flags, int8, bf16):
    monkeypatch.setattr(environment, "_cpuinfo", lambda: ("some processor", frozenset(flags)))
    assert (environment.has_fast_int8(), environment.has_fast_bf16()) == (int8, bf16)


def test_commit_is_a_hash_or_nothing():
    assert environment.commit() is None or re.fullmatch(r"[0-9a-f]{40}\+?", environment.commit())


@pytest.mark.parametrize("failure", [OSError, subprocess.TimeoutExpired("git", 10)])
def test_commit_without_git_is_none(monkeypatch, failure):
    def fail(*_):
        raise failure
    monkeypatch.setattr(environment, "_git", fail)
    assert environment.commit.__wrapped__() is None


@pytest.mark.parametrize("make", [lambda at: at.mkdir(), lambda at: (at.mkdir(), (at / "__init__.pyi").touch()),
                                  lambda at: (at / "cache").mkdir(parents=True)])
def test_a_folder_of_a_packages_name_is_no_package(tmp_path, monkeypatch, make):
    make(tmp_path / "tensorrt_of_nobody")
    monkeypatch.syspath_prepend(tmp_path)
    assert __import__("tensorrt_of_nobody").__file__ is None and not environment.importable("tensorrt_of_nobody")
    assert environment.importable("onnxruntime") and not environment.importable("surely_no_package")
    with pytest.raises(AgentError, match="not installed"):
        load_tensorrt("tensorrt_of_nobody")
    assert Package(module="tensorrt_of_nobody").code.count("raise ModuleNotFoundError") == 1
    with pytest.raises(ModuleNotFoundError, match="'tensorrt_of_nobody'"):
        exec(Package(module="tensorrt_of_nobody").code, {})
