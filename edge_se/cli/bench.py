"""`bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from edge_se.cli.options import (
    BuildNames,
    Json,
    OutDocument,
    OwnData,
    Quiet,
    SkipBroken,
    Wide,
    batch_sizes,
    build_names,
    is_quiet,
    names,
    print_fitted,
    print_why,
    printed_as_json,
    progress_of,
    require_unset,
    tell_written,
    thread_counts,
)
from edge_se.core.errors import EdgeSeError
from edge_se.reporting.console import print_line, print_sentence
from edge_se.steps import completion

# What the table leaves out first where it would be too wide; conditions only where all rows have the same.
SPARE = ("top-1 here %", "top-1 before %", "params", "MFLOPs", "of the model", "first ms", "load ms", "figures",
         "launches", "p90 ms", "MiB", "peak MiB", "p90 / LoadGen's", "p50 / vendor's", "LoadGen images/s",
         "memory-bound", "compute-bound", "threads", "batch", "CV", "images/s", "at most, images/s", "LoadGen p90 ms",
         "vendor's tool p50 ms", "with copies ms", "model", "mode", "target", "board", "p99 ms", "mJ (95 % CI)")
CONDITIONS = ("model", "target", "threads", "batch", "mode", "board")


def bench(device: Annotated[str, typer.Option(
              autocompletion=completion.devices,
              help="cpu, cuda, jetson (this machine, --host, $EDGE_SE_JETSON or the SSH alias jetson; else an "
                   "estimate), ssh://USER@HOST[:PORT], loopback (this machine behind an agent), or web: "
                   "onnxruntime-web in node or with --serve in a browser.")] = "cpu",
          model: BuildNames = None,
          precision: Annotated[Optional[str], typer.Option(help="fp32,fp16,int8; default: all of the build.")] = None,
          backend: Annotated[str, typer.Option(
              help="auto; all: each file in every runtime that runs it; onnxruntime, openvino, opencv, litert, torch, "
                   "torch-compiled, onnxruntime-cuda and other providers; on a device also tensorrt and "
                   "tensorrt_rtx; of a page onnxruntime-web and onnxruntime-web-webgpu.")] = "auto",
          batch: Annotated[str, typer.Option(help="A batch size, or several to sweep: 1,8,32.")] = "1",
          threads: Annotated[Optional[str], typer.Option(
              help="A number, or several to sweep: 1,2; 0: all processors. Default: 1; with --scenario throughput "
                   "0.")] = None,
          scenario: Annotated[str, typer.Option(
              help="latency: one stream; throughput: as many streams as --threads says, of one thread each; or "
                   "both: latency,throughput.")] = "latency",
          min_duration: Annotated[float, typer.Option(help="Seconds of timing per file and batch size.")] = 2.0,
          host: Annotated[Optional[str], typer.Option(
              help="--device jetson: USER@HOST[:PORT] or an alias of your SSH configuration; --device web --serve: "
                   "the address to listen on, such as 0.0.0.0:8765 for all networks (127.0.0.1).")] = None,
          serve: Annotated[bool, typer.Option(
              "--serve", help="--device web: print an address; the first browser that opens it is measured.")] = False,
          web_runtime: Annotated[Optional[Path], typer.Option(
              help="--device web: the folder of onnxruntime-web; else $EDGE_SE_WEB_RUNTIME, or in "
                   "./node_modules.")] = None,
          python: Annotated[Optional[str], typer.Option(
              help="Path of the Python on the device that has its runtime; default: its python3.")] = None,
          explain: Annotated[bool, typer.Option(
              "--explain", help="TensorRT: also profile the layers and say why INT8 is (not) faster.")] = False,
          fresh: Annotated[Optional[bool], typer.Option(
              "--fresh/--no-fresh", help="Memory, load time and first inference of each row, in a process of its own. "
                                         "Default: on this machine's CPU, unless --min-duration is below 0.2.")] = None,
          referee: Annotated[bool, typer.Option(
              "--referee", help="Also run each session under MLPerf LoadGen.")] =
          False,
          accuracy: Annotated[Optional[bool], typer.Option(
              "--accuracy/--no-accuracy", help="On a device: also measure top-1 there. Default: where labelled images "
                                               "are at hand and it takes less than two minutes. With --no-accuracy "
                                               "none is measured here, either.")] = None,
          against: Annotated[Optional[Path], typer.Option(
              help="A document of an earlier run to compare with; refused when device or power mode differ.")] = None,
          estimate: Annotated[Optional[str], typer.Option(
              autocompletion=completion.boards,
              help="Roofline of a board that is not here: a name from bench/devices, a .toml file, or all.")] = None,
          measured_only: Annotated[bool, typer.Option(
              "--measured-only", help="Exit 2 where no Jetson is, instead of an estimate.")] = False,
          launch_us: Annotated[float, typer.Option(
              help="--estimate: microseconds per kernel launch; 0 for a CUDA graph.")] = 0.0,
          html: Annotated[Optional[Path], typer.Option(
              help="Also write the report of these builds with this run, one page for a browser.")] = None,
          data: OwnData = None, skip_broken: SkipBroken = False,
          out: OutDocument = None,
          wide: Wide = False, json: Json = False, quiet: Quiet = False) -> None:
    """Measure latency, throughput and accuracy of every precision, interleaved in one run."""
    from edge_se.backends.machines.choice import Web, way_to_jetson
    from edge_se.core.files import write_json
    from edge_se.core.measured_by import of_files
    from edge_se.core.outputs import PAGE, require_file
    from edge_se.core.outputs import document as document_of
    from edge_se.reporting.report.page import require_page
    from edge_se.reporting.tables import estimate_rows, measurement_rows
    from edge_se.steps.bench import Options
    from edge_se.steps.bench import bench as step
    from edge_se.steps.estimate import DEFAULT_BOARD, estimates, instead_of_measuring
    from edge_se.steps.report import report

    require_file(out, document_of("bench"), "--out", sources=(against,))
    require_file(html, PAGE, "--html", sources=(against,), beside=(out,))
    progress, batches, models = progress_of(quiet), batch_sizes(batch), build_names(model)
    if serve and is_quiet(quiet):
        raise EdgeSeError("would hide the address that --serve prints", where="--quiet", fix="leave it out")
    if estimate:
        require_unset({
            "--precision": precision, "--threads": threads, "--host": host, "--python": python, "--serve": serve,
            "--web-runtime": web_runtime, "--explain": explain, "--fresh/--no-fresh": fresh is not None,
            "--referee": referee, "--accuracy/--no-accuracy": accuracy is not None, "--against": against,
            "--measured-only": measured_only,
        }, beside="--estimate", why="is for measurements, and an estimate has none")
    if html:
        require_page()
    if device == "jetson" and not estimate and way_to_jetson(host) is None:
        progress.note(instead_of_measuring(measured_only))
        estimate = DEFAULT_BOARD
    if estimate:
        document = estimates(estimate, model=models, batches=batches, launch_us=launch_us, progress=progress)
    else:
        options = Options(backend=backend, batches=batches, threads=thread_counts(threads), min_duration=min_duration,
                          scenarios=tuple(names(scenario, "--scenario") or ()), fresh=fresh, referee=referee, host=host,
                          python=python, web=Web(serve=serve, runtime=web_runtime), explain=explain, accuracy=accuracy)
        document = step(device, model=models, precisions=names(precision, "--precision"), options=options,
                        data=data, skip_broken=skip_broken, against=against, progress=progress)
    if out:
        write_json(out, document)
    if html:
        report(models or (), bench=[document], html=html, data=data, skip_broken=skip_broken, progress=progress)
    tell_written(quiet, out, html)
    if printed_as_json(document, json):
        return
    columns, rows = (estimate_rows if estimate else measurement_rows)(document["measurements"])
    print_fitted(columns, rows, left=5 if estimate else 4, wide=wide, spare=SPARE, conditions=CONDITIONS)
    known = [(f"{row['model']} {row['precision']} {row['target']}", row["measured_by"])
             for row in document["measurements"] if row["top1"] is not None and not estimate]  # whose table has none
    if known:
        print_line("")
        print_sentence(of_files(known))
    for row in document["measurements"]:
        if "why" in row:
            print_line(f"\nint8.{row['target']} in {row['backend']}, batch {row['batch']}:")
            print_why(row["why"])
