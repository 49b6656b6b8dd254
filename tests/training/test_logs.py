"""The log as CSV and as TensorBoard's event files."""

import csv
import sys

import pytest

from edge_se.core.errors import UnavailableError
from edge_se.training.logs import TensorBoard, write_log

ROWS = [{"epoch": number, "loss": 1 / number, "validation_top1": 50.0 + number} for number in (1, 2, 3)]


def test_the_csv_says_what_the_history_says(tmp_path):
    for count in (1, 3):
        write_log(tmp_path, ROWS[:count])
        with open(tmp_path / "log.csv", newline="") as file:
            read = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
        assert read == ROWS[:count]
    assert [path.name for path in tmp_path.iterdir()] == ["log.csv"]


def scalars(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return {name: [(event.step, event.value) for event in events.Scalars(name)] for name in events.Tags()["scalars"]}


def test_tensorboard_reads_what_was_written(tmp_path):
    pytest.importorskip("tensorboard")
    board = TensorBoard(tmp_path)
    for row in ROWS:
        board.epoch(row)
    board.close()
    found = scalars(tmp_path)
    assert found.keys() == {"loss", "validation_top1"}
    assert found["loss"] == [(1, 1.0), (2, 0.5), (3, pytest.approx(1 / 3))]


def test_a_resumed_run_does_not_show_an_epoch_twice(tmp_path):
    pytest.importorskip("tensorboard")
    for rows in (ROWS[:2], ROWS[1:]):  # the second epoch was not in the checkpoint, and is trained again
        board = TensorBoard(tmp_path)
        for row in rows:
            board.epoch(row)
        board.close()
    assert [step for step, _ in scalars(tmp_path)["loss"]] == [1, 2, 3]


def test_a_run_without_epochs_leaves_no_events(tmp_path):
    pytest.importorskip("tensorboard")
    TensorBoard(tmp_path).close()
    assert list(tmp_path.iterdir()) == []


def test_without_the_package_it_is_a_user_error(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(UnavailableError, match=r"--tensorboard: .*pip install 'edge-se\[tensorboard\]'"):
        TensorBoard(tmp_path)
