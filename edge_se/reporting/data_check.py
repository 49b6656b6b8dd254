"""What `data check` shows to a person."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

SHOWN = 8   # alternatives
WIDTH = 56  # characters of a cell


def check_rows(document: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """The model's own way and the most accurate alternatives, each with its accuracy and what it gains."""
    rows = [["as the model is told", str(document["images"]), f"{document['own']['top1']:.1f}", "–"]]
    for item in document["tried"][:SHOWN]:
        low, high = item["ci_pp"]
        rows.append([textwrap.fill("; ".join(item["changes"]), WIDTH), str(item["n"]), f"{item['top1']:.1f}",
                     f"{item['gain_pp']:+.1f} ({low:+.1f} to {high:+.1f})"])
    return ["how the model sees images, and its classes", "images", "top-1 %", "gain, points"], rows


def check_words(document: Mapping[str, Any]) -> list[str]:
    """The verdict in sentences."""
    own, best = document["own"], document["best"]
    tried = f"{document['alternatives']} alternatives"
    if document["verdict"] == "fits":
        return [f"It fits: {own['top1']:.1f} % of {document['images']} images are right, and none of {tried} is surely "
                "better."]
    if document["verdict"] == "unexplained":
        return [f"Nothing explains the labels: {own['top1']:.1f} % of {document['images']} images are right, guessing "
                f"gets {document['by_chance']:.1f} %, and none of {tried} is surely better. Check that these are the "
                "classes that the model was trained on, and give their names with --labels."]
    low, high = document["ci_pp"]
    words = " and ".join(document["changes"])
    return [f"Something is wrong: with {words} {best['top1']:.1f} % of {document['images']} "
            f"images are right instead of {own['top1']:.1f} % ({document['gain_pp']:+.1f} points, {low:+.1f} to "
            f"{high:+.1f} at {100 * document['confidence']:.2f} % confidence, for {tried}).",
            f"Tell it: {document['fix']}"]
