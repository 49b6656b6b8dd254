"""`edge-se explain` on recorded files: table, document, file, and one message for bad input."""

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from edge_se.cli import main

ROOT = Path(__file__).parents[2]
RECORDED = ROOT / "tests" / "recorded" / "layers"


def files(name, prefix=""):
    return [f"--{prefix}layers", str(RECORDED / f"{name}.layers.json"),
            f"--{prefix}profile", str(RECORDED / f"{name}.profile.json")]


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as exit_:
        main(["explain", *arguments])
    return exit_.value.code


def test_table_verdict_and_advice(capsys) -> None:
    assert run(*files("a100-resnet18-int8"), *files("a100-resnet18-fp16", "baseline-"), "--latency-ms", "0.9",
               "--baseline-latency-ms", "1.2") == 0
    output = capsys.readouterr()
    rows = {line[:30].strip(): line[30:].split() for line in output.out.splitlines()}
    assert rows["quantize, dequantize, scale"][:5] == ["1", "0.0952", "14.2", "%", "0.0000"]
    assert rows["compute in all precisions"][-2:] == ["0.8571", "1.52"]
    assert "INT8 is 1.33x faster than FP16; it would be 1.49x without the quantize and dequantize kernels" in output.out
    assert "\n- reformats and Q/DQ take 14 %" in output.out
    assert "does not list 17 layers" in output.err


def test_without_a_baseline_there_is_no_column_for_it(capsys) -> None:
    assert run(*files("names-only-qat-detector"), "--quiet") == 0
    output = capsys.readouterr()
    assert "baseline ms" not in output.out and "no baseline, so no speed-up is known" in output.out
    assert output.err == ""


def test_document_fits_its_schema_and_names_no_folder(capsys, tmp_path) -> None:
    out = tmp_path / "why.json"
    assert run(*files("a100-resnet18-int8"), *files("a100-resnet18-fp16", "baseline-"), "--json", "--out",
               str(out)) == 0
    document = json.loads(capsys.readouterr().out)
    Draft202012Validator(json.loads((ROOT / "docs" / "schema" / "explain-1.json").read_text())).validate(document)
    assert json.loads(out.read_text()) == document
    assert document["sources"]["baseline_profile"] == "a100-resnet18-fp16.profile.json"
    assert str(RECORDED) not in out.read_text()


BAD = {
    "no profile": (["--layers", "x.json"], "--profile"),
    "missing file": (["--layers", "x.json", "--profile", "x.json"], "x.json: no such file"),
    "swapped": ([*files("a100-resnet18-int8")[2:3], *files("a100-resnet18-int8")[1:2], *files("a100-resnet18-int8")[:1],
                 *files("a100-resnet18-int8")[3:]], "is layer information, not a profile"),
    "layers alone": ([*files("a100-resnet18-int8"), *files("a100-resnet18-fp16", "baseline-")[:2]],
                     "--baseline-layers: has no times"),
    "another engine": ([*files("a100-resnet18-int8")[:2], *files("a100-resnet18-fp16")[2:]], "of one engine"),
    "no latency": ([*files("a100-resnet18-int8"), "--latency-ms", "0"], "--latency-ms"),
}


@pytest.mark.parametrize(("arguments", "says"), BAD.values(), ids=BAD.keys())
def test_bad_input_gets_one_message(arguments, says, capsys, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(*arguments) == 2
    output = capsys.readouterr()
    assert says in output.err and "Traceback" not in output.err and output.out == ""
