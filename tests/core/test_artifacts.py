"""A build's manifest: read back as written; whatever is wrong with it is an ArtifactError, never a traceback."""

import json
from dataclasses import replace

import pytest

from edge_se.core import artifacts
from edge_se.core.artifacts import MANIFEST, Artifact, Build, check_file, locate_build, read_build
from edge_se.core.errors import ArtifactError
from edge_se.core.files import sha256_of, write_json

ARTIFACT = Artifact(
    precision="int8", target="cpu", file="int8.cpu.onnx", sha256="0" * 64, parent_sha256="1" * 64, bytes=10, params=7,
    macs=100, flops=200, int8_mac_share=0.5, placement="se-float", top1=90.0, top1_n=10_000, top1_ci=(89.4, 90.6),
    dataset="cifar10-test10k", agreement_with_fp32=99.0, flips=100, flips_n=10_000, seconds=1.5)


@pytest.fixture
def build(tmp_path):
    made = Build(model="net", out=str(tmp_path / "net"), source={"kind": "zoo"}, calibration={"name": "calib"},
                 preprocessing={"mean": [0.5]}, labels=("cat", "dog"), parity={},
                 artifacts=(replace(ARTIFACT, precision="fp32", target="any", file="fp32.onnx", parent_sha256=None,
                                    placement=None, top1=None, top1_n=None, top1_ci=None), ARTIFACT),
                 environment={"commit": None})
    write_json(made.folder / MANIFEST, made.document())
    return made


def change(build, **changes):
    document = json.loads((build.folder / MANIFEST).read_text())
    document.update(changes)
    (build.folder / MANIFEST).write_text(json.dumps(document))


def change_artifact(build, **changes):
    document = json.loads((build.folder / MANIFEST).read_text())
    document["artifacts"][1].update(changes)
    (build.folder / MANIFEST).write_text(json.dumps(document))


def test_round_trip(build):
    again = read_build(build.folder)
    assert again == build
    assert again.document() == build.document()
    assert next(iter(build.document())) == "schema"


def test_a_moved_build_is_where_it_was_moved_to(build, tmp_path):
    moved = build.folder.rename(tmp_path / "elsewhere")
    assert read_build(moved).folder == moved


def test_find_and_label(build):
    assert build.find("int8", "cpu").label == "int8.cpu"
    assert build.find("fp32").label == "fp32"
    assert build.find("int8") is None


@pytest.mark.parametrize(("changes", "message"), [
    ({"schema": "edge-se/export/2"}, "schema 'edge-se/export/2' is not 'edge-se/export/1'; export again"),
    ({"schema": None}, "schema None"),
    ({"artifacts": None}, "manifest"), ({"artifacts": [1]}, "manifest"), ({"artifacts": {"a": 1}}, "manifest"),
    ({"artifacts": [{"file": "fp32.onnx"}]}, "incomplete manifest"),
    ({"labels": None}, "manifest"), ({"labels": 5}, "manifest"),
])
def test_a_broken_manifest(build, changes, message):
    change(build, **changes)
    with pytest.raises(ArtifactError, match=rf"manifest\.json: .*{message}"):
        read_build(build.folder)


@pytest.mark.parametrize("changes", [
    {"top1": 9999.0}, {"top1": -1.0}, {"top1_ci": [95.0, 99.0]}, {"top1_ci": [89.0, 101.0]}, {"top1_n": 0},
    {"top1_n": None}, {"agreement_with_fp32": 100.5}, {"agreement_with_fp32": 50.0}, {"flips": 10_001}, {"flips": -1},
    {"flips_n": 0}, {"int8_mac_share": 1.5}, {"bytes": 0}, {"params": -7}, {"macs": -1}, {"seconds": -1.0}])
def test_a_figure_that_cannot_be(build, changes):
    change_artifact(build, **changes)
    with pytest.raises(ArtifactError, match=rf"incomplete manifest .*int8\.cpu\.onnx.*{next(iter(changes))[:4]}"):
        read_build(build.folder)


def test_a_manifest_without_files(build):
    change(build, artifacts=[])
    with pytest.raises(ArtifactError, match="no file is in it"):
        read_build(build.folder)


@pytest.mark.parametrize("key", ["model", "artifacts", "labels", "parity", "calibration", "environment"])
def test_a_manifest_that_lacks_a_key(build, key):
    document = json.loads((build.folder / MANIFEST).read_text())
    del document[key]
    (build.folder / MANIFEST).write_text(json.dumps(document))
    with pytest.raises(ArtifactError, match=f"incomplete manifest .*{key}"):
        read_build(build.folder)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff"])
def test_a_manifest_that_is_no_json_object(build, content):
    (build.folder / MANIFEST).write_bytes(content)
    with pytest.raises(ArtifactError, match=r"manifest\.json: .*; run `edge-se export"):
        read_build(build.folder)


def test_no_manifest(tmp_path):
    with pytest.raises(ArtifactError, match="no such file; run `edge-se export"):
        read_build(tmp_path)


@pytest.mark.parametrize("file", ["../secret", "/etc/passwd", "sub/int8.onnx", "..", "."])
def test_a_manifest_must_not_reach_outside_its_folder(build, file):
    change_artifact(build, file=file)
    with pytest.raises(ArtifactError, match="names a file outside its folder"):
        read_build(build.folder)


@pytest.mark.parametrize("file", [None, 5, ["int8.cpu.onnx"]])
def test_a_file_name_that_is_no_text(build, file):
    change_artifact(build, file=file)
    with pytest.raises(ArtifactError, match=r"manifest\.json"):
        read_build(build.folder)


def test_check_file(build):
    path = build.folder / ARTIFACT.file
    with pytest.raises(ArtifactError, match=r"int8\.cpu\.onnx: no such file"):
        check_file(build, ARTIFACT)
    path.write_bytes(b"content")
    assert check_file(build, replace(ARTIFACT, sha256=sha256_of(path))) == path
    with pytest.raises(ArtifactError, match="SHA-256 differs from the manifest's"):
        check_file(build, ARTIFACT)


class TestLocate:
    @pytest.fixture(autouse=True)
    def _here(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)

    def make(self, *names):
        for name in names:
            write_json(artifacts.BUILDS / name / MANIFEST, {})

    def test_the_only_build_needs_no_name(self):
        self.make("net")
        assert locate_build(None) == artifacts.BUILDS / "net"

    def test_a_name_and_a_folder(self, tmp_path):
        self.make("net", "other")
        assert locate_build("net") == artifacts.BUILDS / "net"
        assert locate_build(str(tmp_path / "build" / "net")) == tmp_path / "build" / "net"

    @pytest.mark.parametrize(("made", "asked", "message"), [
        ((), None, "build: holds no build; run `edge-se export"),
        (("a", "b"), None, r"build: holds 2 builds \(a, b\); choose with --model"),
        (("a",), "b", r"build/b: no build of 'b'; run `edge-se export --model b --int8` first"),
        (("mine",), "mine.onnx", r"mine.onnx: is a model, not a build of it; give --model mine, which"),
        (("mine",), "nets/mine.pt2", r"nets/mine.pt2: is a model, not a build of it; give --model mine, which"),
        (("a",), "b.onnx", r"build/b: no build of 'b'; run `edge-se export --model b.onnx --int8` first"),
        (("a",), "build", "build: holds no manifest.json; give a folder that `edge-se export` wrote"),
    ])
    def test_what_is_not_there(self, made, asked, message):
        self.make(*made)
        with pytest.raises(ArtifactError, match=message):
            locate_build(asked)
