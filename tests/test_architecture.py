"""Imports point one way: cli -> steps -> studies -> (training, quantization, evaluation, reporting) -> ... -> core."""

import ast
from pathlib import Path

import pytest

import edge_se

PACKAGE = Path(edge_se.__file__).parent
LAYERS = (
    {"core", "device"},
    {"graph", "nets", "data", "remote"},
    {"backends", "measure"},
    {"training", "quantization", "evaluation", "reporting"},
    {"studies"},
    {"steps"},
    {"cli"},
)
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
MODULES = [path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE]


def package_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0]


def imported_packages(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("edge_se"):
            parts = node.module.split(".")
            found |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {name.name.split(".")[1] for name in node.names if name.name.startswith("edge_se.")}
    return found & RANK.keys()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    own = package_of(path)
    assert own in RANK, f"give the package '{own}' a layer"
    upward = {name for name in imported_packages(path) if RANK[name] > RANK[own]}
    assert not upward, f"{own} must not import {upward}"


def test_packages_of_one_layer_do_not_import_each_other_in_circles() -> None:
    edges = {(package_of(path), name) for path in MODULES for name in imported_packages(path)}
    circles = {(a, b) for a, b in edges if a != b and (b, a) in edges}
    assert not circles


def test_no_module_is_named_utils() -> None:
    assert not [path for path in PACKAGE.rglob("*.py") if path.stem in ("utils", "helpers", "common", "misc")]
