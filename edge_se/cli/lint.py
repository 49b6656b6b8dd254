"""`lint`: a Q/DQ file against what runtimes are known to do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from edge_se.cli import pixels
from edge_se.cli.options import (
    Json,
    OutDocument,
    Quiet,
    SkipBroken,
    Wide,
    names,
    printed_as_json,
    progress_of,
    tell_written,
)
from edge_se.reporting.console import print_line, print_sentence, print_table
from edge_se.steps import completion

FAULT = 1  # exit code where a runtime computes other numbers, or does not load the file
SHOWN = 3  # nodes of a rule


def lint(file: Annotated[Path, typer.Argument(metavar="FILE.onnx", help="A Q/DQ file, of edge-se or of another tool.")],
         for_: Annotated[Optional[str], typer.Option(
             "--for", autocompletion=completion.runtimes,
             help="Targets and runtimes with commas: cpu, openvino, tensorrt, onnxruntime, opencv, tools, ... Default: "
                  "the target that a file of edge-se is named after, else all.")] = None,
         static: Annotated[bool, typer.Option("--static", help="Do not run it: rules alone, in a second.")] = False,
         data: Annotated[Optional[str], typer.Option(
             help="Images to run it on, as for --calibration of export. Default: the bundled synthetic ones.")] = None,
         skip_broken: SkipBroken = False,
         images: Annotated[int, typer.Option(min=1, help="How many of them.")] = 32,
         preprocessing: pixels.Preprocessing = None,
         fix: Annotated[Optional[Path], typer.Option(
             metavar="OUT.onnx", help="Write the file with everything repaired that can be without changing a number; "
                                      "both are run and compared.")] = None,
         out: OutDocument = None, wide: Wide = False, json: Json = False, quiet: Quiet = False) -> None:
    """What runtimes compute instead of what a Q/DQ file says, node by node, and the fix; exit 1 where one does."""
    from edge_se.core.files import write_json
    from edge_se.core.outputs import document as document_of
    from edge_se.core.outputs import require_file
    from edge_se.steps.lint import lint as step

    require_file(out, document_of("lint"), "--out", sources=(file,), beside=(fix,))
    document = step(file, runtimes=names(for_, "--for"), static=static, data=data, skip_broken=skip_broken,
                    preprocessing=preprocessing, images=images, fix=fix, progress=progress_of(quiet))
    if out:
        write_json(out, document)
    tell_written(quiet, fix, out)
    if not printed_as_json(document, json):
        _shown(document, wide)
    if document["verdict"] == "faults":
        raise typer.Exit(FAULT)


def _shown(document: dict[str, Any], wide: bool) -> None:
    from edge_se.reporting.lint import nodes, repaired, rule_rows, run_rows, summary, told

    if document["rules"]:
        print_table(*rule_rows(document), left=3)
        for row in document["rules"]:
            print_line("")
            what, *rest = told(row)
            print_sentence(what)
            for line in nodes(row, None if wide else SHOWN):
                print_line(f"  {line}")
            for sentence in rest:
                print_sentence(sentence)
        print_line("")
    if document["runs"]:
        print_table(*run_rows(document), left=3)
        print_line("")
    print_line(summary(document))
    if document["fixed"] is not None:
        print_sentence(repaired(document["fixed"]))
