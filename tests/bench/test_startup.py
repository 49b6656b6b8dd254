"""bench/startup.py: it times both programs, and docs/benchmarking.md says what it measured."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("bench_startup", ROOT / "bench" / "startup.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_says_what_was_measured(script) -> None:
    document = json.loads((ROOT / "bench" / "results" / "startup.json").read_text())
    page = " ".join((ROOT / "docs" / "benchmarking.md").read_text().split())
    assert script.sentence(document) in page
    assert document["against"] != document["environment"]["commit"]


@pytest.mark.parametrize("shell", [None, "bash", "zsh"])
def test_a_row_has_both_programs(script, tmp_path, shell) -> None:
    programs = []
    for name, seconds in (("quick", 0.0), ("slow", 0.2)):
        programs.append(tmp_path / name)
        programs[-1].write_text(f"#!{sys.executable}\nimport time\ntime.sleep({seconds})\n")
        programs[-1].chmod(0o755)
    row = script.row(f"{script.TAB}edge-se " if shell else "--help", shell, programs, 2)
    assert row["wall_s"]["before"]["min"] >= 0.2 and row["wall_ratio"] > 1
    assert row["wall_s"]["now"]["min"] <= row["wall_s"]["now"]["median"] <= row["wall_s"]["now"]["max"]
