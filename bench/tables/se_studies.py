"""What the studies say of squeeze-and-excitation: accuracy by placement, what INT8 takes, corrupted images.

Read from `bench/results/study-*.json`, whose every figure is a mean over seeds; their own pages (docs/studies) have all
of them. Where a study was not run yet, its table is a line that says what runs it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from bench.tables.measured import Document, measured_if_any
from bench.tables.se_cost import WHERE
from edge_se.data.calibration import REAL, SYNTHETIC
from edge_se.nets.zoo import spec_of
from edge_se.quantization.effort import EFFORTS
from edge_se.reporting.tables import DASH, markdown
from edge_se.studies.tables import judged

PLACEMENT = "se-float"  # what `export` takes for `mini`, whose first layer holds more of the MACs than it would spare
METHOD = EFFORTS["default"].method
CLEAN = "clean"

Row = dict[str, Any]


def read_study(name: str) -> Document | None:
    """The document of a shipped study; None where nobody ran it."""
    return measured_if_any(f"study-{name}")


def placements_table() -> str:
    """Validation top-1 of each net and its difference from the plain one's, paired by seed."""
    return _block("placements", _placements)


def int8_table() -> str:
    """What INT8 takes from each net: by default, and over calibrators, INT8 placements and synthetic images."""
    return _block("quantization", _int8)


def ranges_table() -> str:
    """Kullback-Leibler ranges without and with the rule for such tensors, of `bench/excitation_ranges.py`."""
    document = measured_if_any("excitation_ranges")
    return "Not measured yet: `python bench/excitation_ranges.py`.\n" if document is None else _ranges(document)


def noise_table() -> str:
    """Nets with SE against the plain one on corrupted images, in FP32 and in INT8."""
    return _block("noise", _noise)


def _block(name: str, of: Callable[[Document], str]) -> str:
    document = read_study(name)
    return f"Not measured yet: `python bench/run_studies.py {name}`.\n" if document is None else of(document)


def _placements(document: Document) -> str:
    columns = ["net", "SE", "seeds", "validation top-1 % (95 % CI)", f"minus `{_plain(document)}`, points (95 % CI)",
               "p", "p (Holm)"]
    rows = []
    for net in document["study"]["models"]:
        own = _one(document["summary"], net, "validation", "top1")
        beside = _one(document["comparisons"], net, "validation", "top1", against_model=_plain(document))
        if own is not None:
            rows.append([f"`{net}`", WHERE[spec_of(net).attention], str(own["n"]), _mean(own, ".2f"),
                         _mean(beside, "+.2f"), *_tests(beside)])
    return f"{markdown(columns, rows, left=2)}\n{_conditions(document, 'validation')}"


def _int8(document: Document) -> str:
    """By default and over calibrators and images; then by INT8 placement."""
    settings, plain = document["study"]["evaluations"]["int8"], _plain(document)
    default = {"target": settings["targets"][0], "placement": PLACEMENT, "method": METHOD, "calibration": REAL}
    columns = ["net", "SE", "drop by default, points (95 % CI)", f"more than `{plain}`'s (95 % CI)", "p (Holm)",
               "flips", f"drop over {len(settings['methods'])} calibrators", "with synthetic images",
               "largest of all settings"]
    rows, placed = [], []
    for net in document["study"]["models"]:
        name = f"`{net}`", WHERE[spec_of(net).attention]
        drops = [row for row in document["summary"] if (row["model"], row["evaluation"], row["measure"]) == (
            net, "int8", "drop_pp") and row["target"] == default["target"]]
        rows.append([*name, *_by_default(document, net, default), _range(_varied(drops, default, "method")),
                     _mean(_one(drops, net, "int8", "drop_pp", **default | {"calibration": SYNTHETIC}), "+.2f"),
                     _largest(drops)])
        placed.append([*name, *(_mean(_one(drops, net, "int8", "drop_pp", **default | {"placement": placement}), "+.2f")
                                for placement in settings["placements"])])
    places = ["net", "SE", *(f"`{placement}`: drop (95 % CI)" for placement in settings["placements"])]
    return (f"{markdown(columns, rows, left=2)}\nTarget `{default['target']}`, {settings['images']:,} validation "
            f"images. The default is `{PLACEMENT}`, `{METHOD}`, {REAL}. A drop is paired by image. "
            f"{_conditions(document, 'int8')}\nBy INT8 placement, all else by default:\n\n"
            f"{markdown(places, placed, left=2)}")


def _by_default(document: Document, net: str, default: dict[str, str]) -> list[str]:
    """Drop, its difference from the plain net's with Holm's p, and flips."""
    drop, flips = (_one(document["summary"], net, "int8", measure, **default) for measure in ("drop_pp", "flips"))
    beside = _one(document["comparisons"], net, "int8", "drop_pp", against_model=_plain(document), **default)
    return [_mean(drop, "+.2f"), _mean(beside, "+.2f"), _tests(beside)[1],
            DASH if flips is None else f"{flips['mean']:.0f}"]


def _largest(drops: Sequence[Row]) -> str:
    worst = max(drops, key=lambda row: float(row["mean"]), default=None)
    if worst is None:
        return DASH
    images = "real" if worst["calibration"] == REAL else "synthetic"
    return f"{worst['mean']:+.2f} ({worst['placement']}, {worst['method']}, {images})"


def _ranges(document: Document) -> str:
    """A row per net: each seed's drop, in the order of the seeds."""
    drops = [row for row in document["rows"] if row["measure"] == "drop_pp"]
    columns = ["net", "SE", *(f"{'synthetic' if images == SYNTHETIC else 'real'} images, {rule}: drop of each seed"
                              for images in document["settings"]["calibration"] for rule in document["rules"])]
    rows = [[f"`{net}`", WHERE[spec_of(net).attention],
             *(", ".join(f"{row['value']:+.2f}" for row in drops if (row["model"], row["rule"]) == (net, rule)
                         and row["conditions"]["calibration"] == images)
               for images in document["settings"]["calibration"] for rule in document["rules"])]
            for net in dict.fromkeys(row["model"] for row in drops)]
    return (f"{markdown(columns, rows, left=2)}\nPoints of top-1, target `cpu`, `se-float`, "
            f"{document['settings']['images']:,} validation images. The rule: a range keeps "
            f"{100 * max(document['rules'].values()):.0f} % of a tensor's values at least.\n")


def _noise(document: Document) -> str:
    """A row per corruption, means over its severities."""
    plain = _plain(document)
    robust, differences = ([row for row in rows if row["evaluation"] == "robustness"]
                           for rows in (document["summary"], _against(document, plain)))
    others = [net for net in document["study"]["models"] if net != plain]
    columns = ["images", f"`{plain}` FP32 top-1 %", *(f"`{net}` minus it, {name}" for net in others
                                                      for name in ("FP32", "INT8")),
               *(f"`{net}`: drop of INT8" for net in document["study"]["models"])]
    rows = []
    for corruption in dict.fromkeys(row["corruption"] for row in robust):
        rows.append([corruption.replace("_", " "), _over_severities(robust, plain, corruption, "top1", "fp32", ".2f"),
                     *(_over_severities(differences, net, corruption, "top1", file, "+.2f")
                       for net in others for file in ("fp32", "int8")),
                     *(_over_severities(robust, net, corruption, "drop_pp", "int8", "+.2f")
                       for net in document["study"]["models"])])
    settings = document["study"]["evaluations"]["robustness"]
    return (f"{markdown(columns, rows)}\nPoints of top-1, means over the severities "
            f"{', '.join(map(str, settings['severities']))}; {settings['images']:,} validation images, INT8 target "
            f"`{settings['target']}`. {_counts(document, plain, others)} {_conditions(document, 'robustness')}")


def _over_severities(rows: Iterable[Row], net: str, corruption: str, measure: str, file: str, form: str) -> str:
    """Mean of a corruption's severities."""
    means = [float(row["mean"]) for row in rows if (row["model"], row["corruption"], row["measure"]) == (
        net, corruption, measure) and row["file"].startswith(file)]
    return f"{sum(means) / len(means):{form}}" if means else DASH


def _counts(document: Document, plain: str, others: Sequence[str]) -> str:
    """In how many conditions an interval over seeds leaves no difference out."""
    parts = []
    for net in others:
        for file in ("fp32", "int8"):
            own = [row for row in _against(document, plain) if (row["model"], row["evaluation"], row["measure"]) == (
                net, "robustness", "top1") and row["file"].startswith(file) and row["corruption"] != CLEAN]
            told = [row for row in own if row["low"] is not None]
            parts.append(f"`{net}` {file.upper()} {sum(row['low'] > 0 for row in told)} above and "
                         f"{sum(row['high'] < 0 for row in told)} below of {len(own)}")
    return f"Corruptions and severities whose own 95 % interval leaves 0 out: {'; '.join(parts)}."


def _conditions(document: Document, evaluation: str) -> str:
    done = [cell for cell in document["cells"] if cell["error"] is None]
    lost = len(document["cells"]) - len(done)
    epochs = ", ".join(str(number) for number in sorted({cell["epochs"] for cell in done}))
    return (f"{len(document['study']['seeds'])} seeds, {epochs} epochs; intervals tell of seeds "
            f"([what that means](studies/README.md#what-comes-out)).{f' Cells that failed: {lost}.' if lost else ''} "
            f"{judged(document, evaluation)}\n")


def _plain(document: Document) -> str:
    return str(document["study"]["baseline"])


def _against(document: Document, plain: str) -> list[Row]:
    return [row for row in document["comparisons"] if row["against_model"] == plain]


def _one(rows: Iterable[Row], net: str, evaluation: str, measure: str, **conditions: str) -> Row | None:
    """The row of one measured thing; the shipped studies have one recipe."""
    return next((row for row in rows if (row["model"], row["evaluation"], row["measure"]) == (net, evaluation, measure)
                 and all(row.get(name) == value for name, value in conditions.items())), None)


def _varied(rows: Iterable[Row], default: dict[str, str], but: str = "") -> list[Row]:
    """Those that have the default conditions, the one that is named excepted, which may be any."""
    return [row for row in rows if all(row[key] == value for key, value in default.items() if key != but)]


def _mean(row: Row | None, form: str) -> str:
    if row is None:
        return DASH
    return f"{row['mean']:{form}}" + ("" if row["low"] is None else f" ({row['low']:{form}} to {row['high']:{form}})")


def _range(rows: Iterable[Row]) -> str:
    means = [float(row["mean"]) for row in rows]
    if not means:
        return DASH
    low, high = f"{min(means):+.2f}", f"{max(means):+.2f}"
    return low if low == high else f"{low} to {high}"


def _tests(row: Row | None) -> list[str]:
    return [DASH if row is None or row[name] is None else "< 0.001" if row[name] < 0.001 else f"{row[name]:.3f}"
            for name in ("p", "p_holm")]
