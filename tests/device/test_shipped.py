"""The agent as one file: the same bytes everywhere, run without this project, in an old Python."""

import ast
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from edge_se.device import agent, shipped

SOURCES = sorted(Path(agent.__file__).parent.glob("*.py"))
FILES = [*SOURCES, Path(shipped.__file__).with_name("run.py")]


@pytest.fixture
def zipapp(tmp_path):
    (tmp_path / shipped.NAME).write_bytes(shipped.zipapp())
    return tmp_path / shipped.NAME


@pytest.fixture
def packed_elsewhere(tmp_path, monkeypatch):
    """The zipapp of a copy of the sources with other times, in another order, beside what is no source."""
    folder = tmp_path / "elsewhere" / "agent"
    folder.mkdir(parents=True)
    for number, path in enumerate(reversed(SOURCES)):
        shutil.copyfile(path, folder / path.name)
        os.utime(folder / path.name, (1e9 + number, 1e9 + number))
        (folder / path.name).chmod(0o600)
    (folder / "__pycache__").mkdir()
    (folder / "notes.txt").write_text("no source")

    def pack():
        monkeypatch.setattr(agent, "__file__", str(folder / "__init__.py"))
        return shipped.zipapp.__wrapped__()
    return folder, pack


def test_one_hash_for_one_source(packed_elsewhere):
    assert packed_elsewhere[1]() == shipped.zipapp()


def test_another_hash_for_another_source(packed_elsewhere):
    folder, pack = packed_elsewhere
    (folder / "timing.py").write_text((folder / "timing.py").read_text() + "\n# changed\n")
    assert pack() != shipped.zipapp()


def test_it_holds_the_package_and_nothing_else():
    with zipfile.ZipFile(io.BytesIO(shipped.zipapp())) as archive:
        assert archive.namelist() == ["__main__.py", *(f"agent/{path.name}" for path in SOURCES)]
        assert all(archive.read(f"agent/{path.name}") == path.read_bytes() for path in SOURCES)


def test_describe_is_json(zipapp, bare_python):
    told = json.loads(subprocess.run([bare_python / "python3", zipapp, "describe"], capture_output=True, check=True,
                                     cwd="/").stdout)
    assert told["cores"] >= 1 and "clocks_hz" in told["state"]
    wrong = subprocess.run([bare_python / "python3", zipapp, "dance"], capture_output=True, text=True)
    assert wrong.returncode == 2 and "python3 agent.pyz describe" in wrong.stderr


@pytest.mark.parametrize("shadow", ["agent.py", "edge_se.py", "numpy.py", "json.py"])
def test_it_samples_from_its_file_whatever_lies_in_the_working_directory(zipapp, bare_python, tmp_path, shadow):
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / shadow).write_text("raise SystemExit('the wrong one')\n")
    program = ("import sys, time; sys.path[0] = sys.argv[1]; from agent import Sampler; start = time.monotonic()\n"
               "sampler = Sampler(['rapl'], 0.01)\n"
               "while not (taken := sampler.take(start, time.monotonic())) and time.monotonic() < start + 20: pass\n"
               "sampler.stop(); print(len(taken) > 0)")
    done = subprocess.run([bare_python / "python3", "-c", program, zipapp], capture_output=True, text=True,
                          cwd=tmp_path / "work")
    assert done.stdout == "True\n", done.stderr


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_device_needs_python_38_and_nothing_of_this_project(path):
    vermin = pytest.importorskip("vermin", reason="vermin is not installed: pip install 'edge-se[dev]'")
    source = path.read_text()
    ast.parse(source, feature_version=(3, 8))
    visitor = vermin.visit(source)
    assert visitor.minimum_versions()[1] <= (3, 8), visitor.output_text()
    tree = list(ast.walk(ast.parse(source)))
    roots = {alias.name.split(".")[0] for node in tree if isinstance(node, ast.Import) for alias in node.names} | {
        node.module.split(".")[0] for node in tree if isinstance(node, ast.ImportFrom) and node.level == 0}
    allowed = {"numpy", "onnxruntime", "PIL", "tensorrt", "ai_edge_litert"}
    allowed |= {"agent"} if path.name == "run.py" else set()
    assert roots - set(sys.stdlib_module_names) <= allowed
    assert all(node.level < 2 for node in tree if isinstance(node, ast.ImportFrom))  # nothing above the package


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_modules_of_the_agent_are_small(path):
    assert len(path.read_text().splitlines()) <= 300
