"""The table of all nets: counts from their specs, accuracy from the cards of those that are bundled."""

from __future__ import annotations

from edge_se.core.assets import asset
from edge_se.core.errors import ArtifactError
from edge_se.core.files import read_json
from edge_se.nets.arithmetic import size_of
from edge_se.nets.zoo import BUNDLED, MODELS
from edge_se.reporting.tables import DASH, markdown


def nets_table() -> str:
    """Every name with its parameters, its MACs at 32 and at 224 pixels and its test top-1 where it is known."""
    columns = ["name", "what it is", "params", "MACs at 32 px", "MACs at 224 px", "test top-1 %"]
    rows = []
    for name, spec in MODELS.items():
        small, large = size_of(spec, 32), size_of(spec, 224)
        rows.append([f"`{name}`", spec.about, f"{small.params:,}", DASH if spec.input_size > 32 else f"{small.macs:,}",
                     f"{large.macs:,}", _top1(name)])
    return markdown(columns, rows, left=2)


def _top1(name: str) -> str:
    if name not in BUNDLED:
        return DASH
    return f"{read_json(asset('models', name, 'card.json'), ArtifactError)['test']['top1']:.2f}"
