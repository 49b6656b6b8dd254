"""Each finding is a script that can be run, and says what it must."""

import os
from pathlib import Path

import pytest

FINDINGS = sorted((Path(__file__).parent.parent / "findings").glob("*"))


@pytest.mark.parametrize("path", FINDINGS, ids=lambda path: path.name)
def test_a_finding_can_be_run_and_says_what_it_found(path):
    assert path.suffix == ".sh" and os.access(path, os.X_OK)
    told = [line for line in path.read_text().splitlines() if line.startswith("#")]
    for word in ("Version", "Behaviour", "Output", "Expected", "What to do"):
        assert any(line.startswith(f"# {word} ") for line in told), word
