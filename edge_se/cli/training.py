"""`train`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Optional

import typer

from edge_se.cli.options import Json, OwnData, Quiet, SkipBroken, printed_as_json, progress_of
from edge_se.reporting.console import print_line
from edge_se.steps import completion


def train(model: Annotated[str, typer.Option(autocompletion=completion.models,
                                             help="A name from `edge-se models list`.")],
          recipe: Annotated[Optional[str], typer.Option(
              autocompletion=completion.recipes, help="A shipped name or a TOML file; default: the model's own for "
                                                      "CIFAR-10, else fast-cpu.")] = None,
          epochs: Annotated[Optional[int], typer.Option(min=1, help="Shorten or lengthen the recipe.")] = None,
          seed: Annotated[Optional[int], typer.Option(
              min=0, help="Of weights, order and augmentation; default: the recipe's.")] = None,
          device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
          out: Annotated[Optional[Path], typer.Option(help="The folder of the run; default: runs/NAME-sSEED.")] = None,
          resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in --out.")] = False,
          input_size: Annotated[Optional[int], typer.Option(
              "--input-size", help="Pixels of a side, with images of your own; default: the model's.")] = None,
          tensorboard: Annotated[bool, typer.Option("--tensorboard",
                                                    help="Also write event files to --out/tensorboard.")] = False,
          data: OwnData = None, skip_broken: SkipBroken = False, json: Json = False, quiet: Quiet = False) -> None:
    """Train a net; write weights and a card with its measured accuracy."""
    from edge_se.steps.train import train as step

    card = step(model, recipe=recipe, epochs=epochs, seed=seed, device=device, out=out, resume=resume, data=data,
                input_size=input_size, skip_broken=skip_broken, tensorboard=tensorboard, progress=progress_of(quiet))
    if "rank" in card:  # the first of torchrun's processes prints
        return
    if printed_as_json(card, json):
        return
    test = card.get("test")
    chosen_on = card["validation"]
    told = f"validation {chosen_on['top1']:.2f} % (n = {chosen_on['n']:,})"
    if test:
        low, high = test["ci95"]
        told = f"test top-1 {test['top1']:.2f} % (n = {test['n']:,}, 95 % CI {low:.2f}–{high:.2f}), {told}"
    print_line(f"{card['out']}: {told}")
    if "dataset" in card:
        weights = f"{card['out']}/{card['weights']['file']}"
        own = ["--data", str(data)] if data else []  # else $EDGE_SE_DATA names them
        left_out = ["--skip-broken"] if skip_broken else []
        print_line("to export it: " + shlex.join(["edge-se", "export", "--model", model, "--weights", weights, *own,
                                                  *left_out, "--int8"]))
