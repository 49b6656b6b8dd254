"""What `export` refuses before anything takes time: options that say nothing, folders that hold the user's files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edge_se.core.artifacts import MANIFEST
from edge_se.core.errors import ArtifactError, EdgeSeError
from edge_se.core.outputs import document, require_file, require_folder
from edge_se.graph.fixed_batch import LARGEST
from edge_se.quantization.search import Budget
from edge_se.quantization.table import FILE as TABLE
from edge_se.steps.bundle import FILE as BUNDLE_FILE
from edge_se.steps.bundle import FOLDER as BUNDLE
from edge_se.steps.bundle import require_place

FILES = ("fp32.onnx", "fp16.onnx", "int8.*.onnx", TABLE)  # beside the manifest
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


def require_batch(batch: int | None) -> None:
    """Refuses a batch that no file is written for."""
    if batch is not None and not 1 <= batch <= LARGEST:
        raise EdgeSeError(f"{batch} is no number of images from 1 to {LARGEST}", where="--batch",
                          fix="give the batch that the runtime will run, or leave --batch out")


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
