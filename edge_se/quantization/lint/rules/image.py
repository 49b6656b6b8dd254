"""Pixels on rounding ties."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from edge_se.core.errors import ModelError
from edge_se.data.preprocessing import Preprocessing, assumed
from edge_se.data.presets import preset
from edge_se.graph.image_input import image_facts
from edge_se.quantization.lint.base import Finding, Rule, found
from edge_se.quantization.lint.qdq import QdqView
from edge_se.quantization.pixels import MOST_TIES, pixel_levels, share_of_ties

GUESSED = "tf"  # pixels from -1 to 1, as mean 0.5 and std 0.5 make them


def on_ties(view: QdqView) -> Iterator[Finding]:
    """A QuantizeLinear of the image that has pixels half-way between two of its steps."""
    try:
        hows = list(_preprocessings(view))
        for words, how in hows:
            levels = pixel_levels(view.model, how)
            for node in view.quantizers:
                scale = view.scale(node)
                if node.input[0] in levels and scale is not None and scale.size == 1 and scale.all():
                    share = max(share_of_ties(float(scale.reshape(())), channel) for channel in levels[node.input[0]])
                    if share > MOST_TIES:
                        yield found(node, f"{share:.0%} of a channel's 256 pixel values are ties{words}")
    except ModelError:  # the input is no image
        return


def _preprocessings(view: QdqView) -> Iterator[tuple[str, Preprocessing]]:
    if view.metadata is not None:
        yield "", view.metadata.preprocessing
        return
    image = image_facts(view.model)
    height, width = image.size
    if image.channels == 3 and image.dtype == "float32":
        fields = {key: value for key, value in preset(GUESSED).items() if key != "share"}
        yield " where they go from -1 to 1", replace(assumed((height or 1, width or 1)), axes=image.axes, **fields)


RULES = (
    Rule(name="pixels-on-ties", kind="wrong", runtime="any", versions="onnxruntime 1.31.1, OpenVINO 2026.4.1",
         instead="pixels half-way between two steps go to either, as a float happens to round: runtimes differ in a "
                 "third of the input's integers, and half of the grey levels are lost",
         fix="widen the range by a step (2/254 for 2/255), as edge-se does", find=on_ties),
)
