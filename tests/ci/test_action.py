"""The GitHub Action: its schema, and its steps run here as GitHub runs them, on a good and on a sabotaged model."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from action_steps import ACTION, EXPRESSION, ROOT, run_steps, yaml
from PIL import Image

from edge_se.core.assets import asset
from edge_se.data.splits import ImageSet
from edge_se.evaluation.accuracy import logits_of
from edge_se.graph.onnx_model import OnnxModel

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """A fresh environment that sees what is installed here, but for edge-se, which the action's step installs."""
    if shutil.which("bash") is None:
        pytest.skip("no bash here")
    pytest.importorskip("hatchling", reason="building the wheel needs hatchling")
    folder = tmp_path_factory.mktemp("action")
    venv.create(folder / "python", symlinks=True, with_pip=True)
    paths = {"base": str(folder / "python"), "platbase": str(folder / "python")}
    packages = Path(sysconfig.get_path("purelib", "venv", vars=paths))
    (packages / "here.pth").write_text(sysconfig.get_path("purelib") + "\n")
    hidden = ("PYTHONPATH", "VIRTUAL_ENV", "EDGE_SE_CACHE", "EDGE_SE_DATA")
    found = {name: value for name, value in os.environ.items()
             if name not in hidden and not name.startswith("GITHUB_")}
    found |= {"PATH": f"{folder / 'python' / 'bin'}{os.pathsep}{os.environ['PATH']}", "HOME": str(folder),
              "PIP_NO_BUILD_ISOLATION": "0"}  # 0 turns isolation off: this option's value is read the other way round
    code, _, _, output = run_steps(folder, found, only=("Install edge-se",))
    assert code == 0, output
    where = subprocess.run(["python", "-c", "import edge_se; print(edge_se.__file__)"], env=found, cwd=folder,
                           capture_output=True, text=True, check=True).stdout.strip()
    assert Path(where).is_relative_to(packages)
    return found


def test_the_action_and_the_workflows_fit_their_schemas() -> None:
    pytest.importorskip("check_jsonschema", reason="needs check-jsonschema's copies of the schemas")
    for kind, files in (("github-actions", [ROOT / "action.yml"]), ("github-workflows", WORKFLOWS)):
        done = subprocess.run([sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{kind}", *files],
                              capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_no_input_becomes_a_part_of_a_script() -> None:
    for step in ACTION["runs"]["steps"]:
        assert not EXPRESSION.search(step.get("run", "")), step["name"]


def test_every_input_is_used_and_every_one_used_exists() -> None:
    text = (ROOT / "action.yml").read_text()
    used = {name for expression in EXPRESSION.findall(text) for name in re.findall(r"inputs\.([\w-]+)", expression)}
    used |= set(re.findall(r"if: inputs\.([\w-]+)", text))
    assert used == set(ACTION["inputs"])


def test_the_workflow_gives_inputs_that_exist() -> None:
    steps = [step for path in WORKFLOWS for job in yaml.safe_load(path.read_text())["jobs"].values()
             for step in job["steps"] if step.get("uses") == "./"]
    assert steps and all(set(step["with"]) <= set(ACTION["inputs"]) for step in steps)


@pytest.fixture
def fake(tmp_path):
    """(exit code, document or None) -> an environment whose `edge-se` ends so, and the file of its arguments."""
    def made(code: int, document: dict | None) -> tuple[dict[str, str], Path]:
        program, told = tmp_path / "bin" / "edge-se", tmp_path / "arguments"
        program.parent.mkdir()
        lines = ["#!/bin/bash", f'printf "%s\\n" "$@" >> {told}',
                 f'printf "%s\\n" "$EDGE_SE_SSH_CONFIG" >> {tmp_path}/config-of-ssh',
                 f'[ -z "$EDGE_SE_SSH_CONFIG" ] || cp -rT "$(dirname "$EDGE_SE_SSH_CONFIG")" {tmp_path}/seen']
        if document is not None:
            (tmp_path / "written.json").write_text(json.dumps(document))
            lines.append(f'[ "$1" != gate ] || cp {tmp_path}/written.json build/gate/gate.json')
        program.write_text("\n".join([*lines, f'[ "$1" != gate ] || exit {code}']) + "\n")
        program.chmod(0o755)
        (tmp_path / "build" / "gate").mkdir(parents=True)
        return os.environ | {"PATH": f"{program.parent}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}"
                                     f"{os.environ['PATH']}"}, told
    return made


STALE = {"overall": "pass", "drop_pp": -1.0}


@pytest.mark.parametrize("only", [("Gate",), ("No verdict yet", "Export", "Gate")])
def test_a_verdict_of_before_is_not_the_verdict(fake, tmp_path, only) -> None:
    environment, _ = fake(2, None)
    for name in ("gate.json", "gate.xml"):
        (tmp_path / "build" / "gate" / name).write_text(json.dumps(STALE))
    code, outputs, summary, _ = run_steps(tmp_path, environment, only=only)
    assert code == 2 and outputs == {} and summary == ""
    assert not list((tmp_path / "build" / "gate").iterdir())  # nor is it kept as the artifact of this run


@pytest.mark.parametrize(("code", "overall"), [(0, "pass"), (1, "fail"), (3, "inconclusive")])
def test_the_verdict_is_that_of_this_gate(fake, tmp_path, code, overall) -> None:
    environment, _ = fake(code, {"overall": overall, "drop_pp": 0.25})
    (tmp_path / "build" / "gate" / "gate.json").write_text(json.dumps(STALE))
    got, outputs, _, _ = run_steps(tmp_path, environment, only=("No verdict yet", "Export", "Gate"))
    assert (got, outputs) == (code, {"verdict": overall, "drop": "0.2500"})


@pytest.mark.parametrize(("sequential", "given"), [("", set()), ("true", {"--sequential"}),
                                                   ("false", {"--all-images"})])
def test_the_settings_file_decides_what_the_job_does_not(fake, tmp_path, sequential, given) -> None:
    environment, told = fake(0, STALE)
    code, _, _, _ = run_steps(tmp_path, environment, only=("Gate",), sequential=sequential)
    words = set(told.read_text().split())
    assert code == 0 and words & {"--sequential", "--all-images", "--max-drop", "--preset"} == given


def test_a_switch_that_is_none_is_refused(fake, tmp_path) -> None:
    environment, told = fake(0, STALE)
    code, outputs, _, output = run_steps(tmp_path, environment, only=("Gate",), sequential="yes")
    assert code == 2 and outputs == {} and "neither true nor false" in output and not told.exists()


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    """A private key without a passphrase, and one with."""
    if shutil.which("ssh-keygen") is None:
        pytest.skip("no OpenSSH here: apt install openssh-client")
    folder = tmp_path_factory.mktemp("keys")
    for name, passphrase in (("open", ""), ("shut", "secret")):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-f", folder / name], check=True)
    return (folder / "open").read_text(), (folder / "shut").read_text()


ON_BOARD = ("Way to the board", "Bench", "Gate", "No key is left")
BOARD = {"device": "ssh://ci@board:2222", "known_host": "board ssh-ed25519 AAAA\nboard ssh-rsa BBBB\r"}


@pytest.mark.parametrize("code", [0, 1])
def test_the_key_of_a_board_is_there_for_the_gate_alone(fake, tmp_path, key, code) -> None:
    environment, told = fake(code, {"overall": "pass", "drop_pp": 0.0})
    got, outputs, _, output = run_steps(tmp_path, environment, only=ON_BOARD, ssh_key=key[0].replace("\n", "\r\n"),
                                        max_latency_ratio="0.9", device_python="/opt/py", **BOARD)
    assert got == code, output
    words = told.read_text().splitlines()
    assert words.count("ssh://ci@board:2222") == words.count("/opt/py") == 2  # bench and gate
    assert words[-4:] == ["--max-latency-ratio", "0.9", "--bench", "build/gate/bench.json"]
    seen = tmp_path / "seen"
    assert {path.name: oct(path.stat().st_mode & 0o777) for path in seen.iterdir()} == dict.fromkeys(
        ("key", "known_hosts", "config"), "0o600")
    assert (seen / "key").read_text().rstrip() == key[0].rstrip()
    assert (seen / "known_hosts").read_text().splitlines() == ["board ssh-ed25519 AAAA", "board ssh-rsa BBBB"]
    asked = subprocess.run(["ssh", "-F", seen / "config", "-G", "board"], capture_output=True, text=True).stdout
    folder = Path(outputs["folder"])
    assert {f"identityfile {folder / 'key'}", "identitiesonly yes", "stricthostkeychecking true",
            f"userknownhostsfile {folder / 'known_hosts'}", "globalknownhostsfile /dev/null"} <= set(asked.splitlines())
    assert not folder.exists() and not list((tmp_path / "runner temporary").iterdir())
    secret = key[0].splitlines()[1]
    assert secret not in output and secret not in told.read_text()
    assert not any(secret in value for value in outputs.values())


@pytest.mark.parametrize(("given", "says"), [
    ({"ssh_key": "", **BOARD}, "one without the other"),
    ({"ssh_key": "open", "device": "ssh://board"}, "one without the other"),
    ({"ssh_key": "shut", **BOARD}, "no private key, or one with a passphrase"),
    ({"ssh_key": "-----BEGIN nothing", **BOARD}, "no private key, or one with a passphrase")])
def test_a_key_that_opens_nothing_ends_the_job_before_the_board(fake, tmp_path, key, given, says) -> None:
    environment, told = fake(0, STALE)
    known = {"open": key[0], "shut": key[1]}
    code, outputs, _, output = run_steps(tmp_path, environment, only=ON_BOARD,
                                         **given | {"ssh_key": known.get(given["ssh_key"], given["ssh_key"])})
    assert code == 2 and says in output and "verdict" not in outputs and not told.exists()
    assert not list((tmp_path / "runner temporary").iterdir())


@pytest.mark.parametrize(("given", "words"), [
    ({}, set()), ({"device": "jetson"}, {"--device", "jetson"}),
    ({"baseline": "bench/baselines"}, {"--baseline", "bench/baselines"}),
    ({"min_int8_share": "99"}, {"--min-int8-share", "99", "--explain", "--bench"})])
def test_a_runner_that_is_the_board_needs_no_key(fake, tmp_path, given, words) -> None:
    environment, told = fake(0, STALE)
    code, _, _, _ = run_steps(tmp_path, environment, only=ON_BOARD, **given)
    said = set(told.read_text().split())
    options = {"--device", "--baseline", "--bench", "--explain", "--min-int8-share", "--max-latency-ratio"}
    assert code == 0 and words <= said and said & options == words & options
    assert set((tmp_path / "config-of-ssh").read_text().split()) == set()


def test_every_input_is_optional_where_the_settings_file_has_it() -> None:
    from edge_se.evaluation.settings import Settings

    shared = {name.replace("_", "-") for name in Settings.model_fields} & set(ACTION["inputs"])
    assert shared >= {"max-drop", "preset", "sequential"}
    assert {name: ACTION["inputs"][name]["default"] for name in shared} == dict.fromkeys(shared, "")


@pytest.mark.slow
def test_what_a_user_did_wrong_fails_before_the_gate(environment, tmp_path) -> None:
    code, outputs, summary, output = run_steps(tmp_path, environment, only=("Export", "Gate"), model="se_resnet81")
    assert code == 2 and outputs == {} and summary == ""
    assert "did you mean 'se_resnet18'?" in output


@pytest.fixture(scope="module")
def sabotaged(tmp_path_factory):
    """Weights whose FP32 answers are those of the bundled ones and whose INT8 is worthless.

    In each block a channel grows and the weights that read it shrink: ReLU lets the factor through, so nothing
    changes in float; but one scale for the whole tensor must now serve channels of very different size.
    """
    from safetensors.torch import load_file, save_file

    state = {name: tensor.float() for name, tensor in load_file(
        asset("models", "slim_se", "weights.safetensors")).items()}
    for name in [name for name in state if re.fullmatch(r"layer\d\.\d\.bn1\.weight", name)]:
        block = name.removesuffix("bn1.weight")
        busy = int((state[name] ** 2 + state[f"{block}bn1.bias"] ** 2).argmax())
        for part in ("bn1.weight", "bn1.bias"):
            state[block + part][busy] *= 500
        state[f"{block}conv2.weight"][:, busy] /= 500
    path = tmp_path_factory.mktemp("sabotaged") / "weights.safetensors"
    save_file(state, path)
    return path


@pytest.mark.slow
def test_a_model_and_images_of_the_checkout_are_judged(environment, tmp_path, tiny_onnx) -> None:
    names = [f"class {number}" for number in range(10)]
    proto = tiny_onnx.copy()
    del proto.metadata_props[:]  # a file that edge-se did not write
    (tmp_path / "mine.onnx").write_bytes(OnnxModel.of(proto).content)
    pixels = np.random.default_rng(2).integers(0, 256, (400, 3, 32, 32), dtype=np.uint8)
    images = ImageSet(name="all", split="test", pixels=pixels, labels=None)
    answers = logits_of(tiny_onnx, images).argmax(1)  # of which FP32 then is right
    answers[: len(names)] = np.arange(len(names))  # each class has an image
    for index, answer in enumerate(answers):
        folder = tmp_path / "images" / ("test" if index < 300 else "train") / names[answer]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[index].transpose(1, 2, 0)).save(folder / f"{index}.png")
    (tmp_path / "labels.txt").write_text("\n".join(names))
    code, outputs, summary, output = run_steps(
        tmp_path, environment, only=("No verdict yet", "Export", "Bench", "Gate"), model="mine.onnx",
        labels="labels.txt", data="images", split="test", preprocessing="cifar10", max_drop="30", min_top1="20",
        max_latency_ratio="1000")
    assert code == 0 and outputs["verdict"] == "pass", output
    document = json.loads((tmp_path / "build" / "gate" / "gate.json").read_text())
    assert document["fp32_top1"] > 95 and document["n"] == 300 and document["dataset"] == "images-test"
    assert document["floor"][0]["verdict"] == "pass" and "images-test" in summary
    assert [row["verdict"] for row in document["latency"]] == ["pass"]


@pytest.mark.slow
def test_a_good_model_passes(environment, cifar, tmp_path) -> None:
    code, outputs, summary, output = run_steps(tmp_path, environment, model="slim_se",
                                               data=os.environ["EDGE_SE_DATA"], sequential="true")
    assert code == 0, output
    assert outputs["verdict"] == "pass" and float(outputs["drop"]) < 0.5
    assert "slim_se: ✅ pass" in summary and "::notice" in output
    suites = ElementTree.parse(tmp_path / "build" / "gate" / "gate.xml").getroot()
    assert [suite.get("failures") for suite in suites] == ["0"]


@pytest.mark.slow
def test_a_sabotaged_model_fails(environment, cifar, sabotaged, tmp_path) -> None:
    code, outputs, summary, output = run_steps(tmp_path, environment, model="slim_se", weights=str(sabotaged),
                                               data=os.environ["EDGE_SE_DATA"], max_drop="1", sequential="true")
    assert code == 1, output
    assert outputs["verdict"] == "fail" and float(outputs["drop"]) > 1
    assert "slim_se: ❌ fail" in summary and "::error" in output
    document = json.loads((tmp_path / "build" / "gate" / "gate.json").read_text())
    assert document["fp32_top1"] > 90 and document["n"] < 10_000  # FP32 is whole, and a few images were enough
    suites = ElementTree.parse(tmp_path / "build" / "gate" / "gate.xml").getroot()
    assert [suite.get("failures") for suite in suites] == ["1"]
