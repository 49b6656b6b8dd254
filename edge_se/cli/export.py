"""`export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from edge_se.cli import pixels
from edge_se.cli.options import (
    Json,
    OwnData,
    Quiet,
    SkipBroken,
    Split,
    Wide,
    names,
    print_fitted,
    printed_as_json,
    progress_of,
)
from edge_se.graph.targets.table import TARGETS
from edge_se.reporting.console import print_line, print_sentence
from edge_se.steps import completion

if TYPE_CHECKING:
    from edge_se.core.artifacts import Build

INCONCLUSIVE = 3  # exit code where no placement of `auto` surely keeps accuracy


def export(model: Annotated[str, typer.Option(
               autocompletion=completion.models,
               help="A name from `edge-se models list`, FILE.onnx, FILE.pt2 (torch.export), torchvision:NAME[.TAG] or "
                    "timm:NAME[.TAG].")],
           weights: Annotated[Optional[Path], typer.Option(
               help="safetensors or a state dict; default: the bundled ones, or those that the library downloads.")] =
           None,
           fp16: Annotated[bool, typer.Option("--fp16", help="Also write FP16.")] = False,
           int8: Annotated[bool, typer.Option("--int8", help="Also write INT8, one file per target.")] = False,
           target: Annotated[Optional[str], typer.Option(
               autocompletion=completion.targets,
               help=f"{', '.join(TARGETS)}, several with commas, or all. Default: cpu,tensorrt; on x86 without VNNI "
                    "cpu-avx2, too.")] = None,
           calibration: Annotated[Optional[str], typer.Option(
               help="A folder of images, or what docs/your-model.md lists, a bundled set, or the calibration.npz of an "
                    "earlier export. Default: 512 training images of --data, else, at 32 px, the synthetic set. "
                    "litert-dynamic needs none.")] = None,
           effort: Annotated[str, typer.Option(
               help="quick, default, or extensive: methods and placements are measured and the best is taken.")] =
           "default",
           method: Annotated[Optional[str], typer.Option(
               help="How ranges are chosen: minmax, entropy, percentile, mse, or auto: the nearest to FP32 on the "
                    "calibration images. Default: the effort's.")] = None,
           placement: Annotated[Optional[str], typer.Option(
               help="What runs in INT8: all, se-float, ends-float, sums-float, conv-only, or auto: measured on "
                    "held-out images and on this machine or --device. Default: the effort's.")] = None,
           max_drop: Annotated[float, typer.Option(
               help="--placement auto, --fold-excitations: points that may be lost, with 97.5 % confidence.")] = 0.5,
           search_seconds: Annotated[Optional[float], typer.Option(
               help="--placement auto: bound on the search of each target; half of it is for accuracy, the rest for "
                    "times.")] = None,
           device: Annotated[str, typer.Option(
               autocompletion=completion.devices,
               help="--placement auto: where candidates are timed: cpu (here, if anything here runs the target), "
                    "jetson, cuda, ssh://USER@HOST[:PORT] or loopback. Without --target a device gets what it runs "
                    "best.")] = "cpu",
           host: Annotated[Optional[str], typer.Option(
               help="--device jetson: USER@HOST[:PORT] or an alias of your SSH configuration.")] = None,
           python: Annotated[Optional[str], typer.Option(
               help="Path of the Python on the device that has its runtime; default: its python3.")] = None,
           fold_excitations: Annotated[bool, typer.Option(
               "--fold-excitations", "--fold-gates",
               help="Fold excitations that hardly depend on the image into the convolutions, as many as --max-drop "
                    "allows on held-out images. Writes build/NAME-folded.")] = False,
           data: OwnData = None, split: Split = None, skip_broken: SkipBroken = False,
           out: Annotated[Optional[Path], typer.Option(help="Where to write; default: build/NAME.")] = None,
           accuracy: Annotated[bool, typer.Option(help="Measure accuracy on the test set.")] = True,
           preprocessing: pixels.Preprocessing = None, mean: pixels.Mean = None, std: pixels.Std = None,
           range_: pixels.Range = None, colour: pixels.Colour = None, axes: pixels.Axes = None,
           resize: pixels.Resize = None, crop_share: pixels.CropShare = None,
           interpolation: pixels.Interpolation = None, antialias: pixels.Antialias = None,
           input_size: Annotated[Optional[str], typer.Option(
               help="N, or HEIGHTxWIDTH: of a torchvision or timm model (default: its weights'), or of a file whose "
                    "own is not fixed.")] = None,
           labels: Annotated[Optional[str], typer.Option(
               help="What the outputs of a model from elsewhere are: a file of one name a line, or JSON (ImageNet's "
                    "too), or cifar10. Default: what the model says, else the classes of --data in order.")] = None,
           fuse_preprocessing: Annotated[bool, typer.Option(
               "--fuse-preprocessing", help="Files take a camera's bytes, uint8 NHWC: normalisation, layout and cast "
                                            "are in the graph, and an INT8 first layer sees pixels exactly.")] = False,
           batch: Annotated[Optional[int], typer.Option(
               help="Files take so many images at once and no other number, for runtimes that refuse a dynamic batch. "
                    "Default: any number.")] = None,
           untrained: Annotated[bool, typer.Option(
               "--untrained", help="Random weights, for nets of the zoo, torchvision and timm: structure, size and "
                                   "latency, no accuracy. Writes build/NAME-untrained.")] = False,
           bundle: Annotated[bool, typer.Option(
               "--bundle", help="Also write a folder that runs on a device without edge-se.")] = False,
           wide: Wide = False, json: Json = False, quiet: Quiet = False) -> None:
    """Write ONNX files per precision and target, each verified and measured."""
    from edge_se.backends.machines.choice import Place
    from edge_se.core.interrupts import telling
    from edge_se.quantization.search import Budget
    from edge_se.steps.export import export as step
    from edge_se.steps.export_kept import what_is_kept

    given = pixels.source_options(
        mean=mean, std=std, input_size=input_size, labels=labels, preprocessing=preprocessing, range=range_,
        colour=colour, axes=axes, resize=resize, crop_share=crop_share, interpolation=interpolation,
        antialias=antialias)
    progress = progress_of(quiet)
    with telling(progress, what_is_kept(out)):
        build = step(model, weights=weights, fp16=fp16, int8=int8, targets=names(target, "--target"),
                     calibration=calibration, effort=effort, method=method, placement=placement, data=data, out=out,
                     labels=labels, split=split, skip_broken=skip_broken, accuracy=accuracy,
                     budget=Budget(max_drop_pp=max_drop, seconds=search_seconds), preprocessing=given, bundle=bundle,
                     untrained=untrained, fold_excitations=fold_excitations,
                     fuse_preprocessing=fuse_preprocessing, batch=batch,
                     place=Place(device=device, host=host, python=python), progress=progress)
    _shown(build, json, wide)
    if not all(any(row["within_budget"] for row in search["candidates"]) for search in build.placements or ()):
        raise typer.Exit(INCONCLUSIVE)


def _shown(build: Build, json: bool, wide: bool) -> None:
    from edge_se.core.measured_by import of_files
    from edge_se.reporting.amounts import size
    from edge_se.reporting.placements import chosen_words, placement_rows
    from edge_se.reporting.tables import build_rows

    if printed_as_json(build.document(), json):
        return
    columns, rows = build_rows(build)
    print_fitted(columns, rows, left=3, wide=wide, conditions=("flips",),
                 spare=("params", "MFLOPs", "precision", "flips", "target", "INT8 MACs", "top-5 %"))
    calibrated = f", calibrated on {build.calibration['name']}" if build.calibration else ""
    random = "untrained, accuracy not measured; " if build.source["kind"] == "untrained" else ""
    print_line(f"\n{random}written to {build.out}{calibrated}; evaluated on {build.artifacts[0].dataset}")
    print_sentence(of_files((item.file, item.measured_by) for item in build.artifacts))
    if tflite := [f"{item.tflite['file']} ({size(item.tflite['bytes'])})" for item in build.artifacts if item.tflite]:
        print_sentence(f"LiteRT reads {' and '.join(tflite)}")
    for search in build.placements or ():
        print_line("")
        print_fitted(*placement_rows(search), left=1, wide=wide, spare=("INT8 in the engine", "ms", "SQNR dB"))
        print_sentence(chosen_words(search))
