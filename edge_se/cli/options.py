"""What commands share: options, the values in them, and how a document is printed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from edge_se.cli.everywhere import Everywhere
from edge_se.core.errors import EdgeSeError
from edge_se.core.interrupts import telling
from edge_se.reporting.console import ConsoleProgress, print_json, print_line, print_table
from edge_se.steps import completion

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no notes.")]
Data = Annotated[Optional[Path], typer.Option(help="Folder of CIFAR-10; else $EDGE_SE_DATA, else the user cache.")]
OwnData = Annotated[Optional[Path], typer.Option(
    "--data", help="Labelled images: a folder of class folders, with train/ and test/ or without, or what "
                   "docs/your-model.md lists. Default: CIFAR-10 in $EDGE_SE_DATA or the user cache.")]
Labels = Annotated[Optional[Path], typer.Option(
    help="Names of the outputs of a build that has none: a file of one name a line, or JSON.")]
Split = Annotated[Optional[str], typer.Option(help="The split of --data to judge on; default test, else validation.")]
SkipBroken = Annotated[bool, typer.Option(
    "--skip-broken", help="Leave out images that cannot be decoded, and count them in the document.")]
OutDocument = Annotated[Optional[Path], typer.Option("--out", help="Also write the JSON document to this file.")]
Wide = Annotated[bool, typer.Option("--wide", help="All columns, also where they need more than 100 characters.")]
BuildName = Annotated[Optional[str], typer.Option(autocompletion=completion.builds,
                                                  help="A build: its folder, or its name under ./build.")]
BuildNames = Annotated[Optional[str], typer.Option(
    autocompletion=completion.builds,
    help="A build: its folder, or its name under ./build. Several with commas are measured in one run.")]


def is_quiet(quiet: bool) -> bool:
    """Whether `--quiet` was given, before or after the command's name."""
    return quiet or Everywhere.quiet


def progress_of(quiet: bool) -> ConsoleProgress:
    """Progress and notes on stderr, unless it is quiet."""
    return ConsoleProgress(is_quiet(quiet))


def printed_as_json(document: dict[str, Any], json: bool) -> bool:
    """Prints `document` where `--json` was given, and says whether it did."""
    if json or Everywhere.json:
        print_json(document)
        return True
    return False


def print_facts(document: dict[str, Any], json: bool) -> None:
    """A flat document as two columns."""
    if printed_as_json(document, json):
        return
    print_table(["fact", "value"], [[key, str(value)] for key, value in document.items() if key != "schema"], left=2)


def telling_of_the_cache(progress: ConsoleProgress) -> AbstractContextManager[None]:
    """An interrupt of what evaluates whole files is told with how it goes on."""
    return telling(progress, lambda: "nothing was written. The same command goes on: what was evaluated comes from the "
                                     "cache")


def tell_written(quiet: bool, *paths: Optional[Path]) -> None:
    """A line on stderr for each file that the user named and that is written now."""
    for path in paths:
        if path and not is_quiet(quiet):
            print_line(f"written to {path}", stderr=True)


def print_why(document: dict[str, Any]) -> None:
    """The document of `explain`: where the time goes, the verdict, what to try."""
    from edge_se.reporting.tables import explain_rows

    columns, rows = explain_rows(document)
    print_table(columns, rows)
    for line in (f"\n{document['verdict']}", *(f"- {line}" for line in document["advice"])):
        print_line(line)


def print_fitted(columns: list[str], rows: list[list[str]], *, left: int, wide: bool, spare: Sequence[str],
                 conditions: Sequence[str] = ()) -> None:
    """Prints a table of at most 100 characters: `fitted` leaves out `spare` columns that do not fit."""
    from edge_se.reporting.fitting import fitted

    table = fitted(columns, rows, left=left, spare=() if wide else spare, conditions=conditions)
    print_table(table.columns, table.rows, left=table.left)
    if table.words:
        print_line(table.words, stderr=True)  # stdout is the table alone


def names(value: Optional[str], option: str) -> Optional[list[str]]:
    """The parts of `a,b`, the value of `option`. None without a value; EdgeSeError when it names nothing."""
    if value is None:
        return None
    parts = [part.strip() for part in value.split(",") if part.strip()]
    if not parts:
        raise EdgeSeError(f"{value!r} names nothing", where=option, fix=f"leave {option} out, or name something")
    return parts


def build_names(value: Optional[str]) -> Optional[list[str]]:
    """The same for builds, whose folders may have commas in their names."""
    return [value] if value and Path(value).exists() else names(value, "--model")


def channel_values(value: Optional[str], option: str) -> Optional[tuple[float, ...]]:
    """One number for every channel, or one for each of three."""
    if value is None:
        return None
    try:
        numbers = tuple(float(part) for part in value.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) not in (1, 3):
        raise EdgeSeError(f"'{value}' is neither one number nor three", where=option,
                          fix="give one per channel: 0.5,0.5,0.5")
    return numbers


def require_unset(options: Mapping[str, object], *, beside: str, why: str) -> None:
    """EdgeSeError for the first of `options` (name -> value) that was given: nothing reads it `beside` another one."""
    if option := next((option for option, value in options.items() if value), None):
        raise EdgeSeError(why, where=option, fix=f"leave {option} or {beside} out")


def batch_sizes(value: str) -> tuple[int, ...]:
    """`1,8,32` without repetitions."""
    sizes = _integers(value)
    if not all(1 <= size <= 4096 for size in sizes):
        raise EdgeSeError(f"'{value}' is no list of batch sizes from 1 to 4096", where="--batch", fix="write 1,8,32")
    return sizes


def thread_counts(value: Optional[str]) -> Optional[tuple[int, ...]]:
    """`1,2,4` without repetitions; 0 is all processors."""
    counts = None if value is None else _integers(value)
    if counts is not None and not all(0 <= count <= 1024 for count in counts):
        raise EdgeSeError(f"'{value}' is no list of numbers of threads from 0 to 1024", where="--threads",
                          fix="write 1,2,4; 0 means all processors")
    return counts


def _integers(value: str) -> tuple[int, ...]:
    """The integers of a list, without repetitions; (-1,) when one is not an integer."""
    try:
        return tuple(dict.fromkeys(int(part) for part in value.split(",")))
    except ValueError:
        return (-1,)
