"""A placement as a search measured it, and the log that a later search goes on from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from edge_se.core import environment
from edge_se.core.errors import CalibrationError
from edge_se.core.files import read_json, write_json
from edge_se.data.images import Images
from edge_se.evaluation.judges import judge_of
from edge_se.graph.onnx_model import OnnxModel
from edge_se.quantization.ranges import Statistics
from edge_se.quantization.targets import Target

SCHEMA = "edge-se/candidates/1"


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One placement as measured; times are None where the target's runtime is not here, and the ratio decides.

    `ratio` is to `reference` (FP32, on a GPU FP16), with which it took turns under the conditions `timed_on`; `refused`
    is why it does not run there. On the front are those that no other beats in flips and latency both.
    """

    name: str
    float_units: tuple[str, ...]
    sha256: str
    n: int
    drop_pp: float
    ci_pp: tuple[float, float]
    flips: int
    sqnr_db: float
    p50_ms: float | None
    within_budget: bool
    reference: str | None = None
    reference_ms: float | None = None
    ratio: float | None = None
    ratio_ci: tuple[float, float] | None = None
    int8_mac_share_engine: float | None = None
    timed_on: str | None = None
    refused: str | None = None
    on_front: bool = False
    chosen: bool = False

    def __post_init__(self) -> None:
        if self.ratio is not None and None in (self.p50_ms, self.reference, self.reference_ms, self.ratio_ci,
                                               self.timed_on):
            raise ValueError("a ratio without what it was measured of")

    @property
    def order(self) -> float:
        """What is smaller is faster; all are equal where nothing was timed."""
        return 0.0 if self.ratio is None else self.ratio

    def untimed(self) -> Candidate:
        """Without times, which were taken elsewhere."""
        return replace(self, p50_ms=None, reference=None, reference_ms=None, ratio=None, ratio_ci=None,
                       int8_mac_share_engine=None, timed_on=None, refused=None)


def log_key(model: OnnxModel, statistics: Statistics, target: Target, images: Images, alpha: float) -> dict[str, Any]:
    """All that the accuracy of a candidate depends on beside its file, whose hash is in each row."""
    judge = judge_of(OnnxModel(content=model.content, precision="int8", target=target.name))
    return {"schema": SCHEMA, "model_sha256": model.sha256, "calibration_sha256": statistics.calibration_sha256,
            "target": target.name, "images_sha256": images.sha256, "labelled": images.labels is not None,
            "preprocessing": repr(replace(images.preprocessing, labels=())), "alpha": alpha,
            "onnxruntime": environment.version_of("onnxruntime"), "cpu_flags": list(environment.cpu_flags()),
            "judge": judge.name, "judge_version": environment.version_of(judge.module)}


def write_log(log: Path | None, key: dict[str, Any], rows: Mapping[str, Candidate]) -> None:
    """Writes the rows, by the hashes of their graphs; nothing where `log` is None."""
    if log is not None:
        write_json(log, key | {"candidates": [asdict(row) for row in rows.values()]})


def read_log(log: Path | None, key: dict[str, Any]) -> dict[str, Candidate]:
    """Candidates of an earlier run by the hash of their graph; a log of something else is not used."""
    if log is None or not log.is_file():
        return {}
    document = read_json(log, CalibrationError, fix="remove it to search anew")
    if any(document.get(name) != value for name, value in key.items()):
        return {}
    try:
        rows = TypeAdapter(list[Candidate]).validate_python(document.get("candidates"))
    except ValidationError as invalid:
        field = ".".join(str(part) for part in invalid.errors()[0]["loc"])
        raise CalibrationError(f"not a log of candidates ({field or 'candidates'}: {invalid.errors()[0]['msg']})",
                               where=log, fix="remove it to search anew") from invalid
    return {row.sha256: row for row in rows}
