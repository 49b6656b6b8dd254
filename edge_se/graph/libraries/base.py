"""What `LIBRARY:NAME[.TAG]` names: a net of a library with weights, and what the library says of its images."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_se.core.errors import ModelError, UnavailableError
from edge_se.core.files import sha256_of
from edge_se.data.preprocessing import Preprocessing

if TYPE_CHECKING:
    from torch import nn

Size = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A net that a library knows by name.

    `own` is the preprocessing that the library tells of the weights `tag`, with the names of their classes; `tag` is
    empty for a net without weights. `unlike` says what of it edge-se does otherwise, None for nothing. `exact` says
    that the user's own file is known to hold these weights. `create` makes the net with random weights for a number of
    classes at (height, width); `download` makes it with those of `tag` and may raise anything. `fused` makes the
    net that runs of the one that was trained, with branches that became one convolution.
    """

    name: str
    tag: str
    own: Preprocessing
    unlike: str | None
    exact: bool
    create: Callable[[int, Size], nn.Module]
    download: Callable[[Size], nn.Module]
    fused: Callable[[nn.Module], nn.Module] = lambda net: net


@dataclass(frozen=True, kw_only=True)
class Library:
    """`find` gives the entry of NAME[.TAG]; the path is the user's weights file, if there is one.

    It raises ModelError for a name that the library does not have, and UnavailableError without the library.
    """

    name: str
    find: Callable[[str, Path | None], Entry]

    @property
    def prefix(self) -> str:
        """What a source of this library starts with."""
        return f"{self.name}:"


@dataclass(frozen=True, kw_only=True)
class LibraryNet:
    """A net in evaluation mode, and what is known of it.

    `weights` is the file or the library's tag, `sha256` of the file, or of all tensors where there is none. `own` has
    names of classes where the weights are the library's. `assumption` says in one line what was assumed of the
    preprocessing, None for nothing.
    """

    net: nn.Module
    name: str
    own: Preprocessing
    classes: int
    weights: str | None
    sha256: str
    assumption: str | None = None


def trained_net(library: Library, told: str, weights: Path | None, size: Size | None) -> LibraryNet:
    """The net of `told`, NAME[.TAG], with the library's weights or those in a file, at `size` where it is not None.

    Raises ModelError for names and files that do not fit, UnavailableError where weights cannot be downloaded.
    """
    entry = library.find(told, weights)
    from edge_se.nets.untrained import state_sha256
    from edge_se.nets.weights import state_dict_of

    at = size or entry.own.size
    if weights is None:
        net = entry.fused(_downloaded(library, entry, at).eval())
        return LibraryNet(net=net, name=entry.name, own=entry.own, classes=_outputs(net, at, library.prefix + told),
                          weights=entry.tag, sha256=state_sha256(net), assumption=entry.unlike)
    state = state_dict_of(weights)
    classes = _classes_of(state)
    net = entry.create(classes, at)
    try:
        net.load_state_dict(state)
    except RuntimeError as error:
        raise ModelError(f"does not fit {library.name}'s {entry.name} ({str(error).splitlines()[-1].strip()})",
                         where=weights, fix="give the state dict of this very model") from error
    named = entry.exact or (entry.tag and told.endswith(f".{entry.tag}"))
    own = entry.own if named and len(entry.own.labels) == classes else replace(entry.own, labels=())
    return LibraryNet(net=entry.fused(net.eval()), name=entry.name, own=own, classes=classes, weights=weights.name,
                      sha256=sha256_of(weights), assumption=entry.unlike if named else _assumed(library, entry))


def untrained_net(library: Library, told: str, size: Size | None) -> LibraryNet:
    """The same with random weights, alike on every call; nothing knows what its outputs are."""
    entry = library.find(told, None)
    from edge_se.nets.untrained import state_sha256, warmed

    at = size or entry.own.size
    net = entry.fused(warmed(lambda: entry.create(len(entry.own.labels) or 1000, at), at))
    return LibraryNet(net=net, name=entry.name, own=replace(entry.own, labels=()), weights=None,
                      classes=_outputs(net, at, library.prefix + told), sha256=state_sha256(net))


def unknown_name(library: str, told: str, known: Iterable[str], look: str) -> ModelError:
    """The error for a name that a library does not have; `look` tells where its names are."""
    near = get_close_matches(told, list(known), n=1, cutoff=0.6)
    return ModelError(f"{library} has no classifier '{told}'", where="--model",
                      fix=f"did you mean '{near[0]}'?" if near else look)


def _downloaded(library: Library, entry: Entry, size: Size) -> nn.Module:
    source = f"{library.prefix}{entry.name}"
    if not entry.tag:
        raise ModelError(f"{library.name} has no weights of it", where=source,
                         fix="give a state dict with --weights, or try the net's structure, size and latency with "
                             "--untrained")
    try:
        return entry.download(size)
    except Exception as error:  # clients of hubs raise many kinds, some of them without words
        said = str(error).partition("\n")[0] or type(error).__name__
        raise UnavailableError(f"its weights {entry.tag} are not here and cannot be downloaded ({said})", where=source,
                               fix="give the file with --weights, or try the net's structure, size and latency with "
                                   "--untrained") from error


def _assumed(library: Library, entry: Entry) -> str:
    how = entry.own
    numbers = " ".join(f"--{name} {','.join(f'{value:g}' for value in getattr(how, name))}" for name in ("mean", "std"))
    of_tag = f", or say whose weights it was trained from, as {library.prefix}{entry.name}.{entry.tag}"
    return (f"assumed {numbers}, {how.interpolation}, {how.size[0]} of {round(how.size[0] / how.share)} pixels: "
            f"{library.name}'s for {entry.name}{f'.{entry.tag}' * bool(entry.tag)}, since a state dict does not tell "
            f"its own. Give what it was trained with if that is another{of_tag * bool(entry.tag)}.")


def _classes_of(state: dict[str, Any]) -> int:
    """The length of the last bias, or of the last matrix of a head without one: classifiers end there."""
    ends = [tensor for key, tensor in state.items() if key.endswith(".bias") and tensor.ndim == 1] or [
        tensor for key, tensor in state.items() if key.endswith(".weight") and tensor.ndim == 2]
    return len(ends[-1]) if ends else 1000


def _outputs(net: nn.Module, size: Size, source: str) -> int:
    import torch

    with torch.no_grad():
        logits = net(torch.zeros(1, 3, *size))
    if not isinstance(logits, torch.Tensor) or logits.ndim != 2:
        raise ModelError("does not give one row of logits for an image", where=source, fix="name a classifier")
    return int(logits.shape[1])
