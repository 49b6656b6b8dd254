"""Tables fit 100 columns: what is spare goes first, what differs stays, what is the same is told below."""

import pytest

from edge_se.reporting.console import table_text
from edge_se.reporting.fitting import BELOW, WIDTH, fitted, told_below, width_of

COLUMNS = ["model", "target", "batch", "p50 ms", "params", "MFLOPs"]
ROWS = [["se_resnet18", "cpu", "1", "4.5", "11,261,002", "1,111.0"],
        ["se_resnet18", "openvino", "1", "3.5", "11,261,002", "1,111.0"]]


def test_the_width_is_that_of_the_printed_table():
    text = table_text(COLUMNS, ROWS, left=2)
    assert max(map(len, text.splitlines())) == width_of(COLUMNS, ROWS)


def test_what_fits_is_left_alone():
    table = fitted(COLUMNS, ROWS, left=2, spare=("params",), conditions=())
    assert (table.columns, table.rows, table.left, table.words) == (COLUMNS, ROWS, 2, "")


@pytest.mark.parametrize(("width", "columns", "left"), [
    (50, ["model", "target", "batch", "p50 ms", "MFLOPs"], 2), (44, ["model", "target", "batch", "p50 ms"], 2),
    (30, ["target", "batch", "p50 ms"], 1), (20, ["target", "p50 ms"], 1), (5, ["target", "p50 ms"], 1)])
def test_spare_columns_go_in_their_order_and_no_more_than_it_takes(width, columns, left):
    table = fitted(COLUMNS, ROWS, left=2, spare=("params", "MFLOPs", "nothing", "model", "target", "batch"),
                   conditions=("model", "target", "batch"), width=width)
    assert table.columns == columns and table.left == left
    assert table.rows == [[row[COLUMNS.index(name)] for name in columns] for row in ROWS]
    assert ("all rows: model se_resnet18" in table.words) is ("model" not in columns)
    assert "--wide" in table.words


@pytest.mark.parametrize(("extra", "below"), [(0, False), (1, True), (60, True)])
def test_sentences_that_do_not_fit_stand_below(extra, below):
    columns, rows = ["check", "found", "status"], [["x", "s" * (83 + extra), "optional"], ["yy", "here", "ok"]]
    shown, long = told_below(columns, [*rows, ["abcde", "", "ok"]], long="found")
    assert max(map(len, table_text(columns, shown, left=3).splitlines())) <= WIDTH
    assert long == [rows[0][1] if below else "", "", ""]
    assert shown == [["x", BELOW if below else rows[0][1], "optional"], rows[1], ["abcde", "", "ok"]]
