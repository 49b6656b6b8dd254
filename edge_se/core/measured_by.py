"""What computed an accuracy: a figure without it cannot be checked, so every one carries it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from edge_se.core import environment

SHOWN = {"openvino": "OpenVINO", "tensorrt": "TensorRT", "opencv": "OpenCV", "litert": "LiteRT"}
FIELDS = ("runtime", "version", "device", "floats")


def measured_by(runtime: str, *, floats: str, package: str | None = None, simulation: bool = False,
                instead_of: str | None = None) -> dict[str, Any]:
    """`measured_by` of a document, for what `runtime` computes on this processor.

    `floats` is the type of what is not INT8: f32, tf32, bf16 or f16, or several joined by "or" where the runtime
    chooses. `simulation`: another runtime serves the file. `instead_of`: the runtime that would have judged it, and is
    not installed. `package`: where it has another name.
    """
    told = {"runtime": runtime, "version": environment.version_of(package or runtime),
            "device": environment.hardware()["cpu"], "floats": floats}
    return told | ({"simulation": True} if simulation else {}) | ({"instead_of": instead_of} if instead_of else {})


def in_words(told: Mapping[str, Any] | None) -> str:
    """"onnxruntime 1.31.1, floats f32, on AMD EPYC"; of figures of before, that it was not noted."""
    if not told:
        return "not noted: an earlier edge-se measured it"
    runtime, device, floats = (str(told[key]) for key in ("runtime", "device", "floats"))
    version = told["version"] or "of an unknown version"
    missing = told.get("instead_of")
    kind = f" (not {SHOWN.get(missing, missing)}, which is not installed)" if missing else ""
    start = "simulated in " if told.get("simulation") else ""
    return f"{start}{SHOWN.get(runtime, runtime)} {version}{kind}, floats {floats}, on {device}"


def sound(told: Any) -> bool:
    """Whether `told` from a file has what `in_words` reads."""
    return isinstance(told, dict) and all(isinstance(told.get(key, 0), (str, type(None))) for key in FIELDS) and (
        isinstance(told.get("instead_of"), (str, type(None))))


def of_files(files: Iterable[tuple[str, Mapping[str, Any] | None]]) -> str:
    """Pairs of a file and its `measured_by` as one sentence, files that have the same together."""
    groups: dict[str, list[str]] = {}
    for name, told in files:
        names = groups.setdefault(in_words(told), [])
        if name not in names:
            names.append(name)
    if len(groups) == 1:
        return f"accuracy: {next(iter(groups))}"
    return "accuracy: " + "; ".join(f"{', '.join(names)}: {words}" for words, names in groups.items())
