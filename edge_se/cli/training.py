"""`train`."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from edge_se.cli.options import Data, Json, Out, Quiet, printed_as_json, progress_of
from edge_se.reporting.console import print_line
from edge_se.steps import completion


def train(model: Annotated[str, typer.Option(autocompletion=completion.models,
                                             help="A name from `edge-se models list`.")],
          recipe: Annotated[Optional[str], typer.Option(
              autocompletion=completion.recipes, help="A shipped name or a TOML file; default: the model's own, else "
                                                      "fast-cpu.")] = None,
          epochs: Annotated[Optional[int], typer.Option(min=1, help="Shorten or lengthen the recipe.")] = None,
          seed: Annotated[Optional[int], typer.Option(min=0)] = None,
          device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
          out: Out = None,
          resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in --out.")] = False,
          tensorboard: Annotated[bool, typer.Option("--tensorboard",
                                                    help="Also write event files to --out/tensorboard.")] = False,
          data: Data = None, json: Json = False, quiet: Quiet = False) -> None:
    """Train a net; write weights and a card with its measured accuracy."""
    from edge_se.steps.train import train as step

    card = step(model, recipe=recipe, epochs=epochs, seed=seed, device=device, out=out, resume=resume, data=data,
                tensorboard=tensorboard, progress=progress_of(quiet))
    if "rank" in card:  # the first of torchrun's processes prints
        return
    if printed_as_json(card, json):
        return
    print_line(f"{card['out']}: test top-1 {card['test']['top1']:.2f} % (n = {card['test']['n']:,}, 95 % CI "
               f"{card['test']['ci95'][0]:.2f}–{card['test']['ci95'][1]:.2f}), validation "
               f"{card['validation']['top1']:.2f} %")
