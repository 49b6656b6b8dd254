"""What judges the files of a gate: runtimes of this machine, or those of a device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from edge_se.backends.base import Backend, Device
from edge_se.backends.machines.choice import Place, machine_of
from edge_se.backends.table import first_that_runs
from edge_se.core.artifacts import Artifact, Build, check_file
from edge_se.core.errors import ArtifactError
from edge_se.core.progress import Progress
from edge_se.evaluation.on_device import OnDevice
from edge_se.graph.fp16 import to_fp16
from edge_se.graph.onnx_model import OnnxModel


@dataclass(frozen=True, kw_only=True)
class Group:
    """INT8 files that one runtime judges, beside FP32 and FP16 in that runtime; `there` None: this machine's."""

    files: list[Artifact] = field(default_factory=list)
    there: OnDevice | None = None
    fp16: OnnxModel | None = None


@contextmanager
def judging(place: Place, build: Build, candidates: list[Artifact],
            progress: Progress) -> Iterator[tuple[list[Group], dict[str, Any] | None]]:
    """The groups of `candidates`, and what the device tells of itself; None for this machine.

    Notes tell which files do not run there. Raises ArtifactError where none does.
    """
    with machine_of(place.device, host=place.host, python=place.python, threads=0,
                    progress=progress) as machine, ExitStack() as stack:
        if machine.device.kind == "cpu":
            yield [Group(files=candidates)], None
            return
        groups, refused = dict[str, Group](), list[str]()
        for item in candidates:
            backend, reasons = first_that_runs(_read(build, item), machine.device, machine.backends)
            if backend is None:
                refused.append(f"{item.file}: not judged: {'; '.join(reasons)}")
                continue
            if backend.name not in groups:
                groups[backend.name] = Group(there=OnDevice(backend, machine.device, stack),
                                             fp16=_fp16_for(backend, machine.device, build))
            groups[backend.name].files.append(item)
        if not groups:
            raise ArtifactError(f"none of its INT8 files runs there: {'; '.join(refused)}", where=build.folder,
                                fix="export for this device (docs/jetson.md)")
        for reason in refused:
            progress.note(reason)
        state = machine.state()
        yield list(groups.values()), {key: value for key, value in machine.facts.items() if key != "flags"} | {
            key: state.get(key) for key in ("power_mode", "clocks_locked")}


def _fp16_for(backend: Backend, device: Device, build: Build) -> OnnxModel | None:
    """The build's FP16 file, else one of its FP32 file for a GPU; None where the runtime is not faster in FP16."""
    fp16, fp32 = build.find("fp16"), build.find("fp32")
    model = _read(build, fp16) if fp16 else to_fp16(_read(build, fp32)) if fp32 and backend.gpu else None
    return model if model and backend.why_not(model, device) is None else None


def _read(build: Build, item: Artifact) -> OnnxModel:
    return OnnxModel.read(check_file(build, item), precision=item.precision, target=item.target)
