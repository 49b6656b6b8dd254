"""Cards of nets whose weights are not shipped, from a study's cells: python bench/cards.py NAME ...

NAME is a net's name, or that of a cell's folder where a net has several. The cell is chosen by its name and seed, never
by its score: the first seed unless --seed says otherwise. Of its card, and of the test figure that is read here once,
it makes models/NAME/card.json. A card that is there is not replaced: a second cell would be a second look at the test
set. Needs CIFAR-10 ($EDGE_SE_DATA); seconds to minutes a net. Then `python -m bench.tables.readme`.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edge_se.core.assets import asset
from edge_se.core.cards import CARD, WEIGHTS
from edge_se.core.errors import ArtifactError, EdgeSeError
from edge_se.core.files import read_json, sha256_of, write_json
from edge_se.core.progress import Progress
from edge_se.data.splits import SPLITS, read_manifest
from edge_se.nets.zoo import BUNDLED, spec_of
from edge_se.reporting.console import ConsoleProgress
from edge_se.steps.train import SCHEMA, test_figure

_CELL = re.compile(r"(?P<model>\w+)-e(?P<epochs>\d+)-s(?P<seed>\d+)-[0-9a-f]{10}")
FIX = "run its study again, or name another cell"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", metavar="NAME")
    parser.add_argument("--cells", type=Path, default=Path("runs/cells"), help="where the study's cells are")
    parser.add_argument("--seed", type=int, help="default: the first")
    parser.add_argument("--data", type=Path, help="the folder of CIFAR-10")
    arguments = parser.parse_args()
    progress = ConsoleProgress()
    try:
        for folder in [cell_of(name, arguments.cells, arguments.seed) for name in arguments.names]:
            path = write_card(folder, arguments.data, progress)
            print(f"{path}: test top-1 {read_json(path)['test']['top1']:.2f} %")
    except EdgeSeError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


def cell_of(name: str, cells: Path, seed: int | None) -> Path:
    """The folder of a net's cell of `seed`, or of its lowest one; the folder of that very name where there is one."""
    if _CELL.fullmatch(name) and (cells / name).is_dir():
        return cells / name
    spec_of(name)
    matches = {path: match for path in sorted(cells.glob(f"{name}-*")) if (match := _CELL.fullmatch(path.name))
               and match["model"] == name}
    wanted = min((int(match["seed"]) for match in matches.values()), default=0) if seed is None else seed
    fitting = [path for path, match in matches.items() if int(match["seed"]) == wanted]
    if len(fitting) == 1:
        return fitting[0]
    have = ", ".join(path.name for path in fitting or matches)
    raise ArtifactError(f"holds {len(fitting)} cells of '{name}' with seed {wanted}", where=cells,
                        fix=f"name one of {have}" if have else "run a study that trains it, or give --cells")


def write_card(folder: Path, data: Path | None, progress: Progress) -> Path:
    """The path of the card, written unless it is already that of this cell; ArtifactError where it may not be."""
    card = checked(folder)
    name = card["model"]
    path = asset("models", name, CARD)
    if name in BUNDLED:
        raise ArtifactError("is the card of weights that are shipped", where=path, fix="leave this net out")
    if path.is_file():
        if read_json(path)["weights"]["sha256"] == card["weights"]["sha256"]:
            return path
        raise ArtifactError("is the card of another training, whose test figure is known", where=path,
                            fix="keep it: the better of two test figures is no test figure")
    test = card.get("test") or test_figure(name, folder, data=data, progress=progress)
    write_json(path, shipped_card(card, test))
    return path


def checked(folder: Path) -> dict[str, Any]:
    """The card of a cell that is done and whose files, net, epochs and seed are those that it tells of."""
    card, told = read_json(folder / CARD, fix=FIX), _CELL.fullmatch(folder.name)
    assert told is not None
    try:
        described = (card["schema"], card["model"], card["epochs"], card["seed"], _net(card["architecture"]))
        weights = card["weights"]["sha256"]
    except (KeyError, TypeError, AttributeError) as error:
        raise ArtifactError(f"is no whole card ({error!r})", where=folder / CARD, fix=FIX) from error
    spec = spec_of(told["model"])
    if described != (SCHEMA, spec.name, int(told["epochs"]), int(told["seed"]), _net(asdict(spec))):
        raise ArtifactError("tells of another net, number of epochs or seed than its folder's name, or of a net that "
                            "has changed since", where=folder / CARD, fix=FIX)
    if sha256_of(folder / WEIGHTS) != weights:
        raise ArtifactError("differ from those that the card describes", where=folder / WEIGHTS, fix=FIX)
    return card


def _net(architecture: dict[str, Any]) -> str:
    """Whatever decides what is computed, comparable with what was read from JSON."""
    return json.dumps({key: value for key, value in architecture.items() if key != "about"}, sort_keys=True)


def shipped_card(card: dict[str, Any], test: dict[str, Any]) -> dict[str, Any]:
    """The cell's card with the test figure behind the validation figure, and the mark that the file is not here."""
    manifest = read_manifest(asset("calibration", f"{SPLITS['test']}.json"))
    split = {"name": SPLITS["test"], "n": test["n"], "sha256": manifest["sha256"]}
    content = card | {"weights": card["weights"] | {"shipped": False}, "splits": card["splits"] | {"test": split}}
    made: dict[str, Any] = {}
    for key, value in content.items():
        made[key] = value
        if key == "validation":
            made["test"] = test
    return made


if __name__ == "__main__":
    main()
