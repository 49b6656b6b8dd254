"""The command line as a program: exit codes, quick help, JSON that fits its schema."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from edge_se.cli import main
from edge_se.cli.lazy import parser
from edge_se.cli.program import application

SCHEMAS = Path(__file__).parents[2] / "docs" / "schema"


def run(*arguments: str) -> int:
    """Runs the command line in this process and gives its exit code."""
    with pytest.raises(SystemExit) as exit_:
        main(list(arguments))
    return exit_.value.code


def validate(document: dict, name: str) -> None:
    schema = json.loads((SCHEMAS / f"{name}.json").read_text())
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(document)


def test_help_imports_nothing_heavy() -> None:
    code = ("import sys\nfrom edge_se.cli import main\ntry:\n    main(['--help'])\nexcept SystemExit: pass\n"
            "heavy = {'torch', 'onnx', 'onnxruntime', 'numpy', 'scipy'} & set(sys.modules)\n"
            "sys.exit(f'imported {heavy}' if heavy else 0)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for command in ("train", "export", "bench", "explain", "gate", "verify", "data", "models"):
        assert command in done.stdout


def test_version_and_module_entry() -> None:
    done = subprocess.run([sys.executable, "-m", "edge_se", "--version"], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("edge-se ")


def commands(command):
    """Every command below, and itself where it has none."""
    for below in getattr(command, "commands", {}).values():
        yield from commands(below)
    if not hasattr(command, "commands"):
        yield command


def test_every_command_that_reads_images_of_a_user_can_leave_broken_ones_out() -> None:
    helps = {command.name: {name: option.help or "" for option in command.params for name in option.opts}
             for command in commands(parser(application(whole=True)))}
    reading = {name for name, options in helps.items()
               if not options.get("--data", "Folder of CIFAR-10").startswith("Folder of CIFAR-10")}
    assert reading >= {"train", "export", "bench", "gate", "lint", "check", "report"}
    assert [name for name in reading if "--skip-broken" not in helps[name]] == []


def test_export_document_fits_its_schema(build) -> None:
    document = json.loads((build / "manifest.json").read_text())
    validate(document, "export-1")
    assert [item["file"] for item in document["artifacts"]] == [
        "fp32.onnx", "fp16.onnx", "int8.cpu.onnx", "int8.tensorrt.onnx"]
    assert all(item["top1"] is None for item in document["artifacts"])
    assert document["artifacts"][0]["parent_sha256"] is None
    assert {item["parent_sha256"] for item in document["artifacts"][1:]} == {document["artifacts"][0]["sha256"]}


def test_json_goes_to_stdout_alone(tiny_onnx, calibration_npz, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.delenv("EDGE_SE_DATA", raising=False)
    monkeypatch.setenv("EDGE_SE_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "tiny.onnx"
    path.write_bytes(tiny_onnx.content)
    arguments = ["--model", str(path), "--int8", "--calibration", str(calibration_npz), "--out", str(tmp_path / "o")]
    assert run("--json", "export", *arguments) == 0
    output = capsys.readouterr()
    validate(json.loads(output.out), "export-1")
    assert "accuracy was not measured" in output.err


def test_bench_document_fits_its_schema(build, capsys) -> None:
    assert run("bench", "--model", str(build), "--min-duration", "0.1", "--json", "--quiet") == 0
    document = json.loads(capsys.readouterr().out)
    validate(document, "bench-1")
    assert [row["precision"] for row in document["measurements"]] == ["fp32", "fp16", "int8"]
    for row in document["measurements"]:
        assert row["p50_ms"] <= row["p90_ms"] <= row["p99_ms"]
        assert row["flops"] == 2 * row["macs"]


def test_bench_table_names_every_measurement(build, capsys, tmp_path) -> None:
    out = tmp_path / "bench.json"
    assert run("bench", "--model", str(build), "--precision", "fp32,int8", "--batch", "2", "--threads", "0",
               "--min-duration", "0.05", "--out", str(out)) == 0
    table = capsys.readouterr().out.splitlines()
    assert table[0].split()[:3] == ["model", "precision", "target"] and len(table) == 3
    validate(json.loads(out.read_text()), "bench-1")


def test_bench_times_each_file_in_its_runtime_and_fp32_in_both(build, calibration_npz, tmp_path, capsys) -> None:
    pytest.importorskip("openvino", reason="openvino is not installed: pip install 'edge-se[openvino]'")
    assert run("export", "--model", str(build / "fp32.onnx"), "--int8", "--target", "cpu,openvino", "--effort", "quick",
               "--calibration", str(calibration_npz), "--out", str(tmp_path / "two"), "--quiet") == 0
    capsys.readouterr()
    assert run("bench", "--model", str(tmp_path / "two"), "--min-duration", "0.05", "--json", "--quiet") == 0
    document = json.loads(capsys.readouterr().out)
    validate(document, "bench-1")
    assert [(row["target"], row["backend"]) for row in document["measurements"]] == [
        ("any", "onnxruntime"), ("any", "openvino"), ("cpu", "onnxruntime"), ("openvino", "openvino")]


def test_without_a_jetson_there_is_an_estimate_that_says_so(build, capsys, monkeypatch) -> None:
    monkeypatch.delenv("EDGE_SE_JETSON", raising=False)
    assert run("bench", "--device", "jetson", "--model", str(build)) == 0
    output = capsys.readouterr()
    assert "no Jetson found" in output.err and "ESTIMATE from the peak figures of orin-nano-8gb" in output.err
    for place in ("/etc/nv_tegra_release", "/proc/device-tree/model", "--host", "$EDGE_SE_JETSON", "alias 'jetson'"):
        assert place in output.err
    lines = output.out.splitlines()[1:]
    assert lines and all("estimate" in line for line in lines)


def test_estimates_of_every_board_fit_the_schema(build, capsys) -> None:
    assert run("bench", "--estimate", "all", "--model", str(build), "--json", "--quiet") == 0
    document = json.loads(capsys.readouterr().out)
    validate(document, "bench-1")
    rows = document["measurements"]
    assert document["estimated"] and all(row["estimated"] and row["p99_ms"] is None for row in rows)
    assert {"Jetson Nano", "Jetson AGX Orin 64GB"} <= {row["board"] for row in rows}
    assert not [row for row in rows if row["board"] == "Jetson Nano" and row["precision"] == "int8"]
    assert all(row["target"] in ("any", "tensorrt") for row in rows)


def test_sensitivity_document_fits_its_schema(build, capsys, tmp_path) -> None:
    out = tmp_path / "sensitivity.json"
    assert run("sensitivity", "--model", str(build), "--images", "16", "--out", str(out), "--quiet") == 0
    document = json.loads(out.read_text())
    validate(document, "sensitivity-1")
    kinds = [unit["kind"] for unit in document["units"]]
    table = capsys.readouterr().out
    assert kinds.count("se-gate") == 4 and table.splitlines()[0].split()[:2] == ["unit", "kind"]
    assert table.index("layer1.0.se") > table.index("layer4.0.conv2")  # gates apart, below the rest


def test_auto_placement_without_cifar10_says_what_it_judges_by(build, tmp_path, capsys, calibration_npz) -> None:
    assert run("export", "--model", str(build / "fp32.onnx"), "--int8", "--placement", "auto", "--target", "tensorrt",
               "--calibration", str(calibration_npz), "--out", str(tmp_path / "auto")) == 3  # too few images to be sure
    told = capsys.readouterr().err
    assert "placements are judged by their flips on" in told
    manifest = json.loads((tmp_path / "auto" / "manifest.json").read_text())
    validate(manifest, "export-1")
    assert manifest["calibration"]["over_budget"] == ["tensorrt"]
    assert [(item["target"], item["timed_on"]) for item in manifest["placements"]] == [("tensorrt", None)]
    log = json.loads((tmp_path / "auto" / "candidates.tensorrt.json").read_text())
    assert sum(row["chosen"] for row in log["candidates"]) == 1


def test_unknown_effort_and_method_before_anything_takes_time(build, tmp_path, capsys) -> None:
    for option, value, says in (("--effort", "extensiv", "did you mean 'extensive'"), ("--method", "mes", "'mse'")):
        assert run("export", "--model", str(build / "fp32.onnx"), "--int8", option, value,
                   "--out", str(tmp_path / "none")) == 2
        assert says in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_several_targets(build, tmp_path, calibration_npz) -> None:
    assert run("export", "--model", str(build / "fp32.onnx"), "--int8", "--target", "arm,openvino", "--effort", "quick",
               "--calibration", str(calibration_npz), "--out", str(tmp_path / "two"), "--quiet") == 0
    document = json.loads((tmp_path / "two" / "manifest.json").read_text())
    assert [(item["target"], item["method"]) for item in document["artifacts"]] == [
        ("any", None), ("arm", "minmax"), ("openvino", "minmax")]
    assert document["calibration"]["effort"] == "quick"


def test_verify_builds_engines_of_what_is_for_tensorrt(build, capsys) -> None:
    pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed: pip install 'edge-se[rtx]'")
    assert run("verify", str(build), "--compile", "--json") == 0
    files = json.loads(capsys.readouterr().out)["files"]
    assert {item["file"]: item.get("compiles") for item in files} == {
        "fp32.onnx": True, "fp16.onnx": True, "int8.cpu.onnx": None, "int8.tensorrt.onnx": True}


def test_what_cannot_be_explained_is_told(build, capsys) -> None:
    assert run("bench", "--model", str(build), "--precision", "fp32", "--min-duration", "0.05", "--explain") == 0
    assert "nothing to explain: no INT8 engine of TensorRT was measured" in capsys.readouterr().err


def test_verify_passes_and_finds_a_flipped_bit(build, capsys) -> None:
    assert run("verify", str(build)) == 0
    for name in ("int8.cpu.onnx", "calibration.npz"):
        path = build / name
        sound = path.read_bytes()
        altered = bytearray(sound)
        altered[len(altered) // 2] ^= 1
        path.write_bytes(altered)
        assert run("verify", str(build)) == 2
        assert f"{name}: SHA-256 differs" in capsys.readouterr().err
        path.write_bytes(sound)
    assert run("verify", str(build)) == 0


def test_models_list_and_show(capsys) -> None:
    assert run("models", "list") == 0
    assert "se_resnet18" in capsys.readouterr().out
    assert run("models", "show", "resnet18") == 0
    assert json.loads(capsys.readouterr().out)["architecture"]["stem"] == "cifar3"


def test_a_bug_keeps_its_traceback() -> None:
    code = ("import edge_se.steps.models as m, edge_se.cli as c\n"
            "def broken(): raise ZeroDivisionError('a bug')\n"
            "m.list_models = broken\nc.main(['models', 'list'])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" in done.stderr


def test_interrupt_exits_130() -> None:
    code = ("import edge_se.steps.models as m, edge_se.cli as c, os, signal, time\n"
            "def slow():\n    os.kill(os.getpid(), signal.SIGTERM)\n    time.sleep(10)\n"
            "m.list_models = slow\nc.main(['models', 'list'])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, timeout=60)
    assert done.returncode == 130 and done.stderr.strip() == "interrupted"


@pytest.mark.parametrize("handler", [
    "    raise AttributeError('half imported')",
    "    try:\n            raise AttributeError('half imported')\n"
    "        except Exception as error:\n            raise RuntimeError('wrapped') from error",
    "    raise c.EdgeSeError('no such model', where='x', fix='y') from None",
], ids=["another error", "wrapped", "told as the user's"])
def test_an_interrupt_that_a_library_turns_into_an_error_exits_130(handler) -> None:
    code = ("import edge_se.steps.models as m, edge_se.cli.program as c, os, signal, time\n"
            "def slow():\n    try:\n        os.kill(os.getpid(), signal.SIGINT)\n        time.sleep(10)\n"
            f"    except KeyboardInterrupt:\n    {handler}\n"
            "m.list_models = slow\nc.main(['models', 'list'])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, timeout=60)
    assert done.returncode == 130 and done.stderr.strip() == "interrupted"


def test_synthesize_writes_a_set_that_calibrates(tmp_path, capsys, monkeypatch, tiny_onnx) -> None:
    weights = Path(__file__).parents[2] / "models" / "se_resnet18" / "weights.safetensors"
    out = tmp_path / "synthetic.npz"
    assert run("data", "synthesize", "--images", "10", "--steps", "2", "--weights", str(weights), "--out", str(out),
               "--json", "--quiet") == 0
    assert json.loads(capsys.readouterr().out)["images"] == 10
    with np.load(out) as archive:
        assert archive["pixels"].shape == (10, 3, 32, 32) and archive["pixels"].dtype == np.uint8
