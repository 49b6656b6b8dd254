"""`study`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from edge_se.cli.options import Data, Json, Quiet, Wide, print_fitted, printed_as_json, progress_of
from edge_se.reporting.console import print_line


def study(file: Annotated[Path, typer.Argument(metavar="FILE.toml", help="The study; bench/studies holds examples.")],
          out: Annotated[Optional[Path], typer.Option(help="Where results go; default: runs/studies/NAME.")] = None,
          cells: Annotated[Path, typer.Option(help="Where trained cells are; studies share it.")] = Path("runs/cells"),
          executor: Annotated[str, typer.Option(help="local: processes here; ray: a Ray cluster.")] = "local",
          workers: Annotated[Optional[int], typer.Option(
              min=1, help="Cells at a time, each with its share of the processors. Default: one each.")] = None,
          address: Annotated[Optional[str], typer.Option(
              help="ray: address of a running cluster; else $RAY_ADDRESS, else a local one.")] = None,
          device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
          data: Data = None, wide: Wide = False, json: Json = False, quiet: Quiet = False) -> None:
    """Train and measure a grid of nets, recipes and seeds; cells that are done are not run again."""
    from edge_se.studies.study import Options
    from edge_se.studies.study import study as step
    from edge_se.studies.tables import TITLES, comparison_rows, evaluations_of, summary_rows

    document = step(file, out=out, data=data, progress=progress_of(quiet), options=Options(
        executor=executor, workers=workers, address=address, device=device, cells=cells))
    if printed_as_json(document, json):
        return
    for evaluation in evaluations_of(document):
        print_line(f"\n{TITLES[evaluation]}")
        columns, rows = summary_rows(document, evaluation)
        _print(columns, rows, wide)
        columns, rows = comparison_rows(document, evaluation)
        if rows:
            print_line("")
            _print(columns, rows, wide)
    print_line(f"\nwritten to {document['out']}: {document['name']}.md, results.csv, results.json")


def _print(columns: list[str], rows: list[list[str]], wide: bool) -> None:
    """Conditions that are the same in all rows are told below, where the table would be too wide."""
    labels = columns[:columns.index("seeds")]
    same = [*labels, "seeds"]
    print_fitted(columns, rows, left=len(labels), wide=wide, spare=[*same, "p"], conditions=same)
