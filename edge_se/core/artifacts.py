"""A build folder: ONNX files and the manifest that says what each is, from which parent, with which figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from edge_se.core.errors import ArtifactError, did_you_mean
from edge_se.core.files import read_json, sha256_of
from edge_se.core.measured_by import sound

SCHEMA = "edge-se/export/1"
MANIFEST = "manifest.json"
BUILDS = Path("build")
_SOURCES = (".onnx", ".pt2")  # of a build that bears the file's name
ROUNDED = 0.01  # points by which a figure may differ from the figures it is computed from
LARGEST = 2**63  # every figure of a manifest is smaller
_KINDS: dict[str, type | tuple[type, ...]] = {"str": str, "int": int, "float": (int, float),
                                              "tuple[float, float]": tuple, "dict[str, Any]": dict}


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """One ONNX file of a build. Percentages are 0..100; None means not measured."""

    precision: str
    target: str
    file: str
    sha256: str
    parent_sha256: str | None
    bytes: int
    params: int
    macs: int
    flops: int
    int8_mac_share: float
    placement: str | None
    top1: float | None
    top1_n: int | None
    top1_ci: tuple[float, float] | None
    dataset: str
    agreement_with_fp32: float
    flips: int
    flips_n: int
    seconds: float
    method: str | None = None
    top5: float | None = None
    top5_ci: tuple[float, float] | None = None
    measured_by: dict[str, Any] | None = None  # of top-1, agreement and flips (edge_se.core.measured_by)
    sqnr_db: float | None = None          # of the logits against FP32's, on a few calibration images in `sqnr_runtime`
    sqnr_runtime: str | None = None
    written_sqnr_db: float | None = None  # the same of the file's own Q/DQ, run operator by operator
    tflite: dict[str, Any] | None = None  # the file that LiteRT reads in its place: file, sha256, bytes
    gap_node: str | None = None           # from which on it shows that the runtime loses what the file has

    @property
    def label(self) -> str:
        """`fp32`, `int8.cpu`, ..."""
        return self.precision if self.target == "any" else f"{self.precision}.{self.target}"

    @property
    def key(self) -> tuple[str, str]:
        """Hash and target: files for two targets may be the same to the byte, and other runtimes read them."""
        return self.sha256, self.target


@dataclass(frozen=True, kw_only=True)
class Build:
    """What `export` wrote: the document of `--json`, and `manifest.json` in its folder."""

    model: str
    out: str
    source: dict[str, Any]
    calibration: dict[str, Any] | None
    preprocessing: dict[str, Any]
    labels: tuple[str, ...]
    parity: dict[str, Any]
    artifacts: tuple[Artifact, ...]
    environment: dict[str, Any]
    schema: str = SCHEMA
    data: dict[str, Any] | None = None  # the labelled images that top-1 was measured on
    placements: list[dict[str, Any]] | None = None  # what `--placement auto` measured, for each target

    def document(self) -> dict[str, Any]:
        """As JSON."""
        content = asdict(self)
        return {"schema": content.pop("schema"), **content}

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return Path(self.out)

    def find(self, precision: str, target: str = "any") -> Artifact | None:
        """The artifact of one precision and target, or None."""
        return next((item for item in self.artifacts if (item.precision, item.target) == (precision, target)), None)


def read_build(folder: Path) -> Build:
    """The build in `folder`; ArtifactError when its manifest is missing, foreign or broken."""
    path = folder / MANIFEST
    document = read_json(path, ArtifactError, fix="run `edge-se export --model NAME --int8` first")
    return build_of(document | {"out": str(folder)}, path)


def build_of(document: dict[str, Any], path: Path = Path(MANIFEST)) -> Build:
    """The build that a document of `export` describes; `path` is where it came from, for messages."""
    if document.get("schema") != SCHEMA:
        raise ArtifactError(f"schema {document.get('schema')!r} is not {SCHEMA!r}", where=path, fix="export again")
    try:
        artifacts = tuple(Artifact(**{key: item[key] for key in Artifact.__dataclass_fields__ if key in item})
                          for item in document["artifacts"])
        artifacts = tuple(replace(item, top1_ci=item.top1_ci and (item.top1_ci[0], item.top1_ci[1]),
                                  top5_ci=item.top5_ci and (item.top5_ci[0], item.top5_ci[1]))
                          for item in artifacts)  # JSON has no tuples
        for item in artifacts:
            _require_kinds(item)
            _require_possible(item)
        newer = ("data", "placements")  # which older builds lack
        values = {key: document[key] for key in Build.__dataclass_fields__ if key not in ("artifacts", *newer)}
        values |= {key: document.get(key) for key in newer}
        values["labels"] = tuple(values["labels"])
        if not isinstance(values["source"], dict) or not all(
                isinstance(values[name], dict | None) for name in ("calibration", "data")):
            raise TypeError("source, calibration and data are objects")
        if not isinstance(values["placements"], list | None):
            raise TypeError("placements is a list")
        if not all(isinstance(text, str) for text in (values["model"], values["out"], *values["labels"])):
            raise TypeError("model and labels are texts")
        if not artifacts:
            raise TypeError("no file is in it")
        # A manifest from elsewhere must not reach outside its folder.
        outside = next((file for item in artifacts
                        for file in (item.file, *([item.tflite["file"]] if item.tflite else []))
                        if Path(file).name != file or file == ".."), None)
    except (KeyError, TypeError, IndexError) as error:
        raise ArtifactError(f"incomplete manifest ({error!r})", where=path, fix="export again") from error
    if outside is not None:
        raise ArtifactError(f"names a file outside its folder: {outside!r}", where=path, fix="export again")
    return Build(**values, artifacts=artifacts)


def _require_kinds(item: Artifact) -> None:
    """Raises TypeError unless every field that was read has the type of its annotation."""
    for field in fields(item):
        value, (kind, _, optional) = getattr(item, field.name), str(field.type).partition(" | ")
        numbers = value if isinstance(value, tuple) else (value,) if isinstance(value, (int, float)) else ()
        fits = isinstance(value, _KINDS[kind]) and not isinstance(value, bool) and all(
            isinstance(number, (int, float)) and abs(number) < LARGEST for number in numbers)  # NaN is not below
        if not fits and not (optional and value is None):
            raise TypeError(f"{field.name} is {value!r:.60}")


def not_cifar10(build: Build) -> str:
    """Why CIFAR-10 cannot judge this build: it has other labels."""
    return "is no CIFAR-10 classifier" + ("" if build.labels else " (nothing says which classes its outputs are)")


def _require_possible(item: Artifact) -> None:
    """Raises TypeError for a figure that no measurement can give: a top-1 of 9999 %, more flips than images."""
    ranges = {"bytes": (1, LARGEST), "params": (0, LARGEST), "macs": (0, LARGEST), "flops": (0, LARGEST),
              "int8_mac_share": (0, 1), "top1": (0, 100), "top5": (0, 100), "top1_n": (1, LARGEST),
              "agreement_with_fp32": (0, 100), "flips_n": (1, LARGEST), "flips": (0, item.flips_n),
              "seconds": (0, LARGEST)}
    for name, (low, high) in ranges.items():
        value = getattr(item, name)
        if value is not None and not low <= value <= high:
            raise TypeError(f"{item.file}: {name} is {value!r:.60}")
    if item.measured_by is not None and not sound(item.measured_by):
        raise TypeError(f"{item.file}: measured_by is {item.measured_by!r:.60}")
    if (item.top1 is None) is not (item.top1_n is None):
        raise TypeError(f"{item.file}: top1 {item.top1!r:.60} on {item.top1_n!r:.60} images")
    if item.top1 is not None and item.top1_ci is not None:
        below, above = item.top1_ci
        if not 0 <= below <= item.top1 + ROUNDED or not item.top1 - ROUNDED <= above <= 100:
            raise TypeError(f"{item.file}: top1_ci is {item.top1_ci!r:.60} about {item.top1!r:.60}")
    if item.tflite is not None and not (all(isinstance(item.tflite.get(key), str) for key in ("file", "sha256"))
                                        and type(item.tflite.get("bytes")) is int):
        raise TypeError(f"{item.file}: tflite is {item.tflite!r:.60}")
    if abs(100 * (1 - item.flips / item.flips_n) - item.agreement_with_fp32) > ROUNDED:
        raise TypeError(f"{item.file}: {item.flips} flips of {item.flips_n}, and agreement {item.agreement_with_fp32}")


def locate_build(model: str | None) -> Path:
    """The folder of `model`: a folder as it is, a name under ./build, or without a name the only build there."""
    if model is None:
        folders = sorted(path.parent for path in BUILDS.glob(f"*/{MANIFEST}"))
        if len(folders) == 1:
            return folders[0]
        have = f"{len(folders)} builds ({', '.join(path.name for path in folders)})" if folders else "no build"
        raise ArtifactError(f"holds {have}", where=BUILDS,
                            fix="choose with --model" if folders else "run `edge-se export --model NAME --int8` first")
    if (Path(model) / MANIFEST).is_file():
        return Path(model)
    if Path(model).is_dir():
        raise ArtifactError(f"holds no {MANIFEST}", where=model, fix="give a folder that `edge-se export` wrote")
    if (BUILDS / model / MANIFEST).is_file():
        return BUILDS / model
    name = Path(model).stem if model.endswith(_SOURCES) else model
    if name != model and (BUILDS / name / MANIFEST).is_file():
        raise ArtifactError("is a model, not a build of it", where=model,
                            fix=f"give --model {name}, which `edge-se export` wrote; export again if the file is newer")
    here = {path.parent.name for path in BUILDS.glob(f"*/{MANIFEST}")}
    meant = did_you_mean(model, here) + " Else " if get_close_matches(model, here) else ""
    raise ArtifactError(f"no build of '{name}'", where=BUILDS / name,
                        fix=f"{meant}run `edge-se export --model {model} --int8` first, or give the folder of a build")


def read_builds(model: str | Sequence[str] | None) -> list[Build]:
    """The builds of these names (`locate_build`). No two may be of one model: measurements are told apart by it."""
    names = [model] if model is None or isinstance(model, str) else model
    builds = [read_build(locate_build(name)) for name in names]
    folders = dict[str, Path]()
    for build in builds:
        if build.model in folders:
            raise ArtifactError(f"is a build of {build.model}, and so is {folders[build.model]}", where=build.folder,
                                fix="measure one after the other")
        folders[build.model] = build.folder
    return builds


def check_file(build: Build, artifact: Artifact) -> Path:
    """The path of an artifact; ArtifactError when its bytes do not match the manifest."""
    return _unaltered(build.folder / artifact.file, artifact.sha256)


def check_tflite(build: Build, artifact: Artifact) -> Path | None:
    """The `.tflite` file of an artifact, None where it has none; ArtifactError as `check_file`."""
    if artifact.tflite is None:
        return None
    return _unaltered(build.folder / artifact.tflite["file"], artifact.tflite["sha256"])


def _unaltered(path: Path, sha256: str) -> Path:
    if not path.is_file():
        raise ArtifactError("no such file", where=path, fix="export again")
    if sha256_of(path) != sha256:
        raise ArtifactError("SHA-256 differs from the manifest's: altered or half exported", where=path,
                            fix="export again")
    return path
