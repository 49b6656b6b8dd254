"""RandAugment and AutoAugment on a batch: images that drew the same operation go through torchvision together.

torchvision's own transforms draw one operation for all images of a call; image by image they cost a call each.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from edge_se.core.recipes import Augmentation
from edge_se.data.draws import Draws

Policy = Callable[[torch.Tensor, Draws], torch.Tensor]  # uint8 (n, 3, H, W), draws -> the same
BINS = {"randaugment": 31, "autoaugment": 10}  # magnitudes from none to most
SIGNED = frozenset({"ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate", "Brightness", "Color", "Contrast",
                    "Sharpness"})
# Cubuk et al., arXiv 1909.13719; the space of torchvision.
RANDAUGMENT = ("Identity", "ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate", "Brightness", "Color", "Contrast",
               "Sharpness", "Posterize", "Solarize", "AutoContrast", "Equalize")
# Cubuk et al., arXiv 1805.09501, table 7: (operation, probability, magnitude of 10) twice.
AUTOAUGMENT = (
    (("Invert", 0.1, 0), ("Contrast", 0.2, 6)), (("Rotate", 0.7, 2), ("TranslateX", 0.3, 9)),
    (("Sharpness", 0.8, 1), ("Sharpness", 0.9, 3)), (("ShearY", 0.5, 8), ("TranslateY", 0.7, 9)),
    (("AutoContrast", 0.5, 0), ("Equalize", 0.9, 0)), (("ShearY", 0.2, 7), ("Posterize", 0.3, 7)),
    (("Color", 0.4, 3), ("Brightness", 0.6, 7)), (("Sharpness", 0.3, 9), ("Brightness", 0.7, 9)),
    (("Equalize", 0.6, 0), ("Equalize", 0.5, 0)), (("Contrast", 0.6, 7), ("Sharpness", 0.6, 5)),
    (("Color", 0.7, 7), ("TranslateX", 0.5, 8)), (("Equalize", 0.3, 0), ("AutoContrast", 0.4, 0)),
    (("TranslateY", 0.4, 3), ("Sharpness", 0.2, 6)), (("Brightness", 0.9, 6), ("Color", 0.2, 8)),
    (("Solarize", 0.5, 2), ("Invert", 0.0, 0)), (("Equalize", 0.2, 0), ("AutoContrast", 0.6, 0)),
    (("Equalize", 0.2, 0), ("Equalize", 0.6, 0)), (("Color", 0.9, 9), ("Equalize", 0.6, 0)),
    (("AutoContrast", 0.8, 0), ("Solarize", 0.2, 8)), (("Brightness", 0.1, 3), ("Color", 0.7, 0)),
    (("Solarize", 0.4, 5), ("AutoContrast", 0.9, 0)), (("TranslateY", 0.9, 9), ("TranslateY", 0.7, 9)),
    (("AutoContrast", 0.9, 0), ("Solarize", 0.8, 3)), (("Equalize", 0.8, 0), ("Invert", 0.1, 0)),
    (("TranslateY", 0.7, 9), ("AutoContrast", 0.9, 0)))


def policy(recipe: Augmentation) -> Policy | None:
    """The function that applies `recipe.policy` to a batch; None for "none"."""
    if recipe.policy == "randaugment":
        return lambda images, draws: randaugment(images, draws, recipe.operations, recipe.magnitude)
    return autoaugment if recipe.policy == "autoaugment" else None


def randaugment(images: torch.Tensor, draws: Draws, operations: int, magnitude: int) -> torch.Tensor:
    """`operations` of RANDAUGMENT one after the other, each of `magnitude` in 0..30 to a random side."""
    for _ in range(operations):
        chosen, negative = draws.integers(0, len(RANDAUGMENT)).tolist(), draws.integers(0, 2).tolist()
        images = _grouped(images, [(RANDAUGMENT[number], magnitude, bool(side))
                                   for number, side in zip(chosen, negative)], BINS["randaugment"])
    return images


def autoaugment(images: torch.Tensor, draws: Draws) -> torch.Tensor:
    """One of AUTOAUGMENT's 25 pairs per image, each half with its probability and to a random side."""
    chosen = draws.integers(0, len(AUTOAUGMENT)).tolist()
    for half in range(2):
        luck, negative = draws.uniform(0, 1).tolist(), draws.integers(0, 2).tolist()
        picked = []
        for number, chance, side in zip(chosen, luck, negative):
            name, probability, magnitude = AUTOAUGMENT[number][half]
            picked.append((name if chance < probability else "Identity", magnitude, bool(side)))
        images = _grouped(images, picked, BINS["autoaugment"])
    return images


def _grouped(images: torch.Tensor, picked: list[tuple[str, int, bool]], bins: int) -> torch.Tensor:
    groups: dict[tuple[str, float], list[int]] = {}
    for position, (name, level, negative) in enumerate(picked):
        if name != "Identity":
            amount = amount_of(name, level, bins, images.shape[-1])
            groups.setdefault((name, -amount if negative and name in SIGNED else amount), []).append(position)
    images = images.clone()
    for (name, amount), positions in groups.items():
        rows = torch.tensor(positions, device=images.device)
        images[rows] = distort(images[rows], name, amount)
    return images


def amount_of(name: str, level: int, bins: int, size: int) -> float:
    """The magnitude of `level` of `bins` for the operation on images of `size` pixels, in torchvision's ranges."""
    share = level / (bins - 1)
    match name:
        case "ShearX" | "ShearY":
            return 0.3 * share
        case "TranslateX" | "TranslateY":
            return float(int(150 / 331 * size * share))  # 150 pixels of ImageNet's 331
        case "Rotate":
            return 30 * share
        case "Posterize":
            return float(round(8 - 4 * share))
        case "Solarize":
            return 1 - share
        case "Brightness" | "Color" | "Contrast" | "Sharpness":
            return 0.9 * share
    return 0.0


def distort(images: torch.Tensor, name: str, amount: float) -> torch.Tensor:
    """uint8 images (n, 3, H, W) through torchvision's operation `name`; black comes in from outside."""
    from edge_se.data.torchvision_import import torchvision  # noqa: F401  (it makes the next import work)

    import torchvision.transforms.v2.functional as tv  # isort: skip

    def affine(angle: float = 0.0, translate: tuple[int, int] = (0, 0), shear: tuple[float, float] = (0.0, 0.0),
               center: list[float] | None = None) -> Any:
        return tv.affine(images, angle=angle, translate=list(translate), scale=1.0, shear=list(shear), center=center)

    degrees = math.degrees(math.atan(amount))  # the papers' shears are slopes
    operations: dict[str, Callable[[], Any]] = {
        "ShearX": lambda: affine(shear=(degrees, 0.0), center=[0.0, 0.0]),
        "ShearY": lambda: affine(shear=(0.0, degrees), center=[0.0, 0.0]),
        "TranslateX": lambda: affine(translate=(int(amount), 0)),
        "TranslateY": lambda: affine(translate=(0, int(amount))),
        "Rotate": lambda: tv.rotate(images, angle=amount),
        "Brightness": lambda: tv.adjust_brightness(images, 1 + amount),
        "Color": lambda: tv.adjust_saturation(images, 1 + amount),
        "Contrast": lambda: tv.adjust_contrast(images, 1 + amount),
        "Sharpness": lambda: tv.adjust_sharpness(images, 1 + amount),
        "Posterize": lambda: tv.posterize(images, int(amount)),
        "Solarize": lambda: tv.solarize(images, 255 * amount),
        "AutoContrast": lambda: tv.autocontrast(images),
        "Equalize": lambda: tv.equalize(images),
        "Invert": lambda: tv.invert(images),
    }
    done: torch.Tensor = operations[name]()
    return done
