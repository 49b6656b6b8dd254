"""What a training step consists of and what parts of a recipe bring, as measured by the scripts of bench/."""

from __future__ import annotations

import statistics
from typing import Any

from bench.tables.measured import Document, made, measured, measured_if_any
from edge_se.reporting.tables import markdown

NONE = "Not measured yet.\n"


def parts_table() -> str:
    """Shares of a step, the rate of its convolutions, and steps of other settings, a table for each call."""
    document = measured_if_any("training_parts")
    if document is None:
        return NONE
    shares = markdown(["part of a step", "share"], [[part["kind"], f"{100 * part['share']:.1f} %"]
                                                    for part in document["parts"]])
    settings = "\n".join(_settings(measured(name)) for name in made("training_parts"))
    return (f"{shares}\nConvolutions: {document['convolution_gflop_per_s']:.0f} GFLOP/s, a matrix product of the same "
            f"type {document['product_gflop_per_s']:.0f}. Were all the rest free, steps would be "
            f"{document['times_base_without_the_rest']:.2f} times as fast.\n\n{settings}")


def _settings(document: Document) -> str:
    table = markdown(["setting", "s of 128 images (range)", "images/s", "x the first"], [
        [row["setting"], f"{statistics.median(row['seconds_of_128']):.2f} ({min(row['seconds_of_128']):.2f}–"
                         f"{max(row['seconds_of_128']):.2f})", f"{row['images_per_s']:.0f}", f"{row['times_base']:.2f}"]
        for row in document["settings"]])
    return (f"{table}\n`{document['model']}`, processor time, {len(document['settings'][0]['seconds_of_128'])} rounds, "
            f"{_where(document)}.\n")


def trials_table() -> str:
    """A row a trial, with its difference to the base, paired by seed; a table for each number of images."""
    return "\n".join(_trials(measured(name)) for name in made("recipe_trials")) or NONE


def _trials(document: Document) -> str:
    runs: dict[str, dict[int, dict[str, Any]]] = {}
    for run in document["runs"]:
        runs.setdefault(run["trial"], {})[run["seed"]] = run
    base, rows = runs["base"], []
    for name, own in runs.items():
        differences = [own[seed]["top1"] - base[seed]["top1"] for seed in own if seed in base]
        rows.append([name, " / ".join(f"{run['top1']:.2f}" for run in own.values()),
                     "" if name == "base" else " / ".join(f"{value:+.2f}" for value in differences),
                     str(len(next(iter(own.values()))["epochs"])),
                     f"{statistics.mean(run['epochs'][-1]['processor_seconds'] for run in own.values()):.0f}"])
    columns = ["change", "validation top-1 %, by seed", "points against the base", "epochs", "processor s"]
    return (f"{markdown(columns, rows)}\n`{document['model']}`, base `{document.get('base', 'sgd')}`, "
            f"{document['images']:,} images, n = {document['validation']:,}, {_where(document)}.\n")


def time_to_accuracy_table() -> str:
    """A row a recipe, with what it reaches and when, of `bench/time_to_accuracy.py`; then the ratio of the times."""
    return "\n".join(_times(measured(name)) for name in made("time_to_accuracy")) or NONE


def _times(document: Document) -> str:
    rows, whole = [], dict[str, list[float]]()
    top1, times = document["top1"], document["processor_seconds"]
    for side, recipe in document["recipes"].items():
        whole[side] = [run["epochs"][-1]["processor_seconds"] for run in document["runs"] if run["side"] == side]
        to_target = [f"{value:,.0f}" if value is not None else "never" for value in times[side]]
        rows.append([f"`{recipe['name']}`", str(recipe["epochs"]), " / ".join(f"{value:.2f}" for value in top1[side]),
                     " / ".join(f"{value:,.0f}" for value in whole[side]), " / ".join(to_target)])
    if times["ratio"] is None:
        ratio = statistics.median(whole["new"]) / statistics.median(whole["old"])
        points = statistics.mean(top1["new"]) - statistics.mean(top1["old"])
        told = (f"Not every seed gets there: the new recipe takes {ratio:.2f} of the old one's time and ends "
                f"{points:+.2f} points from it.")
    else:
        told = f"The new recipe gets there in {times['ratio']:.2f} of the old one's time."
    columns = ["recipe", "epochs", "validation top-1 %, by seed", "processor s", "to the target"]
    return (f"{markdown(columns, rows)}\nThe target is {document['target']:.2f} %, what the first recipe ends at, in "
            f"the mean of its seeds; it takes its whole time to it. {told} `{document['model']}`, "
            f"n = {document['validation']:,}, {_where(document)}.\n")


def _where(document: Document) -> str:
    environment = document["environment"]
    threads = environment["threads"]
    return (f"torch {environment['versions']['torch']}, {threads} thread{'s' * (threads > 1)} of "
            f"{environment['hardware']['cpu']}")
