"""Tables of lint's rules and of the files of other tools."""

import pytest

from bench.tables import lint
from edge_se.quantization.lint.base import KINDS
from edge_se.quantization.lint.table import RULES


def test_every_rule_and_kind_has_a_row():
    rows = lint.rules_table().splitlines()[2:]
    assert [row.split("`")[1] for row in rows] == list(RULES)
    assert all((" yes |" in row) is (rule.repair is not None) for row, rule in zip(rows, RULES.values()))
    assert [row.split()[1] for row in lint.kinds_table().splitlines()[2:]] == list(KINDS)


@pytest.fixture
def document(monkeypatch):
    rule = {"rule": "fp16-scales", "kind": "wrong", "runtime": "onnxruntime", "nodes": 2,
            "cost": {"sqnr_db": 3.61, "flips": 7, "setting": "default"}}
    slow = {"rule": "relu-in-front", "kind": "slow", "runtime": "opencv", "nodes": 1, "cost": None}
    made = {"model": "net", "calibrated": 64, "n": 256, "environment": {"versions": {"onnxruntime": "1.31.1"}},
            "rows": [
        {"name": "edge-se cpu", "versions": {}, "runtimes": ["onnxruntime", "any"], "rules": [], "runs": []},
        {"name": "a tool", "versions": {"tool": "2.0"}, "rules": [rule, slow], "runs": [],
         "runtimes": ["onnxruntime", "openvino", "tensorrt", "opencv", "tools", "any"]},
        {"name": "another", "versions": {"other": "1.0"}, "failed": "ImportError: no such module"}]}
    monkeypatch.setattr(lint, "measured", lambda name: made)
    return made


def test_what_other_tools_break(document):
    columns, _, own, tool, failed, _, words = lint.peers_table().splitlines()
    assert columns == "| file | onnxruntime | OpenVINO | TensorRT | OpenCV | every runtime |"
    assert own == "| edge-se cpu | none | – | – | – | none |"
    assert tool == ("| a tool (2.0) | `fp16-scales` (wrong: 3.6 dB, 7 flips) | none | none | `relu-in-front` (slow) | "
                    "none |")
    assert failed.startswith("| another (1.0) | made no file: ImportError: no such module |")
    assert "256 validation images" in words and "onnxruntime 1.31.1" in words
