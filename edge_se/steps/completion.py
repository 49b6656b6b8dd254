"""What the shell offers after Tab: names from tables and folders. Nothing heavy is imported, since a user waits.

Each function takes what was typed so far and gives what fits; where nothing does, the shell offers files.
"""

from __future__ import annotations

from collections.abc import Iterable

# Copies of tables whose modules import onnx or numpy; a test compares.
DEVICES = ("cpu", "cuda", "jetson", "loopback", "web", "ssh://")
METHODS = ("minmax", "entropy", "percentile", "mse")
CORRUPTIONS = ("gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "jpeg_compression")
RUNTIMES = ("onnxruntime", "openvino", "tensorrt", "opencv", "tools")
JUDGING_SPLITS = ("test", "validation")


def models(incomplete: str) -> list[tuple[str, str]]:
    """Networks of the zoo, each with what it is."""
    from edge_se.nets.zoo import MODELS

    return [(name, spec.about) for name, spec in MODELS.items() if name.startswith(incomplete)]


def builds(incomplete: str) -> list[str]:
    """Builds under ./build."""
    from edge_se.core.artifacts import BUILDS, MANIFEST

    return _fitting(sorted(path.parent.name for path in BUILDS.glob(f"*/{MANIFEST}")), incomplete)


def boards(incomplete: str) -> list[str]:
    """Boards that are shipped, and all."""
    from edge_se.core.assets import asset

    return _fitting([*sorted(path.stem for path in asset("bench", "devices").glob("*.toml")), "all"], incomplete)


def devices(incomplete: str) -> list[str]:
    """Where `bench` measures."""
    return _fitting(DEVICES, incomplete)


def target(incomplete: str) -> list[str]:
    """One target."""
    from edge_se.graph.targets.table import TARGETS

    return _fitting(TARGETS, incomplete)


def targets(incomplete: str) -> list[str]:
    """The last of several targets with commas; none that was named already."""
    from edge_se.graph.targets.table import TARGETS

    return _one_more(TARGETS, incomplete, first=("all",))


def runtimes(incomplete: str) -> list[str]:
    """The last of several targets and runtimes with commas; none that was named already."""
    from edge_se.graph.targets.table import TARGETS

    return _one_more([*TARGETS, *(name for name in RUNTIMES if name not in TARGETS)], incomplete)


def methods(incomplete: str) -> list[str]:
    """How ranges are chosen."""
    return _fitting(METHODS, incomplete)


def recipes(incomplete: str) -> list[str]:
    """Recipes that are shipped and belong to no single net."""
    from edge_se.core.assets import asset

    return _fitting(sorted(path.stem for path in asset("models", "recipes").glob("*.toml")), incomplete)


def corruptions(incomplete: str) -> list[str]:
    """The last of several corruptions with commas; none that was named already."""
    return _one_more(CORRUPTIONS, incomplete)


def judging_splits(incomplete: str) -> list[str]:
    """The images that a build may be judged on."""
    return _fitting(JUDGING_SPLITS, incomplete)


def _one_more(names: Iterable[str], incomplete: str, first: Iterable[str] = ()) -> list[str]:
    """What the last of names with commas may be; `first`: what stands alone."""
    done, comma, last = incomplete.rpartition(",")
    left = [name for name in names if name not in done.split(",")]
    return [f"{done}{comma}{name}" for name in _fitting(left if done else [*left, *first], last)]


def _fitting(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]
