"""`models` and `data`: what edge-se knows, and the images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from edge_se.cli.everywhere import Everywhere
from edge_se.cli.options import Data, Json, Quiet, Wide, print_facts, print_fitted, printed_as_json, progress_of
from edge_se.reporting.console import print_json, print_line, print_sentence
from edge_se.steps import completion


def models_list(wide: Wide = False, json: Json = False, quiet: Quiet = False) -> None:
    """Every network with its size and accuracy."""
    from edge_se.core.measured_by import of_files
    from edge_se.reporting.nets import epochs_text, top1_text, weights_text
    from edge_se.steps.models import list_models

    document = list_models()
    if printed_as_json(document, json):
        return
    rows = [[item["name"], item["input"], weights_text(item["weights"], item["card"]), item["about"],
             _count(item["params"]), _count(item["macs"]), top1_text(item["test_top1"], item["validation_top1"])]
            for item in document["models"]]
    print_fitted(["model", "input", "weights", "about", "params", "MACs", "test top-1 %"], rows, left=4, wide=wide,
                 spare=("about", "MACs"))
    print_line("")
    print_sentence(of_files((item["name"], item["test_measured_by" if item["test_top1"] is not None else
                                                "validation_measured_by"])
                            for item in document["models"] if item["card"]))
    print_sentence(epochs_text((item["name"], item["epochs"]) for item in document["models"] if item["card"]))


def models_show(name: Annotated[str, typer.Argument(
                    autocompletion=completion.models, help="One of `edge-se models list`.")], json: Json = False,
                quiet: Quiet = False) -> None:
    """One network: architecture and card."""
    from edge_se.steps.models import show_model

    print_json(show_model(name))


def data_fetch(out: Annotated[Optional[Path], typer.Option(help="Where to write; default: the user cache.")] = None,
               json: Json = False, quiet: Quiet = False) -> None:
    """Download CIFAR-10 through torchvision and check it; goes to the network."""
    from edge_se.steps.data import fetch

    print_facts(fetch(out, progress_of(quiet)), json)


def data_verify(data: Data = None, json: Json = False, quiet: Quiet = False) -> None:
    """Check CIFAR-10 against the official hashes."""
    from edge_se.steps.data import verify as step

    document = step(data)
    print_facts(document, json)
    if not (json or Everywhere.json):
        print_line(f"\nOK: all {document['files']} files are the official ones")


def data_synthesize(model: Annotated[str, typer.Option(help="A net with weights.")] = "se_resnet18",
                    weights: Annotated[Optional[Path], typer.Option(
                        help="safetensors; default: the bundled ones.")] = None,
                    images: Annotated[int, typer.Option(min=1, max=4096, help="How many to make.")] = 256,
                    steps: Annotated[int, typer.Option(min=1, help="How often each image is improved.")] = 300,
                    seed: Annotated[int, typer.Option(min=0, help="Of the noise that images begin as.")] = 0,
                    out: Annotated[Optional[Path], typer.Option(
                        help="The file to write; default: synthetic-IMAGES.npz.")] = None,
                    json: Json = False, quiet: Quiet = False) -> None:
    """Make calibration images from a trained net alone, by matching its batch-norm statistics."""
    from edge_se.steps.data import synthesize

    print_facts(synthesize(model, weights=weights, images=images, steps=steps, seed=seed, out=out,
                            progress=progress_of(quiet)), json)


def _count(value: Optional[int]) -> str:
    return "–" if value is None else f"{value:,}"
