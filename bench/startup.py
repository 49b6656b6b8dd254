"""How long `--help`, Tab and a plain error take, as whole processes; against an earlier commit in turns.

    python bench/startup.py --against OTHER/.venv/bin/edge-se      # a checkout of that commit with its own venv

Both programs run in turn, so that a busy machine slows both. Writes bench/results/startup.json: per line the minimum,
median and maximum of wall and processor seconds, and the ratio of the medians of each pair.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from edge_se.core import environment
from edge_se.core.files import write_json
from edge_se.reporting.console import print_table

HERE = Path(__file__).parent
TAB = "Tab: "
COMMANDS = ("train", "study", "export", "bench", "gate", "sensitivity", "robustness", "explain", "report", "verify",
            "doctor", "data synthesize", "models list")
LINES = ("--help", "--version", *(f"{command} --help" for command in COMMANDS), "exprot", "bench --nosuch",
         f"{TAB}edge-se ", f"{TAB}edge-se bench --mo", f"{TAB}edge-se export --model ",
         f"{TAB}edge-se export --target cpu,")
SHELLS = ("bash", "zsh")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, required=True, help="edge-se of the other commit")
    parser.add_argument("--runs", type=int, default=15)
    arguments = parser.parse_args()
    programs = [Path(sys.executable).with_name("edge-se"), arguments.against]
    rows = []
    for line in LINES:
        for shell in SHELLS if line.startswith(TAB) else (None,):
            rows.append(row(line, shell, programs, arguments.runs))
    write_json(HERE / "results" / "startup.json", {
        "schema": "edge-se/startup/1", "runs": arguments.runs, "rows": rows, "against": commit_of(arguments.against),
        "environment": {"versions": environment.versions() | {
            name: version for name in ("typer", "rich", "pydantic") if (version := environment.version_of(name))},
            "hardware": environment.hardware(), "commit": environment.commit()}})
    print_table(["line", "shell", "wall ms", "before", "CPU ms", "before", "times less CPU"], [
        [item["line"], item["shell"] or "–",
         *(f"{1000 * item[unit][when]['median']:.0f}" for unit in ("wall_s", "cpu_s") for when in ("now", "before")),
         f"{item['cpu_ratio']:.2f}"] for item in rows], left=2)


def sentence(document: dict[str, Any]) -> str:
    """What docs/benchmarking.md says of the figures."""
    rows = {(item["line"], item["shell"]): item for item in document["rows"]}
    whole = rows["--help", None]
    commands = [item["cpu_ratio"] for (line, _), item in rows.items() if line.endswith(" --help")]
    tabs = [item["cpu_ratio"] for (line, _), item in rows.items() if line.startswith(TAB.strip())]
    return (f"`edge-se --help` takes {1000 * whole['cpu_s']['now']['median']:.0f} ms of processor time as a whole "
            f"process, where it took {1000 * whole['cpu_s']['before']['median']:.0f}. The help of a command takes "
            f"{min(commands):.1f} to {max(commands):.1f} times less than it did, and Tab {min(tabs):.1f} to "
            f"{max(tabs):.1f} times less (medians of {document['runs']} runs in turns with commit "
            f"{str(document['against'])[:7]}).")


def row(line: str, shell: str | None, programs: list[Path], runs: int) -> dict[str, Any]:
    """Figures of one line; the first run of each program warms the caches and does not count."""
    seconds: list[list[tuple[float, float]]] = [[], []]
    for number in range(runs + 1):
        for program, item in zip(programs, seconds):
            figures = once(program, line, shell)
            if number:
                item.append(figures)
    units = {name: {when: spread([run[position] for run in item]) for when, item in zip(("now", "before"), seconds)}
             for position, name in enumerate(("wall_s", "cpu_s"))}
    ratios = {name: statistics.median(before[position] / now[position] for now, before in zip(*seconds))
              for position, name in enumerate(("wall_ratio", "cpu_ratio"))}
    return {"line": line.strip(), "shell": shell, **units, **ratios}


def once(program: Path, line: str, shell: str | None) -> tuple[float, float]:
    """(wall, user + system) seconds of one process."""
    variables = {}
    if shell:
        words = line.removeprefix(TAB)
        variables = {"_EDGE_SE_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_ARGS": words, "COMP_WORDS": words,
                     "COMP_CWORD": str(len(words.split(" ")) - 1)}
    command = [str(program), *([] if shell else line.split())]
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, env=os.environ | variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wall, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def spread(values: list[float]) -> dict[str, float]:
    """Least, middle, greatest."""
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}


def commit_of(program: Path) -> str | None:
    """The commit of the checkout that `program` belongs to, asked of itself."""
    code = "from edge_se.core import environment as e; print(e.commit() or '')"
    done = subprocess.run([str(program.with_name("python")), "-c", code], capture_output=True, text=True, check=True,
                          cwd=program.parent)  # `-c` looks for packages in the working folder first
    return done.stdout.strip() or None


if __name__ == "__main__":
    main()
