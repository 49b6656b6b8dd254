"""`edge-se lint`: tables and sentences or one document, exit codes, nothing heavy imported."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from edge_se.cli import main
from edge_se.quantization.lint.base import RUNTIMES
from edge_se.steps import completion

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "schema" / "lint-1.json").read_text())


def run(*arguments):
    with pytest.raises(SystemExit) as exit_:
        main(["lint", *map(str, arguments)])
    return exit_.value.code


@pytest.fixture(scope="module")
def build(tiny_build):
    return tiny_build("linted", targets=["cpu", "openvino"], effort="quick").folder


def test_exit_codes_are_those_of_the_worst_kind(build, capsys):
    assert run(build / "int8.cpu.onnx", "--static", "--quiet") == 0
    assert "int8.cpu.onnx: breaks 0 of" in capsys.readouterr().out
    assert run(build / "int8.openvino.onnx", "--static", "--for", "opencv") == 0  # slow, not wrong
    assert "relu-in-front" in capsys.readouterr().out
    assert run(build / "int8.cpu.onnx", "--static", "--for", "tensorrt") == 1
    assert run(build / "fp32.onnx", "--static") == 2
    assert "has no QuantizeLinear" in capsys.readouterr().err
    assert run(build / "int8.cpu.onnx", "--for", "tensort") == 2
    assert "did you mean 'tensorrt'?" in capsys.readouterr().err


def test_sentences_teach(build, capsys):
    run(build / "int8.cpu.onnx", "--static", "--for", "tensorrt")
    said = capsys.readouterr().out
    for words in ("int32-bias (the file is not loaded), TensorRT (parser of RTX 1.7.1)", "Conv node '", "more (--wide)",
                  "Fix: write biases as float. --fix does it."):
        assert words in said
    assert all(len(line) <= 100 or line.startswith("  ") for line in said.splitlines())
    run(build / "int8.cpu.onnx", "--static", "--for", "tensorrt", "--wide")
    assert "--wide" not in capsys.readouterr().out


def test_run_and_repaired(build, tmp_path, capsys):
    assert run(build / "int8.cpu.onnx", "--for", "cpu,tensorrt", "--images", "4", "--fix", tmp_path / "mended.onnx",
               "--out", tmp_path / "lint.json", "--json") == 1
    output = capsys.readouterr()
    document = json.loads(output.out)
    Draft202012Validator(SCHEMA).validate(document)
    assert document == json.loads((tmp_path / "lint.json").read_text())
    assert document["fixed"]["changes"]["int32-bias"] and "int32-bias" not in document["fixed"]["left"]
    assert (tmp_path / "mended.onnx").is_file() and f"written to {tmp_path / 'mended.onnx'}" in output.err
    assert run(build / "int8.cpu.onnx", "--for", "tensorrt", "--images", "4", "--fix", tmp_path / "mended.onnx") == 1
    said = capsys.readouterr().out
    assert "Cost: " in said and "without WeightBiasQuantization" in said and "repaired: int32-bias (" in said


def test_without_running_nothing_heavy_is_imported(build):
    code = ("import sys\nfrom edge_se.cli import main\ntry:\n    main(sys.argv[1:])\nexcept SystemExit: pass\n"
            "heavy = {'torch', 'onnxruntime', 'openvino', 'scipy', 'tensorrt_rtx'} & set(sys.modules)\n"
            "sys.exit(f'imported {heavy}' if heavy else 0)")
    done = subprocess.run([sys.executable, "-c", code, "lint", str(build / "int8.cpu.onnx"), "--static"],
                          capture_output=True, text=True)
    assert done.returncode == 0 and "breaks 0 of" in done.stdout, done.stderr


def test_tab_knows_the_runtimes():
    assert set(completion.RUNTIMES) == RUNTIMES.keys() - {"any"}
    assert completion.runtimes("cpu,open") == ["cpu,openvino", "cpu,opencv"]
    assert completion.runtimes("to") == ["tools"]
