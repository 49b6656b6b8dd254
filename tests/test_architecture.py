"""Imports point one way: cli -> studies -> steps -> reporting -> (quantization, evaluation, training) -> ...

A file that imports nothing behind strings is held by this: see also `test_no_import_hides_in_a_string`.
"""

import ast
import re
from pathlib import Path

import pytest

import edge_se

PACKAGE = Path(edge_se.__file__).parent
LAYERS = (
    {"core", "device"},
    {"cluster"},
    {"nets", "data"},
    {"graph"},
    {"measure"},
    {"backends"},
    {"quantization", "evaluation", "training"},
    {"reporting"},
    {"steps"},
    {"studies"},
    {"cli"},
)
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE)
LONGEST = 400  # lines: a longer module has a second noun


def dotted(path: Path) -> str:
    return ".".join(("edge_se", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")


NAMES = {dotted(path): path for path in MODULES}


def package_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0]


def imports_of(path: Path) -> set[str]:
    """The modules of edge-se that `path` imports, wherever in the file; a package counts where its own names come."""
    own = dotted(path).split(".")
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            above = own if path.name == "__init__.py" else own[:-1]
            base = ".".join(above[: len(above) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            if module.split(".")[0] == "edge_se":
                found |= {whole if (whole := f"{module}.{alias.name}") in NAMES else module for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {name.name for name in node.names if name.name.startswith("edge_se.")}
    return found


def test_no_two_test_files_have_one_name() -> None:
    """pytest refuses the second, and only where it collects both."""
    names = [path.name for path in Path(__file__).parent.rglob("test_*.py")]
    assert not {name for name in names if names.count(name) > 1}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    own = package_of(path)
    assert own in RANK, f"give the package '{own}' a layer"
    packages = {name.split(".")[1] for name in imports_of(path) if "." in name}
    upward = {name for name in packages & RANK.keys() if RANK[name] > RANK[own]}
    assert not upward, f"{own} must not import {upward}"


def test_packages_of_one_layer_do_not_import_each_other_in_circles() -> None:
    edges = {(package_of(path), name.split(".")[1]) for path in MODULES for name in imports_of(path) if "." in name}
    assert not {(a, b) for a, b in edges if a != b and (b, a) in edges}


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Also inside a package, and also by imports in functions: a circle means that one noun has two homes."""
    edges = {dotted(path): imports_of(path) & NAMES.keys() for path in MODULES}
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, f"a circle: {' -> '.join((*way[way.index(name):], name))}"
        if name not in done:
            for other in sorted(edges[name] - {name}):
                visit(other, (*way, name))
            done.add(name)

    for name in sorted(edges):
        visit(name, ())


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_import_hides_in_a_string(path: Path) -> None:
    """`edge_se.steps.x:run` and its like escape the tests above, and a reader's search."""
    own = dotted(path)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            named = re.fullmatch(r"(edge_se(?:\.\w+)+)(?::\w+)?", node.value)
            # A process is started by its own module's name alone; `files` opens a package's data beside the module.
            assert named is None or named[1] not in NAMES or own.startswith(named[1]) or named[1].endswith(".worker"), \
                f"{node.value!r}: import it"


@pytest.mark.parametrize("folder", ["edge_se", "bench", "docs"])
def test_modules_are_short(folder: str) -> None:
    paths = list((PACKAGE.parent / folder).rglob("*.py"))
    assert paths and not {str(path): lines for path in paths if (lines := path.read_text().count("\n")) > LONGEST}


def test_no_module_is_named_utils() -> None:
    assert not [path for path in PACKAGE.rglob("*.py") if path.stem in ("utils", "helpers", "common", "misc")]


def test_the_package_never_imports_bench() -> None:
    """bench/ makes this repository's pages and is in no wheel."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = ([node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level
                     else [alias.name for alias in node.names] if isinstance(node, ast.Import) else [])
            assert "bench" not in {name.split(".")[0] for name in names}, path
