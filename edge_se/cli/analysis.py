"""`sensitivity`, `explain` and `report`: what is known of a build, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from edge_se.cli.options import (
    BuildName,
    Json,
    Labels,
    OutDocument,
    OwnData,
    Quiet,
    SkipBroken,
    Split,
    Wide,
    print_fitted,
    print_why,
    printed_as_json,
    progress_of,
    tell_written,
    telling_of_the_cache,
)
from edge_se.reporting.console import print_line, print_table
from edge_se.steps import completion


def sensitivity(model: BuildName = None,
                target: Annotated[str, typer.Option(autocompletion=completion.target,
                                                    help="cpu, openvino, tensorrt, ...")] = "cpu",
                method: Annotated[Optional[str], typer.Option(autocompletion=completion.methods,
                                                              help="minmax, entropy, percentile or mse; default: "
                                                                   "the build's.")] = None,
                images: Annotated[int, typer.Option(min=1, help="How many held-out images to judge on.")] = 1000,
                calibration: Annotated[Optional[str], typer.Option(
                    help="Images to judge on, where the build is no CIFAR-10 classifier; default: the build's own.")] =
                None,
                figure: Annotated[Optional[Path], typer.Option(help="Also draw it: .svg, .png or .pdf.")] = None,
                data: OwnData = None, skip_broken: SkipBroken = False,
                out: OutDocument = None,
                json: Json = False, quiet: Quiet = False) -> None:
    """What INT8 costs in accuracy and brings in time, layer by layer, excitations apart."""
    from edge_se.core.files import write_json
    from edge_se.core.outputs import FIGURE, require_file
    from edge_se.core.outputs import document as document_of
    from edge_se.reporting.figures import require_figures, sensitivity_figure
    from edge_se.reporting.tables import sensitivity_rows
    from edge_se.steps.sensitivity import sensitivity as step

    if figure:
        require_figures(figure)
    require_file(figure, FIGURE, "--figure", sources=(calibration,))
    require_file(out, document_of("sensitivity"), "--out", sources=(calibration,), beside=(figure,))
    progress = progress_of(quiet)
    with telling_of_the_cache(progress):
        document = step(model, target=target, method=method, images=images, calibration=calibration, data=data,
                        skip_broken=skip_broken, progress=progress)
    if figure:
        sensitivity_figure(document, figure)
    if out:
        write_json(out, document)
    tell_written(quiet, figure, out)
    if printed_as_json(document, json):
        return
    columns, rows = sensitivity_rows(document["units"])
    print_table(columns, rows, left=2)
    print_line(f"\neach unit alone in INT8, everything else FP32; on {document['n']:,} images of {document['dataset']}")


def explain_layers(layers: Annotated[Path, typer.Option(help="trtexec --exportLayerInfo of the INT8 engine.")],
                   profile: Annotated[Path, typer.Option(help="trtexec --exportProfile of the INT8 engine.")],
                   baseline_layers: Annotated[Optional[Path], typer.Option(
                       help="Layer information of the same net in FP16 or FP32.")] = None,
                   baseline_profile: Annotated[Optional[Path], typer.Option(help="Its profile.")] = None,
                   latency_ms: Annotated[Optional[float], typer.Option(
                       help="Latency of INT8 without the profiler; tells what launches take.")] = None,
                   baseline_latency_ms: Annotated[Optional[float], typer.Option(
                       help="The same of the baseline.")] = None,
                   out: OutDocument = None,
                   json: Json = False, quiet: Quiet = False) -> None:
    """Why INT8 is (not) faster in TensorRT: where the time of each layer goes, and what to try."""
    from edge_se.core.files import write_json
    from edge_se.core.outputs import document as document_of
    from edge_se.core.outputs import require_file
    from edge_se.steps.explain import explain as step

    require_file(out, document_of("explain"), "--out", sources=(layers, profile, baseline_layers, baseline_profile))
    document = step(layers, profile, baseline_layers=baseline_layers, baseline_profile=baseline_profile,
                    latency_ms=latency_ms, baseline_latency_ms=baseline_latency_ms, progress=progress_of(quiet))
    if out:
        write_json(out, document)
    tell_written(quiet, out)
    if not printed_as_json(document, json):
        print_why(document)


def report(builds: Annotated[Optional[list[str]], typer.Argument(
               metavar="BUILD", help="Folders, or names under ./build. Default: the only build.")] = None,
           html: Annotated[Optional[Path], typer.Option(help="One self-contained file to open in a browser.")] = None,
           markdown: Annotated[Optional[Path], typer.Option(help="The same as Markdown, without images.")] = None,
           bench: Annotated[Optional[list[Path]], typer.Option(
               help="A document of `bench --out`; repeatable. Default: bench.json in the builds' folders.")] = None,
           sensitivity: Annotated[Optional[list[Path]], typer.Option(
               help="A document of `sensitivity --out`; repeatable.")] = None,
           robustness: Annotated[Optional[list[Path]], typer.Option(
               help="A document of `robustness --out`; repeatable.")] = None,
           max_drop: Annotated[float, typer.Option(help="Margin of the verdicts, percentage points.")] = 0.5,
           data: OwnData = None, labels: Labels = None, split: Split = None, skip_broken: SkipBroken = False,
           out: OutDocument = None,
           wide: Wide = False, json: Json = False, quiet: Quiet = False) -> None:
    """All that is known of one or several builds: verdicts, charts, flipped images, provenance."""
    from edge_se.reporting.report.views import summary
    from edge_se.steps.report import report as step

    document = step(builds or (), bench=bench or (), sensitivity=sensitivity or (), robustness=robustness or (),
                    html=html, markdown=markdown, out=out, max_drop=max_drop, data=data, labels=labels, split=split,
                    skip_broken=skip_broken, progress=progress_of(quiet))
    tell_written(quiet, html, markdown, out)
    if printed_as_json(document, json):
        return
    table = summary(document)
    print_fitted(table.columns, table.rows, left=table.left, wide=wide,
                 spare=("size, INT8 / FP32", "of file", "FP32 top-1 % (95 % CI)"))
    for note in document["notes"]:
        print_line(f"note: {note}")
    for item in document["missing"]:
        print_line(f"not in it: {item['section']}. {item['how']}")
