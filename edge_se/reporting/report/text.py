"""The report as Markdown: the tables of the HTML, for a job summary or a pull request."""

from __future__ import annotations

import re
from typing import Any

from edge_se.reporting.report import views
from edge_se.reporting.report.views import View
from edge_se.reporting.tables import markdown

# se_resnet18 stays as it is; an address must not become a link.
SPECIAL = re.compile(r"([\\`*{}\[\]<>#|~!&$@]|(?<!\w)_|_(?!\w)|:(?=//)|(?<=www)\.)", re.IGNORECASE)


def text(document: dict[str, Any]) -> str:
    """Markdown of a report; what comes from outside cannot become markup. Images are not in it."""
    builds = document["builds"]
    parts = [f"# Report: {', '.join(escaped(build['name']) for build in builds)}\n", _table(views.summary(document)),
             f"Non-inferior when the drop is below {document['margin_pp']:.2f} points with "
             f"{100 * (1 - document['alpha']):g} % confidence; paired predictions, {document['interval']} interval.\n"]
    parts += [f"- {escaped(note)}\n" for note in document["notes"]]
    parts += [f"## Accuracy\n\n{''.join(_section(views.files(build, document)) for build in builds)}"]
    if (devices := views.on_devices(document["latency"]["rows"])) is not None:
        parts.append(_section(devices))
    if document["latency"]["rows"]:
        parts.append(f"## Latency\n\n{_section(views.matrix(document['latency']['rows']))}"
                     + "".join(_section(views.pareto(group), "Accuracy and latency, ")
                               for group in document["latency"]["pareto"])
                     + _section(views.measurements(document["latency"]["rows"])))
    for heading, shown in (
            ("Drop by class", [views.classes(build, document) for build in builds if build["classes"]]),
            ("Flipped images", [views.gallery(build) for build in builds if build["gallery"]]),
            ("Calibration", [views.calibration(build) for build in builds if build["calibration"]]),
            ("Sensitivity", [views.sensitivity(given) for build in builds for given in build["sensitivity"]]),
            ("Robustness", [view for build in builds for given in build["robustness"]
                            for view in (views.robustness_overall(given), views.robustness(given))])):
        if shown:
            parts.append(f"## {heading}\n\n{''.join(_section(view) for view in shown)}")
    parts.append("## Provenance\n")
    for build in builds:
        parts.append("".join(f"{'  ' * depth}- {escaped(name)}: `{_plain(sha256)}`\n"
                             for depth, name, sha256 in views.tree(build)))
        parts.append(_section(views.facts(build)).rstrip("\n") + "\n")
    if document["missing"]:
        parts.append("## Not in this report\n")
        parts.append("".join(f"- {escaped(item['section'])}: {_coded(item['how'])}\n" for item in document["missing"]))
    return "\n".join(parts)


def escaped(value: str) -> str:
    """`value` on one line, with every character that Markdown or HTML gives a meaning to escaped."""
    return SPECIAL.sub(r"\\\1", " ".join(value.split()))


def _coded(value: str) -> str:
    """Text between backticks becomes code; the rest is escaped."""
    return "".join(f"`{_plain(part)}`" if position % 2 else SPECIAL.sub(r"\\\1", part.replace("\n", " "))
                   for position, part in enumerate(value.split("`")))


def _plain(value: str) -> str:
    return " ".join(value.replace("`", "").split())


def _section(view: View, prefix: str = "") -> str:
    note = f"{escaped(view.note)}\n\n" if view.note else ""
    return f"### {prefix}{escaped(view.title)}\n\n{note}{_table(view)}\n"


def _table(view: View) -> str:
    return markdown([escaped(column) for column in view.columns], [[escaped(cell) for cell in row]
                                                                   for row in view.rows], left=view.left)
