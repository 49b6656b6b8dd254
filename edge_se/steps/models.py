"""`models`: what the zoo holds, from its table and the cards; needs no torch.

A net is bundled with weights and card, or has a card alone, which says how to train it again, or neither.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from edge_se.core.assets import asset
from edge_se.core.cards import CARD, card_of, has_weights, measured_by_of, top1_of
from edge_se.core.errors import ArtifactError, RecipeError
from edge_se.core.recipes import Recipe, read_recipe, shipped_recipes
from edge_se.nets.arithmetic import size_of
from edge_se.nets.zoo import MODELS, spec_of

SCHEMA = "edge-se/models/1"
NOT_SHIPPED = "the weights of this card are not shipped"


def list_models() -> dict[str, Any]:
    """Every name with its figures."""
    return {"schema": SCHEMA, "models": [_summary(name) for name in MODELS]}


def show_model(name: str) -> dict[str, Any]:
    """One net: its spec, its size at its own resolution and at 224 pixels, and its whole card (None: never trained).

    For a card without weights, `note` and the command `train_again` tell what to do. Both are None for other nets. The
    command is also None when no shipped recipe is that of the card.
    """
    spec, card, weights = spec_of(name), card_of(name), has_weights(name)
    own, note, command = size_of(spec), None, None
    if card is not None and not weights:
        command = _command(name, card)
        note = f"{NOT_SHIPPED}; train them again " + (f"with `{command}`" if command else "by the recipe in it")
    return {"schema": SCHEMA, "model": name, "architecture": asdict(spec), "params": own.params, "macs": own.macs,
            "macs_at_224": size_of(spec, 224).macs, "weights": weights, "note": note, "train_again": command,
            "card": card}


def _command(name: str, card: dict[str, Any]) -> str | None:
    """The command that trains the net as its card says; None when neither its own nor a shipped recipe fits."""
    try:
        epochs, seed, wanted = int(card["epochs"]), int(card["seed"]), card["recipe"]["sha256"]
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"does not tell how it was trained ({error!r})", where=asset("models", name, CARD),
                            fix="write it again") from error
    recipes = {f" --recipe {recipe}": path for recipe, path in shipped_recipes().items()}
    own = asset("models", name, "recipe.toml")
    for option, path in ({"": own} | recipes if own.is_file() else recipes).items():
        if _hash(read_recipe(path), epochs, seed) == wanted:
            return f"edge-se train --model {name}{option} --epochs {epochs} --seed {seed}"
    return None


def _hash(recipe: Recipe, epochs: int, seed: int) -> str | None:
    """Hash of the recipe with these options of `train`; None when it does not allow that number of epochs or seed."""
    try:
        return recipe.shortened(epochs).seeded(seed).sha256
    except RecipeError:
        return None


def _summary(name: str) -> dict[str, Any]:
    spec, card = MODELS[name], card_of(name)
    size, test, validation = size_of(spec), top1_of(card, "test"), top1_of(card, "validation")
    return {"name": name, "about": spec.about, "input": f"3x{spec.input_size}x{spec.input_size}",
            "classes": spec.classes, "params": size.params, "macs": size.macs,
            "weights": has_weights(name), "card": card is not None, "epochs": card["epochs"] if card else None,
            "test_top1": test[0], "test_n": test[1],
            "test_measured_by": measured_by_of(card, "test"),
            "validation_top1": validation[0], "validation_n": validation[1],
            "validation_measured_by": measured_by_of(card, "validation")}
