"""docs/extending.md: a target, a runtime, a board and a layout are one file each, and those of the page work."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from edge_se.backends.table import NO_RUNTIMES
from edge_se.measure.boards import read_board

PAGE = Path(__file__).parents[1] / "docs" / "extending.md"
FILES = dict(re.findall(r"```\w+\n# (\S+)\n(.*?)```", PAGE.read_text(), re.DOTALL))
PACKAGES = {"edge_se/graph/targets/toy.py": "edge_se.graph.targets", "edge_se/backends/toy.py": "edge_se.backends",
            "edge_se/data/layouts/toy.py": "edge_se.data.layouts"}
RUN = """
import sys
from importlib import import_module
for package in {packages}:
    import_module(package).__path__.append(sys.argv[1] + "/" + package)
del sys.argv[1]
from edge_se.cli import main
main()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_onnx, random_images):
    """The page's files, each where its package is told to look, with a model and images."""
    folder = tmp_path_factory.mktemp("extended")
    for file, package in PACKAGES.items():
        (folder / package).mkdir()
        (folder / package / "toy.py").write_text(FILES[file])
    (folder / "toy.toml").write_text(FILES["toy.toml"])
    (folder / "tiny.onnx").write_bytes(tiny_onnx.content)
    random_images(48).pixels.tofile(folder / "images.raw")
    return folder


def edge_se(folder, *arguments, without=None):
    packages = [package for package in PACKAGES.values() if package != without]
    return subprocess.run([sys.executable, "-c", RUN.format(packages=packages), folder, *arguments],
                          capture_output=True, text=True, cwd=folder)


@pytest.fixture(scope="module")
def exported(folder):
    done = edge_se(folder, "export", "--model", "tiny.onnx", "--int8", "--target", "toy,tensorrt", "--calibration",
                   "images.raw", "--no-accuracy", "--effort", "quick", "--bundle", "--out", "build", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_page_has_the_four():
    assert set(FILES) == {*PACKAGES, "toy.toml"}


def test_the_target_is_exported_and_bundled(folder, exported):
    assert [item["file"] for item in exported["artifacts"]] == ["fp32.onnx", "int8.toy.onnx", "int8.tensorrt.onnx"]
    told = json.loads((folder / "build" / "bundle" / "bundle.json").read_text())
    assert [entry["target"] for entry in told["files"]] == ["tensorrt", "toy", "any"]  # by preference
    assert told["targets"]["toy"][1]["before"] == "1.16"


def test_the_layout_is_calibrated_on(exported):
    assert (exported["calibration"]["name"], exported["calibration"]["images"]) == ("images", 48)


def test_the_runtime_runs_the_target(folder, exported):
    done = edge_se(folder, "bench", "--model", "build", "--backend", "toy", "--min-duration", "0.01", "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["measurements"]
    assert [(row["target"], row["backend"]) for row in rows] == [("any", "toy"), ("toy", "toy")]
    assert "written for TensorRT" in done.stderr  # the other file's own reason


def test_the_board_is_estimated(folder, exported):
    assert read_board(str(folder / "toy.toml")).name == "Toy"
    done = edge_se(folder, "bench", "--model", "build", "--estimate", "toy.toml", "--json")
    rows = json.loads(done.stdout)["measurements"]
    assert {(row["board"], row["mode"], row["target"]) for row in rows} == {
        ("Toy", "10W", "any"), ("Toy", "10W", "tensorrt")}


@pytest.mark.parametrize(("without", "message"), [
    ("edge_se.graph.targets", "unknown target 'toy'"), ("edge_se.data.layouts", "unknown calibration set")])
def test_without_the_file_nothing_knows_it(folder, without, message):
    done = edge_se(folder, "export", "--model", "tiny.onnx", "--int8", "--target", "toy", "--calibration", "images.raw",
                   "--out", "other", without=without)
    assert done.returncode == 2 and message in done.stderr


def test_every_other_module_beside_the_runtimes_is_told():
    """A module of `edge_se.backends` is a runtime, or it is named in the table."""
    import edge_se.backends

    modules = {path.stem for path in Path(edge_se.backends.__file__).parent.glob("*.py")} - {"__init__"}
    runtimes = {stem for stem in modules if re.search(
        "^BACKENDS = ", Path(edge_se.backends.__file__).with_name(f"{stem}.py").read_text(), re.MULTILINE)}
    assert modules - runtimes == set(NO_RUNTIMES)
