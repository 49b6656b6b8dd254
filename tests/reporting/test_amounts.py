"""No cell says 0.0 of something that is there."""

import pytest

from edge_se.reporting.amounts import amount, mebibytes, milliseconds, size
from edge_se.reporting.tables import measurement_rows


@pytest.mark.parametrize(("value", "decimals", "figures", "text"), [
    (0.0, 1, 1, "0.0"), (1234.56, 1, 1, "1,234.6"), (0.4, 0, 1, "0.4"), (0.04, 1, 1, "0.04"), (0.0042, 3, 2, "0.0042"),
    (0.0996, 1, 1, "0.10"), (0.123456, 3, 2, "0.123"), (-0.03, 1, 1, "-0.03"), (7e-7, 3, 2, "0.00000070"),
    (float("inf"), 1, 1, "inf")])
def test_small_numbers_keep_figures_and_others_their_decimals(value, decimals, figures, text):
    assert amount(value, decimals, figures=figures) == text


@pytest.mark.parametrize(("count", "cell", "words"), [
    (45_088_768, "43.0", "43.0 MiB"), (104_858, "0.1", "0.1 MiB"), (104_000, "104.0 kB", "104.0 kB"),
    (51_200, "51.2 kB", "51.2 kB"), (700, "0.7 kB", "0.7 kB"), (0, "0.0 kB", "0.0 kB")])
def test_small_files_show_kilobytes(count, cell, words):
    assert (mebibytes(count), size(count)) == (cell, words)


def test_a_row_of_a_tiny_net_has_no_zero():
    row = {"model": "tiny", "precision": "fp32", "target": "any", "backend": "onnxruntime", "batch": 1, "threads": 1,
           "p50_ms": 0.0042, "p90_ms": 0.00051, "p99_ms": 0.2, "cv": 0.0004, "throughput_ips": 0.3, "top1": None,
           "params": 12, "flops": 2400.0, "bytes": 900, "peak_memory_bytes": 2**20 * 50, "model_memory_bytes": 30_000,
           "load_ms": 0.02, "first_ms": 1.25, "streams": 1}
    columns, rows = measurement_rows([row])
    cells = dict(zip(columns, rows[0]))
    assert {cells[name] for name in ("p50 ms", "p90 ms", "CV", "images/s", "MFLOPs", "MiB", "of the model")} == {
        "0.0042", "0.00051", "0.04 %", "0.3", "0.002", "0.9 kB", "30.0 kB"}
    assert (cells["load ms"], cells["peak MiB"], milliseconds(4.25)) == ("0.02", "50.0", "4.250")
