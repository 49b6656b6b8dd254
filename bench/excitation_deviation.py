"""How far the excitations of each bundled net depend on the image: python bench/excitation_deviation.py

Relative deviation of each excitation over the calibration images, and what the net loses on the validation images, in
FP32, when all become constants (their means). The optimizer is that of the net's card. Needs CIFAR-10 ($EDGE_SE_DATA);
two minutes. Writes bench/results/excitation_deviation.json, in which rows of weights that were bundled before stay, and
refreshes the documents.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.tables import readme
from edge_se.core import environment
from edge_se.core.cards import card_of
from edge_se.core.files import read_json, write_json
from edge_se.data import calibration, cifar10, splits
from edge_se.data.images import Images
from edge_se.evaluation.accuracy import drop_from, logits_of, top1
from edge_se.evaluation.judges import measured_by
from edge_se.graph.source import load_source
from edge_se.nets.zoo import BUNDLED, spec_of
from edge_se.quantization.folding import excitation_values, folded
from edge_se.quantization.search import Budget
from edge_se.reporting.console import ConsoleProgress

RESULT = Path(__file__).parent / "results" / "excitation_deviation.json"


def main() -> None:
    cifar, progress = cifar10.require(), ConsoleProgress()
    shown, judged = calibration.load(calibration.REAL, cifar), splits.load("validation", cifar)
    rows = []
    for name in BUNDLED:
        if spec_of(name).attention != "none":
            progress.note(name)
            rows.append(measured(name, shown, judged))
    rows += of_before(rows, read_json(RESULT)["rows"] if RESULT.exists() else [])
    write_json(RESULT, {"schema": "edge-se/excitation-deviation/1", "calibration": shown.name,
                        "validation": judged.name, "rows": rows, "environment": {
                            "versions": environment.versions(), "hardware": environment.hardware(),
                            "commit": environment.commit()}})
    readme.main()


def of_before(rows: list[dict[str, Any]], earlier: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of weights that are bundled no more: the same net trained otherwise is the best comparison."""
    own = {row["weights"] for row in rows}
    return [row | {"bundled": False} for row in earlier if row["weights"] not in own]


def measured(name: str, shown: Images, judged: splits.ImageSet) -> dict[str, Any]:
    """The row of a bundled net; drops in points."""
    model, card = load_source(name, None).model, card_of(name)
    assert card is not None and judged.labels is not None  # it is bundled
    values, reference = excitation_values(model, shown), logits_of(model, judged)
    drop = drop_from(reference, logits_of(folded(model, values), judged), judged.labels, Budget().alpha)
    return {"name": name, "bundled": True, "measured_by": measured_by(model), "weights": card["weights"]["sha256"],
            "epochs": card["epochs"], "muon": bool(card["recipe"]["content"]["optimizer"].get("muon")),
            "deviations": {value.name: value.deviation for value in values},
            "top1": top1(reference, judged.labels), "n": len(judged), "drop_pp": 100 * drop.drop,
            "ci_pp": [100 * drop.low, 100 * drop.high], "flips": drop.flips}


if __name__ == "__main__":
    main()
