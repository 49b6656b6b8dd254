"""The action's gate on a board, over a real OpenSSH server: a key and a known host are all that it has of it."""

import json
import os
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge_se.core.artifacts import read_build
from edge_se.data import cifar10
from edge_se.data.splits import ImageSet
from edge_se.evaluation.accuracy import logits_of

STEPS = ("Way to the board", "Bench", "Gate", "No key is left")


@pytest.fixture(scope="module")
def run_steps():
    """That of tests/ci."""
    pytest.importorskip("yaml", reason="reading the action needs PyYAML")
    spec = spec_from_file_location("action_steps", Path(__file__).parents[2] / "ci" / "action_steps.py")
    loaded = module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded.run_steps


@pytest.fixture
def job(tmp_path, tiny_build, tiny_onnx, random_images):
    """A folder with labelled images, of which FP32 gets nearly all, an environment with `edge-se`, and a build."""
    images = random_images(200, "test", labelled=False, seed=5)
    answers = logits_of(tiny_onnx, ImageSet(name="all", split="test", pixels=images.pixels, labels=None)).argmax(1)
    answers[: len(cifar10.CLASSES)] = np.arange(len(cifar10.CLASSES))  # each class has an image
    for number, (pixels, answer) in enumerate(zip(images.pixels, answers)):
        folder = tmp_path / "images" / "test" / cifar10.CLASSES[answer]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.transpose(1, 2, 0)).save(folder / f"{number}.png")
    program = tmp_path / "bin" / "edge-se"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m edge_se "$@"\n')
    program.chmod(0o755)
    hidden = ("EDGE_SE_SSH_CONFIG", "EDGE_SE_DATA")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    environment |= {"PATH": f"{program.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}",
                    "PYTHONPATH": str(Path(__file__).parents[3]), "EDGE_SE_CACHE": str(tmp_path / "cache")}
    return tmp_path, environment, tiny_build("build", targets=["cpu"]).out


@pytest.mark.slow
def test_a_board_gates_a_pull_request(box, job, run_steps) -> None:
    folder, environment, build = job
    given = {"device": box.url, "out": build, "data": "images", "max_drop": "30", "max_latency_ratio": "50",
             "known_host": (box.client / "known").read_text()}
    key = (box.client / "user").read_text()
    code, outputs, summary, output = run_steps(folder, environment, only=STEPS, ssh_key=key, **given)
    assert code == 0, output
    document = json.loads((Path(build) / "gate.json").read_text())
    assert outputs["verdict"] == "pass" and document["device"]["name"] and document["n"] == 200
    assert document["measured_by"]["runtime"] == "onnxruntime" and "on_device" in document["targets"][0]
    latency, = document["latency"]
    assert latency["verdict"] == "pass" and latency["rounds"] == 9 and latency["ci"][0] <= latency["ratio"]
    assert {row["sha256"] for row in json.loads((Path(build) / "bench.json").read_text())["measurements"]} == {
        item.sha256 for item in read_build(Path(build)).artifacts}
    assert "latency" in summary and key.splitlines()[1] not in output
    assert not list((folder / "runner temporary").iterdir()) and not box.agents()
    stranger = (box.client / "stranger").read_text()
    for wrong, says in (({"ssh_key": stranger}, "key"), ({"known_host": "elsewhere ssh-ed25519 AAAA"}, "host key")):
        code, outputs, _, output = run_steps(folder, environment, only=("Way to the board", "Gate", "No key is left"),
                                             **({"ssh_key": key} | given | {"max_latency_ratio": ""} | wrong))
        assert code == 2 and "verdict" not in outputs and says in output, output
        assert not list((folder / "runner temporary").iterdir())
