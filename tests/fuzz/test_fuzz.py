"""Whatever is in a file that edge-se reads: it is read, or refused with an EdgeSeError; no bug, crash, hang or litter.

A hundred seeded cases a kind or so; `EDGE_SE_FUZZ=full` takes thousands. `worker.py` tells how to repeat one.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
USUAL = 150  # cases of a kind: the seeds are always the same, so that more would only make CI longer
CASES = {  # the slow ones
    "onnx": 60, "qdq": 40, "safetensors": 100, "manifest": 100, "report-bench": 75, "report-sensitivity": 75,
    **dict.fromkeys(("data-csv", "data-jsonl", "data-npz", "data-tar", "data-parquet", "data-idx"), 50),
    "data-idx-labels": 40}
KINDS = ("onnx", "qdq", "safetensors", "recipe", "board", "manifest", "indices", "cifar10", "table", "images", "layers",
         "profile", "bench", "settings", "baseline", "latencies", "report-bench", "report-sensitivity",
         "candidates", "checkpoint", "state-dict", "logits", "png", "jpeg", "bundle", "robustness", "whole-recipe",
         "data-csv", "data-jsonl", "data-npz", "data-tar", "data-parquet", "data-idx", "data-idx-labels", "run",
         "study", "cell-card", "cell-log", "cell-figures")


def readers():
    """The worker's module: a script of that folder, no test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(HERE)
        return import_module("readers")


@pytest.fixture(scope="module")
def originals(tiny_onnx, tiny_net, tiny_spec, calibration_npz, random_images, tmp_path_factory):
    """A sound file of each kind."""
    pytest.importorskip("torch", reason="torch is not installed: pip install 'edge-se[torch]'")
    pytest.importorskip("PIL", reason="Pillow is not installed: pip install pillow")
    from edge_se.core.artifacts import read_build
    from edge_se.data.splits import make_manifest
    from edge_se.nets.weights import save_weights
    from edge_se.steps.export import export

    folder = tmp_path_factory.mktemp("originals")
    (folder / "tiny.onnx").write_bytes(tiny_onnx.content)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("EDGE_SE_DATA", raising=False)
        export(str(folder / "tiny.onnx"), int8=True, targets=["cpu"], effort="quick", calibration=str(calibration_npz),
               out=folder)
    save_weights(folder / "weights.safetensors", tiny_net("se").state_dict(), {"model": "tiny"})
    (folder / "spec.json").write_text(json.dumps(asdict(tiny_spec("se"))))
    np.savez(folder / "images.npz", pixels=random_images(8).pixels, provenance=np.array("{}"))
    records = bytes(range(256)) * (4 * 3073 // 256) + bytes(4)
    (folder / "cifar-10-batches-bin").mkdir()
    (folder / "cifar-10-batches-bin" / "test_batch.bin").write_bytes(records)
    (folder / "sha256.json").write_text(json.dumps({"test_batch.bin": hashlib.sha256(records).hexdigest()}))
    shutil.copyfile(ROOT / "models" / "resnet18" / "recipe.toml", folder / "recipe.toml")
    shutil.copyfile(ROOT / "bench" / "devices" / "orin-nano-8gb.toml", folder / "board.toml")
    for part in ("layers", "profile"):
        shutil.copyfile(ROOT / "tests" / "recorded" / "layers" / f"a100-resnet18-int8.{part}.json",
                        folder / f"int8.{part}.json")
    bench, images = readers().BENCH, readers().Images
    (folder / "bench.json").write_text(json.dumps(bench))
    (folder / "robustness.json").write_text(json.dumps(readers().ROBUSTNESS))
    pixels, labels = images.read("train")
    indices = np.arange(0, len(pixels), 100)
    manifest = make_manifest(split="calibration", source="train", pixels=pixels, labels=labels, indices=indices,
                             how={"indices": indices.tolist()})
    (folder / "indices.json").write_text(json.dumps(manifest))
    readers().more.write_originals(folder, read_build(folder), tiny_net)
    readers().training.write_originals(folder, tiny_spec("se"))
    readers().own.write_originals(folder)
    return folder


def work(kind, first, last, originals, folder):
    """(counts, bugs) of a range of cases; a crash or a hang of the worker is the bug of the case that it was at."""
    counts, bugs = {"read": 0, "refused": 0}, []
    while first < last:
        command = [sys.executable, HERE / "worker.py", kind, str(first), str(last), originals, folder]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
        environment.pop("EDGE_SE_DATA", None)  # nothing is judged here
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
        lines = done.stdout.splitlines()
        if done.returncode == 0:
            told = json.loads(lines[-1])
            return {name: counts[name] + told["counts"][name] for name in counts}, bugs + told["bugs"]
        assert lines and lines[-1].isdigit(), done.stderr
        bugs.append((int(lines[-1]), f"the worker ended with {done.returncode}: {done.stderr[-1500:]}"))
        first = int(lines[-1]) + 1
    return counts, bugs


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_are_read_or_refused(kind, originals, tmp_path):
    cases = CASES.get(kind, USUAL) * (30 if os.environ.get("EDGE_SE_FUZZ") == "full" else 1)
    counts, bugs = work(kind, 0, cases, originals, tmp_path)
    assert not bugs, "\n".join(f"{kind} {number}: {what}" for number, what in bugs[:5]) + f"\n{len(bugs)} in all"
    assert counts["read"] + counts["refused"] == cases and counts["refused"] > cases / 10


def test_every_reader_is_tried():
    assert set(KINDS) == set(readers().KINDS)


@pytest.mark.parametrize("end", [
    "import ctypes; ctypes.string_at(0)",
    "import faulthandler, time; faulthandler.dump_traceback_later(0.2, exit=True); time.sleep(30)",
], ids=["crash", "hang"])
def test_how_a_worker_ends_is_the_bug_of_its_case(end, originals, tmp_path, monkeypatch):
    told = json.dumps({"counts": {"read": 1, "refused": 0}, "bugs": []})
    (tmp_path / "worker.py").write_text("import sys\nprint(sys.argv[2], flush=True)\n"
                                        f"if sys.argv[2] == '0':\n    {end}\nprint({told!r})")
    monkeypatch.setattr(sys.modules[__name__], "HERE", tmp_path)
    counts, bugs = work("any", 0, 2, originals, tmp_path)
    assert counts["read"] == 1 and [number for number, _ in bugs] == [0]
