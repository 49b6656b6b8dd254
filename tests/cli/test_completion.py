"""Tab in bash, zsh and fish: commands, options, names; quick, and equal to the tables that it copies."""

import os
import shlex
import shutil
import subprocess
import sys

import pytest

from edge_se.backends.machines.choice import DEVICES
from edge_se.data.corruptions import CORRUPTIONS
from edge_se.data.splits import SPLITS
from edge_se.quantization.methods import METHODS
from edge_se.quantization.targets import TARGETS
from edge_se.steps import completion

ENTRY = "import sys\nfrom edge_se.cli import main\nmain()"
SHELLS = ("bash", "zsh", "fish")


def asked(shell, line, folder, code=ENTRY):
    """What `line` is completed to in `shell`, by the environment variables that its script sets."""
    words = line.split(" ")
    told = {"bash": {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)},
            "zsh": {"_TYPER_COMPLETE_ARGS": line},
            "fish": {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args",
                     "_TYPER_COMPLETE_WORD_TO_COMPLETE": words[-1]}}[shell]
    environment = os.environ | told | {"_EDGE_SE_COMPLETE": f"complete_{shell}"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, cwd=folder)
    assert done.stderr == ""
    return done.stdout


@pytest.fixture
def folder(tmp_path):
    for name in ("se_resnet18", "mine"):
        (tmp_path / "build" / name).mkdir(parents=True)
        (tmp_path / "build" / name / "manifest.json").write_text("{}")
    (tmp_path / "build" / "unfinished").mkdir()
    return tmp_path


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(("line", "offered", "withheld"), [
    ("edge-se ", ["export", "bench", "gate", "doctor", "data"], []),
    ("edge-se ex", ["export", "explain"], ["bench"]),
    ("edge-se export --mo", ["--model"], ["--method"]),
    ("edge-se export --model se", ["se_resnet18"], ["mine"]),
    ("edge-se bench --model ", ["se_resnet18", "mine"], ["unfinished"]),
    ("edge-se bench --device j", ["jetson"], ["cuda"]),
    ("edge-se models show res", ["resnet18"], ["se_resnet18"]),
    ("edge-se train --recipe fast", ["fast-cpu", "fast-gpu"], ["slim"]),
])
def test_what_is_offered(shell, line, offered, withheld, folder):
    said = asked(shell, line, folder)
    assert all(word in said for word in offered) and not any(word in said for word in withheld)


def test_commas_go_on(folder):
    assert asked("bash", "edge-se export --target cpu,ten", folder).split() == ["cpu,tensorrt", "cpu,tensorrt-fp16"]
    assert completion.targets("") == [*TARGETS, "all"]
    assert completion.targets("cpu,") == [f"cpu,{name}" for name in TARGETS if name != "cpu"]
    assert completion.targets("cpu,tensorrt,op") == ["cpu,tensorrt,openvino"]
    assert completion.corruptions("shot_noise,s") == [] and completion.corruptions("s") == ["shot_noise"]
    assert completion.corruptions("shot_noise,j") == ["shot_noise,jpeg_compression"]
    assert completion.judging_splits("v") == ["validation"] and set(completion.JUDGING_SPLITS) < set(SPLITS)


def test_nothing_heavy_is_imported(folder):
    code = ("import sys\nfrom edge_se.cli import main\ntry:\n    main()\nfinally:\n    "
            "heavy = {'torch', 'onnx', 'onnxruntime', 'numpy', 'scipy'} & set(sys.modules)\n    "
            "sys.stdout.write(f'imported {heavy}' if heavy else '')")
    for option in ("export --model", "export --target", "bench --estimate", "bench --device", "gate --model",
                   "robustness --corruptions", "robustness --split"):
        assert "imported" not in asked("bash", f"edge-se {option} ", folder, code)


def test_the_copies_are_those_of_the_tables():
    assert tuple(METHODS) == completion.METHODS
    assert tuple(CORRUPTIONS) == completion.CORRUPTIONS
    assert (*DEVICES, "ssh://") == completion.DEVICES
    assert "orin-nano-8gb" in completion.boards("") and completion.boards("al") == ["all"]
    assert completion.target("ten") == ["tensorrt", "tensorrt-fp16"] and completion.methods("m") == ["minmax", "mse"]


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_for_a_shell_is_shown(shell, tmp_path):
    environment = os.environ | {"_EDGE_SE_COMPLETE": f"source_{shell}"}
    done = subprocess.run([sys.executable, "-c", ENTRY], env=environment, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0 and "_EDGE_SE_COMPLETE=complete_" + shell in done.stdout


def test_bash_itself_completes(folder, tmp_path):
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash here")
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "edge-se"
    program.write_text(f"#!/bin/sh\nexec {shlex.quote(sys.executable)} -m edge_se \"$@\"\n")
    program.chmod(0o755)
    script = ("eval \"$(_EDGE_SE_COMPLETE=source_bash edge-se)\"\n"
              "COMP_WORDS=(edge-se bench --model mi); COMP_CWORD=3\n"
              "$(complete -p edge-se | sed 's/.*-F \\([^ ]*\\).*/\\1/') edge-se\n"
              "echo \"${COMPREPLY[@]}\"")
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run([bash, "--norc", "-c", script], env=os.environ | {"PATH": path}, capture_output=True,
                          text=True, cwd=folder)
    assert done.stdout.strip() == "mine", done.stderr


def test_help_names_the_way_to_install_it():
    done = subprocess.run([sys.executable, "-m", "edge_se", "--help"], capture_output=True, text=True)
    assert "--install-completion" in done.stdout and "--show-completion" in done.stdout
