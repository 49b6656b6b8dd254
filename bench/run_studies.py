"""Runs bench/studies/*.toml and puts their pages into docs/studies: python bench/run_studies.py [NAME ...]

Needs CIFAR-10 ($EDGE_SE_DATA); hours on two cores for all of them, and can be interrupted: cells that are done are not
run again (runs/cells). `placements` first, since others read its cells. Writes bench/results/study-NAME.json (without
the tidy rows, which are in runs/studies/NAME/results.csv), docs/studies/NAME.md and docs/figures/studies/*.svg.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from bench.tables import studies
from bench.tables.measured import result_of
from edge_se.core.files import write_json
from edge_se.reporting.console import ConsoleProgress
from edge_se.studies.study import STUDIES, Options, study

HERE = Path(__file__).parent
NAMES = ("placements", "noise", "quantization", "quantization-tensorrt", "stems", "learning-rate")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=NAMES)
    parser.add_argument("--workers", type=int)
    arguments = parser.parse_args()
    for name in arguments.names:
        out = STUDIES / name
        document = study(HERE / "studies" / f"{name}.toml", out=out, options=Options(workers=arguments.workers),
                         progress=ConsoleProgress())
        document |= {"rows": []}
        del document["out"]
        write_json(result_of(f"{studies.PREFIX}{name}"), document)
        studies.FIGURES.mkdir(parents=True, exist_ok=True)
        for figure in document["figures"]:
            shutil.copyfile(out / figure, studies.FIGURES / figure)
        studies.main()


if __name__ == "__main__":
    main()
