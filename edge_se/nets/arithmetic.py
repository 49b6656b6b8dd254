"""Parameters and multiply-accumulates of a spec by arithmetic: exact, at once and without torch.

Trainable parameters; MACs of convolutions and linear maps for one image, as the net is trained. An exported graph of
competitive SE has fewer: its re-image convolutions are folded there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from edge_se.nets.spec import STEMS, ModelSpec


@dataclass(frozen=True, kw_only=True)
class Size:
    """Trainable parameters, and MACs for one image."""

    params: int
    macs: int

    @property
    def flops(self) -> int:
        """2 x MACs."""
        return 2 * self.macs


def size_of(spec: ModelSpec, pixels: int | None = None) -> Size:
    """Complexity of a net on square images of `pixels` (its own size when None)."""
    parts = list(_parts(spec, pixels or spec.input_size))
    return Size(params=sum(part.params for part in parts), macs=sum(part.macs for part in parts))


def _parts(spec: ModelSpec, pixels: int) -> Iterator[Size]:
    kernel, stride, padding, pooled = STEMS[spec.stem]
    width, pixels = spec.widths[0], _after(pixels, kernel, stride, padding)
    yield _conv(3, width, kernel, pixels)
    if not spec.preact:
        yield _norm(width)
    pixels = _after(pixels, 3, 2, 1) if pooled else pixels
    for stage, (count, inner) in enumerate(zip(spec.blocks, spec.widths)):
        for position in range(count):
            stride = 2 if stage and not position else 1
            yield from _unit(spec, width, inner, stride, pixels)
            width = inner * (1 if spec.block == "basic" else 4)
            pixels = _after(pixels, 3, stride, 1)
    if spec.preact:
        yield _norm(width)
    yield Size(params=(width + 1) * spec.classes, macs=width * spec.classes)


def _unit(spec: ModelSpec, inputs: int, inner: int, stride: int, pixels: int) -> Iterator[Size]:
    after = _after(pixels, 3, stride, 1)
    if spec.block == "basic":
        branch = [(inputs, inner, 3, after), (inner, inner, 3, after)]
    else:
        first = after if spec.block == "bottleneck_v1" else pixels
        branch = [(inputs, inner, 1, first), (inner, inner, 3, after), (inner, 4 * inner, 1, after)]
    outputs = branch[-1][1]
    for layer in branch:
        yield _conv(*layer)
        yield _norm(layer[0] if spec.preact else layer[1])
    if stride != 1 or inputs != outputs:
        yield _conv(inputs, outputs, 1, after)
        if not spec.preact:
            yield _norm(outputs)
    yield from _attention(spec, inputs if spec.attention == "pre" else outputs)


def _attention(spec: ModelSpec, channels: int) -> Iterator[Size]:
    hidden, maps = max(1, channels // spec.reduction), max(1, channels // 16)
    # (kernel's values, values that remain of the view): of conv 1 -> maps, its batch norm and the mean.
    views = {"pair2x1": (2, channels), "pair1x1": (1, 2 * channels), "folded": (9, (channels // 8 - 2) * 14)}
    if spec.attention == "none":
        return
    if spec.attention == "double_fc":
        linear = [(channels, hidden), (channels, hidden), (2 * hidden, channels)]
    elif spec.attention in views:
        kernel, flat = views[spec.attention]
        yield Size(params=maps * kernel, macs=maps * kernel * flat)
        yield _norm(maps)
        linear = [(flat, hidden), (hidden, channels)]
    else:
        linear = [(channels, hidden), (hidden, channels)]
    for inputs, outputs in linear:
        yield Size(params=inputs * outputs + outputs * spec.attention_bias, macs=inputs * outputs)


def _after(pixels: int, kernel: int, stride: int, padding: int) -> int:
    return (pixels + 2 * padding - kernel) // stride + 1


def _conv(inputs: int, outputs: int, kernel: int, pixels: int) -> Size:
    weights = inputs * outputs * kernel**2
    return Size(params=weights, macs=weights * pixels**2)


def _norm(channels: int) -> Size:
    return Size(params=2 * channels, macs=0)
