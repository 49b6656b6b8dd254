"""The Python API: cheap to import, the very functions of the commands, and every example of docs/api.md runs."""

import ast
import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
from fnmatch import fnmatchcase
from importlib import import_module
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

import edge_se

ROOT = Path(__file__).parents[1]
DOCUMENT = (ROOT / "docs" / "api.md").read_text()
RECORDED = ROOT / "tests" / "recorded" / "layers"
HEAVY = "{'torch', 'onnx', 'onnxruntime', 'numpy', 'scipy', 'pydantic', 'typer', 'rich'}"


def test_import_is_cheap():
    code = f"import sys, edge_se\nheavy = {HEAVY} & set(sys.modules)\nsys.exit(f'imported {{heavy}}' if heavy else 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", edge_se._API)
def test_names_are_those_of_their_modules(name):
    pytest.importorskip("torch", reason="torch is not installed: pip install 'edge-se[torch]'")
    module, attribute = edge_se._API[name]
    assert getattr(edge_se, name) is getattr(import_module(module), attribute)


def test_the_table_type_checkers_and_dir_agree():
    tree = ast.parse(Path(edge_se.__file__).read_text())
    seen = {alias.asname or alias.name: (node.module, alias.name) for block in tree.body if isinstance(block, ast.If)
            for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert seen == edge_se._API
    assert set(edge_se.__all__) == set(edge_se._API) <= set(dir(edge_se))


def test_the_command_line_calls_the_same_functions():
    source = "".join(path.read_text() for path in (ROOT / "edge_se" / "cli").glob("*.py"))
    for name, (module, function) in edge_se._API.items():
        assert not name.islower() or f"from {module} import {function} as step" in source


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'exprot'"):
        edge_se.exprot  # noqa: B018
    assert not hasattr(edge_se, "_no_such_name")


@pytest.fixture
def workplace(tiny_onnx, tmp_path, monkeypatch):
    """What the examples find: a net, one that says nothing of its normalisation, images and recorded layers."""
    monkeypatch.chdir(tmp_path)
    Path("tiny.onnx").write_bytes(tiny_onnx.content)
    foreign = tiny_onnx.copy()
    del foreign.metadata_props[:]
    onnx.save(foreign, "foreign.onnx")
    Path("images").mkdir()
    random = np.random.default_rng(0)
    for number in range(16):
        Image.fromarray(random.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(f"images/{number:02}.png")
    for precision in ("int8", "fp16"):
        for kind in ("layers", "profile"):
            shutil.copy(RECORDED / f"a100-resnet18-{precision}.{kind}.json", f"{precision}.{kind}.json")


def expected_lines(block):
    """What each `print(...)  # text` of a block is to print (`...`: anything), in order; None: an example."""
    for line in block.splitlines():
        comment = re.search(r"^\s*print\(.*\)  # (.*)$", line)
        if comment:
            yield None if comment[1].startswith("e.g. ") else comment[1]


@pytest.mark.slow
def test_the_examples_run_and_print_what_they_say(workplace):
    blocks = re.findall(r"^## (\w+)$|^```python\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
    names, heading, ran = {}, "", []
    for title, block in blocks:
        heading = title or heading
        if title or (heading == "gate" and not os.environ.get("EDGE_SE_DATA")):
            continue
        with contextlib.redirect_stdout(io.StringIO()) as said:
            exec(compile(block, f"docs/api.md, {heading}", "exec"), names)
        wanted, lines = list(expected_lines(block)), said.getvalue().splitlines()
        assert len(wanted) == len(lines) == block.count("print("), f"every print of {heading} says what it prints"
        for line, pattern in zip(lines, wanted):
            assert pattern is None or fnmatchcase(line, pattern.replace("[", "[[]").replace("...", "*")), heading
        ran.append(heading)
    assert {"export", "verify", "bench", "sensitivity", "explain", "doctor", "errors"} <= set(ran)


def test_paths_are_texts_or_paths_and_names_one_or_several(workplace, monkeypatch):
    monkeypatch.delenv("EDGE_SE_DATA", raising=False)
    for number, (targets, kind) in enumerate((("cpu", str), ("cpu, arm", Path), (["cpu"], Path), (("arm",), str))):
        build = edge_se.export(kind("tiny.onnx"), int8=True, targets=targets, calibration=kind("images"),
                               effort="quick", out=kind(f"own{number}"), accuracy=False)
        wanted = [name.strip() for name in targets.split(",")] if isinstance(targets, str) else list(targets)
        assert [item.target for item in build.artifacts[1:]] == wanted
    options = edge_se.BenchOptions(min_duration=0.01, backend="onnxruntime", fresh=False)
    for kind in (str, Path):
        assert edge_se.verify(kind("own0"))["out"] == "own0"
        document = edge_se.bench("cpu", model=kind("own0"), precisions="int8", options=options)
        assert [row["precision"] for row in document["measurements"]] == ["int8"]
        Path("before.json").write_text(json.dumps(document))
        again = edge_se.bench("cpu", model=[kind("own0")], precisions=["int8"], against=kind("before.json"),
                              options=options)
        assert again["measurements"][0]["p50_before_ms"]
        assert edge_se.explain(kind("int8.layers.json"), kind("int8.profile.json"))["verdict"]
    assert edge_se.sensitivity(Path("own0"), images=4)["units"]


@pytest.mark.parametrize(("call", "says"), [
    (lambda: edge_se.export("tiny.onnx", int8=True, targets="cpux"), "did you mean 'cpu"),
    (lambda: edge_se.export("tiny.onnx", int8=True, targets=[1]), "1 is no name; give one text"),
    (lambda: edge_se.export(3), "3 is no path; give a str or a pathlib.Path"),
    (lambda: edge_se.verify(None), "holds no build"),
    (lambda: edge_se.gate(1.5), "1.5 is no path"),
    (lambda: edge_se.train("resnet18", out=7), "7 is no path"),
    (lambda: edge_se.study(b"x.toml"), "b'x.toml' is no path"),
    (lambda: edge_se.robustness("x", corruptions=[2]), "2 is no name"),
])
def test_what_is_neither_says_so(workplace, call, says):
    pytest.importorskip("torch", reason="torch is not installed: pip install 'edge-se[torch]'")
    with pytest.raises(edge_se.EdgeSeError) as refused:
        call()
    assert says in str(refused.value)


def test_every_function_has_a_heading():
    functions = {name for name in edge_se._API if name.islower()}
    assert functions <= set(re.findall(r"^## (\w+)$", DOCUMENT, re.MULTILINE))
