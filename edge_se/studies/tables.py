"""A study's document as tables: for the console, and as a Markdown page for the documents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edge_se.core.measured_by import in_words
from edge_se.reporting.tables import DASH, Rows, markdown
from edge_se.studies.collect import CONDITIONS

TITLES = {"validation": "Validation", "test": "Test, read once", "volatility": "Volatility of the validation curve",
          "int8": "INT8 against FP32", "robustness": "On corrupted images"}
MEASURES = {"top1": "top-1 %", "sd_of_differences_pp": "points", "drop_pp": "drop, points", "flips": "flips",
            "p50_ms": "p50 ms", "times_fp32": "x FP32"}
OF = {"top1": "top-1", "sd_of_differences_pp": "volatility", "drop_pp": "drop"}  # the others are in the JSON
DIGITS = {"p50_ms": 3, "flips": 1}


def evaluations_of(document: dict[str, Any]) -> list[str]:
    """The evaluations that the document has figures of, in a fixed order."""
    have = {row["evaluation"] for row in document["summary"]}
    return [name for name in TITLES if name in have]


def summary_rows(document: dict[str, Any], evaluation: str) -> Rows:
    """Means over seeds: a row per model, recipe and condition, a column per measure."""
    rows = [row for row in document["summary"] if row["evaluation"] == evaluation]
    conditions, measures = _varying(rows), list(dict.fromkeys(row["measure"] for row in rows))
    table: dict[tuple[str, ...], dict[str, dict[str, Any]]] = {}
    for row in rows:
        key = (row["model"], row["recipe"], *(str(row.get(name, DASH)) for name in conditions))
        table.setdefault(key, {})[row["measure"]] = row
    columns = ["model", "recipe", *conditions, "seeds", *(MEASURES[measure] for measure in measures)]
    return columns, [[*key, str(max(row["n"] for row in own.values())),
                      *(_mean(own.get(measure), measure) for measure in measures)] for key, own in table.items()]


def comparison_rows(document: dict[str, Any], evaluation: str) -> Rows:
    """Differences that are paired by seed: mean, t interval, p and Holm's p."""
    rows = [row for row in document["comparisons"]
            if row["evaluation"] == evaluation and row["measure"] in OF
            and not (evaluation == "int8" and row["measure"] == "top1")]  # drop_pp tells the same, paired by image
    conditions = _varying(rows)
    columns = ["model", "recipe", "against", "of", *conditions, "seeds", "difference, points (95 % CI)", "p",
               "p (Holm)"]
    return columns, [[row["model"], row["recipe"], _against(row), OF[row["measure"]],
                      *(str(row.get(name, DASH)) for name in conditions), str(row["n"]),
                      f"{row['mean']:+.2f}{_interval(row, '+.2f')}", _p(row["p"]), _p(row["p_holm"])] for row in rows]


def page(document: dict[str, Any], figures: str = "") -> str:
    """The study as a Markdown page; `figures` is the way from the page to their folder, with its slash."""
    parts = [f"# {document['name']}\n\n{document['question']}\n\n{_conditions(document)}\n"]
    for evaluation in evaluations_of(document):
        parts.append(f"## {TITLES[evaluation]}\n\n{_table(*summary_rows(document, evaluation))}")
        columns, rows = comparison_rows(document, evaluation)
        if rows:
            parts.append(_table(columns, rows))
        parts.append(f"{judged(document, evaluation)}\n")
        parts += [f"![{TITLES[evaluation]}: {about}]({figures}{name})\n" for about, name in (
            ("means and seeds", f"{document['name']}-{evaluation}.svg"),
            ("curves", f"{document['name']}-{evaluation}-curves.svg")) if name in document["figures"]]
    parts.append(_legend(document))
    return "\n".join(parts)


def judged(document: dict[str, Any], evaluation: str) -> str:
    """What computed the accuracies of an evaluation, as a sentence.

    Documents of before do not tell: nets were evaluated in torch, files in onnxruntime, whose versions they name.
    """
    told = document.get("measured_by", {}).get(evaluation)
    if told is None:
        runtime = "torch" if evaluation in ("validation", "test", "volatility") else "onnxruntime"
        done = [cell for cell in document["cells"] if cell["error"] is None]
        simulation = {"simulation": True} if any(
            str(row.get("target", row.get("file", ""))).removeprefix("int8.").startswith("tensorrt")
            for row in document["summary"] if row["evaluation"] == evaluation) else {}
        told = [{"runtime": runtime, "version": cell.get("versions", {}).get(runtime), "floats": "f32",
                 "device": cell.get("hardware", {}).get("cpu", "an unknown processor"), **simulation} for cell in done]
    return f"Accuracy: {'; '.join(dict.fromkeys(in_words(one) for one in told))}."


def _table(columns: list[str], rows: list[list[str]]) -> str:
    """The table as Markdown. Labels that are the same in all rows are told once below it."""
    labels = columns.index("seeds") + 1
    same = [index for index in range(1, labels) if len(rows) > 1 and len({row[index] for row in rows}) == 1]
    told = f"\nIn all rows: {', '.join(f'{columns[index]} {rows[0][index]}' for index in same)}.\n" if same else ""
    left = sum(index not in same for index in range(labels - 1))
    kept = [index for index in range(len(columns)) if index not in same]
    return markdown([columns[index] for index in kept], [[row[index] for index in kept] for row in rows], left) + told


def _conditions(document: dict[str, Any]) -> str:
    done = [cell for cell in document["cells"] if cell["error"] is None]
    epochs = sorted({cell["epochs"] for cell in done})
    processors = sorted({cell["hardware"]["cpu"] if cell["device"] == "cpu" else cell["device"] for cell in done})
    failed = len(document["cells"]) - len(done)
    lost = f" {failed} cells failed and are missing." if failed else ""
    return (f"{len(done)} cells of {', '.join(map(str, epochs))} epochs, seeds "
            f"{', '.join(map(str, document['study']['seeds']))}, on {', '.join(processors)}; "
            f"{sum(cell['seconds'] for cell in done) / 3600:.1f} hours of training.{lost}")


def _legend(document: dict[str, Any]) -> str:
    notes = "".join(f"\n{note}\n" for note in document["notes"])
    return ("Mean ± standard deviation over seeds, with Student's 95 % interval of the mean. Differences are paired by "
            "seed; p is of the paired t test, Holm's over all comparisons of one evaluation and measure. An interval "
            f"tells of seeds, not of images.\n{notes}")


def _varying(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Conditions that some row has."""
    return [name for name in CONDITIONS if any(name in row for row in rows)]


def _mean(row: dict[str, Any] | None, measure: str) -> str:
    if row is None:
        return DASH
    digits = DIGITS.get(measure, 2)
    spread = "" if row["sd"] is None else f" ± {row['sd']:.{digits}f}"
    interval = "" if measure == "flips" else _interval(row, f".{digits}f")  # of so small counts t's goes below zero
    return f"{row['mean']:.{digits}f}{spread}{interval}"


def _interval(row: dict[str, Any], form: str) -> str:
    return "" if row["low"] is None else f" ({row['low']:{form}} to {row['high']:{form}})"


def _p(value: float | None) -> str:
    return DASH if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"


def _against(row: dict[str, Any]) -> str:
    return str(row["against_model"] if row["model"] != row["against_model"] else row["against_recipe"])
