"""What trainings on a GPU reached, and when: python bench/gpu_trainings.py RUN[:TOGETHER] ...

Each RUN is a folder that `edge-se train` wrote; TOGETHER says how many trainings shared the GPU (1 by default), since
they slow each other down. Validation top-1 epoch by epoch is of the log, where it was measured beside the training; the
test set's is of the card, where there is one. Writes bench/results/gpu_trainings.json, and the table in
docs/training.md.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.tables import readme
from bench.tables.measured import result_of
from edge_se.core import environment
from edge_se.core.cards import CARD, WEIGHTS
from edge_se.core.files import read_json, sha256_of, write_json

LEVELS = (94.0, 95.0, 96.0)  # percent


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="RUN[:TOGETHER]")
    options = parser.parse_args(arguments)
    runs = [run_of(Path(folder), int(together or 1)) for folder, _, together in (run.partition(":")
                                                                                  for run in options.runs)]
    path = result_of("gpu_trainings")
    write_json(path, {"schema": "edge-se/gpu-trainings/1", "levels": LEVELS, "runs": runs,
                      "environment": {"commit": environment.commit()}})
    readme.main()
    print(f"written to {path}")


def run_of(folder: Path, together: int = 1) -> dict[str, Any]:
    """What the run in `folder` was, from its run.json and weights, and what it reached, from its log.csv."""
    told = read_json(folder / "run.json")
    with open(folder / "log.csv", newline="") as file:
        log = [{"resolution": int(row["resolution"]), "validation_top1": float(row["validation_top1"]),
                "seconds": float(row["seconds"])} for row in csv.DictReader(file)]
    if len(log) != told["epochs"]:
        raise SystemExit(f"{folder}: {len(log)} of {told['epochs']} epochs: it has not ended")
    weights, card = folder / WEIGHTS, read_json(folder / CARD) if (folder / CARD).is_file() else {}
    return {"model": told["model"], "recipe": told["recipe"]["content"], "recipe_sha256": told["recipe"]["sha256"],
            "seed": told["seed"], "together": together, "device": told["device"], "amp": told["amp"],
            "compiled": told["compiled"], "versions": told["versions"], "hardware": told["hardware"],
            "commit": told["commit"], "weights_sha256": sha256_of(weights), "images": told["data"]["train"]["n"],
            "validation": told["data"]["validation"],
            "top1": max(row["validation_top1"] for row in _judged(log)), "test": card.get("test"),
            "epochs": log, "reached": {f"{level:g}": reached(log, level) for level in LEVELS}}


def reached(log: Sequence[dict[str, Any]], level: float) -> dict[str, float] | None:
    """The first epoch at the last resolution whose validation top-1 is `level` or more, and its seconds, if any."""
    return next(({"epoch": log.index(row) + 1, "seconds": row["seconds"]} for row in _judged(log)
                 if row["validation_top1"] >= level), None)


def _judged(log: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The epochs at the last resolution: the weights that are kept are of one of these."""
    return [row for row in log if row["resolution"] == log[-1]["resolution"]]


if __name__ == "__main__":
    main()
