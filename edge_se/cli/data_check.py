"""`data check`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from edge_se.cli import pixels
from edge_se.cli.options import Json, OutDocument, Quiet, printed_as_json, progress_of, tell_written
from edge_se.reporting.console import print_line, print_sentence, print_table
from edge_se.steps import completion

EXIT_CODES = {"fits": 0, "wrong": 1, "unexplained": 3}


def data_check(model: Annotated[str, typer.Option(autocompletion=completion.models,
                                                  help="FILE.onnx, or another source that export takes.")],
               data: Annotated[Path, typer.Option(help="Labelled images, as export takes them.")],
               images: Annotated[int, typer.Option(min=20, max=100_000, help="How many are looked at.")] = 300,
               labels: Annotated[Optional[str], typer.Option(
                   help="What the outputs are: a file of one name a line, or cifar10.")] = None,
               preprocessing: pixels.Preprocessing = None, mean: pixels.Mean = None, std: pixels.Std = None,
               range_: pixels.Range = None, colour: pixels.Colour = None, axes: pixels.Axes = None,
               resize: pixels.Resize = None, crop_share: pixels.CropShare = None,
               interpolation: pixels.Interpolation = None, antialias: pixels.Antialias = None,
               input_size: Annotated[Optional[str], typer.Option(
                   help="Of a file whose height and width are dynamic: N or HEIGHTxWIDTH.")] = None,
               skip_broken: Annotated[bool, typer.Option(
                   "--skip-broken", help="Leave out images that cannot be decoded.")] = False,
               out: OutDocument = None, json: Json = False, quiet: Quiet = False) -> None:
    """Does the model see these images as it was trained to? Exit 0 it does, 1 something is wrong, 3 unexplained."""
    from edge_se.core.files import write_json
    from edge_se.core.outputs import document as document_of
    from edge_se.core.outputs import require_file
    from edge_se.reporting.data_check import check_rows, check_words
    from edge_se.steps.data_check import check

    given = pixels.source_options(
        mean=mean, std=std, input_size=input_size, labels=labels, preprocessing=preprocessing, range=range_,
        colour=colour, axes=axes, resize=resize, crop_share=crop_share, interpolation=interpolation,
        antialias=antialias)
    require_file(out, document_of("data-check"), "--out", sources=(Path(model),))
    document = check(model, data, images=images, skip_broken=skip_broken, preprocessing=given,
                     progress=progress_of(quiet))
    if out:
        write_json(out, document)
    tell_written(quiet, out)
    if not printed_as_json(document, json):
        columns, rows = check_rows(document)
        print_table(columns, rows)
        print_line("")
        for sentence in check_words(document):
            print_sentence(sentence)
    raise typer.Exit(EXIT_CODES[document["verdict"]])
