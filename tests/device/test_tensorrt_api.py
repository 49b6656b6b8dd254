"""What the agent asks of TensorRT is there: in the stubs of 10.13, in TensorRT for RTX, or explained."""

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edge_se.device import agent

AGENT = Path(agent.__file__).parent
FILES = [AGENT / "tensorrt.py", AGENT / "tensorrt_runner.py"]
ROOT = AGENT.parents[2]
STUBS = "tensorrt-stubs==10.13.0.35.1"  # generated from NVIDIA's bindings of that version
# What the agent names in strings, since a version lacks it, and why neither of the two need have it.
NAMED = {("NetworkDefinitionCreationFlag", "STRONGLY_TYPED"), ("NetworkDefinitionCreationFlag", "EXPLICIT_BATCH"),
         ("BuilderFlag", "FP16"), ("BuilderFlag", "INT8"), ("ComputeCapability", "SM86")}
BRANCHES: dict[tuple[str, ...], str] = {}


def asked(source):
    """(class,) and (class, member) of every name that `source` takes from the module of TensorRT."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        chain = []
        while isinstance(node, ast.Attribute):
            chain.append(node.attr)
            node = node.value
        if isinstance(node, ast.Name):
            chain.append(node.id)
        path = list(reversed(chain))
        while path and path[0] in ("self", "_trt"):
            path.pop(0)
        if len(path) > 1 and path[0] in ("trt", "module") and path[1][0].isupper():
            found.add(tuple(path[1:3]))
    return found | NAMED


@pytest.fixture(scope="session")
def stubs(tmp_path_factory):
    """A folder with the stubs, put right where they are no Python: mypy refuses the whole file else."""
    folder = tmp_path_factory.mktemp("stubs")
    got = subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder, STUBS],
                         capture_output=True, text=True, timeout=120)
    if got.returncode:
        pytest.skip(f"{STUBS} cannot be installed here: {got.stderr.strip().splitlines()[-1]}")
    file = folder / "tensorrt_bindings" / "tensorrt.pyi"
    text = re.sub(r"\bin: ", "in_: ", file.read_text())
    file.write_text(text.replace("channel_axis: int) -> IScaleLayer", "channel_axis: int = 0) -> IScaleLayer"))
    return folder


def of_stubs(folder):
    """The same pairs of every class in the stubs."""
    tree = ast.parse((folder / "tensorrt_bindings" / "tensorrt.pyi").read_text())
    classes = {item.name: item for item in tree.body if isinstance(item, ast.ClassDef)}
    members = {(name, member) for name, item in classes.items() for part in item.body
               for member in ([part.name] if isinstance(part, ast.FunctionDef | ast.ClassDef) else
                              [part.target.id] if isinstance(part, ast.AnnAssign) else [])}
    return {(name,) for name in classes} | members


def there(module, path):
    for name in path:
        if not hasattr(module, name):
            return False
        module = getattr(module, name)
    return True


def test_every_name_is_in_one_of_them_or_explained(stubs):
    known, rtx = of_stubs(stubs), pytest.importorskip("tensorrt_rtx")
    names = set().union(*(asked(file.read_text()) for file in FILES))
    assert len(names) > 15 and ("MemoryPoolType", "WORKSPACE") in names and ("Runtime",) in names
    assert [path for path in sorted(names) if path not in known and not there(rtx, path) and path not in BRANCHES] == []
    assert [path for path in BRANCHES if path in known or there(rtx, path)] == []  # no excuse that nothing needs


def test_a_name_that_neither_has_is_seen(stubs):
    names = asked("trt.Builder(self.logger)\nself.module.MemoryPoolType.HEAP\nself._trt.module.Executor()")
    unknown = {path for path in names if path not in of_stubs(stubs)} - NAMED
    assert unknown == {("MemoryPoolType", "HEAP"), ("Executor",)}


@pytest.mark.slow
@pytest.mark.parametrize(("change", "complaint"), [
    (None, None),
    (("builder.create_builder_config()", "builder.builder_config()"), 'has no attribute "builder_config"'),
    (("get_tensor_profile_shape(self._input, 0)", "get_tensor_profile_shape(0)"), "Missing positional argument"),
    (("execute_async_v3(self._stream.value or 0)", "execute_async_v3()"), "Missing positional argument"),
])
def test_calls_are_those_of_the_stubs(stubs, tmp_path, change, complaint):
    if not (ROOT / "pyproject.toml").exists():
        pytest.skip("the settings of mypy are not here")
    package = tmp_path / "edge_se" / "device"
    shutil.copytree(AGENT, package / "agent", ignore=shutil.ignore_patterns("__pycache__"))
    for folder in (package, package.parent):
        (folder / "__init__.py").write_text("")
    if change:
        file, = (path for path in sorted((package / "agent").glob("tensorrt*.py")) if change[0] in path.read_text())
        file.write_text(file.read_text().replace(*change))
    done = subprocess.run([sys.executable, "-m", "mypy", "--config-file", ROOT / "pyproject.toml", "--cache-dir",
                           stubs / ".cache", "edge_se/device/agent"], cwd=tmp_path, capture_output=True, text=True,
                          env=os.environ | {"MYPYPATH": str(stubs)}, timeout=300)
    complaints = [line for line in done.stdout.splitlines() if line.startswith("edge_se")]
    assert "checked" in done.stdout, done.stdout[-2000:] + done.stderr  # it came as far as the agent
    assert (complaints == []) if change is None else any(complaint in line for line in complaints), complaints
