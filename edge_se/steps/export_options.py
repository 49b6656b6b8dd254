"""What `export` refuses before anything takes time: options that say nothing, folders that hold the user's files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edge_se.backends.machines.choice import Place, way_to
from edge_se.core.artifacts import MANIFEST
from edge_se.core.errors import ArtifactError, EdgeSeError, UnavailableError
from edge_se.core.outputs import document, require_file, require_folder
from edge_se.core.progress import Progress
from edge_se.graph.fixed_batch import LARGEST
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.tflite import flatbuffer
from edge_se.quantization.effort import AUTO
from edge_se.quantization.search import Budget
from edge_se.quantization.table import FILE as TABLE
from edge_se.quantization.targets import TARGETS, Target
from edge_se.quantization.turns import runtime_there
from edge_se.steps.bundle import FILE as BUNDLE_FILE
from edge_se.steps.bundle import FOLDER as BUNDLE
from edge_se.steps.bundle import require_place

FILES = ("fp32.onnx", "fp16.onnx", "int8.*.onnx", "int8.*.tflite", TABLE)  # beside the manifest
CANDIDATES = "candidates.*.json"  # logs of a search, which goes on from them


def require_sensible(int8: bool, of_int8: dict[str, str | Sequence[str] | None], budget: Budget) -> None:
    """Refuses options that are invalid or that nothing reads, before anything takes time."""
    for option, value in of_int8.items():
        if value is not None and not value:
            raise EdgeSeError("names nothing", where=option, fix=f"leave {option} out, or name something")
        if value is not None and not int8:
            raise EdgeSeError("says how INT8 files are made, and none is asked for", where=option,
                              fix=f"add --int8, or leave {option} out")
    if not 0 <= budget.max_drop_pp <= 100:
        raise EdgeSeError(f"{budget.max_drop_pp:g} is no loss in percentage points", where="--max-drop",
                          fix="give a number from 0 to 100")
    if budget.seconds is not None and not budget.seconds > 0:
        raise EdgeSeError(f"{budget.seconds:g} seconds bound no search", where="--search-seconds",
                          fix="give a number above 0")


def require_ranges(targets: Sequence[Target], of_ranges: dict[str, object]) -> None:
    """Refuses options that say how ranges are set where the files of none of `targets` hold any."""
    if not targets or any(target.calibrated for target in targets):
        return
    for option, value in of_ranges.items():
        if value is not None:
            names = ", ".join(target.name for target in targets)
            raise EdgeSeError(f"says what ranges are, and a file for {names} holds none: they are each image's own",
                              where=option, fix=f"leave {option} out, or add a --target that is calibrated")


def require_batch(batch: int | None) -> None:
    """Refuses a batch that no file is written for."""
    if batch is not None and not 1 <= batch <= LARGEST:
        raise EdgeSeError(f"{batch} is no number of images from 1 to {LARGEST}", where="--batch",
                          fix="give the batch that the runtime will run, or leave --batch out")


def writable(targets: list[Target], named: Sequence[str] | None, progress: Progress) -> list[Target]:
    """`targets` without those whose files nothing here writes, where `all` was asked for; a note tells of them.

    Raises UnavailableError where one of them is `named`.
    """
    reason = flatbuffer.missing()
    lacking = [target for target in targets if target.litert] if reason else []
    for target in lacking:
        assert reason is not None
        if target.name in (named or ()):
            raise UnavailableError(reason, where="--target", fix=flatbuffer.INSTALL)
        progress.note(f"no file for {target.name}: {reason}. {flatbuffer.INSTALL}")
    return [target for target in targets if target not in lacking]


def require_search(where: Place, placement: str | None, budget: Budget) -> None:
    """Refuses an unknown device, and what is of a search where there is none; without INT8 `placement` is None."""
    if placement != AUTO and not where.here:
        raise EdgeSeError("says where placements are timed, and none are", where="--device",
                          fix="add --int8 --placement auto, or measure the files with `edge-se bench --device`")
    if placement != AUTO and budget.seconds is not None:
        raise EdgeSeError("bounds a search, and none is asked for", where="--search-seconds",
                          fix="add --int8 --placement auto, or leave --search-seconds out")
    way_to(where.device, where.host, where.python)


def targets_there(where: Place, model: OnnxModel, named: Sequence[Target] | None, progress: Progress) -> list[Target]:
    """`named` if `where` runs any of them; without names the one that a bundle would take there.

    Raises UnavailableError, before anything takes time, where it runs none.
    """
    with where.open(progress) as machine:
        found = [(target, *runtime_there(model, target, machine)) for target in named or TARGETS.values()]
    able = [target for target, backend, _ in found if backend is not None]
    if not able:
        reasons = dict.fromkeys(reason for _, _, told in found for reason in told)
        which = f"no file for {', '.join(target.name for target in named)}" if named else "no INT8 file"
        raise UnavailableError(f"{machine.facts['name']} runs {which}: {'; '.join(reasons)}", where="--device",
                               fix="choose another --target, or bring a runtime to it (docs/jetson.md)")
    if named:
        return list(named)
    best = max(able, key=lambda target: target.preference)
    progress.note(f"--target {best.name}: what {machine.facts['name']} runs best")
    return [best]


def require_output(folder: Path, model: str, bundle: bool) -> None:
    """Raises ArtifactError when a user's own file would be overwritten, above all `model`."""
    if (folder / BUNDLE_FILE).is_file():
        raise ArtifactError("is a bundle, whose files a device compares with its bundle.json", where=folder,
                            fix="choose another folder with --out")
    require_folder(folder, {MANIFEST: "export"}, FILES, sources=(model,))
    for log in folder.glob(CANDIDATES):
        require_file(log, document("candidates"), "--out")
    if bundle:
        require_place(folder / BUNDLE, model)
