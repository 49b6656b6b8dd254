"""Every library by name."""

from edge_se.graph.libraries.base import Library
from edge_se.graph.libraries.timm_nets import LIBRARY as TIMM
from edge_se.graph.libraries.torchvision_nets import LIBRARY as TORCHVISION

LIBRARIES: dict[str, Library] = {library.name: library for library in (TORCHVISION, TIMM)}


def library_of(source: str) -> tuple[Library, str] | None:
    """The library and NAME[.TAG] of `LIBRARY:NAME[.TAG]`; None for a source of another kind."""
    library, colon, told = source.partition(":")
    return (LIBRARIES[library], told) if colon and library in LIBRARIES else None
