"""An export says what makes its INT8 files doubtful, in a note, in the manifest and by its exit code."""

import json
from pathlib import Path

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from edge_se.cli import main
from edge_se.data.layouts.pixel_archive import write_archive

SCHEMA = Path(__file__).parents[2] / "docs" / "schema" / "export-1.json"


@pytest.fixture
def exported(tiny_onnx, tmp_path, monkeypatch, capsys):
    """(calibration pixels, arguments) -> exit code, manifest and what was said."""
    monkeypatch.delenv("EDGE_SE_DATA", raising=False)
    monkeypatch.chdir(tmp_path)

    def run(pixels, *arguments):
        Path("tiny.onnx").write_bytes(tiny_onnx.content)
        write_archive(Path("images.npz"), pixels)
        with pytest.raises(SystemExit) as exit_:
            main(["export", "--model", "tiny.onnx", "--int8", "--target", "tensorrt", "--calibration", "images.npz",
                  "--out", "build", *arguments])
        document = json.loads(Path("build/manifest.json").read_text())
        Draft202012Validator(json.loads(SCHEMA.read_text())).validate(document)
        return exit_.value.code, document["calibration"], capsys.readouterr().err
    return run


def test_calibration_on_one_image_or_on_equal_ones(exported, random_images):
    pixels = random_images(8).pixels
    code, told, said = exported(pixels[:1])
    assert code == 0 and told["images"] == 1 and "one calibration image" in said
    code, told, said = exported(np.repeat(pixels[:1], 8, axis=0))
    assert code == 0 and (told["images"], told["different"]) == (8, 1) and "8 calibration images that are all" in said
    code, told, said = exported(pixels)
    assert code == 0 and "different" not in told and "ranges come from" not in said


def test_no_candidate_within_the_budget_is_exit_3(exported, random_images):
    pixels = random_images(24).pixels
    code, told, said = exported(pixels, "--placement", "auto", "--max-drop", "0")
    assert code == 3 and told["over_budget"] == ["tensorrt"] and "no placement for tensorrt surely loses" in said
    code, told, said = exported(pixels, "--placement", "auto", "--max-drop", "100")
    assert code == 0 and "over_budget" not in told and "no placement" not in said
