"""`edge-se doctor`: every check with its fix, on this machine and on broken ones."""

import json
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from edge_se.cli import main
from edge_se.core.probes import Answer
from edge_se.steps import doctor as step

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "schema" / "doctor-1.json").read_text())
STATE = {"governors": {}, "clocks_locked": None, "power_mode": None, "device": None}
GPU = {"name": "Orin", "capability": [8, 7], "cuda": "12.6", "memory": 8 << 30, "free": 7 << 30}


def run(*arguments):
    with pytest.raises(SystemExit) as exit_:
        main(["doctor", *arguments])
    return exit_.value.code


@pytest.fixture
def answers(monkeypatch, tmp_path):
    """A machine on which everything answers; a test changes what it is about. No process is started."""
    told = {name: Answer(value={"version": "1.0"}) for name in step.PACKAGES}
    told |= {"CIFAR-10": Answer(value={"root": str(tmp_path), "lacks": [], "fix": "fetch"}), "GPU": Answer(value=GPU),
             "state": Answer(value={"state": STATE, "power": ["rapl"]}),
             "Jetson": Answer(value={"shown": "ssh://orin", "problem": "none"})}
    monkeypatch.setattr(step, "ask", lambda questions, timeout: {name: told[name] for name in questions})
    monkeypatch.chdir(tmp_path)
    return told


def checked(name, **options):
    document = step.doctor(**options)
    Draft202012Validator(SCHEMA).validate(document)
    return next(check for check in document["checks"] if check["check"] == name)


def lacks(job):
    return next(row["lacks"] for row in step.doctor()["jobs"] if row["job"] == job)


@pytest.mark.slow
def test_this_machine_as_a_program_without_torch_in_the_main_process(tmp_path):
    code = ("import sys\nfrom edge_se.cli import main\ntry:\n    main(['doctor', '--json', '--quiet'])\n"
            "except SystemExit as end: code = end.code\n"
            "heavy = {'torch', 'onnx', 'onnxruntime', 'openvino', 'numpy', 'tensorrt_rtx'} & set(sys.modules)\n"
            "sys.exit(f'imported {heavy}' if heavy else code)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    document = json.loads(done.stdout)
    Draft202012Validator.check_schema(SCHEMA)
    Draft202012Validator(SCHEMA).validate(document)
    found = {check["check"]: check for check in document["checks"]}
    for name in step.BASE:
        assert found[name]["status"] == "ok" and found[name]["found"][0].isdigit()
    assert "CPU" in found["onnxruntime"]["found"]
    if find_spec("torchvision"):
        assert found["torchvision"]["status"] == "ok"
    assert document["works"] and document["jobs"][0] == {"job": step.MAIN_JOB, "works": True, "lacks": []}
    assert not list(tmp_path.iterdir())


def test_table_and_exit_code_where_all_is_well(answers, capsys):
    assert run("--quiet") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["check", "found", "status"]
    assert lines[-1] == "this machine can do the main job"
    assert {job["works"] for job in step.doctor()["jobs"]} == {True}


def test_what_the_main_job_lacks_is_exit_2(answers, capsys):
    answers["onnxruntime"] = Answer(failure="crashes at import (SIGILL)")
    assert run("--quiet") == 2
    output = capsys.readouterr()
    row = next(line for line in output.out.splitlines() if line.startswith("onnxruntime "))
    assert "broken: crashes at import (SIGILL)" in row and row.endswith(" missing")
    assert "\nonnxruntime: install edge-se again: pip install" in output.out
    assert output.out.splitlines()[-1] == f"this machine cannot {step.MAIN_JOB}: mend onnxruntime"
    assert run("--json", "--quiet") == 2
    document = json.loads(capsys.readouterr().out)
    assert not document["works"] and not any(job["works"] for job in document["jobs"])


@pytest.mark.parametrize(("name", "failure", "found", "status", "fix"), [
    ("torch", "ModuleNotFoundError: No module named 'torch'", "not installed", "optional",
     "pip install 'edge-se[torch]'"),
    ("openvino", "ImportError: libtbb.so.12: cannot open", "broken: ImportError: libtbb.so.12: cannot open", "optional",
     "pip install --force-reinstall 'edge-se[openvino]'"),
    ("scipy", "ModuleNotFoundError: No module named 'scipy'", "not installed", "missing", step._AGAIN),
    ("onnx", "ModuleNotFoundError: No module named 'numpy'", "needs numpy, not installed", "missing", step._AGAIN),
    ("torchvision", "ModuleNotFoundError: No module named 'torch'", "needs torch, not installed", "optional",
     "pip install 'edge-se[torch]'"),
    ("onnx", "ModuleNotFoundError: No module named 'onnx.gone'", "broken: ModuleNotFoundError: No module named "
     "'onnx.gone'", "missing", step._AGAIN),
])
def test_packages(answers, name, failure, found, status, fix):
    answers[name] = Answer(failure=failure)
    assert checked(name) == {"check": name, "found": found, "status": status, "fix": fix}


def test_a_broken_native_library_is_a_row(monkeypatch, tmp_path):
    for name, body in {"openvino": "import ctypes; ctypes.string_at(0)", "onnxruntime": "import time; time.sleep(600)",
                       "tensorrt": "import ctypes; ctypes.CDLL('libnvinfer.so.gone')"}.items():
        (tmp_path / f"{name}.py").write_text(body)
    monkeypatch.syspath_prepend(tmp_path)
    kept = ("onnxruntime", "openvino", "tensorrt")
    ask = step.ask
    monkeypatch.setattr(step, "ask", lambda questions, timeout: {
        name: Answer(value={"version": "1.0"}) for name in step.PACKAGES} | {
        "CIFAR-10": Answer(failure="x"), "GPU": Answer(failure="x"), "state": Answer(failure="x"),
        "Jetson": Answer(failure="x")} | ask({name: questions[name] for name in kept}, timeout))
    document = step.doctor(timeout=4)
    Draft202012Validator(SCHEMA).validate(document)
    found = {check["check"]: check["found"] for check in document["checks"]}
    assert found["openvino"] == "broken: crashes at import (SIGSEGV)"
    assert found["onnxruntime"].startswith("broken: does not answer within")
    assert found["tensorrt"].startswith("broken: OSError: libnvinfer.so.gone")
    assert document["jobs"][0]["lacks"] == ["onnxruntime"]


def test_every_extra_of_the_package_is_checked():
    """But for `dev`, which is the others and the tools of this repository."""
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    table = text.split("[project.optional-dependencies]")[1].split("[project.scripts]")[0]
    extras = set(re.findall(r"^(\w+) = \[", table, re.MULTILINE)) - {"dev"}
    assert extras == {package.extra for package in step.PACKAGES.values() if package.extra}


def test_jobs_say_what_they_lack(answers):
    assert lacks("bench --device cuda") == []
    answers["tensorrt"] = Answer(failure="ModuleNotFoundError: No module named 'tensorrt'")
    assert lacks("bench --device cuda") == []  # TensorRT for RTX is there
    answers["tensorrt_rtx"] = answers["GPU"] = Answer(failure="x")
    assert lacks("bench --device cuda") == ["GPU", "tensorrt or tensorrt_rtx"]
    answers["CIFAR-10"] = Answer(failure="x")
    assert lacks("accuracy and gate") == ["CIFAR-10"] and lacks(step.MAIN_JOB) == []
    assert lacks("train") == ["CIFAR-10"] and lacks("train --data DIR") == lacks("accuracy and gate --data DIR") == []


@pytest.mark.parametrize("module", ["torchvision", "timm"])
def test_what_imports_torchvision_is_asked_as_edge_se_imports_it(module):
    lines = step.PACKAGES[module].code.splitlines()
    assert lines[0].startswith("from edge_se.data.torchvision_import import torchvision")
    assert sum(line.endswith(" as module") for line in lines) == 1


@pytest.mark.parametrize(("state", "status", "says"), [
    ({"governors": {"cpu0": "performance"}}, "ok", None),
    ({"governors": {"cpu0": "schedutil"}, "clocks_locked": True}, "ok", None),
    ({"governors": {"cpu0": "powersave", "cpu1": None}, "clocks_locked": False}, "optional",
     "cpupower frequency-set -g performance"),
    ({"governors": {"cpu0": "schedutil"}, "device": "NVIDIA Jetson Orin Nano", "clocks_locked": False}, "optional",
     "sudo jetson_clocks"),
    ({}, "optional", "compare ratios"),
])
def test_clocks(answers, state, status, says):
    answers["state"] = Answer(value={"state": STATE | state, "power": []})
    check = checked("clocks")
    assert check["status"] == status and (check["fix"] is None if says is None else says in check["fix"])
    assert ("floating" in check["found"]) == (state.get("clocks_locked") is False)


@pytest.mark.parametrize(("flags", "status"), [(("avx2",), "optional"), (("avx2", "avx512_vnni"), "ok"),
                                               (("asimddp",), "ok"), ((), "optional")])
def test_instruction_sets(answers, monkeypatch, flags, status):
    monkeypatch.setattr(step.environment, "_cpuinfo", lambda: ("some processor", frozenset(flags)))
    check = checked("instruction sets")
    assert check["status"] == status and all(flag in check["found"] for flag in flags)


def cifar_answer(data=None):
    code = step._CIFAR.format(data=None if data is None else str(data))
    return step.ask({"it": code})["it"]


def test_cifar10_is_looked_for_as_other_commands_do(monkeypatch, tmp_path):
    monkeypatch.delenv("EDGE_SE_DATA", raising=False)
    monkeypatch.setenv("EDGE_SE_CACHE", str(tmp_path / "cache"))
    assert cifar_answer().value["root"] is None
    assert "holds neither" in cifar_answer(tmp_path).value["refused"]
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for number in range(1, 6):
        (folder / f"data_batch_{number}.bin").touch()
    monkeypatch.setenv("EDGE_SE_DATA", str(tmp_path))
    answer = cifar_answer()
    assert answer.value["root"] == str(tmp_path) and answer.value["lacks"] == ["test_batch.bin"]


@pytest.mark.parametrize(("value", "says"), [
    ({"root": None, "lacks": [], "fix": "run it"}, "not found: looked in $EDGE_SE_DATA (unset) and "),
    ({"root": "/d", "lacks": ["test_batch.bin"], "fix": "run it"}, "/d lacks test_batch.bin"),
    ({"refused": "/d: holds neither", "fix": "run it"}, "/d: holds neither"),
])
def test_cifar10_that_is_not_there_has_its_fix(answers, value, says):
    answers["CIFAR-10"] = Answer(value=value)
    check = checked("CIFAR-10")
    assert (check["status"], check["fix"]) == ("optional", "run it") and check["found"].startswith(says)


def test_cache_and_its_size(answers, monkeypatch, tmp_path):
    (tmp_path / "cache" / "logits").mkdir(parents=True)
    (tmp_path / "cache" / "logits" / "a.npy").write_bytes(bytes(3 << 20))
    monkeypatch.setenv("EDGE_SE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache" / "other").write_bytes(bytes(1 << 20))
    assert checked("cache")["found"] == (f"{tmp_path / 'cache'}, 4 MiB; of logits 3 of at most 2,048 MiB "
                                         "($EDGE_SE_CACHE_MIB)")
    monkeypatch.setenv("EDGE_SE_CACHE_MIB", "100")
    assert checked("cache")["found"].endswith("3 of at most 100 MiB ($EDGE_SE_CACHE_MIB)")
    monkeypatch.setenv("EDGE_SE_CACHE_MIB", "a lot")
    assert "'a lot' is no whole number of MiB" in checked("cache")["found"]
    assert checked("cache")["status"] == "optional" and "such as 2048" in checked("cache")["fix"]
    monkeypatch.delenv("EDGE_SE_CACHE_MIB")
    monkeypatch.setenv("EDGE_SE_CACHE", str(tmp_path / "not" / "yet"))
    assert checked("cache")["status"] == "ok" and not (tmp_path / "not").exists()
    monkeypatch.setattr(step.os, "access", lambda path, mode: False)
    assert "$EDGE_SE_CACHE" in checked("cache")["fix"]


def test_a_full_disk_and_a_locked_folder_keep_the_main_job_from_running(answers, monkeypatch):
    usage = step.shutil.disk_usage("/")
    monkeypatch.setattr(step.shutil, "disk_usage", lambda path: usage._replace(free=1 << 20))
    assert "free 500 MiB" in checked("folder for builds")["fix"]
    assert lacks(step.MAIN_JOB) == ["folder for builds"]
    monkeypatch.setattr(step.shutil, "disk_usage", lambda path: usage._replace(free=1 << 40))
    monkeypatch.setattr(step.os, "access", lambda path, mode: False)
    assert "cannot be written" in checked("folder for builds")["found"]


def test_shipped_files_that_are_not_there(answers, monkeypatch, tmp_path):
    monkeypatch.setattr(step, "asset", lambda *parts: tmp_path.joinpath("gone", *parts))
    assert checked("shipped files")["status"] == "missing" and lacks(step.MAIN_JOB) == ["shipped files"]


def test_devices(answers, monkeypatch):
    assert checked("GPU")["found"] == "Orin, CUDA 12.6, 8,192 MiB, compute capability 8.7"
    answers["GPU"] = Answer(value={"refused": "no CUDA device", "fix": ""})
    assert checked("GPU") == {"check": "GPU", "found": "none usable: no CUDA device", "status": "optional",
                              "fix": "for --device cuda: NVIDIA's driver and CUDA"}
    assert checked("Jetson")["found"] == "ssh://orin"
    answers["Jetson"] = Answer(value={"shown": None, "problem": "none: looked for it"})
    assert checked("Jetson")["found"] == "none: looked for it" and "--host" in checked("Jetson")["fix"]
    answers["Jetson"] = Answer(failure="OSError: broken")
    assert (checked("Jetson")["found"], checked("Jetson")["status"]) == ("OSError: broken", "optional")
    assert checked("power sensors")["found"] == "rapl"
    answers["state"] = Answer(failure="OSError: broken")
    assert checked("power sensors")["status"] == "optional" and checked("clocks")["found"] == "OSError: broken"


def test_the_questions_about_this_machine_have_answers():
    told = step.ask({"GPU": step._GPU, "state": step._STATE, "Jetson": step._JETSON})
    assert {name: answer.failure for name, answer in told.items()} == {"GPU": None, "state": None, "Jetson": None}
    assert {"name", "refused"} & told["GPU"].value.keys()
    assert {"governors", "clocks_locked", "power_mode", "device"} <= told["state"].value["state"].keys()
    assert told["Jetson"].value.keys() == {"shown", "problem"}


@pytest.mark.parametrize(("program", "found", "fix"), [
    (None, "not installed", "apt install openssh-client"),
    ("#!/bin/sh\necho 'OpenSSH_9.6p1, OpenSSL 3.0' >&2", "OpenSSH_9.6p1", None),
    ("#!/bin/sh\nexit 127", "is broken", "apt install --reinstall openssh-client"),
])
def test_openssh(answers, monkeypatch, tmp_path, program, found, fix):
    path = tmp_path / "ssh"
    if program:
        path.write_text(program + "\n")
        path.chmod(0o755)
    monkeypatch.setattr(step.shutil, "which", lambda name: str(path) if program else None)
    check = checked("OpenSSH")
    assert found in check["found"] and check["fix"] == fix
