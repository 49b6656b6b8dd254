"""`verify` and `doctor`: is this build whole, and what can this machine do?"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from edge_se.cli.options import Data, Json, Quiet, printed_as_json, progress_of
from edge_se.reporting.compiled import compiled_lines, refusal_lines
from edge_se.reporting.console import print_line, print_table
from edge_se.reporting.fitting import told_below
from edge_se.steps import completion

SHOWN = 16  # digits of a hash
NOTHING = "–"
REFUSED = "refused"
FEW = 2  # broken promises that are named
CANNOT = 2  # as for any other thing that the user can fix


def verify(folder: Annotated[str, typer.Argument(autocompletion=completion.builds,
                                                 help="A build: its folder, or its name under ./build.")],
           compiled: Annotated[bool, typer.Option(
               "--compile", help="Also compile for other machines: engines of TensorRT for RTX, without a GPU; "
                                 "`litert` files in TFLM and with vela, without a board.")] = False,
           opencv: Annotated[bool, typer.Option(
               "--opencv", help="Also load the files in OpenCV 5, and count the convolutions that it runs in "
                                "INT8.")] = False,
           litert: Annotated[bool, typer.Option(
               "--litert", help="Also make each .tflite file anew, compare, load it in LiteRT, and count the nodes "
                                "that XNNPACK computes.")] = False,
           wide: Annotated[bool, typer.Option("--wide", help="The whole of each hash.")] = False,
           json: Json = False, quiet: Quiet = False) -> None:
    """Check every file of a build against its manifest; exit 2 where one does not hold or a runtime refuses it."""
    from edge_se.steps.verify import verify as step

    document = step(folder, compiled=compiled, opencv=opencv, litert=litert, progress=progress_of(quiet))
    refused = [f"{item['file']}: {line}" for item in document["files"] for line in refusal_lines(item)]
    if not printed_as_json(document, json):
        _print_files(document, {"TensorRT": compiled, "OpenCV": opencv, "LiteRT": litert}, refused, wide)
    if refused:
        raise typer.Exit(CANNOT)


def _print_files(document: dict[str, Any], beside: dict[str, bool], refused: list[str], wide: bool) -> None:
    """The table, with a column for each runtime `beside` that was asked, and below it what takes a line."""
    digits = None if wide else SHOWN
    rows = [[item["file"], item["sha256"][:digits], f"{item['bytes']:,}"] for item in document["files"]]
    if beside["TensorRT"]:
        rows = [[*row, _built(item)] for row, item in zip(rows, document["files"])]
    if beside["OpenCV"]:
        rows = [[*row, _in_opencv(item.get("opencv"))] for row, item in zip(rows, document["files"])]
    if beside["LiteRT"]:
        rows = [[*row, _in_litert(item.get("litert"))] for row, item in zip(rows, document["files"])]
    print_table(["file", "sha256", "bytes", *(name for name, shown in beside.items() if shown)], rows, left=2)
    print_line("")
    for item in document["files"]:
        for line in compiled_lines(item):
            print_line(f"{item['tflite']['file']}: {line}")
    for line in refused:
        print_line(line)
    for reason in document.get("left_out", []):
        print_line(f"not asked: {reason}")
    count = len(rows)
    print_line(f"{'the one file matches' if count == 1 else f'all {count} files match'} the manifest of "
               f"{document['out']}")


def _built(item: dict[str, Any]) -> str:
    """What TensorRT for RTX made of a file; layers that run in another type than an INT8 file asks for are named."""
    if "refusal" in item:
        return REFUSED
    return f"builds{_kept(item)}" if item.get("compiles") else NOTHING


def _in_opencv(told: dict[str, Any] | None) -> str:
    """What OpenCV made of a file."""
    if told is None:
        return NOTHING
    if "refusal" in told:
        return REFUSED
    return f"{told['int8_convolutions']} of {told['convolutions']} convolutions in INT8{_kept(told)}"


def _in_litert(told: dict[str, Any] | None) -> str:
    """What LiteRT made of a file."""
    if told is None:
        return NOTHING
    return REFUSED if "refusal" in told else f"{told['xnnpack_nodes']} of {told['nodes']} nodes in XNNPACK"


def _kept(told: dict[str, Any]) -> str:
    """How much of its INT8 runs in INT8, and what does not; nothing where that is not told."""
    if told.get("int8_mac_share_engine") is None:
        return ""
    broken = told["broken_promises"]
    named = ", ".join(f"{one['node']} ({one['asked']} asked, {one['runs'] or 'type not told'})" for one in broken[:FEW])
    others = f" and {len(broken) - FEW} more" if broken[FEW:] else ""
    return (f", {100 * told['int8_mac_share_engine']:.4g} % of its INT8 MACs in INT8"
            f"{f'; not {named}{others}' if broken else ''}")


def doctor(data: Data = None, wide: Annotated[bool, typer.Option("--wide", help="Each check in one line.")] = False,
           json: Json = False, quiet: Quiet = False) -> None:
    """What this machine can do, and the fix for everything that is missing; exit 2 when the main job cannot run."""
    from edge_se.reporting.tables import doctor_rows, job_rows
    from edge_se.steps.doctor import doctor as step

    document = step(data, progress=progress_of(quiet))
    if not printed_as_json(document, json):
        _print_checks(*doctor_rows(document), wide)
        _print_jobs(*job_rows(document), wide)
        first = document["jobs"][0]
        print_line("this machine can do the main job" if first["works"] else
                   f"this machine cannot {first['job']}: mend {', '.join(first['lacks'])}")
    if not document["works"]:
        raise typer.Exit(CANNOT)


def _print_checks(columns: list[str], rows: list[list[str]], wide: bool) -> None:
    """Without `wide` the fixes stand below the table, with what was found where that is long."""
    if wide:
        print_table(columns, rows, left=len(columns))
        print_line("")
        return
    shown, long = told_below(columns[:-1], [row[:-1] for row in rows], long="found")
    print_table(columns[:-1], shown, left=len(columns))
    print_line("")
    for (check, _, _, fix), found in zip(rows, long):
        if told := [part for part in (found, fix if fix != NOTHING else "") if part]:
            print_line(f"{check}: {'; '.join(told)}")
    print_line("")


def _print_jobs(columns: list[str], rows: list[list[str]], wide: bool) -> None:
    shown, long = (rows, []) if wide else told_below(columns, rows, long="lacks")
    print_table(columns, shown, left=len(columns))
    print_line("")
    for row, lacks in zip(rows, long):
        if lacks:
            print_line(f"{row[0]} lacks {lacks}")
