"""What a user tells about a model that does not tell it itself, and the preprocessing that follows from all of it.

Later words win: what is usual for the size, what the source tells of its weights, `--preprocessing`, single options.
What the graph tells (axes, channels, type) is no matter of opinion, so options must fit it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edge_se.core.errors import ModelError, did_you_mean
from edge_se.data.preprocessing import Preprocessing, assumed, require_normalisation, whose
from edge_se.data.presets import PRESETS, preset
from edge_se.device.agent.preprocess import CHOICES
from edge_se.graph.image_input import ImageInput

_FIELDS = {"mean": "mean", "std": "std", "range": "range", "colour": "colour", "resize": "resize",
           "crop_share": "share", "interpolation": "interpolation", "antialias": "antialias"}
_VALUES = ("range", "mean", "std")  # what happens to the value of a pixel


@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """What the user tells about a model that does not tell it itself; None for nothing.

    `preprocessing` is a name of `edge_se.data.presets` or a .toml file, and the fields of `Preprocessing` win over it.
    `mean` and `std` are of pixels in `range`, one number a channel in the model's order, or one for all of them.
    `input_size` is (height, width), or one number for both: of a net that a library makes, or of a file whose own is
    dynamic. Without `labels` nobody knows what the outputs are, and no data set tells the accuracy. Raises EdgeSeError,
    which names the option, for values that cannot be.
    """

    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    input_size: int | tuple[int, int] | None = None
    labels: tuple[str, ...] | None = None
    preprocessing: str | None = None
    range: str | None = None
    colour: str | None = None
    resize: str | None = None
    crop_share: float | None = None
    interpolation: str | None = None
    antialias: bool | None = None
    axes: str | None = None

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            value = getattr(self, name, None)
            if value is not None and value not in choices:
                raise ModelError(f"unknown value '{value}'", where=option_of(name), fix=did_you_mean(value, choices))
        if self.crop_share is not None and not 0 < self.crop_share <= 1:
            raise ModelError(f"{self.crop_share:g} is no share of an image", where="--crop-share",
                             fix="give a number above 0 and at most 1, such as 0.875")
        told = preset(self.preprocessing) if self.preprocessing else {}
        scale = self.range or told.get("range", "0-1")
        require_normalisation(self.mean, self.std, scale)
        if self.preprocessing not in PRESETS:
            require_normalisation(told.get("mean"), told.get("std"), scale, where=f"{self.preprocessing}: ")

    @property
    def size(self) -> tuple[int, int] | None:
        """`input_size` as (height, width)."""
        return (self.input_size, self.input_size) if isinstance(self.input_size, int) else self.input_size

    def of_preprocessing(self) -> dict[str, Any]:
        """The options that say something of the preprocessing, by name, with their values."""
        return {name: value for name, value in vars(self).items()
                if value is not None and name not in ("input_size", "labels")}


def option_of(name: str) -> str:
    """`--crop-share` for `crop_share`."""
    return f"--{name.replace('_', '-')}"


def axes_told(options: SourceOptions) -> str | None:
    """The order of axes that the user tells, by an option or in a file."""
    told = preset(options.preprocessing) if options.preprocessing else {}
    axes: str | None = options.axes or told.get("axes")
    return axes


def preprocessing_told(options: SourceOptions, image: ImageInput, *, labels: tuple[str, ...] = (),
                       own: Preprocessing | None = None) -> tuple[Preprocessing, str | None]:
    """The preprocessing of a model that takes `image`, and one line that tells what was assumed of it.

    `own` is what its source tells, None for nothing. The size must be fixed. Raises ModelError where what is told
    does not fit the graph.
    """
    height, width = image.size
    assert height and width  # others are refused before
    usual = own or assumed((height, width))
    fields = {name: getattr(usual, name) for name in _FIELDS.values()}
    if options.preprocessing is None and not own:
        fields["share"] = 0.0  # what is usual for the size
    if (axes := axes_told(options)) not in (None, image.axes):
        raise ModelError(f"the graph takes {image.axes}", where=f"--axes {axes}", fix="leave it out: the graph tells")
    told = preset(options.preprocessing) if options.preprocessing else {}
    told.pop("axes", None)
    single = {field: value for name, field in _FIELDS.items() if (value := getattr(options, name)) is not None}
    known = set(_VALUES) if own else set()
    for layer in (told, single):
        known |= {*layer, *(_VALUES if "range" in layer and layer["range"] != fields["range"] else ())}
        fields = _over(fields, layer)
    exact = {*single, *(told if options.preprocessing not in PRESETS else ())}
    fields |= _of_channels(fields, exact, image)
    if image.dtype == "uint8":
        fields |= _of_bytes(fields, exact)
        known |= {*_VALUES}
    try:
        how = Preprocessing(size=(height, width), axes=image.axes, dtype=image.dtype, labels=labels, **fields)
    except ValueError as error:
        raise ModelError(f"{error}", where="--preprocessing", fix="give one number a channel, in the model's order"
                         ) from error
    missing = [f"--{name} {','.join(f'{value:.4g}' for value in fields[name])}" for name in ("mean", "std")
               if name not in known]
    if not missing:
        return how, None
    return how, (f"assumed {' '.join(missing)}: {whose(usual)}'s, by the size of {height}x{width}, since the model "
                 "does not say its normalisation. Give what it was trained with if that is another.")


def _over(fields: dict[str, Any], layer: dict[str, Any]) -> dict[str, Any]:
    """`fields` with those of `layer`. Another range alone means pixels as they are in it, another order its means."""
    merged = fields | layer
    if merged["range"] != fields["range"]:
        merged["mean"], merged["std"] = layer.get("mean", (0.0,)), layer.get("std", (1.0,))
    if {merged["colour"], fields["colour"]} == {"RGB", "BGR"}:
        merged |= {name: tuple(reversed(merged[name])) for name in ("mean", "std") if name not in layer}
    return merged


def _of_channels(fields: dict[str, Any], exact: set[str], image: ImageInput) -> dict[str, Any]:
    """The colour, and the mean and standard deviation of each channel that the graph has."""
    colour = fields["colour"]
    if image.channels == 1 and colour != "grey":
        if "colour" in exact:
            raise ModelError(f"the graph takes one channel, and {colour} has three", where="--colour",
                             fix="leave it out: the graph tells")
        colour = "grey"
    if image.channels == 3 and colour == "grey":
        raise ModelError("the graph takes three channels", where="--colour grey",
                         fix="leave it out: a grey image then has three equal channels")
    changed = {"colour": colour}
    for name in ("mean", "std"):
        values = fields[name]
        if len(values) == 1:
            values *= image.channels
        elif image.channels == 1 and name not in exact:
            values = (round(sum(values) / len(values), 4),)
        if len(values) != image.channels:
            raise ModelError(f"{len(values)} numbers for {image.channels} "
                             f"channel{'s' * (image.channels > 1)}", where=option_of(name), fix="give one a channel")
        changed[name] = values
    return changed


def _of_bytes(fields: dict[str, Any], exact: set[str]) -> dict[str, Any]:
    """The values of pixels for a graph that takes bytes: as they are. ModelError where something else is told."""
    plain: dict[str, Any] = {"range": "0-255", "mean": (0.0,) * len(fields["mean"]), "std": (1.0,) * len(fields["std"])}
    for name in _VALUES:
        if name in exact and fields[name] != plain[name]:
            raise ModelError("the graph takes uint8 pixels as they are, so it normalises them itself",
                             where=option_of(name), fix="leave it out")
    return plain
