"""LiteRT's FP32 and INT8 of one build: times in turns on one thread, and what INT8 costs.

    python bench/litert.py BUILD    # made with --int8 --target litert,litert-dynamic

Writes bench/results/litert.json and refreshes the documents. Needs CIFAR-10 ($EDGE_SE_DATA) and the extra `litert`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from bench.tables import readme
from edge_se.core.artifacts import locate_build, read_build
from edge_se.core.files import write_json
from edge_se.steps.bench import Options, bench
from edge_se.steps.gate import gate

RESULT = Path(__file__).parent / "results" / "litert.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", metavar="BUILD")
    name = parser.parse_args().build
    files = [{"target": item.target, "flips": item.flips, "flips_n": item.flips_n}
             for item in read_build(locate_build(name)).artifacts if item.precision == "int8"]
    write_json(RESULT, {"schema": "edge-se/litert/1", "files": files, "gate": gate(name), "bench": bench(
        "cpu", model=name, options=Options(backend="litert", threads=(1,)))})
    readme.main()


if __name__ == "__main__":
    main()
