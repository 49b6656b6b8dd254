"""A baseline: which test images each INT8 file got right, as JSON to commit; a later build is paired with it.

It is of one board, or of this machine and its like, and is compared with no other: runtimes and their kernels differ.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_se.core.errors import EdgeSeError
from edge_se.core.files import read_json, write_json
from edge_se.core.measured_by import sound
from edge_se.evaluation.gate import Judgement, judge
from edge_se.evaluation.statistics import Paired

SCHEMA = "edge-se/gate-baseline/1"
FOLDER = Path("bench/baselines")
FIX = "write one with `edge-se gate --update-baseline`"
Rights = dict[str, NDArray[np.bool_]]


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """By target which images INT8 got right, and the runtime that said so; None where an earlier edge-se noted none."""

    rights: Rights
    runtimes: dict[str, str | None]


def board_of(device: Mapping[str, Any] | None) -> str | None:
    """The board that a device tells it is, with its GPU where the name does not say it; None for this machine."""
    if device is None:
        return None
    name, told = str(device["name"]), device.get("gpu")
    gpu = str(told.get("name") or "") if isinstance(told, Mapping) else ""
    return f"{name}, {gpu}" if gpu and gpu not in name else name


def file_of(path: Path | None, model: str, board: str | None) -> Path:
    """`path`, or where that is a folder (None: FOLDER) the file of this model and board in it.

    A path without a suffix where nothing is yet means a folder.
    """
    if path is not None and not path.is_dir() and (path.suffix or path.exists()):
        return path
    of_board = "." + re.sub(r"[^a-z0-9]+", "-", board.lower()).strip("-") if board else ""
    return (path or FOLDER) / f"{model}{of_board}.json"


def write_baseline(path: Path, *, model: str, dataset: str, dataset_sha256: str, rights: Rights,
                   files: dict[str, dict[str, Any]], board: str | None = None) -> None:
    """`rights`: target -> (N,) whether INT8 was right; `files`: target -> what identifies the file."""
    targets = [{"target": target, **files[target], "top1": 100 * float(right.mean()),
                "right": packed(right)} for target, right in rights.items()]
    write_json(path, {"schema": SCHEMA, "model": model, "board": board, "dataset": dataset,
                      "dataset_sha256": dataset_sha256, "n": len(next(iter(rights.values()))), "targets": targets})


def read_baseline(path: Path, *, model: str, dataset_sha256: str, board: str | None = None) -> Baseline:
    """What the file holds.

    Raises EdgeSeError for another model, other images, another board and a broken file.
    """
    document = read_json(path, EdgeSeError, fix=FIX)
    if document.get("schema") != SCHEMA:
        raise EdgeSeError(f"schema {document.get('schema')!r} is not {SCHEMA!r}", where=path, fix=FIX)
    for name, wanted in (("model", model), ("dataset_sha256", dataset_sha256)):
        if document.get(name) != wanted:
            raise EdgeSeError(f"its {name} is {document.get(name)!r}, not {wanted!r}", where=path,
                              fix="compare with a baseline of the same model and images, or --update-baseline")
    if document.get("board") != board:
        told, this = (name or "no device" for name in (document.get("board"), board))
        raise EdgeSeError(f"is a baseline of {told}, and this is {this}", where=path,
                          fix="give the one of this board, or write it with --update-baseline")
    try:
        rows = {str(row["target"]): row for row in document["targets"]}
        told = {target: row.get("measured_by") for target, row in rows.items()}
        if not all(one is None or sound(one) for one in told.values()):
            raise ValueError("measured_by is not whole")
        return Baseline(rights={target: unpacked(row["right"], document["n"]) for target, row in rows.items()},
                        runtimes={target: one and one["runtime"] for target, one in told.items()})
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise EdgeSeError(f"incomplete baseline ({error!r})", where=path, fix=FIX) from error


def packed(right: NDArray[np.bool_]) -> str:
    """(N,) as text for JSON."""
    return base64.b64encode(np.packbits(right).tobytes()).decode()


def unpacked(text: str, count: int) -> NDArray[np.bool_]:
    """(count,) from what `packed` made; ValueError for anything else."""
    content = np.frombuffer(base64.b64decode(text, validate=True), np.uint8)
    if not isinstance(count, int) or count < 1 or len(content) != (count + 7) // 8:
        raise ValueError(f"{len(content)} bytes do not hold {count!r} images")
    return np.unpackbits(content, count=count).astype(bool)


def judge_against(before: Rights, rights: Rights, margin_pp: float, alpha: float) -> dict[str, Judgement | None]:
    """The gate's rule with the baseline's INT8 in the place of FP32; None for a target that the baseline lacks.

    Raises EdgeSeError for a baseline of another number of images.
    """
    judgements: dict[str, Judgement | None] = {}
    for target, now in rights.items():
        then = before.get(target)
        if then is not None and len(then) != len(now):  # its `n` was altered: the images are the same
            raise EdgeSeError(f"holds {len(then)} images for {target}, not {len(now)}", where="--baseline", fix=FIX)
        judgements[target] = None if then is None else judge(
            Paired(n=len(now), broken=int((then & ~now).sum()), fixed=int((~then & now).sum())), margin_pp, alpha)
    return judgements
