"""A gate's document for machines that run it: JUnit XML, Markdown for a job's summary, annotations of GitHub."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from edge_se.core.errors import ArtifactError
from edge_se.core.files import write_text
from edge_se.core.measured_by import in_words, of_files
from edge_se.reporting.on_device import device_lines
from edge_se.reporting.tables import DASH, markdown
from edge_se.reporting.verdict import (
    BESIDE,
    beside,
    boards_of,
    class_lines,
    interval_name,
    meaning,
    not_judged,
    words,
)

SIGN = {"pass": "✅ pass", "fail": "❌ fail", "inconclusive": "⚠️ inconclusive"}
COMMAND = {"pass": "notice", "fail": "error", "inconclusive": "warning"}  # of GitHub's workflow commands


def junit(document: dict[str, Any]) -> str:
    """One test case per verdict. JUnit has no word for inconclusive: it is an `error`, since nothing was shown."""
    root = ElementTree.Element("testsuites", name="edge-se gate")
    for one in boards_of(document):
        _add_suites(root, one)
    for name, why in not_judged(document):
        suite = ElementTree.SubElement(root, "testsuite", {
            "name": f"{document['model']} on {name}", "tests": "1", "failures": "0", "errors": "1", "skipped": "0"})
        case = ElementTree.SubElement(suite, "testcase", classname=f"{document['model']} on {name}", name="device")
        ElementTree.SubElement(case, "error", type="not judged", message=why).text = why
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _add_suites(root: ElementTree.Element, document: dict[str, Any]) -> None:
    cases = {"accuracy": [(row, row["file"], _accuracy(document, row)) for row in document["targets"]]}
    for kind, row in beside(document):
        cases.setdefault(kind, []).append((row, _name(row), words(kind, row)))
    for kind in ("accuracy", *BESIDE):
        rows = cases.get(kind, [])
        if not rows:
            continue
        verdicts = [row["verdict"] for row, _, _ in rows]
        suite = ElementTree.SubElement(root, "testsuite", {
            "name": f"{document['model']} {kind}", "tests": str(len(rows)), "failures": str(verdicts.count("fail")),
            "errors": str(verdicts.count("inconclusive")), "skipped": "0"})
        for row, name, message in rows:
            case = ElementTree.SubElement(suite, "testcase", classname=f"{document['model']}.{kind}", name=name)
            if row["verdict"] != "pass":
                tag = "failure" if row["verdict"] == "fail" else "error"
                ElementTree.SubElement(case, tag, type=row["verdict"], message=message).text = message
            else:
                ElementTree.SubElement(case, "system-out").text = message


def summary(document: dict[str, Any]) -> str:
    """Of each device a heading, a table of accuracy, one of the other verdicts, and the classes that changed."""
    parts = [_summary(one) for one in boards_of(document)]
    return "\n".join([*parts, *(f"### {document['model']} on {name}: ⚠️ not judged\n\n{why}\n"
                                for name, why in not_judged(document))])


def _summary(document: dict[str, Any]) -> str:
    rows = [[f"`{row['file']}`", SIGN[row["verdict"]], f"{row['drop_pp']:+.2f}",
             f"{row['ci_pp'][0]:+.2f} to {row['ci_pp'][1]:+.2f}", f"{row['margin_pp']:.2f}",
             f"{row['broken']} / {row['fixed']}", f"{row['n']:,}", f"{row['mcnemar_p']:.3g}"]
            for row in document["targets"]]
    columns = ["file", "verdict", "drop, points", interval_name(document), "margin", "broken / fixed", "images",
               "McNemar p"]
    parts = [f"### {document['model']}: {SIGN[document['overall']]}\n",
             f"FP32 top-1 {document['fp32_top1']:.2f} % on {document['dataset']}.\n", markdown(columns, rows, left=2),
             _judges(document)]
    others = [[kind, f"`{row['file']}`", SIGN[row["verdict"]], words(kind, row)] for kind, row in beside(document)]
    if others:
        parts.append(markdown(["beside accuracy", "file", "verdict", "found"], others, left=4))
    classes = [f"- `{row['file']}`, {line}" for row in document["targets"] for line in class_lines(row)]
    classes += [f"- `{row['file']}`: {note}" for row in document["targets"]
                for note in (*device_lines(row), *row.get("notes", ()))]
    return "\n".join([*parts, *(["\n".join(classes) + "\n"] if classes else [])])


def workflow_commands(document: dict[str, Any]) -> list[str]:
    """One workflow command per verdict, which GitHub shows on the run's page and, without a file, on no line of code.

    See https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands; what must be escaped
    stands in https://github.com/actions/runner/blob/main/src/Runner.Common/ActionCommand.cs.
    """
    commands = [command for one in boards_of(document) for command in _commands(one)]
    return commands + [_command("warning", f"{document['model']} on {name}: not judged", why)
                       for name, why in not_judged(document)]


def _commands(document: dict[str, Any]) -> list[str]:
    rows = [("accuracy", row, row["file"], _accuracy(document, row)) for row in document["targets"]]
    rows += [(kind, row, _name(row), words(kind, row)) for kind, row in beside(document)]
    return [_command(COMMAND[row["verdict"]], f"{document['model']} {kind}: {row['verdict']}", f"{name}: {message}")
            for kind, row, name, message in rows]


def write_outputs(document: dict[str, Any], junit_file: Path | None, summary_file: Path | None) -> None:
    """JUnit is written anew; the summary is appended, since the jobs of GitHub share one file per step."""
    if junit_file is not None:
        write_text(junit_file, junit(document))
    if summary_file is not None:
        try:
            with open(summary_file, "a", encoding="utf-8") as file:
                file.write(summary(document) + "\n")
        except OSError as error:
            raise ArtifactError(f"cannot be written ({error.strerror or error})", where=summary_file,
                                fix="choose another file with --summary") from error


def _command(name: str, title: str, message: str) -> str:
    return f"::{name} title={_property(title)}::{_data(message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _accuracy(document: dict[str, Any], row: dict[str, Any]) -> str:
    low, high = row["ci_pp"]
    return (f"{meaning(row)}: {row['drop_pp']:+.2f} points, {interval_name(document)} [{low:+.2f}, "
            f"{high:+.2f}], margin {row['margin_pp']:.2f}, n = {row['n']:,}; {in_words(row.get('measured_by'))}")


def _judges(document: dict[str, Any]) -> str:
    files = [("FP32", document.get("fp32_measured_by")),
             *((f"`{row['file']}`", row.get("measured_by")) for row in document["targets"])]
    told = of_files(files)
    return f"{told[0].upper()}{told[1:]}.\n"


def _name(row: dict[str, Any]) -> str:
    setting = [str(row[key]) for key in ("backend", "batch", "threads") if key in row]
    return " ".join([row["file"], *setting]) if setting else str(row["file"] or DASH)
