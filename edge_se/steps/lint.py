"""`lint FILE`: which rules a Q/DQ file breaks, what that costs when it is run, and the file repaired."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx

from edge_se.core.arguments import Names, PathLike, names_of, path_of, text_of
from edge_se.core.errors import EdgeSeError, ModelError
from edge_se.core.files import write_bytes
from edge_se.core.outputs import Kind, require_file
from edge_se.core.progress import SILENT, Progress
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.targets.table import TARGETS
from edge_se.quantization.lint.base import FAULTS, Finding, Rule
from edge_se.quantization.lint.fixes import MARK, repaired
from edge_se.quantization.lint.table import broken_by, rules_for, runtimes_for

if TYPE_CHECKING:
    from edge_se.quantization.lint.proof import Proof, Ran

SCHEMA = "edge-se/lint/1"
IMAGES = 32
FIXED = Kind(name="a file of `lint --fix`", is_one=lambda path: MARK.encode() in path.read_bytes())
Broken = Sequence[tuple[Rule, list[Finding]]]


def lint(file: PathLike, *, runtimes: Names | None = None, static: bool = False, data: PathLike | None = None,
         skip_broken: bool = False, preprocessing: str | None = None, images: int = IMAGES,
         fix: PathLike | None = None, progress: Progress = SILENT) -> dict[str, Any]:
    """The rules that a file breaks, as a document; nothing is run with `static`.

    `runtimes` are names of targets and runtimes; without them a file of edge-se is held against the runtime of its own
    target, and any other against all. It is run on `images` of `data`, an equal share of each class of a folder, or on
    bundled ones; `skip_broken` leaves out those that cannot be decoded. `fix` is where the file goes with everything
    repaired that can be without changing a number. Raises EdgeSeError for what is no Q/DQ file, and where a repair
    would change what the file computes.
    """
    path, out = path_of(file), path_of(fix)
    require_file(out, FIXED, "--fix", sources=(path,))
    needs_runs = {"--fix": out, "--data": data, "--preprocessing": preprocessing,
                  "--skip-broken": skip_broken or None}
    if static and (option := next((name for name, value in needs_runs.items() if value is not None), None)):
        raise EdgeSeError(f"runs nothing, and {option} is for a file that is run", where="--static",
                          fix=f"leave --static or {option} out")
    model = _valid(OnnxModel.read(path), path)
    wanted = runtimes_for(names_of(runtimes) or _own_target(path, model))
    broken = broken_by(model, rules_for(wanted))
    rows = [_row(rule, findings, model) for rule, findings in broken]
    document: dict[str, Any] = {
        "schema": SCHEMA, "file": path.name, "sha256": model.sha256, "bytes": len(model.content), "opset": model.opset,
        "runtimes": wanted, "checked": [rule.name for rule in rules_for(wanted)], "rules": rows, "runs": [],
        "images": None, "fixed": None}
    proof = None
    if not static:
        proof = _proof(model, path, data, skip_broken, preprocessing, images, document, progress)
        _prove(proof, model, broken, document, progress)
    if out is not None:
        if proof is None:
            raise ModelError("does not run here, so what is repaired cannot be compared", where=path,
                             fix="leave --fix out, and repair it as the rules say")
        document["fixed"] = _fixed(model, out, wanted, proof)
    document["verdict"] = "faults" if any(row["kind"] in FAULTS for row in rows) else "warnings" if rows else "clean"
    return document


def _valid(model: OnnxModel, path: Path) -> OnnxModel:
    """The model of a Q/DQ file; ModelError for any other, and for what is no valid graph."""
    if not {"QuantizeLinear", "DequantizeLinear"} & {node.op_type for node in model.proto.graph.node}:
        raise ModelError("has no QuantizeLinear and no DequantizeLinear", where=path,
                         fix="give an INT8 file in Q/DQ form; `edge-se export --int8` makes one")
    try:
        onnx.checker.check_model(model.proto)
        for tensor in model.proto.graph.initializer:
            onnx.numpy_helper.to_array(tensor)  # the checker asks for no more bytes than a shape needs
    except (onnx.checker.ValidationError, ValueError, TypeError) as error:
        raise ModelError(f"not a valid ONNX graph ({str(error).splitlines()[0]})", where=path,
                         fix="export it again") from error
    return model


def _own_target(path: Path, model: OnnxModel) -> list[str] | None:
    """The target that the name of a file of edge-se says."""
    parts = path.name.split(".")
    return [parts[1]] if model.metadata is not None and len(parts) == 3 and parts[1] in TARGETS else None


def _row(rule: Rule, findings: Sequence[Finding], model: OnnxModel) -> dict[str, Any]:
    repairable = rule.repair is not None and rule.repair(model.copy()) > 0
    return {"rule": rule.name, "kind": rule.kind, "runtime": rule.runtime, "versions": rule.versions,
            "instead": rule.instead, "fix": rule.fix, "repairable": repairable,
            "nodes": [asdict(finding) for finding in findings], "cost": None}


def _proof(model: OnnxModel, path: Path, data: PathLike | None, skip_broken: bool, preprocessing: str | None,
           count: int, document: dict[str, Any], progress: Progress) -> Proof | None:
    """What the file answers as it is written; None where it cannot be run, which is told."""
    from edge_se.quantization.lint.proof import Proof
    from edge_se.steps.lint_images import images_for

    try:
        images = images_for(model, path, text_of(data), skip_broken, preprocessing, progress).sample(count)
        with progress.task("running it as it is written", 1) as advance:
            proof = Proof(model, path, images)
            advance(1)
    except ModelError as error:
        if data is not None or preprocessing is not None:
            raise
        progress.note(f"not run: {error}")
        return None
    document["images"] = {"name": images.name, "n": len(images), "sha256": images.sha256}
    return proof


def _prove(proof: Proof | None, model: OnnxModel, broken: Broken, document: dict[str, Any],
           progress: Progress) -> None:
    """Adds what runtimes compute, and to each rule what breaking it costs where that is known."""
    from edge_se.quantization.lint.proof import parsed

    runs: list[Ran] = []
    if proof is not None:
        with progress.task("running it in each runtime", 1) as advance:
            runs = proof.runs()
            advance(1)
        for row, (rule, _) in zip(document["rules"], broken):
            own = proof.instead(rule) or next((run for run in runs if run.runtime == rule.runtime), None)
            if own is not None and rule.kind == "wrong" and own.refusal is None:
                row["cost"] = {"sqnr_db": own.sqnr_db, "flips": own.flips, "setting": own.setting}
    if "tensorrt" in document["runtimes"] and (said := parsed(model)) is not None:
        runs.append(said)
    document["runs"] = [asdict(run) for run in runs]


def _fixed(model: OnnxModel, out: Path, wanted: Sequence[str], proof: Proof) -> dict[str, Any]:
    """Writes the repaired file and tells what changed; EdgeSeError where its answers are others."""
    from edge_se.quantization.as_written import EXACT_DB

    fixed, changes = repaired(model, rules_for(wanted))
    ran = proof.differs(fixed)
    if ran.refusal is not None or ran.flips or ran.sqnr_db is None or ran.sqnr_db < EXACT_DB:
        raise EdgeSeError(f"repairing {', '.join(changes)} would change its answers "
                          f"({ran.refusal or f'{ran.sqnr_db} dB'})", where=f"--fix {out}",
                          fix="repair it by hand, as the rules say")
    write_bytes(out, fixed.content)
    left = [rule.name for rule, _ in broken_by(fixed, rules_for(wanted))]
    return {"file": str(out), "sha256": fixed.sha256, "changes": changes, "left": left, "sqnr_db": ran.sqnr_db,
            "flips": ran.flips}
