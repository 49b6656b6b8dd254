"""An export for LiteRT: its two files, their hashes, the bundle, and a machine without the package."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from edge_se.cli.export import _shown
from edge_se.core.artifacts import check_tflite, read_build
from edge_se.core.errors import ArtifactError, EdgeSeError, UnavailableError
from edge_se.core.progress import SilentProgress
from edge_se.device.agent import Bundle
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.tflite import flatbuffer
from edge_se.steps.bundle import write_bundle
from edge_se.steps.export import export
from edge_se.steps.export_options import writable
from edge_se.steps.verify import verify

EXPORT_SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "schema" / "export-1.json").read_text())
SKIPPED = pytest.mark.skipif(flatbuffer.missing() is not None, reason=f"LiteRT is missing: {flatbuffer.INSTALL}")


@pytest.fixture(scope="module")
def folder(tiny_build):
    return tiny_build("for_litert", accuracy=False, targets=["litert", "cpu"], effort="quick").folder


@pytest.fixture
def own(folder, tmp_path):
    """A copy that may be damaged."""
    for path in folder.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


@SKIPPED
def test_the_export_names_the_file_that_litert_reads(folder, capsys):
    _shown(read_build(folder), json=False, wide=False)
    kib = (folder / "int8.litert.tflite").stat().st_size / 1000
    assert f"LiteRT reads int8.litert.tflite ({kib:.1f} kB)" in capsys.readouterr().out


def test_the_manifest_names_the_file_that_litert_reads(folder):
    build = read_build(folder)
    told = build.find("int8", "litert").tflite
    content = (folder / "int8.litert.tflite").read_bytes()
    assert told == {"file": "int8.litert.tflite", "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    assert flatbuffer.is_tflite(content) and build.find("int8", "litert").measured_by["runtime"] == "litert"
    assert build.find("fp32").tflite is None and check_tflite(build, build.find("fp32")) is None
    rows = {row["file"]: row for row in verify(folder, litert=True)["files"]}
    assert rows["int8.litert.onnx"]["litert"]["nodes"] == rows["int8.litert.onnx"]["litert"]["xnnpack_nodes"]
    assert "litert" not in rows["int8.cpu.onnx"]


@SKIPPED
@pytest.mark.parametrize("damage", ["gone", "altered", "another, with its hash"])
def test_a_tflite_file_that_does_not_hold_is_found(own, damage):
    path, manifest = own / "int8.litert.tflite", own / "manifest.json"
    if damage == "gone":
        path.unlink()
    elif damage == "altered":
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    else:
        path.write_bytes(path.read_bytes() + b"?")
        document = json.loads(manifest.read_text())
        for item in document["artifacts"]:
            if item["tflite"]:
                item["tflite"]["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
        manifest.write_text(json.dumps(document))
    with pytest.raises(ArtifactError) as raised:
        verify(own, litert=True)
    assert raised.value.where == path and raised.value.fix == "export again"


@SKIPPED
@pytest.mark.parametrize("told", [{"file": "../x.tflite", "sha256": "0", "bytes": 1}, {"file": "x.tflite"},
                                  {"file": 3, "sha256": "0", "bytes": 1}, {"file": "x", "sha256": "0", "bytes": "1"}])
def test_a_manifest_that_lies_about_it_is_refused(own, told):
    manifest = own / "manifest.json"
    document = json.loads(manifest.read_text())
    document["artifacts"][1]["tflite"] = told
    manifest.write_text(json.dumps(document))
    with pytest.raises(ArtifactError):
        read_build(own)


@SKIPPED
def test_a_bundle_has_the_file_and_runs_it(own):
    bundle = write_bundle(read_build(own))
    names = {path.name for path in bundle.iterdir()}
    assert "int8.litert.tflite" in names and "int8.litert.onnx" not in names
    opened = Bundle(str(bundle), runtimes=("litert",))
    assert (opened.file, opened.runtime) == ("int8.litert.tflite", "litert")
    pixels = np.random.default_rng(0).integers(0, 256, (3, 3, 32, 32), dtype=np.uint8)
    there, here = opened.run(opened.normalised(pixels)), Bundle(str(bundle), runtimes=("onnxruntime",))
    assert here.file == "int8.cpu.onnx" and there.shape == here.run(here.normalised(pixels)).shape


@pytest.fixture(scope="module")
def large(graph_of, tmp_path_factory):
    """A net of other images than those that are bundled, as a file."""
    random = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("large") / "large.onnx"
    path.write_bytes(OnnxModel.of(graph_of(
        [("Conv", ["x", "w"], ["c"], {"strides": [2, 2]}), ("Relu", ["c"], ["r"]), ("Conv", ["r", "v"], ["d"]),
         ("GlobalAveragePool", ["d"], ["p"]), ("Flatten", ["p"], ["y"])],
        {"w": random.normal(size=(8, 3, 3, 3)).astype(np.float32),
         "v": random.normal(size=(10, 8, 3, 3)).astype(np.float32)}, x=("batch", 3, 40, 48), shape=("batch", 10)
        )).content)
    return str(path)


@SKIPPED
def test_without_ranges_no_calibration_is_asked_for(large, tmp_path):
    heard = Heard()
    build = export(large, int8=True, targets="litert-dynamic", out=tmp_path / "built", progress=heard)
    item = build.find("int8", "litert-dynamic")
    assert build.calibration is None and item.method is None and not (tmp_path / "built" / "calibration.npz").exists()
    assert item.tflite["file"] == "int8.litert-dynamic.tflite" and item.measured_by["runtime"] == "litert"
    assert item.int8_mac_share > 0.9 and item.sqnr_runtime == "litert" and abs(item.sqnr_db - item.written_sqnr_db) < 1
    assert any(note.startswith("no calibration: files for litert-dynamic take each image's own ranges") and
               "synthetic-256-at-40 is for comparisons" in note for note in heard.notes)
    Draft202012Validator(EXPORT_SCHEMA).validate(json.loads(json.dumps(build.document())))
    row = verify(tmp_path / "built", litert=True)["files"][1]
    assert row["litert"] == {"nodes": 4, "xnnpack_nodes": 4}
    opened = Bundle(str(write_bundle(read_build(tmp_path / "built"))), runtimes=("litert",))
    assert (opened.file, opened.runtime) == ("int8.litert-dynamic.tflite", "litert")


@SKIPPED
@pytest.mark.parametrize(("given", "words"), [
    ({"targets": "litert-dynamic,cpu"}, "the bundled images are 32x32"),
    ({"targets": "litert-dynamic", "placement": "auto"}, "the bundled images are 32x32"),
    ({"targets": "litert-dynamic", "method": "mse"}, "says what ranges are, and a file for litert-dynamic holds none"),
    ({"targets": "litert-dynamic", "calibration": "calibration.npz"}, "says what ranges are")])
def test_what_needs_images_asks_for_them_and_what_nothing_reads_is_refused(large, folder, tmp_path, given, words):
    if "calibration" in given:
        given = given | {"calibration": folder / given["calibration"]}
    with pytest.raises(EdgeSeError, match=words):
        export(large, int8=True, out=tmp_path / "built", **given)
    assert not (tmp_path / "built").exists()


class Heard(SilentProgress):
    def __init__(self):
        self.notes = []

    def note(self, message):
        self.notes.append(message)


def test_without_the_package_all_leaves_it_out_and_a_name_is_refused(monkeypatch):
    from edge_se.quantization.targets import targets_for

    monkeypatch.setattr(flatbuffer, "importable", lambda module: False)
    heard, every = Heard(), targets_for(["all"], ())
    assert [target.name for target in writable(every, ["all"], heard)] == [
        target.name for target in every if not target.litert]
    assert len(heard.notes) == sum(target.litert for target in every) and "edge-se[litert]" in heard.notes[0]
    with pytest.raises(UnavailableError, match="not installed") as raised:
        writable(every, ["cpu", "litert"], heard)
    assert raised.value.fix == flatbuffer.INSTALL
    assert writable(targets_for(None, ()), None, heard) == targets_for(None, ())
