"""What trainings on a GPU reached, and when, as measured by bench/gpu_trainings.py."""

from __future__ import annotations

from typing import Any

from bench.tables.measured import measured_if_any
from edge_se.core.measured_by import in_words
from edge_se.nets.arithmetic import size_of
from edge_se.nets.zoo import spec_of
from edge_se.reporting.tables import markdown


def gpu_trainings_table() -> str:
    """A row a training."""
    document = measured_if_any("gpu_trainings")
    if document is None:
        return "Not measured yet.\n"
    levels = [f"{level:g}" for level in document["levels"]]
    rows = [[f"`{run['model']}`", _kernels(run["recipe"]), str(len(run["epochs"])), str(run["seed"]),
             f"{run['top1']:.2f}", _test(run["test"]), f"{_petaflop(run):.1f}", f"{run['epochs'][-1]['seconds']:.0f}",
             str(run["together"]), *(_when(run["reached"][level]) for level in levels)] for run in document["runs"]]
    columns = ["net", "kernels trained by", "epochs", "seed", "validation top-1 %", "test top-1 % (95 % CI)", "PFLOP",
               "s", "runs at once", *(f"s to {level} % (epoch)" for level in levels)]
    how, = {_how(run) for run in document["runs"]}  # ValueError where they differ: one note could not tell of all
    judges = {f"n = {run['test']['n']:,}, {in_words(run['test']['measured_by'])}" for run in document["runs"]
              if run["test"]}
    return (f"{markdown(columns, rows)}\n{how}. PFLOP: 6 x MACs x images seen, computed. Validation beside the "
            f"training, test: {'; '.join(sorted(judges))}.\n")


def _how(run: dict[str, Any]) -> str:
    return (f"Batch {run['recipe']['batch_size']}, {run['amp'].upper()}, {'compiled' if run['compiled'] else 'eager'}, "
            f"torch {run['versions']['torch']} on {run['device']}, validation n = {run['validation']['n']:,}")


def _kernels(recipe: dict[str, Any]) -> str:
    muon = recipe["optimizer"]["muon"]
    return f"Muon, {muon['learning_rate']:g}" if muon else f"SGD, {recipe['optimizer']['learning_rate']:g}"


def _test(figure: dict[str, Any] | None) -> str:
    return "" if figure is None else f"{figure['top1']:.2f} ({figure['ci95'][0]:.2f}–{figure['ci95'][1]:.2f})"


def _petaflop(run: dict[str, Any]) -> float:
    """Of all steps: a multiplication and an addition, forward and twice as many backward."""
    batch = run["recipe"]["batch_size"]
    images = run["images"] // batch * batch
    macs = sum(size_of(spec_of(run["model"]), int(row["resolution"])).macs for row in run["epochs"])
    return 6 * macs * float(images) / 1e15


def _when(reached: dict[str, float] | None) -> str:
    return "" if reached is None else f"{reached['seconds']:.0f} ({reached['epoch']})"
