"""Training recipes: TOML, validated here once; what this file accepts is all that exists."""

from __future__ import annotations

import hashlib
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, StrictBool, StrictInt, field_validator, model_validator

from edge_se.core.assets import asset
from edge_se.core.errors import RecipeError, did_you_mean
from edge_se.core.toml_files import Table, read_toml

DEFAULT = "fast-cpu"
LONGEST = 100_000  # epochs; far beyond any training, and a list of them still takes no time
SIDES = (8, 224)  # pixels of an image that a net is trained on
LARGEST_SEED = 2**63 - 1  # torch takes one bit more
Fraction = Annotated[float, Field(gt=0, lt=1)]


class Part(Table):
    """A table of a recipe. Fields beyond `ALWAYS_HASHED` count for the recipe's hash only where they differ from
    their default, so that a recipe written before they existed keeps its hash: it trains the same net.
    """

    ALWAYS_HASHED: ClassVar[frozenset[str]] = frozenset()

    def unhashed(self) -> dict[str, Any]:
        """The argument `exclude` of pydantic that leaves out the newer fields at their default."""
        left_out: dict[str, Any] = {}
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if isinstance(value, Part):
                if inner := value.unhashed():
                    left_out[name] = inner
            elif name not in self.ALWAYS_HASHED and value == field.default:
                left_out[name] = True
        return left_out


class Phase(Table):
    """Epochs trained at one resolution; progressive resizing is several phases of growing resolution."""

    epochs: StrictInt = Field(gt=0, le=LONGEST)
    resolution: StrictInt = Field(default=32, ge=SIDES[0], le=SIDES[1])


class Muon(Part):
    """Muon (kellerjordan.github.io/posts/muon) for the kernels of convolutions, each flattened to (outputs, the rest).

    An update has singular values of about 1 times the learning rate, whatever the gradient's size: `learning_rate`, the
    peak, and `weight_decay`, times the learning rate, are other numbers than those of SGD. `steps` of its
    Newton-Schulz iteration.
    """

    ALWAYS_HASHED = frozenset({"learning_rate", "momentum", "weight_decay", "steps"})

    learning_rate: float = Field(gt=0)
    momentum: float = Field(default=0.95, ge=0, lt=1)
    weight_decay: float = Field(default=0.1, ge=0)
    steps: StrictInt = Field(default=5, ge=1, le=20)


class Optimizer(Part):
    """`learning_rate` is the peak; weights and biases of norms decay only when asked.

    `adamw` takes `momentum` as its first beta, 0.999 as its second, and has no nesterov. `clip_norm` bounds the norm
    of all gradients together; 0 does not. With `muon` the kernels of convolutions are updated by Muon and all else by
    what the other keys say.
    """

    ALWAYS_HASHED = frozenset({"learning_rate", "momentum", "nesterov", "weight_decay", "decay_norm_and_bias"})

    learning_rate: float = Field(gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    nesterov: StrictBool = True
    weight_decay: float = Field(default=5e-4, ge=0)
    decay_norm_and_bias: StrictBool = False
    name: Literal["sgd", "adamw"] = "sgd"
    clip_norm: float = Field(default=0.0, ge=0)
    muon: Muon | None = None


class Schedule(Part):
    """Linear warm-up from `warmup_start` x peak over a fraction of all steps, then decay to `final` x peak.

    `step` multiplies by `gamma` at each of `milestones`, fractions of all steps; the defaults are those of He et al.,
    arXiv 1512.03385, section 4.2 (a tenth at 32,000 and 48,000 of 64,000 steps). It does not look at `final`.
    """

    ALWAYS_HASHED = frozenset({"decay", "warmup_fraction", "warmup_start", "final"})

    decay: Literal["linear", "cosine", "constant", "step"] = "linear"
    warmup_fraction: float = Field(default=0.1, ge=0, lt=1)
    warmup_start: float = Field(default=0.2, ge=0, le=1)
    final: float = Field(default=0.0, ge=0, le=1)
    milestones: tuple[Fraction, ...] = (0.5, 0.75)
    gamma: float = Field(default=0.1, gt=0, le=1)

    @field_validator("milestones")
    @classmethod
    def _rising(cls, milestones: tuple[float, ...]) -> tuple[float, ...]:
        if any(later <= earlier for earlier, later in pairwise(milestones)):
            raise ValueError("milestones must rise")
        return milestones


class Augmentation(Part):
    """What is drawn anew for every image, in this order. 0 or "none" switches a part off.

    Geometry: translation by up to `translate` pixels, what comes in from outside `padding`ed; `flip`, where
    `alternating` takes a random side per image once and flips it every epoch (airbench, arXiv 2404.00498); `rotation`
    by up to so many degrees. Then `policy` (RandAugment, arXiv 1909.13719, takes `operations` of `magnitude` in 0..30;
    AutoAugment's for CIFAR-10, arXiv 1805.09501). Colours: brightness, contrast and saturation by a factor in
    1 +- `color_jitter`, `hue` by a share of the circle, sharpness by a factor in 1 +- `sharpness`, and a 3 x 3 Gaussian
    `blur` with that probability. Holes: a `cutout` x `cutout` square, random `erasing` (arXiv 1708.04896) with that
    probability. Last, `mixup` with Beta(mixup, mixup) (arXiv 1710.09412).
    """

    ALWAYS_HASHED = frozenset({"translate", "flip", "cutout"})

    translate: StrictInt = Field(default=4, ge=0, le=16)
    flip: Literal["none", "random", "alternating"] = "alternating"
    cutout: StrictInt = Field(default=0, ge=0, le=32)
    padding: Literal["reflect", "zero"] = "reflect"
    rotation: float = Field(default=0.0, ge=0, le=180)
    policy: Literal["none", "randaugment", "autoaugment"] = "none"
    operations: StrictInt = Field(default=2, ge=1, le=8)
    magnitude: StrictInt = Field(default=9, ge=0, le=30)
    color_jitter: float = Field(default=0.0, ge=0, le=1)
    hue: float = Field(default=0.0, ge=0, le=0.5)
    sharpness: float = Field(default=0.0, ge=0, le=1)
    blur: float = Field(default=0.0, ge=0, le=1)
    erasing: float = Field(default=0.0, ge=0, le=1)
    mixup: float = Field(default=0.0, ge=0, le=10)


class Recipe(Part):
    """How a net is trained.

    `ema` is the decay of an exponential moving average of the weights, which is then validated and kept; 0: none.
    `tta` also scores the mean of the logits of an image and its mirror image, reported apart from the figure.
    `compile` trains through torch.compile; "auto" does where the machine has what that needs.
    """

    ALWAYS_HASHED = frozenset({"batch_size", "label_smoothing", "amp", "seed", "phases"})

    batch_size: StrictInt = Field(default=128, gt=1)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    amp: Literal["auto", "bf16", "fp16", "off"] = "auto"
    seed: StrictInt = Field(default=0, ge=0, le=LARGEST_SEED)
    phases: Annotated[tuple[Phase, ...], Field(min_length=1)]
    optimizer: Optimizer
    schedule: Schedule = Schedule()
    augmentation: Augmentation = Augmentation()
    ema: float = Field(default=0.0, ge=0, lt=1)
    tta: Literal["none", "flip"] = "none"
    channels_last: StrictBool = True
    compile: Literal[True, False, "auto"] = False

    @field_validator("compile", mode="before")
    @classmethod
    def _no_number(cls, value: object) -> object:
        return value if isinstance(value, (bool, str)) else repr(value)  # 1 equals True, and would pass for it

    @model_validator(mode="after")
    def _unscaled(self) -> Recipe:
        if self.optimizer.muon and self.amp == "fp16":
            raise ValueError("optimizer.muon takes no scaled gradients: set amp = \"bf16\", \"auto\" or \"off\"")
        return self

    @property
    def epochs(self) -> int:
        """Epochs of all phases together."""
        return sum(phase.epochs for phase in self.phases)

    @property
    def resolutions(self) -> tuple[int, ...]:
        """Resolution in pixels of each epoch."""
        return tuple(phase.resolution for phase in self.phases for _ in range(phase.epochs))

    @property
    def sha256(self) -> str:
        """Hash of the validated content: comments, key order and newer keys at their default do not count."""
        return hashlib.sha256(self.model_dump_json(exclude=self.unhashed()).encode()).hexdigest()

    def seeded(self, seed: int) -> Recipe:
        """The same recipe with another seed."""
        if not 0 <= seed <= LARGEST_SEED:
            raise RecipeError(f"{seed} is no seed", where="--seed", fix=f"give 0 to {LARGEST_SEED:,}")
        return self.model_copy(update={"seed": seed})

    def sized(self, size: int) -> Recipe:
        """The same recipe for images of `size` pixels: what it says in pixels grows with its last resolution."""
        last = self.resolutions[-1]
        if size == last:
            return self
        low, high = SIDES
        if not low <= size <= high:
            raise RecipeError(f"no net is trained at {size} pixels", where="--input-size", fix=f"give {low} to {high}")
        phases = tuple(phase.model_copy(update={"resolution": size if phase.resolution == last else
                                                min(high, max(low, round(phase.resolution * size / last)))})
                       for phase in self.phases)
        own = self.augmentation
        grown = own.model_copy(update={"translate": min(16, round(own.translate * size / last)),
                                       "cutout": min(32, round(own.cutout * size / last))})
        return self.model_copy(update={"phases": phases, "augmentation": grown})

    def shortened(self, epochs: int) -> Recipe:
        """The same recipe for `epochs` in all. Phases shrink in proportion; one that remains has an epoch at least."""
        if epochs < 1:
            raise RecipeError(f"{epochs} epochs train nothing", where="--epochs", fix="give 1 or more")
        if epochs > LONGEST:
            raise RecipeError(f"{epochs} epochs never end", where="--epochs", fix=f"give {LONGEST:,} at most")
        if epochs >= self.epochs:
            last = self.phases[-1]
            grown = last.model_copy(update={"epochs": last.epochs + epochs - self.epochs})
            return self.model_copy(update={"phases": (*self.phases[:-1], grown)})
        phases, left, total = [], epochs, self.epochs
        for phase in reversed(self.phases):  # the native resolution comes last and is served first
            share = min(left, max(1, round(epochs * phase.epochs / total)))
            if share:
                phases.append(phase.model_copy(update={"epochs": share}))
                left -= share
        if left:
            phases[0] = phases[0].model_copy(update={"epochs": phases[0].epochs + left})
        return self.model_copy(update={"phases": tuple(reversed(phases))})


def shipped_recipes() -> dict[str, Path]:
    """Name -> file of every recipe that comes with the package and belongs to no single net."""
    return {path.stem: path for path in sorted(asset("models", "recipes").glob("*.toml"))}


def recipe_of(model: str) -> Path:
    """The file of a net's own recipe for CIFAR-10, models/NAME/recipe.toml, else that of DEFAULT."""
    own = asset("models", model, "recipe.toml")
    return own if own.is_file() else default_recipe()


def default_recipe() -> Path:
    """The file of the recipe for any net and any images."""
    return asset("models", "recipes", f"{DEFAULT}.toml")


def find_recipe(wanted: str | Path) -> Path:
    """The file of a shipped recipe's name, or the path itself; RecipeError with a suggestion when it is neither.

    A name wins over a file of that name in the working folder, which is `./name`.
    """
    shipped = shipped_recipes()
    if str(wanted) in shipped:
        return shipped[str(wanted)]
    path = Path(wanted)
    if not path.is_file():
        raise RecipeError("no such recipe", where=path,
                          fix=f"give a TOML file with --recipe, or a shipped one: {did_you_mean(path.stem, shipped)}")
    return path


def read_recipe(path: Path) -> Recipe:
    """The recipe in a TOML file; raises RecipeError naming the key and the fix."""
    try:
        return read_toml(Recipe, path, RecipeError)
    except FileNotFoundError as missing:
        raise RecipeError("no such recipe", where=path, fix="give a TOML file with --recipe") from missing
