"""The targets that `export` writes; what they are is in `edge_se.graph.targets`, where runtimes can ask it too."""

from __future__ import annotations

from collections.abc import Sequence

from edge_se.graph.targets.base import KERNELS, WEIGHTED, X86, Activations, Target, is_symmetric
from edge_se.graph.targets.table import TARGETS, target_of

__all__ = ["EVERYWHERE", "KERNELS", "TARGETS", "WEIGHTED", "Activations", "Target", "is_symmetric", "target_of",
           "targets_for"]
EVERYWHERE = ("cpu", "tensorrt")


def targets_for(names: Sequence[str] | None, processor_flags: Sequence[str]) -> list[Target]:
    """The targets of `names`; `all` is every one, and None `cpu` and `tensorrt`.

    With None on an x86 processor with AVX2 on which `cpu` saturates, `cpu-avx2` comes too.
    """
    if names is None:
        narrow = "avx2" in processor_flags and TARGETS["cpu"].runs_in("onnxruntime", machine=X86[0],
                                                                      flags=processor_flags)
        names = (*EVERYWHERE, "cpu-avx2") if narrow else EVERYWHERE
    if "all" in names:
        names = tuple(TARGETS)
    return [target_of(name) for name in dict.fromkeys(names)]
