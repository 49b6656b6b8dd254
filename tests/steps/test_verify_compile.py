"""`verify --compile`: each file goes to the compilers that it is for, and one that is not installed is told."""

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from edge_se.cli import main
from edge_se.core.environment import importable
from edge_se.core.errors import UnavailableError
from edge_se.steps import verify_compile as module
from edge_se.steps.verify import verify

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "schema" / "verify-1.json").read_text())
NEEDED = ("ai_edge_litert", "tflite_micro", "ethosu.vela")
pytestmark = pytest.mark.skipif(not importable("ai_edge_litert"),
                                reason="no .tflite file is written: pip install 'edge-se[litert]'")


@pytest.fixture(scope="module")
def build(tiny_build):
    """FP32 and the file for LiteRT, with the last layer in float: in INT8 it rounds otherwise in a few images."""
    return tiny_build("tiny_compiled", accuracy=False, targets=["litert"], effort="quick",
                      placement="ends-float").folder


@pytest.fixture
def installed(monkeypatch):
    """(names) -> as if these compilers alone were installed, each with the answer that its name says."""
    def make(*names):
        def asked(name, answer):
            def ask(*_):
                if name not in names:
                    raise UnavailableError(f"{name} is not installed", where=name, fix=f"pip install {name}")
                return answer
            return ask
        monkeypatch.setattr(module, "build_engine", asked("rtx", (None, None)))
        monkeypatch.setattr(module, "tflm_check", asked("tflm", {"version": None, "refusal": "too large"}))
        monkeypatch.setattr(module, "vela_check", asked("vela", {"version": None, "refusal": "too new"}))
    return make


def called(*arguments):
    with pytest.raises(SystemExit) as exit_:
        main(["verify", *map(str, arguments)])
    return exit_.value.code


@pytest.mark.skipif(not all(map(importable, NEEDED)), reason=f"needs {', '.join(NEEDED)}: "
                    "pip install 'edge-se[microcontrollers]'")
def test_a_file_for_litert_runs_in_tflm_and_compiles_for_an_npu(build):
    document = verify(build, compiled=True)
    Draft202012Validator(SCHEMA).validate(document)
    row = document["files"][1]
    assert row["tflm"]["bit_equal"] == row["tflm"]["images"] == module.CHECK_IMAGES
    kinds = {one["operator"] for one in row["vela"]["on_cpu"]}
    assert {"FULLY_CONNECTED", "LOGISTIC"} < kinds and not {"ADD", "MUL"} & kinds  # these are INT8
    assert row["vela"]["flash_bytes"] < 2 * row["tflite"]["bytes"]


@pytest.mark.parametrize(("names", "left_out"), [
    (("rtx", "tflm", "vela"), []), (("tflm", "vela"), ["rtx"]), (("rtx", "vela"), ["tflm"]),
    (("rtx",), ["tflm", "vela"])])
def test_what_is_not_installed_is_told_and_the_others_are_asked(build, installed, capsys, names, left_out):
    installed(*names)
    document = verify(build, compiled=True)
    Draft202012Validator(SCHEMA).validate(document)
    fp32, int8 = document["files"]
    assert document["left_out"] == [f"{name}: {name} is not installed; pip install {name}" for name in left_out]
    assert (fp32.get("compiles"), "tflm" in int8, "vela" in int8) == ("rtx" in names or None, "tflm" in names,
                                                                      "vela" in names)
    assert called(build, "--compile") == 0
    told = capsys.readouterr().out
    assert told.count("not asked: ") == len(left_out)
    assert ("int8.litert.tflite: TFLM does not run it: too large" in told) is ("tflm" in names)
    assert ("int8.litert.tflite: vela does not compile it: too new" in told) is ("vela" in names)


def test_nothing_that_compiles_is_an_error(build, installed, capsys):
    installed()
    assert called(build, "--compile") == 2
    assert "rtx is not installed; pip install rtx" in capsys.readouterr().err


def test_without_the_option_nothing_is_asked(build, installed, capsys):
    installed()
    assert "left_out" not in verify(build)
    assert called(build) == 0 and "TFLM" not in capsys.readouterr().out
