"""What `lint` says of a rule: each runtime is named once, with its version."""

import pytest

from edge_se.quantization.lint.table import RULES
from edge_se.reporting.lint import told


@pytest.mark.parametrize(("name", "where"), [
    ("gemm-bias-scale", "onnxruntime 1.31.1"),
    ("twin-pairs", "onnxslim 0.1.98, onnxsim 0.8.1, onnxscript 0.7.2"),
    ("attention-products", "every runtime (onnxruntime 1.31.1, OpenVINO 2026.4.1)")])
def test_a_rule_names_each_runtime_once(name, where) -> None:
    rule = RULES[name]
    what, *_ = told({"rule": rule.name, "kind": rule.kind, "runtime": rule.runtime, "versions": rule.versions,
                     "instead": rule.instead, "fix": rule.fix, "cost": None, "repairable": False})
    assert what.endswith(f"), {where}: {rule.instead}.")
