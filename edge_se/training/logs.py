"""The epochs of a run for people and programs: log.csv, and TensorBoard where it is installed."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from edge_se.core.errors import UnavailableError
from edge_se.core.files import write_text

LOG = "log.csv"
BOARD = "tensorboard"


def write_log(folder: Path, history: list[dict[str, float]]) -> None:
    """`folder`/log.csv with a line per epoch, all or nothing."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(history[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    write_text(folder / LOG, text.getvalue())


class TensorBoard:
    """Event files below `folder`; UnavailableError when the package is not installed.

    A resumed run goes on in a further file and hides the epochs that it trains again.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise UnavailableError("TensorBoard is not installed", where="--tensorboard",
                                   fix="pip install 'edge-se[tensorboard]'") from error
        self._folder, self._make = folder / BOARD, SummaryWriter
        self._writer: Any = None

    def epoch(self, row: dict[str, float]) -> None:
        """Adds one line of the log: each figure at the epoch's number."""
        number = int(row["epoch"])
        if self._writer is None:
            self._writer = self._make(self._folder, purge_step=number)
        for name, value in row.items():
            if name != "epoch":
                self._writer.add_scalar(name, value, number)
        self._writer.flush()

    def close(self) -> None:
        """Ends the event file."""
        if self._writer is not None:
            self._writer.close()
