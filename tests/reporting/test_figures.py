"""The sensitivity figure is drawn from the document alone, and refused before anything takes time."""

import re
import sys

import pytest

from edge_se.core.errors import EdgeSeError, UnavailableError
from edge_se.reporting.figures import require_figures, sensitivity_figure

UNITS = [{"name": "conv1", "kind": "layer", "macs": 10, "sqnr_db": 40.0, "flips": 3, "brings_ms": -0.1},
         {"name": "layer1.0.se", "kind": "se-gate", "macs": 1, "sqnr_db": 60.0, "flips": 0, "brings_ms": 0.0},
         {"name": "Add add", "kind": "operator", "macs": 0, "sqnr_db": 45.0, "flips": 1, "brings_ms": 0.2}]


def document(**changes):
    return {"model": "net", "target": "cpu", "n": 1000, "dataset": "some-images", "units": UNITS} | changes


def texts(path):
    """matplotlib draws letters as paths, with the text beside each as a comment."""
    return re.findall(r"<!-- (.*?) -->", path.read_text())


def test_each_unit_is_named_and_kinds_are_told_apart(tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: pip install 'edge-se[plots]'")
    path = tmp_path / "figure.svg"
    sensitivity_figure(document(), path)
    found = texts(path)
    assert {"conv1", "layer1.0.se", "Add add", "layer", "excitation", "operator"} <= set(found)
    assert any("net, target cpu" in text and "1,000 images of some-images" in text for text in found)
    assert any(text.startswith("brings") for text in found)
    first = path.read_bytes()
    sensitivity_figure(document(), path)
    assert path.read_bytes() == first


def test_without_times_there_is_one_panel(tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: pip install 'edge-se[plots]'")
    sensitivity_figure(document(units=[unit | {"brings_ms": None} for unit in UNITS]), tmp_path / "figure.svg")
    assert not any(text.startswith("brings") for text in texts(tmp_path / "figure.svg"))


def test_what_cannot_be_drawn_is_refused_first(tmp_path, monkeypatch):
    with pytest.raises(EdgeSeError, match=r"'\.gif' is no kind of figure; end the name with one of \.svg"):
        require_figures(tmp_path / "figure.gif")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UnavailableError, match=r"pip install 'edge-se\[plots\]'"):
        require_figures(tmp_path / "figure.svg")
