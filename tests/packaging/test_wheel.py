"""What users install: the wheel, not the source tree, and without torch."""

import os
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

NO_TORCH = textwrap.dedent("""
    import sys
    class Absent:
        def find_spec(self, name, path=None, target=None):
            if name.partition('.')[0] in ('torch', 'torchvision', 'onnxscript', 'openvino', 'tensorrt_rtx'):
                raise ModuleNotFoundError(f"No module named '{name}'", name=name)
    sys.meta_path.insert(0, Absent())
""")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation",
                    "--wheel-dir", folder, ROOT], check=True)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder, wheel],
                   check=True)
    (folder / "sitecustomize.py").write_text(NO_TORCH)
    return folder


def test_nothing_but_the_package_at_the_top(wheel) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"edge_se"}
    for shipped in ("models/se_resnet18/recipe.toml", "models/se_resnet18/weights.safetensors",
                    "models/resnet18/card.json", "calibration/synthetic-256.npz", "calibration/cifar10-calib512.json",
                    "bench/devices/orin-nano-8gb.toml", "py.typed", "reporting/report/template.html.j2",
                    "device/web/page.html", "device/web/session.mjs"):
        assert f"edge_se/{shipped}" in names
    assert not [name for name in names if name.endswith((".onnx", ".bin"))]


# What a folder of edge_se/ may hold; the other folders hold data alone.
MODULES = {".py", ".j2", ".typed", ".mjs", ".html"}
DATA = {"models": {".toml", ".json", ".safetensors"}, "calibration": {".json", ".npz"}, "bench": {".toml", ".json"}}
OF_BENCH = {"edge_se/bench/results/estimator.json"}  # all else of bench/ but the boards is this repository's own


def test_what_may_be_inside(wheel) -> None:
    """Measurements, and what makes the pages of this repository of them, stay in the repository."""
    names = [name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info" not in name]
    for name in names:
        folder, suffix = name.split("/")[1], Path(name).suffix
        assert suffix in DATA.get(folder, MODULES), name
    bench = {name for name in names if name.startswith("edge_se/bench/") and "/bench/devices/" not in name}
    assert bench == OF_BENCH
    source = {str(path.relative_to(ROOT)) for path in (ROOT / "edge_se").rglob("*.py")}
    assert {name for name in names if name.endswith(".py")} == source


def test_little_beside_weights_images_and_modules(wheel) -> None:
    """Unpacked, 240 kB today: cards, recipes, boards, templates. A picture or a file of results would show."""
    held = (".safetensors", ".npz", ".py")
    files = [file for file in zipfile.ZipFile(wheel).infolist() if not file.filename.endswith(held)]
    largest = sorted(files, key=lambda file: -file.file_size)[:5]
    assert sum(file.file_size for file in files) <= 400_000, [file.filename for file in largest]


@pytest.mark.slow
def test_works_without_torch_from_the_wheel(installed, tiny_onnx, calibration_npz, tmp_path) -> None:
    (tmp_path / "tiny.onnx").write_bytes(tiny_onnx.content)
    environment = {key: value for key, value in os.environ.items() if key != "EDGE_SE_DATA"}
    environment |= {"PYTHONPATH": str(installed), "EDGE_SE_CACHE": str(tmp_path / "cache")}

    def edge_se(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-m", "edge_se", *arguments], cwd=tmp_path, env=environment,
                              capture_output=True, text=True)

    where = subprocess.run([sys.executable, "-c", "import edge_se; print(edge_se.__file__)"], env=environment,
                           cwd=tmp_path, capture_output=True, text=True).stdout
    assert str(installed) in where
    for arguments in (("export", "--model", "tiny.onnx", "--int8", "--fp16", "--calibration", "synthetic-256"),
                      ("bench", "--model", "tiny", "--min-duration", "0.05"),
                      ("bench", "--model", "tiny", "--estimate", "all"), ("verify", "tiny"),
                      ("report", "tiny", "--html", "report.html"),
                      ("models", "list")):
        done = edge_se(*arguments)
        assert done.returncode == 0, done.stderr
    refused = edge_se("export", "--model", "se_resnet18")
    assert refused.returncode == 2 and "edge-se[torch]" in refused.stderr
