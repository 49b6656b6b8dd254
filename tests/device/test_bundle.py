"""The folder for a device: it runs by itself in a Python that has numpy and onnxruntime and nothing else."""

import ast
import hashlib
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from edge_se.core import environment
from edge_se.core.errors import ArtifactError
from edge_se.device.agent import AgentError, Bundle
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.targets.table import rules_of
from edge_se.steps.bundle import left_out, require_place, write_bundle


@pytest.fixture
def pixels(random_images):
    return random_images(3).pixels


def run(bundle, python, *images):
    return subprocess.run([python / "python3", bundle / "run.py", *images], capture_output=True, text=True,
                          env={"PATH": "/usr/bin:/bin", "HOME": str(bundle)})


def test_it_classifies_as_the_build_does_without_edge_se(bundle, build, bare_python, pixels, run_onnx, tmp_path):
    for index, image in enumerate(pixels):
        np.save(tmp_path / f"{index}.npy", image)
    done = run(bundle, bare_python, *(tmp_path / f"{index}.npy" for index in range(3)))
    assert done.returncode == 0, done.stderr
    first, *lines = done.stdout.splitlines()
    file = "int8.cpu.onnx" if environment.has_fast_int8() else "int8.cpu-avx2.onnx"
    assert first == f"{file} in onnxruntime"
    mean, std = (np.array(build.preprocessing[key], np.float32).reshape(3, 1, 1) for key in ("mean", "std"))
    model = OnnxModel.read(build.folder / file)
    expected = run_onnx(model, ((pixels / np.float32(255) - mean) / std).astype(np.float32))
    assert [line.split(": ")[1] for line in lines] == [build.labels[row.argmax()] for row in expected[0]]


def test_a_picture_is_read_through_pillow(bundle, pixels, tmp_path):
    from PIL import Image

    Image.fromarray(pixels[0].transpose(1, 2, 0)).save(tmp_path / "image.png")
    np.save(tmp_path / "image.npy", pixels[0])
    opened = Bundle(str(bundle))
    np.testing.assert_array_equal(opened.read_image(str(tmp_path / "image.png")),
                                  opened.read_image(str(tmp_path / "image.npy")))


@pytest.fixture
def photographs(tmp_path):
    """Files that were read one way here and another way there."""
    from PIL import Image

    random, folder = np.random.default_rng(0), tmp_path / "photographs"
    folder.mkdir()
    coarse = Image.fromarray(random.integers(0, 256, (10, 16, 3), dtype=np.uint8))
    wide = coarse.resize((320, 200), Image.Resampling.BICUBIC)
    turned = Image.Exif()
    turned[0x0112] = 6
    wide.save(folder / "wide.jpg")
    wide.save(folder / "turned.jpg", exif=turned)
    wide.convert("CMYK").save(folder / "print.jpg")
    wide.resize((50, 64)).convert("P").save(folder / "palette.png", transparency=3)
    Image.fromarray(np.asarray(wide.convert("L")).astype(np.uint16) * 257).save(folder / "deep.png")
    wide.resize((64, 64)).save(folder / "square.png")
    return folder


def test_calibration_evaluation_and_bundle_see_the_same_bits(bundle, build, photographs, monkeypatch, tmp_path):
    from edge_se.backends.onnxruntime import _Session
    from edge_se.data.calibration import load
    from edge_se.evaluation.accuracy import logits_of

    opened, model = Bundle(str(bundle)), OnnxModel.read(build.folder / "int8.cpu.onnx")
    paths = sorted(photographs.iterdir())
    here = load(str(photographs), None, model.metadata.preprocessing)
    there = np.concatenate([opened.read_image(str(path)) for path in paths])
    np.testing.assert_array_equal(np.concatenate(list(here.batches(4))), there)
    given, answers = [], _Session.answers
    monkeypatch.setenv("EDGE_SE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(_Session, "answers", lambda self, batches: answers(
        self, (given.append(batch) or batch for batch in batches)))
    judged = logits_of(model, here)
    np.testing.assert_array_equal(np.concatenate(given), there)
    np.testing.assert_allclose(np.concatenate([opened.run(one[None]) for one in there]), judged, atol=1e-5)


@pytest.mark.parametrize("changes", [
    {"resize": "squash", "interpolation": "bicubic", "colour": "BGR"},
    {"resize": "letterbox", "antialias": False, "range": "-1-1", "mean": (0.0,) * 3, "std": (1.0,) * 3},
    {"share": 0.75, "range": "0-255", "mean": (120.0, 110.0, 100.0), "std": (60.0, 50.0, 40.0)}])
def test_other_preprocessing_goes_all_the_way(tiny_onnx, photographs, tmp_path, changes):
    from dataclasses import replace

    from PIL import Image

    from edge_se.data.calibration import load
    from edge_se.data.preprocessing import CIFAR10, tensor
    from edge_se.device.agent.preprocess import fitted, of_document, shown
    from edge_se.graph.metadata import ModelMetadata, write_metadata
    from edge_se.steps.export import export

    how, proto = replace(CIFAR10, **changes), tiny_onnx.copy()
    write_metadata(proto, ModelMetadata(model="own", preprocessing=how))
    (tmp_path / "own.onnx").write_bytes(proto.SerializeToString())
    built = export(str(tmp_path / "own.onnx"), int8=True, targets=["cpu"], calibration=str(photographs), effort="quick",
                   accuracy=False, bundle=True, out=tmp_path / "built")
    assert of_document(built.preprocessing | {"labels": list(built.labels)}) == how
    opened = Bundle(str(tmp_path / "built" / "bundle"), runtimes=("onnxruntime",))
    for path in sorted(photographs.iterdir()):
        with Image.open(path) as image:
            expected = tensor(fitted(shown(image), how)[None], how)
        np.testing.assert_array_equal(opened.read_image(str(path)), expected)
    here = load(str(photographs), None, OnnxModel.read(tmp_path / "built" / opened.file).metadata.preprocessing)
    np.testing.assert_array_equal(np.concatenate(list(here.batches(1)))[-1:], expected)


def test_images_that_cannot_be_shown_are_refused_by_name_here_and_there(bundle, tmp_path):
    from PIL import Image

    from edge_se.core.errors import DataError
    from edge_se.data.calibration import load

    (tmp_path / "float").mkdir()
    path = tmp_path / "float" / "x.tif"
    Image.fromarray(np.zeros((40, 40), np.float32)).save(path)
    with pytest.raises(AgentError, match=r"x\.tif holds float pixels"):
        Bundle(str(bundle)).read_image(str(path))
    with pytest.raises(DataError, match=r"x\.tif: holds float pixels"):
        list(load(str(path.parent), None).batches(1))


@pytest.mark.parametrize("option", ["--bad", "-x", "--images=1"])
def test_a_bad_option_is_told_as_one(bundle, bare_python, option):
    done = run(bundle, bare_python, option)
    assert done.returncode == 2 and done.stdout == "" and "Traceback" not in done.stderr
    assert f"unrecognized arguments: {option}" in done.stderr and done.stderr.startswith("usage: run.py")


def test_it_goes_on_past_files_that_cannot_be_read(bundle, bare_python, pixels, tmp_path):
    np.save(tmp_path / "good.npy", pixels[0])
    np.save(tmp_path / "long.npy", np.zeros((3, 8, 8), np.uint8))
    (tmp_path / "broken.npy").write_text("nothing")
    (tmp_path / "--odd.npy").write_bytes((tmp_path / "good.npy").read_bytes())
    names = ("broken.npy", "good.npy", "missing.npy", "long.npy", "good.npy")
    done = run(bundle, bare_python, *(tmp_path / name for name in names))
    assert done.returncode == 2 and "Traceback" not in done.stderr
    first, *lines = done.stdout.splitlines()
    assert first.endswith("in onnxruntime") and len(lines) == 2 and len(set(lines)) == 1
    told = done.stderr.splitlines()
    assert len(told) == 3 and all(line.startswith("error: ") for line in told)
    assert [name in line for name, line in zip(("broken", "missing", "long"), told)] == [True] * 3
    beside = subprocess.run([bare_python / "python3", bundle / "run.py", "--", "--odd.npy"], capture_output=True,
                            text=True, cwd=tmp_path, env={"PATH": "/usr/bin:/bin", "HOME": str(bundle)})
    assert beside.returncode == 0 and beside.stdout.splitlines()[1].startswith("--odd.npy: ")


def test_without_pillow_it_says_so(bundle, bare_python, tmp_path):
    (tmp_path / "image.png").write_bytes(b"")
    done = run(bundle, bare_python, tmp_path / "image.png")
    assert done.returncode == 2 and "reading image files needs Pillow" in done.stderr


def test_what_is_in_it(bundle, build):
    told = json.loads((bundle / "bundle.json").read_text())
    assert told["labels"] == list(build.labels) and told["input_size"] == [32, 32]
    targets = [entry["target"] for entry in told["files"] if entry["precision"] == "int8"]
    assert targets == ["tensorrt-fp16", "tensorrt", "arm", "cpu", "cpu-avx2"]  # what a device should try first
    assert told["targets"] == {name: json.loads(json.dumps(rules_of(name))) for name in [*targets, "any"]}
    assert {path.name for path in bundle.iterdir()} == {entry["file"] for entry in told["files"]} | {
        "bundle.json", "manifest.json", "agent.pyz", "run.py", "README.md"}


def test_what_did_not_open_is_told_beside_what_runs(bundle, bare_python):
    document = json.loads((bundle / "bundle.json").read_text())
    for entry in document["files"]:
        if entry["precision"] == "int8":
            (bundle / entry["file"]).write_bytes(b"no model")
            entry["sha256"] = hashlib.sha256(b"no model").hexdigest()
    (bundle / "bundle.json").write_text(json.dumps(document))
    done = run(bundle, bare_python)
    assert (done.returncode, done.stdout) == (0, "fp16.onnx in onnxruntime\n")
    file = "int8.cpu.onnx" if environment.has_fast_int8() else "int8.cpu-avx2.onnx"
    assert f"note: left out {file} in onnxruntime: onnxruntime cannot load it" in done.stderr
    assert all(line.startswith("note: left out int8.") for line in done.stderr.splitlines())


OLD = "import runpy, sys; sys.version_info = {}; runpy.run_path(sys.argv[1], run_name='__main__')"


@pytest.mark.parametrize(("version", "told"), [((3, 6, 9), "3.6"), ((3, 7, 17), "3.7")])
def test_an_old_python_is_told_before_the_agent_is_read(bundle, version, told):
    """JetPack 4's python3 is 3.6, for which the agent's first line is a syntax error."""
    ast.parse((bundle / "run.py").read_text(), feature_version=(3, 6))
    (bundle / "agent.pyz").unlink()
    done = subprocess.run([sys.executable, "-c", OLD.format(version), bundle / "run.py"], capture_output=True,
                          text=True)
    assert done.returncode == 2 and done.stderr == f"error: python3 here is {told}; 3.8 or later is needed\n"


@pytest.mark.parametrize("missing", ["numpy", "agent"])
def test_what_run_py_needs_and_does_not_find_is_one_message(bundle, missing):
    (bundle / "agent.pyz").unlink() if missing == "agent" else None
    done = subprocess.run([sys.executable, "-S", "-E", bundle / "run.py"], capture_output=True, text=True)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert done.stderr.startswith(f"error: No module named '{missing}'; numpy is needed (sudo apt install ")


def test_damage_is_one_message(bundle, bare_python):
    model = bundle / "int8.cpu.onnx"
    model.write_bytes(model.read_bytes()[:-1] + b"#")
    done = run(bundle, bare_python)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "int8.cpu.onnx was altered: its SHA-256 is not the bundle's; copy it again" in done.stderr
    (bundle / "bundle.json").write_text("{")
    done = run(bundle, bare_python)
    assert done.returncode == 2 and "holds no readable bundle.json" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(("key", "value"), [
    ("labels", None), ("labels", [1, 2]), ("input_size", [32]), ("mean", ["a", 0, 0]), ("std", [0.2, 0.0, 0.2]),
    ("std", [0.2, 0.2]), ("files", [{}]), ("preprocessing", []), ("preprocessing", {"resize": "shrink"}),
    ("targets", ["cpu"]), ("targets", {"cpu": "onnxruntime"}), ("targets", {"cpu": [{"runtime": "onnxruntime"}]}),
    ("targets", {"cpu": [{"runtime": "onnxruntime", "reason": None, "lacks": 5}]}),
    ("targets", {"cpu": [{"runtime": "onnxruntime", "reason": None, "as_written": "yes"}]}),
    ("targets", {"cpu": [{"runtime": "onnxruntime", "reason": None, "without": "all"}]})])
def test_a_manifest_of_another_kind_is_one_message(bundle, key, value):
    document = json.loads((bundle / "bundle.json").read_text())
    (bundle / "bundle.json").write_text(json.dumps(document | {key: value}))
    with pytest.raises(AgentError, match=r"holds no readable bundle\.json"):
        Bundle(str(bundle))
    del document[key]
    (bundle / "bundle.json").write_text(json.dumps(document))
    with pytest.raises(AgentError, match=r"holds no readable bundle\.json"):
        Bundle(str(bundle))


def test_a_file_that_is_missing_and_images_that_are_none_are_one_message(bundle, bare_python, pixels, tmp_path):
    (tmp_path / "text.npy").write_text("no pixels")
    np.save(tmp_path / "small.npy", pixels[0][:, :16])
    for name, says in (("text.npy", "cannot be read as an image"), ("none.npy", "cannot be read as an image"),
                       ("small.npy", "give uint8 of shape (3, 32, 32)")):
        done = run(bundle, bare_python, tmp_path / name)
        assert done.returncode == 2 and says in done.stderr and "Traceback" not in done.stderr
    (bundle / "int8.cpu.onnx").unlink()
    done = run(bundle, bare_python)
    assert done.returncode == 2 and "int8.cpu.onnx cannot be read" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(("encoding", "shown"), [
    ("ascii", "\\u98de\\u673a-\\xe4"), ("latin-1:strict", "\\u98de\\u673a-"), ("utf-8", "\u98de\u673a-\u00e4")])
def test_a_label_that_the_locale_cannot_write_does_not_end_it(bundle, bare_python, pixels, tmp_path, encoding, shown):
    document = json.loads((bundle / "bundle.json").read_text())
    (bundle / "bundle.json").write_text(json.dumps(document | {"labels": ["\u98de\u673a-\u00e4"] * 10}))
    np.save(tmp_path / "0.npy", pixels[0])
    done = subprocess.run([bare_python / "python3", bundle / "run.py", tmp_path / "0.npy"], capture_output=True,
                          env={"PATH": "/usr/bin:/bin", "HOME": str(bundle), "PYTHONIOENCODING": encoding})
    assert done.returncode == 0, done.stderr
    assert f"0.npy: {shown}" in done.stdout.decode("utf-8", "replace")


def test_a_class_without_a_name_is_told_by_its_number(bundle):
    document = json.loads((bundle / "bundle.json").read_text())
    (bundle / "bundle.json").write_text(json.dumps(document | {"labels": ["only one"]}))
    opened, logits = Bundle(str(bundle)), np.zeros(10, np.float32)
    assert opened.label(logits) == "only one"
    logits[7] = 1
    assert opened.label(logits) == "7"


@pytest.mark.parametrize("targets", [["cpu", "openvino"], ["openvino"], ["cpu", "tensorrt"]])
def test_a_bundle_holds_what_its_document_names_and_may_be_written_again(tiny_build, targets):
    """No device of a bundle has OpenVINO: a file for it stayed unnamed, and the next export took it for a user's."""
    build = tiny_build("build", targets=targets)
    folder = write_bundle(build)
    named = {entry["file"] for entry in json.loads((folder / "bundle.json").read_text())["files"]}
    assert {path.name for path in folder.glob("*.onnx")} == named == {"fp32.onnx"} | {
        f"int8.{target}.onnx" for target in targets if target != "openvino"}
    require_place(folder, "tiny.onnx")
    assert write_bundle(build) == folder and Bundle(str(folder)).runtime == "onnxruntime"


@pytest.mark.parametrize(("targets", "told"), [
    (["cpu", "openvino"], "the bundle leaves int8.openvino.onnx out, for which its run.py has no runtime"),
    (["openvino"], "the bundle leaves int8.openvino.onnx out, for which its run.py has no runtime, and has no other "
                   "INT8 file: add one with `--target tensorrt`, `arm`, `cpu` or `litert`"),
    (["cpu", "tensorrt"], None)])
def test_what_is_not_in_it_is_told(tiny_build, targets, told):
    assert left_out(tiny_build("build", targets=targets)) == told


def test_a_new_bundle_replaces_the_old_one_and_leaves_nothing_beside_it(build, monkeypatch):
    (build.folder / "bundle" / "stale.txt").write_text("old")
    before = sorted(path.name for path in build.folder.iterdir())
    write_bundle(build)
    assert not (build.folder / "bundle" / "stale.txt").exists()
    assert sorted(path.name for path in build.folder.iterdir()) == before

    def full(source, target):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(ArtifactError, match=r"bundle: cannot be written \(No space left"):
        write_bundle(build)
    assert sorted(path.name for path in build.folder.iterdir()) == before
    assert (build.folder / "bundle" / "run.py").is_file()
