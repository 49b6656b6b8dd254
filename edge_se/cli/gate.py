"""`gate`."""

from __future__ import annotations

from pathlib import Path
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
    Split,
    printed_as_json,
    progress_of,
    require_unset,
    tell_written,
    telling_of_the_cache,
)
from edge_se.reporting.console import print_line, print_table
from edge_se.steps import completion

EXIT_CODES = {"pass": 0, "fail": 1, "inconclusive": 3}


def gate(model: BuildName = None,
         max_drop: Annotated[Optional[float], typer.Option(help="Margin in percentage points; default 0.5.")] = None,
         preset: Annotated[Optional[str], typer.Option(
             help="mlperf99: keep 99 % of FP32's top-1; strict: 0.25 points at alpha 0.005.")] = None,
         alpha: Annotated[Optional[float], typer.Option(
             help="One-sided error rate of either verdict; default 0.025.")] = None,
         sequential: Annotated[Optional[bool], typer.Option(
             "--sequential/--all-images", help="Stop as soon as the verdict is certain, at the same error rate.")] =
         None,
         config: Annotated[Optional[Path], typer.Option(
             help="Settings; default: bench/gate.toml where it exists. The command line wins.")] = None,
         bench: Annotated[Optional[Path], typer.Option(
             help="A document of `bench --out`, for --max-latency-ratio and --min-int8-share.")] = None,
         max_latency_ratio: Annotated[Optional[float], typer.Option(
             help="Also judge the latency, INT8 over FP32, in --bench: by the interval of its turns.")] = None,
         max_size_ratio: Annotated[Optional[float], typer.Option(
             help="Also judge the file's size, INT8 over FP32.")] = None,
         min_int8_share: Annotated[Optional[float], typer.Option(
             help="Also judge the engines in --bench: percent of the file's INT8 MACs that they run in INT8.")] = None,
         min_top1: Annotated[Optional[float], typer.Option(
             help="Also judge INT8's own top-1: at least so many percent.")] = None,
         baseline: Annotated[Optional[Path], typer.Option(
             help="Also judge against the INT8 of an earlier build, of the same board: a file, or a folder of "
                  "them.")] = None,
         update_baseline: Annotated[bool, typer.Option(
             "--update-baseline", help="Write --baseline (default bench/baselines/MODEL.json, of a device "
                                       "MODEL.DEVICE.json) instead.")] = False,
         junit: Annotated[Optional[Path], typer.Option(help="Also write JUnit XML.")] = None,
         summary: Annotated[Optional[Path], typer.Option(
             help="Also append Markdown: give $GITHUB_STEP_SUMMARY.")] = None,
         annotate: Annotated[bool, typer.Option(
             "--annotate", help="Also print a workflow command of GitHub per verdict; on stderr with --json.")] = False,
         plan: Annotated[bool, typer.Option(
             "--plan", help="Only say how many images the margin needs; reads none.")] = False,
         power: Annotated[float, typer.Option(help="--plan: probability to pass without a drop.")] = 0.9,
         discordance: Annotated[Optional[float], typer.Option(
             help="--plan: percent of images that exactly one of FP32 and INT8 gets right; default: the flips of "
                  "--model, else a few typical rates.")] = None,
         device: Annotated[Optional[list[str]], typer.Option(
             autocompletion=completion.devices,
             help="Where the files are judged: cpu (here; the default), jetson, cuda, ssh://USER@HOST[:PORT], "
                  "loopback, web (in node) or a .toml file of boards; several times for several.")] = None,
         host: Annotated[Optional[str], typer.Option(
             help="--device jetson: USER@HOST[:PORT] or an alias of your SSH configuration.")] = None,
         python: Annotated[Optional[str], typer.Option(
             help="Path of the Python on the device that has its runtime; default: its python3.")] = None,
         data: OwnData = None, labels: Labels = None,
         split: Split = None, skip_broken: SkipBroken = False, cluster: OnCluster = False, workers: Workers = None,
         address: Address = None, out: OutDocument = None, json: Json = False,
         quiet: Quiet = False) -> None:
    """Fail when accuracy drops under quantization: exit 0 pass, 1 fail, 3 inconclusive."""
    from functools import partial

    from edge_se.core.files import write_json
    from edge_se.core.outputs import JUNIT, PROSE, require_file
    from edge_se.core.outputs import document as document_of
    from edge_se.evaluation.settings import given
    from edge_se.reporting.gate_outputs import workflow_commands, write_outputs
    from edge_se.reporting.verdict import board_rows, explain, plan_rows, plan_words
    from edge_se.steps.gate import gate as step
    from edge_se.steps.gate_boards import gate_boards, places_of, require_one
    from edge_se.steps.gate_plan import plan as plan_step

    wanted = given(max_drop=max_drop, preset=preset, alpha=alpha, sequential=sequential,
                   max_latency_ratio=max_latency_ratio, max_size_ratio=max_size_ratio, min_top1=min_top1,
                   min_int8_share=min_int8_share)
    read = (config, bench, baseline)
    require_file(out, document_of("gate", "gate-plan"), "--out", sources=read)
    require_file(junit, JUNIT, "--junit", sources=read, beside=(out,))
    require_file(summary, PROSE, "--summary", sources=read, beside=(out, junit))
    if plan:
        require_unset({
            "--junit": junit, "--summary": summary, "--annotate": annotate, "--baseline": baseline,
            "--update-baseline": update_baseline, "--bench": bench, "--device": device, "--host": host,
            "--python": python, "--cluster": cluster, "--workers": workers, "--address": address, "--data": data,
            "--labels": labels, "--split": split, "--skip-broken": skip_broken,
        }, beside="--plan", why="is for verdicts, and a plan has none")
        document = plan_step(model, config=config, wanted=wanted, power=power, discordance=discordance)
        if out:
            write_json(out, document)
        tell_written(quiet, out)
        if not printed_as_json(document, json):
            print_table(*plan_rows(document))
            print_line(f"\n{plan_words(document)}")
        return
    progress = progress_of(quiet)
    places = places_of(device or ("cpu",), host, python)
    require_one(places, update_baseline=update_baseline, bench=bench, cluster=cluster)
    judged = partial(step, model, wanted=wanted, config=config, bench=bench, baseline=baseline,
                     update_baseline=update_baseline, data=data, labels=labels, split=split, skip_broken=skip_broken,
                     progress=progress)
    with cluster_of(cluster, workers, address, progress) as where, telling_of_the_cache(progress):
        document = judged(place=places[0], cluster=where) if len(places) == 1 else gate_boards(
            places, lambda place: judged(place=place), progress)
    write_outputs(document, junit, summary)
    if out:
        write_json(out, document)
    tell_written(quiet, junit, summary, out)
    as_json = printed_as_json(document, json)
    for line in [] if as_json else explain(document):
        print_line(line)
    if "boards" in document and not as_json:
        print_line("")
        print_table(*board_rows(document))
    for line in workflow_commands(document) if annotate else ():
        print_line(line, stderr=as_json)  # GitHub's runner reads both; on stdout the document stays alone
    raise typer.Exit(EXIT_CODES[document["overall"]])
