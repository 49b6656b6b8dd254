"""Measures what README quotes of the bundled nets: python bench/results.py [MODEL ...]

About 15 minutes on two cores. Needs CIFAR-10 ($EDGE_SE_DATA). Writes bench/results/*.json of all bundled nets, or of
those that are named, bench/baselines/ by the same gate, and refreshes the tables made from them. Ratios of INT8 to FP32
are of all builds in one run. With --accuracy latencies stay as they were measured, on another machine for instance.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from bench.tables import readme
from edge_se.core.files import write_json
from edge_se.reporting.console import ConsoleProgress
from edge_se.steps.bench import Options, bench
from edge_se.steps.export import export
from edge_se.steps.gate import gate

HERE = Path(__file__).parent
RESULTS = HERE / "results"
BASELINES = HERE / "baselines"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=readme.MODELS)
    parser.add_argument("--accuracy", action="store_true", help="measure accuracy alone")
    arguments = parser.parse_args()
    models = arguments.models
    if unknown := [name for name in models if name not in readme.MODELS]:
        parser.error(f"'{unknown[0]}' is not among those measured in every runtime: {', '.join(readme.MODELS)}")
    progress = ConsoleProgress()
    for model in models:
        progress.note(model)
        write_json(RESULTS / f"export-{model}.json", export(
            model, fp16=True, int8=True, targets=readme.TARGETS_SHOWN, progress=progress).document())
        write_json(RESULTS / f"gate-{model}.json", gate(
            model, baseline=BASELINES / f"{model}.json", update_baseline=True, progress=progress))
        if not arguments.accuracy:
            write_json(RESULTS / f"bench-{model}.json", bench(
                "cpu", model=model, options=Options(min_duration=10), progress=progress))
    if not arguments.accuracy:
        subprocess.run([sys.executable, HERE / "int8_speedup.py", *readme.MODELS], check=True)
    readme.main()


if __name__ == "__main__":
    main()
