"""What docs/your-model.md says of layouts: one verdict, to the byte of the INT8 file."""

import json
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_each_layout_tells_the_same():
    document = json.loads((ROOT / "bench" / "results" / "same_verdict.json").read_text())
    rows = document["rows"]
    names = ["CIFAR-10's own files", "PNG class folders", "CSV table", "npz", "parquet", "tar shards"]
    assert [row["layout"] for row in rows] == names
    told = [{key: value for key, value in row.items() if key != "layout"} for row in rows]
    assert all(one == told[0] for one in told) and told[0]["n"] == 10_000 and told[0]["verdict"] == "pass"
