"""`robustness`: a build on corrupted images."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from edge_se.cli.cluster import Address, OnCluster, Workers, cluster_of
from edge_se.cli.options import (
    BuildName,
    Json,
    Labels,
    OutDocument,
    OwnData,
    Quiet,
    SkipBroken,
    Wide,
    names,
    print_fitted,
    printed_as_json,
    progress_of,
    tell_written,
    telling_of_the_cache,
)
from edge_se.core.errors import EdgeSeError
from edge_se.reporting.console import print_line, print_sentence
from edge_se.steps import completion


def robustness(model: BuildName = None,
               images: Annotated[Optional[int], typer.Option(
                   min=1, help="How many images of the split: the first of CIFAR-10, an equal share of each class "
                               "of a folder. Default: all.")] = None,
               corruptions: Annotated[Optional[str], typer.Option(
                   autocompletion=completion.corruptions,
                   help="gaussian_noise, shot_noise, impulse_noise, defocus_blur, jpeg_compression, several with "
                        "commas. Default: all.")] = None,
               severities: Annotated[str, typer.Option(help="From 1 to 5, with commas.")] = "1,2,3,4,5",
               split: Annotated[Optional[str], typer.Option(
                   autocompletion=completion.judging_splits,
                   help="test (the default, where there is one): for a figure that is final; validation: held-out "
                        "images, to choose by.")] = None,
               seed: Annotated[int, typer.Option(min=0, help="Of the noise.")] = 0,
               data: OwnData = None, labels: Labels = None, skip_broken: SkipBroken = False,
               cluster: OnCluster = False, workers: Workers = None, address: Address = None,
               out: OutDocument = None, wide: Wide = False,
               json: Json = False, quiet: Quiet = False) -> None:
    """Top-1 of every file under noise, blur and JPEG: does INT8 lose more there than FP32?"""
    from edge_se.core.files import write_json
    from edge_se.core.outputs import document as document_of
    from edge_se.core.outputs import require_file
    from edge_se.reporting.report import views
    from edge_se.steps.robustness import robustness as step

    require_file(out, document_of("robustness"), "--out")
    progress = progress_of(quiet)
    with cluster_of(cluster, workers, address, progress) as where, telling_of_the_cache(progress):
        document = step(model, split=split, images=images, corruptions=names(corruptions, "--corruptions"),
                        severities=_levels(severities), seed=seed, data=data, labels=labels,
                        skip_broken=skip_broken, cluster=where, progress=progress)
    if out:
        write_json(out, document)
    tell_written(quiet, out)
    if printed_as_json(document, json):
        return
    apart, overall = views.robustness_apart(document), views.robustness_overall(document)
    files = [item["label"] for item in document["files"][:0:-1]]  # the last target first, and no FP32
    # Drops are left out last, that of FP16 first.
    spare = ["strength", *(f"{label} {what}" for what in ("flips", "top-1 %", "drop")
                           for label in sorted(files, key=lambda label: label != "fp16"))]
    print_fitted(apart.columns, apart.rows, left=apart.left, wide=wide, spare=spare[:-1])
    print_line("")
    print_fitted(overall.columns, overall.rows, left=overall.left, wide=wide,
                 spare=["drop on clean images", overall.columns[1]])
    print_line("")
    print_sentence(views.computed(document))
    print_line(f"{views.judged(document)}; severity 0: as they are; drops are paired with FP32 on the same corrupted "
               "images")


def _levels(value: str) -> list[int]:
    try:
        return [int(part) for part in value.split(",")]
    except ValueError:
        raise EdgeSeError(f"'{value}' is no list of severities from 1 to 5", where="--severities",
                          fix="write 1,3,5") from None
