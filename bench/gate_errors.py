"""How often the gate errs, by simulation: python bench/gate_errors.py   (seconds)

Draws 10,000 sets of paired predictions per setting and judges each by the gate's own rule, at all images and
sequentially. Writes bench/results/gate_errors.json and refreshes the documents.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.tables import readme
from edge_se.core import environment
from edge_se.core.files import write_json
from edge_se.evaluation.gate import ALPHA, MAX_DROP
from edge_se.evaluation.sequential import LOOKS
from edge_se.evaluation.simulation import rates

RESULTS = Path(__file__).parent / "results"
SETS = 10_000
IMAGES = (2_000, 10_000)
DISCORDANT_PCT = (0.6, 1.0, 3.0)   # of images; at least the margin, so that a drop as large as it can be
DROPS_PP = (0.0, MAX_DROP, 2 * MAX_DROP, 10.0)


def main() -> None:
    write_json(RESULTS / "gate_errors.json", gate_errors(SETS))
    readme.main()


def gate_errors(sets: int) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    for images in IMAGES:
        for drop in DROPS_PP:
            # A larger drop brings its own discordant pairs.
            for discordance in dict.fromkeys(max(rate, drop) for rate in DISCORDANT_PCT):
                for sequential in (False, True):
                    observed = rates(images=images, margin=MAX_DROP / 100, alpha=ALPHA, drop=drop / 100,
                                     discordance=discordance / 100, sets=sets, seed=len(rows), sequential=sequential)
                    rows.append({"design": "sequential" if sequential else "fixed", "images": images, "drop_pp": drop,
                                 "discordance_pct": discordance, "seed": len(rows), **asdict(observed)})
    return {"schema": "edge-se/gate-errors/1", "sets": sets, "margin_pp": MAX_DROP, "alpha": ALPHA, "looks": LOOKS,
            "rows": rows, "environment": {"versions": environment.versions(), "commit": environment.commit()}}


if __name__ == "__main__":
    main()
