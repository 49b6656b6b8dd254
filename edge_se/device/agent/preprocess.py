"""How an image becomes the input of a model: one value, `Preprocessing`, and the functions that apply it.

The host calibrates and judges through this file and a device classifies through it, so that both see the same pixels
to the bit. It imports numpy, and Pillow where an image file is read. It needs Python 3.8.
"""

from __future__ import annotations

import dataclasses

import numpy as np

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from numpy.typing import NDArray
    from PIL.Image import Image as Picture

    Pixels = NDArray[np.uint8]

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff")
CROP_SHARE = 0.875  # resize to size / 0.875, then crop: 256 -> 224, as torchvision's references evaluate
NO_CROP_BELOW = 64  # small images are used whole
LETTERBOX_GREY = 114  # the usual colour of the bars
_SHOWN = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr")
_FILTERS = {"bilinear": 2, "bicubic": 3}  # Pillow's numbers; their names moved between its versions
RANGES = {"0-1": (0.0, 1.0), "0-255": (0.0, 255.0), "-1-1": (-1.0, 1.0)}
CHOICES = {"resize": ("crop", "squash", "letterbox"), "interpolation": tuple(_FILTERS),
            "colour": ("RGB", "BGR", "grey"), "axes": ("NCHW", "NHWC"), "dtype": ("float32", "uint8"),
            "range": tuple(RANGES)}
LARGEST = 2**16  # pixels of a side


class ImageError(ValueError):
    """Why an image cannot be used, and what mends it."""

    def __init__(self, what: str, fix: str = "") -> None:
        super().__init__(what)
        self.what, self.fix = what, fix


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """What happens to an image before a model sees it. Raises ValueError for impossible values.

    `size` is (height, width). `resize`: "crop" scales the shorter side to size / `share` and takes the centre, "squash"
    scales both sides, "letterbox" scales the longer side and fills up with grey. A pixel is moved to `range`, then
    `mean` is subtracted and `std` divided by, one number a channel in the model's order of channels. uint8 models get
    pixels as they are. `labels` are the names of the outputs in order; empty when unknown.
    """

    size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    labels: tuple[str, ...] = ()
    resize: str = "crop"
    share: float = 0.0  # 0: what is usual for the size
    interpolation: str = "bilinear"
    antialias: bool = True
    colour: str = "RGB"
    axes: str = "NCHW"
    dtype: str = "float32"
    range: str = "0-1"

    def __post_init__(self) -> None:
        if not self.share:
            object.__setattr__(self, "share", CROP_SHARE if min(self.size) >= NO_CROP_BELOW else 1.0)
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError("{} {!r} is none of {}".format(name, getattr(self, name), ", ".join(choices)))
        if not all(0 < side < LARGEST for side in self.size):
            raise ValueError(f"a size of {self.size}")
        if not 0 < self.share <= 1:
            raise ValueError(f"a crop of {self.share} of the image")
        if not len(self.mean) == len(self.std) == self.channels:
            raise ValueError(f"{len(self.mean)} means and {len(self.std)} deviations for {self.channels} channels")
        if not all(abs(value) < 1e9 for value in (*self.mean, *self.std)):  # NaN is not
            raise ValueError("a mean or standard deviation that is no number")
        if not all(value > 0 for value in self.std):
            raise ValueError(f"a standard deviation of {min(self.std)}")
        if self.dtype == "uint8" and (self.range, set(self.mean), set(self.std)) != ("0-255", {0.0}, {1.0}):
            raise ValueError("uint8 models take pixels as they are: range 0-255, mean 0, std 1")

    @property
    def channels(self) -> int:
        """1 for grey, else 3."""
        return 1 if self.colour == "grey" else 3

    @property
    def layout(self) -> str:
        """In words: "float32 NCHW, RGB, (pixel / 255 - mean) / std"."""
        if self.dtype == "uint8":
            return f"uint8 {self.axes}, {self.colour}"
        value = {"0-1": "pixel / 255", "0-255": "pixel", "-1-1": "pixel / 127.5 - 1"}[self.range]
        return f"float32 {self.axes}, {self.colour}, ({value} - mean) / std"

    @property
    def extremes(self) -> tuple[float, float]:
        """The values of black and white before mean and standard deviation."""
        return RANGES[self.range]

    def scale_and_shift(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(channels,) each: a model gets pixel * scale + shift."""
        low, high = self.extremes
        mean, std = np.asarray(self.mean, np.float64), np.asarray(self.std, np.float64)
        return ((high - low) / (255.0 * std)).astype(np.float32), ((low - mean) / std).astype(np.float32)

    def document(self) -> dict[str, Any]:
        """As JSON; `layout` beside the fields says it in words."""
        content = {key: list(value) if isinstance(value, tuple) else value
                   for key, value in dataclasses.asdict(self).items()}
        return dict(layout=self.layout, **content)

    def beyond(self, *told: str) -> dict[str, Any]:
        """The fields of the document that are not among the `told` ones and not at their usual values."""
        usual = Preprocessing(size=self.size, mean=self.mean, std=self.std) if self.channels == 3 else None
        return {key: value for key, value in self.document().items()
                if key not in (*told, "layout") and (usual is None or value != usual.document()[key])}


def of_document(content: dict[str, Any]) -> Preprocessing:
    """Reads what `document` wrote; fields that older files lack get the values that those files meant.

    Raises ValueError, TypeError or KeyError for anything else.
    """
    values = {field.name: content[field.name] for field in dataclasses.fields(Preprocessing) if field.name in content}
    for key in ("size", "mean", "std", "labels"):
        if not isinstance(values.get(key, ()), (list, tuple)):
            raise TypeError(f"{key} is no list")
        values[key] = tuple(values[key]) if key in values or key == "size" else ()
    if len(values["size"]) != 2 or not all(type(side) is int for side in values["size"]):
        raise TypeError("size is not height and width")
    if not all(isinstance(value, (int, float)) and not isinstance(value, bool)
               for value in (*values["mean"], *values["std"], values.get("share", 1.0))):
        raise TypeError("a mean, standard deviation or share is no number")
    if not all(isinstance(label, str) for label in values["labels"]):
        raise TypeError("a label is no text")
    if not isinstance(values.get("antialias", True), bool):
        raise TypeError("antialias is neither true nor false")
    return Preprocessing(**values)


def read_pixels(path: Any, how: Preprocessing) -> Pixels:
    """RGB (3, height, width) of an image file as a viewer shows it, brought to the size of `how`. ImageError."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            return fitted(shown(image), how)
    except ImageError:
        raise
    except UnidentifiedImageError as error:  # its text holds the address of a buffer
        raise ImageError("cannot be read as an image (its content is of no known kind)",
                         "remove it, or save it as PNG or JPEG") from error
    except Exception as error:  # Pillow raises many kinds of errors for a broken file
        raise ImageError(f"cannot be read as an image ({error})", "remove it, or put it right") from error


def shown(image: Picture) -> Picture:
    """As RGB, turned as its EXIF says, 16 bits cut to 8, on white where it is transparent.

    Raises ImageError for kinds of pixels whose colours are not defined.
    """
    from PIL import Image, ImageOps

    unsure = "save it as 8-bit RGB or grey"
    if image.mode == "F":
        raise ImageError("holds float pixels, and nothing says which value is white", unsure)
    if image.mode == "I" and image.format not in ("PNG", "PPM"):  # there it holds 16 bits
        raise ImageError("holds 32-bit pixels, and nothing says which value is white", unsure)
    if image.mode.startswith("I") and getattr(image, "tag_v2", {}).get(262) == 0:
        raise ImageError("holds 16-bit pixels in which 0 is white", unsure)
    if image.mode == "CMYK" and image.info.get("icc_profile"):
        raise ImageError("is CMYK with a colour profile", unsure)
    if image.mode not in _SHOWN and not image.mode.startswith("I"):
        raise ImageError(f"holds pixels of the kind {image.mode}, which not every Pillow shows alike", unsure)
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (255, 255, 255, 255)), image)
    return image.convert("RGB")


def fitted(image: Picture, how: Preprocessing) -> Pixels:
    """(3, height, width) of an RGB image, resized as `how` says."""
    from PIL import Image

    height, width = how.size
    if how.resize == "squash":
        return _pixels(_resized(image, (width, height), how))
    if how.resize == "letterbox":
        scale = min(height / image.height, width / image.width)
        inner = _resized(image, (min(width, max(1, round(image.width * scale))),
                                 min(height, max(1, round(image.height * scale)))), how)
        boxed = Image.new("RGB", (width, height), (LETTERBOX_GREY,) * 3)
        boxed.paste(inner, ((width - inner.width) // 2, (height - inner.height) // 2))
        return _pixels(boxed)
    # Whole sides are cut and margins rounded as torchvision does, so that models see what they were trained to see.
    if height * image.width >= width * image.height:  # the height is what must fit
        scaled = round(height / how.share)
        resized = _resized(image, (max(width, scaled * image.width // image.height), scaled), how)
    else:
        scaled = round(width / how.share)
        resized = _resized(image, (scaled, max(height, scaled * image.height // image.width)), how)
    left, top = round((resized.width - width) / 2), round((resized.height - height) / 2)
    return _pixels(resized.crop((left, top, left + width, top + height)))


def tensor(pixels: Pixels, how: Preprocessing) -> Any:
    """What a model takes, for RGB or grey pixels (N, 3 or 1, height, width) of its size, 0 to 255."""
    values: Any = _coloured(np.asarray(pixels), how.colour)
    if how.dtype == "float32":
        scale, shift = (part.reshape(1, -1, 1, 1) for part in how.scale_and_shift())
        values = values.astype(np.float32) * scale + shift
    return values if how.axes == "NCHW" else np.ascontiguousarray(values.transpose(0, 2, 3, 1))


def in_batches(pixels: Pixels, how: Preprocessing, size: int, fixed: bool = False) -> Iterator[tuple[Any, int]]:
    """(what a model takes, the number of its images) for `size` images of `pixels` after the other.

    `fixed`: a last short batch is filled up with copies of its last image, since the graph takes no other size.
    """
    for start in range(0, len(pixels), size):
        part = pixels[start : start + size]
        missing = size - len(part) if fixed else 0
        yield tensor(np.concatenate([part, np.repeat(part[-1:], missing, axis=0)]) if missing else part, how), len(part)


def _coloured(pixels: Pixels, colour: str) -> Pixels:
    """The channels that a model sees; grey is ITU-R 601's luma, as Pillow rounds it."""
    if colour == "grey" and pixels.shape[1] == 3:
        weights = np.array([19595, 38470, 7471], np.uint32).reshape(1, 3, 1, 1)
        luma: Any = (pixels * weights).sum(1, keepdims=True, dtype=np.uint32) + 0x8000 >> 16
        return np.asarray(luma, np.uint8)
    if colour != "grey" and pixels.shape[1] == 1:
        return np.repeat(pixels, 3, axis=1)
    return pixels[:, ::-1] if colour == "BGR" else pixels


def _resized(image: Picture, size: tuple[int, int], how: Preprocessing) -> Picture:
    """To `size` (width, height). Pillow's `resize` always takes every pixel into account, which is antialiasing."""
    if size == image.size:
        return image
    if how.antialias:
        return image.resize(size, _FILTERS[how.interpolation])
    from PIL import Image

    values = np.asarray(image, np.float32)
    for axis, count in enumerate((size[1], size[0])):
        values = _sampled(values, axis, count, how.interpolation)
    return Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))


def _sampled(values: Any, axis: int, count: int, interpolation: str) -> Any:
    """`count` values along `axis`, each from its 2 or 4 nearest alone, as torch and OpenCV without antialiasing."""
    length = values.shape[axis]
    places = (np.arange(count) + 0.5) * (length / count) - 0.5
    first = np.floor(places).astype(np.int64)
    total = 0.0
    for tap in (0, 1) if interpolation == "bilinear" else (-1, 0, 1, 2):
        away = np.abs(places - first - tap)
        if interpolation == "bilinear":
            weight = 1 - away
        else:  # Keys' kernel with a = -0.75
            weight = np.where(away <= 1, (1.25 * away - 2.25) * away**2 + 1,
                              (-0.75 * away + 3.75) * away**2 - 6 * away + 3)
        taken = np.take(values, np.clip(first + tap, 0, length - 1), axis=axis)
        total = total + taken * weight.astype(np.float32).reshape([-1 if other == axis else 1 for other in range(3)])
    return total


def _pixels(image: Picture) -> Pixels:
    return np.ascontiguousarray(np.asarray(image, dtype=np.uint8).transpose(2, 0, 1))
