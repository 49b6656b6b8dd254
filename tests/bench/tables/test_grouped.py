"""The rule for grouped convolutions is what was measured, and the page shows it."""

import pytest

from bench.tables import grouped
from bench.tables.measured import measured
from edge_se.quantization.targets import TARGETS

ROWS = [row for row in measured("grouped")["rows"] if row["groups"] > 1]


IN_OPENVINO = [row for row in measured("grouped_openvino")["rows"] if row["groups"] > 1]


def is_depthwise(row):
    return row["group_channels"] == 1 and row["outputs"] == row["channels"]


@pytest.mark.parametrize("target", ["cpu", "cpu-avx2"])
def test_what_stays_float_is_faster_so_in_every_block(target):
    narrow = [row for row in ROWS if row["group_channels"] <= TARGETS[target].narrow_group and not is_depthwise(row)]
    assert {row["group_channels"] for row in narrow} == {1, 2, 4}
    assert all(row["float_ms"] < row["int8_ms"] for row in narrow)


@pytest.mark.parametrize("target", ["cpu", "cpu-avx2"])
def test_what_stays_int8_is_not_slower_than_fp32(target):
    others = [row for row in ROWS if row["group_channels"] > TARGETS[target].narrow_group or is_depthwise(row)]
    assert all(row["int8_ms"] < 1.02 * row["fp32_ms"] for row in others)
    assert all(row["int8_ms"] < row["float_ms"] for row in others if is_depthwise(row))


def test_what_stays_float_in_openvino_is_faster_so_in_every_block():
    target = TARGETS["openvino"]
    narrow = [row for row in IN_OPENVINO if row["group_channels"] <= target.narrow_group and not is_depthwise(row)]
    assert {row["group_channels"] for row in narrow} == {1} and len(narrow) == 4
    assert all(row["float_ms"] < row["int8_ms"] for row in narrow)
    others = [row for row in IN_OPENVINO if row["group_channels"] > target.narrow_group or is_depthwise(row)]
    assert all(row["int8_ms"] < 1.02 * row["fp32_ms"] for row in others)


def test_the_table_has_the_least_and_the_most_of_each_width(monkeypatch):
    rows = [{"groups": groups, "group_channels": width, "channels": 8, "outputs": outputs, "fp32_ms": 1.0,
             "int8_ms": int8, "float_ms": kept}
            for groups, width, outputs, int8, kept in [(4, 2, 8, 2.0, 0.5), (4, 2, 8, 4.0, 0.8), (8, 1, 16, 2.0, 1.0),
                                                       (8, 1, 8, 0.5, 1.0), (1, 8, 8, 0.1, 0.1)]]
    document = {"rows": rows, "environment": {"versions": {"onnxruntime": "1.0", "openvino": "2.0"},
                                              "hardware": {"cpu": "a CPU", "cores": 2, "flags": ["avx2"]}}}
    monkeypatch.setattr(grouped, "measured", lambda name: document)
    assert grouped.grouped_table().splitlines()[2:5] == [
        "| 1 (depthwise) | 1 | 2.00 to 2.00 | 1.00 to 1.00 |",
        "| 1 (depthwise, two outputs each) | 1 | 0.50 to 0.50 | 1.00 to 1.00 |",
        "| 2 | 2 | 0.25 to 0.50 | 1.25 to 2.00 |"]
    assert "; onnxruntime 1.0, one thread" in grouped.grouped_table()
    assert "; OpenVINO 2.0, one thread" in grouped.openvino_table()
