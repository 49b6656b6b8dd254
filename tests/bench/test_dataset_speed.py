"""bench/dataset_speed.py: ratios are within a round, files are linked, and the page says what was measured."""

import importlib.util
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("bench_dataset_speed", ROOT / "bench" / "dataset_speed.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_says_what_was_measured(script):
    document = json.loads((ROOT / "bench" / "results" / "dataset_speed.json").read_text())
    page = (ROOT / "docs" / "quantization.md").read_text()
    words, table = script.table(document)
    assert table in page
    assert words in " ".join(page.split()) and script.sentence(document) in " ".join(page.split())


def test_a_ratio_is_of_one_round(script):
    """The machine was busy in the second round: that slows both."""
    rounds = [{row: {"seconds": busy * seconds, "cpu_s": seconds, "peak_memory_bytes": size * busy}
               for row, seconds, size in (("nncf", 50, 6), ("ranges", 25, 5), ("export", 60, 9))} for busy in (1, 3)]
    rows = script.medians(rounds)["rows"]
    assert [rows[row]["of_nncf"] for row in script.ROWS] == [1.0, 0.5, 1.2]
    assert rows["nncf"]["seconds"] == 100 and rows["export"]["peak_memory_bytes"] == 27


@pytest.mark.parametrize("name, below", [("calibrated", ""), ("many", "test")])
def test_files_are_links_to_few(script, tmp_path, name, below):
    (tmp_path / "files").mkdir()
    for number in range(3):
        (tmp_path / "files" / f"{number}.jpg").write_text(str(number))
    root = script.split_of(tmp_path, name, 10)
    found = sorted(root.rglob("*.jpg"), key=lambda path: path.name)
    assert [path.read_text() for path in found] == [str(number % 3) for number in range(10)]
    assert {path.parent.parent for path in found} == {root / below}
    assert len({path.parent for path in found}) == script.CLASSES
    assert script.split_of(tmp_path, name, 10) == root  # made once
