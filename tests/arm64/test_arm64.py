"""What run.sh measures and refuses, without the emulator: comparing logits, and its words when something is wrong."""

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from compare import differences, verdict

RUN = Path(__file__).with_name("run.sh")
LOGITS = np.array([[1.0, 3.0], [5.0, 2.0]], dtype=np.float32)


def test_differences_are_counted_by_class_and_by_logit():
    other = np.array([[1.0, 2.5], [1.0, 2.0]], dtype=np.float32)
    assert differences(LOGITS, LOGITS) == {
        "images": 2, "differing_classes": 0, "max_logit_difference": 0.0, "max_logit": 5.0}
    assert differences(LOGITS, other) == {
        "images": 2, "differing_classes": 1, "max_logit_difference": 4.0, "max_logit": 5.0}


def test_nan_is_another_class_even_where_both_have_it():
    broken = np.array([[np.nan, 3.0], [5.0, 2.0]], dtype=np.float32)
    assert differences(LOGITS, broken)["differing_classes"] == 1
    assert differences(broken, broken)["differing_classes"] == 1


@pytest.mark.parametrize("target, code", [("any", 1), ("arm", 1), ("cpu", 0), ("tensorrt", 0)])
def test_only_files_for_arm64_fail_the_run(target, code):
    assert verdict([{"target": target, "differing_classes": 1}]) == code
    assert verdict([{"target": target, "differing_classes": 0}]) == 0


def run(*arguments, **variables):
    return subprocess.run([shutil.which("bash"), RUN, *arguments], env={**os.environ, **variables}, text=True,
                          capture_output=True, check=False)


@pytest.mark.parametrize("arguments", [("many",), ("0",), ("-5",), ("exec",), ("exec", "missing.py")])
def test_nonsense_is_refused_before_anything_is_fetched(arguments, tmp_path):
    done = run(*arguments, EDGE_SE_ARM64=str(tmp_path / "cache"))
    assert done.returncode == 2 and done.stderr.startswith("run.sh: ")
    assert not (tmp_path / "cache").exists()


def test_a_missing_emulator_is_named_with_its_package(tmp_path):
    for tool in ("dirname", "env"):
        (tmp_path / tool).symlink_to(shutil.which(tool))
    done = run("2", PATH=str(tmp_path), EDGE_SE_ARM64=str(tmp_path / "cache"))
    if Path("/usr/sbin/qemu-aarch64-static").exists():
        pytest.skip("it is in /usr/sbin, which the script searches too")
    assert done.returncode == 2
    assert done.stderr == "run.sh: qemu-aarch64-static is missing; install it: `sudo apt install qemu-user-static`\n"
