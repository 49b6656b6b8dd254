"""The command line as a program: exit codes, one message for bad input, quick help, JSON that fits its schema."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from edge_se.cli import main

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


@pytest.fixture(scope="module")
def exported(tiny_onnx, calibration_npz, tmp_path_factory):
    """tiny.onnx and beside it `built`, a build of it that was made without CIFAR-10."""
    folder = tmp_path_factory.mktemp("exported")
    (folder / "tiny.onnx").write_bytes(tiny_onnx.content)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("EDGE_SE_DATA", raising=False)
        assert run("export", "--model", str(folder / "tiny.onnx"), "--int8", "--fp16", "--target", "cpu,tensorrt",
                   "--calibration", str(calibration_npz), "--out", str(folder / "built"), "--quiet") == 0
    return folder


@pytest.fixture
def build(exported, tmp_path, monkeypatch):
    """A copy that a test may alter: a folder with a build of a small SE net, tiny.onnx beside it."""
    monkeypatch.delenv("EDGE_SE_DATA", raising=False)
    shutil.copyfile(exported / "tiny.onnx", tmp_path / "tiny.onnx")
    return shutil.copytree(exported / "built", tmp_path / "built")


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


BAD_INPUT = {
    "no command": ([], "Usage"),
    "unknown command": (["exprot"], "No such command"),
    "export: no model": (["export"], "--model"),
    "export: unknown model": (["export", "--model", "se_resnet81"], "did you mean 'se_resnet18'?"),
    "export: missing file": (["export", "--model", "nowhere.onnx"], "nowhere.onnx"),
    "export: not ONNX": (["export", "--model", "{garbage}.onnx"], "not readable as ONNX"),
    "export: missing weights": (["export", "--model", "resnet18", "--weights", "nowhere.safetensors"], "nowhere"),
    "export: broken weights": (["export", "--model", "resnet18", "--weights", "{garbage}.safetensors"], "safetensors"),
    "export: weights with a file": (["export", "--model", "{tiny}", "--weights", "x.safetensors"], "--weights"),
    "export: unknown target": (["export", "--model", "{tiny}", "--int8", "--target", "tensort"],
                               "did you mean 'tensorrt'?"),
    "export: unknown placement": (["export", "--model", "{tiny}", "--int8", "--placement", "se_float"],
                                  "did you mean 'se-float'?"),
    "export: unknown method": (["export", "--model", "{tiny}", "--int8", "--method", "maxmin"], "--method"),
    "export: unknown calibration": (["export", "--model", "{tiny}", "--int8", "--calibration", "cifar10-calib"],
                                    "did you mean"),
    "export: missing calibration": (["export", "--model", "{tiny}", "--int8", "--calibration", "no.npz"], "no.npz"),
    "export: broken calibration": (["export", "--model", "{tiny}", "--int8", "--calibration", "{garbage}.npz"],
                                   "pixels"),
    "export: no data there": (["export", "--model", "{tiny}", "--int8", "--data", "{folder}"],
                             "holds no folder for each class"),
    "export: out is a file": (["export", "--model", "{tiny}", "--out", "{garbage}.npz"], "not a folder"),
    "export: no target": (["export", "--model", "{tiny}", "--int8", "--target", ""], "--target: '' names nothing"),
    "export: target without INT8": (["export", "--model", "{tiny}", "--target", "cpu"], "add --int8"),
    "export: placement without INT8": (["export", "--model", "{tiny}", "--placement", "all"], "add --int8"),
    "export: method without INT8": (["export", "--model", "{tiny}", "--method", "mse"], "add --int8"),
    "export: negative drop": (["export", "--model", "{tiny}", "--max-drop", "-1"], "--max-drop: -1 is no loss"),
    "export: no drop": (["export", "--model", "{tiny}", "--max-drop", "nan"], "--max-drop"),
    "export: time of no search": (["export", "--model", "{tiny}", "--int8", "--search-seconds", "5"],
                                  "--search-seconds: bounds a search"),
    "export: a device without INT8": (["export", "--model", "{tiny}", "--effort", "extensive", "--device", "loopback"],
                                      "--device: says where placements are timed"),
    "export: a host of no device": (["export", "--model", "{tiny}", "--host", "orin"], "--host: names a Jetson"),
    "export: a Python of no device": (["export", "--model", "{tiny}", "--python", "py"], "--python: is for a device"),
    "export: no time": (["export", "--model", "{tiny}", "--search-seconds", "0"], "--search-seconds"),
    "export: size of a file": (["export", "--model", "{tiny}", "--input-size", "64"], "fixes its size at 32x32"),
    "export: no size": (["export", "--model", "{tiny}", "--input-size", "48x"], "'48x' is no size of images"),
    "export: size of nothing": (["export", "--model", "{tiny}", "--input-size", "4"], "write N or HEIGHTxWIDTH"),
    "export: size of the zoo": (["export", "--model", "se_resnet18", "--input-size", "64"], "leave --input-size out"),
    "export: mean of the zoo": (["export", "--model", "se_resnet18", "--mean", "0,0,0"], "leave --mean out"),
    "export: labels of the zoo": (["export", "--model", "se_resnet18", "--labels", "cifar10"], "leave --labels out"),
    "export: missing labels": (["export", "--model", "{tiny}", "--labels", "no.txt"], "--labels no.txt"),
    "export: other labels": (["export", "--model", "{tiny}", "--labels", "{garbage}.toml"], "labels of its own"),
    "export: mean to 255": (["export", "--model", "{tiny}", "--mean", "123.7,116.3,103.5"],
                            "--mean: 123.7,116.3,103.5 is of pixels from 0 to 255"),
    "export: std of zero": (["export", "--model", "{tiny}", "--std", "0.2,0,0.2"], "--std: 0.2,0,0.2 cannot be"),
    "bench: unknown device": (["bench", "--device", "gpu"], "--device"),
    "bench: jetson, measured": (["bench", "--device", "jetson", "--model", "{build}", "--measured-only"],
                                "--host USER@HOST"),
    "bench: cuda without a GPU": (["bench", "--device", "cuda", "--model", "{build}"], "no CUDA device"),
    "gate: a plan with JUnit": (["gate", "--plan", "--junit", "x.xml"], "leave --junit or --plan out"),
    "gate: a plan with a summary": (["gate", "--plan", "--summary", "x.md"], "leave --summary or --plan out"),
    "gate: a plan of a baseline": (["gate", "--plan", "--update-baseline"], "leave --update-baseline or --plan out"),
    "gate: a plan on a cluster": (["gate", "--plan", "--cluster"], "leave --cluster or --plan out"),
    "gate: workers of a plan": (["gate", "--plan", "--workers", "2"], "leave --workers or --plan out"),
    "gate: images of a plan": (["gate", "--plan", "--data", "{folder}"], "leave --data or --plan out"),
    "gate: a board that is none": (["gate", "--model", "{build}", "--device", "loopback", "--device", "jetsn"],
                                   "did you mean 'jetson'?"),
    "gate: a host of two boards": (["gate", "--model", "{build}", "--device", "jetson", "--device", "loopback",
                                    "--host", "orin"], "--host: names a Jetson, and the device is 'loopback'"),
    "gate: a Python of this machine": (["gate", "--model", "{build}", "--device", "loopback", "--device", "cpu",
                                "--python", "py"], "--python: is for a device with an agent"),
    "gate: workers of no cluster": (["gate", "--model", "{build}", "--workers", "2"], "give --cluster, too"),
    "robustness: address of no cluster": (["robustness", "--model", "{build}", "--address", "x:1"],
                                          "give --cluster, too"),
    "bench: host of no jetson": (["bench", "--model", "{build}", "--host", "orin"], "--device jetson"),
    "bench: host that is an option": (["bench", "--device", "jetson", "--host", "-oProxyCommand=x"], "no host name"),
    "bench: host nowhere": (["bench", "--device", "ssh://nowhere.invalid", "--model", "{build}"],
                            "the name is unknown"),
    "bench: password": (["bench", "--device", "ssh://me:secret@orin", "--model", "{build}"], "ssh-copy-id"),
    "bench: python of no agent": (["bench", "--model", "{build}", "--python", "/usr/bin/python3"], "--device cpu"),
    "bench: no onnxruntime-web": (["bench", "--device", "web", "--model", "{build}"], "npm install onnxruntime-web"),
    "bench: no runtime there": (["bench", "--device", "web", "--web-runtime", "{folder}", "--model", "{build}"],
                                "--web-runtime: "),
    "bench: a page of no page": (["bench", "--serve", "--model", "{build}"], "--serve: is of a page"),
    "bench: an address that nobody sees": (["bench", "--device", "web", "--serve", "--quiet", "--model", "{build}"],
                                           "would hide the address"),
    "bench: batch sizes": (["bench", "--model", "{build}", "--batch", "1,zwei"], "write 1,8,32"),
    "bench: against nothing": (["bench", "--model", "{build}", "--against", "nothing.json"], "bench --out"),
    "explain: no file": (["explain", "--layers", "no.json", "--profile", "no.json"], "no.json"),
    "explain: no profile": (["explain", "--layers", "{garbage}.json", "--profile", "{garbage}.json"], "garbage.json"),
    "bench: unknown board": (["bench", "--model", "{build}", "--estimate", "orin-nano"], "orin-nano-8gb"),
    "bench: broken board": (["bench", "--model", "{build}", "--estimate", "{garbage}.toml"], "not readable as TOML"),
    "bench: an estimate beside a run": (["bench", "--model", "{build}", "--estimate", "nano", "--against", "x.json"],
                                        "leave --against or --estimate out"),
    "bench: accuracy of an estimate": (["bench", "--model", "{build}", "--estimate", "nano", "--no-accuracy"],
                                       "is for measurements, and an estimate has none"),
    "bench: a page of an estimate": (["bench", "--model", "{build}", "--estimate", "nano", "--serve"],
                                     "leave --serve or --estimate out"),
    "bench: negative launch": (["bench", "--model", "{build}", "--estimate", "nano", "--launch-us", "-1"], "negative"),
    "bench: no build": (["bench", "--model", "nothing"], "export"),
    "bench: empty folder": (["bench", "--model", "{folder}"], "manifest.json"),
    "bench: unknown precision": (["bench", "--model", "{build}", "--precision", "int4"],
                                 "--precision: unknown precision 'int4'"),
    "bench: no precision": (["bench", "--model", "{build}", "--precision", ","], "--precision: ',' names nothing"),
    "bench: unknown backend": (["bench", "--model", "{build}", "--backend", "onnxruntim"], "did you mean"),
    "bench: bad batch": (["bench", "--model", "{build}", "--batch", "0"], "--batch"),
    "bench: bad duration": (["bench", "--model", "{build}", "--min-duration", "-1"], "--min-duration"),
    "gate: no build": (["gate", "--model", "nothing"], "export"),
    "gate: no data": (["gate", "--model", "{build}"], "data fetch"),
    "gate: two margins": (["gate", "--model", "{build}", "--max-drop", "1", "--preset", "mlperf99"], "one margin"),
    "lint: missing file": (["lint", "nowhere.onnx"], "nowhere.onnx: cannot be read"),
    "lint: not ONNX": (["lint", "{garbage}.onnx"], "not readable as ONNX"),
    "lint: images of no run": (["lint", "{build}/int8.cpu.onnx", "--static", "--data", "{folder}"],
                               "leave --static or --data out"),
    "lint: preprocessing of no run": (["lint", "{build}/int8.cpu.onnx", "--static", "--preprocessing", "imagenet"],
                                      "leave --static or --preprocessing out"),
    "lint: another preprocessing": (["lint", "{build}/int8.cpu.onnx", "--preprocessing", "imagenet"],
                                    "--preprocessing: the file's metadata says"),
    "verify: no build": (["verify", "nothing"], "export"),
    "train: unknown model": (["train", "--model", "resnet81"], "did you mean 'resnet18'?"),
    "train: missing recipe": (["train", "--model", "resnet18", "--recipe", "no.toml"], "no.toml"),
    "train: broken recipe": (["train", "--model", "resnet18", "--recipe", "{garbage}.toml"], "TOML"),
    "train: no data": (["train", "--model", "resnet18", "--device", "cpu"], "data fetch"),
    "models: unknown": (["models", "show", "resnet81"], "did you mean 'resnet18'?"),
    "data: nothing to verify": (["data", "verify"], "data fetch"),
    "data: too few images": (["data", "synthesize", "--model", "se_resnet18", "--images", "3"], "images"),
}


@pytest.mark.parametrize(("arguments", "says"), BAD_INPUT.values(), ids=BAD_INPUT.keys())
def test_bad_input_gets_one_message_and_exit_2(arguments, says, build, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("EDGE_SE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    for suffix in (".onnx", ".safetensors", ".npz", ".toml"):
        (tmp_path / f"garbage{suffix}").write_bytes(b"\x00garbage = [")
    (tmp_path / "empty").mkdir()
    before = sorted(path for path in tmp_path.rglob("*"))
    places = {"{garbage}": "garbage", "{tiny}": "tiny.onnx", "{folder}": "empty", "{build}": str(build)}
    filled = []
    for argument in arguments:
        for name, value in places.items():
            argument = argument.replace(name, value)
        filled.append(argument)
    capsys.readouterr()
    assert run(*filled) == 2
    output = capsys.readouterr()
    assert says in output.out + output.err
    assert "Traceback" not in output.err
    assert output.err.count("error:") <= 1 or "Usage" in output.err
    if not says.startswith("Usage"):
        assert output.out == ""
    left = {path for path in tmp_path.rglob("*") if "cache" not in path.parts} - set(before)
    assert not left, f"left behind: {left}"


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
