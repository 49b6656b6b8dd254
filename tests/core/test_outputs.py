"""What may be written over: our own documents and builds, never a user's file, never what is being read."""

import json
from pathlib import Path

import numpy as np
import pytest

from edge_se.core import outputs
from edge_se.core.errors import ArtifactError
from edge_se.data.layouts.pixel_archive import write_archive

BENCH = outputs.document("bench")
OURS = {
    "document": (BENCH, "x.json", b'{"schema": "edge-se/bench/1"}'),
    "page": (outputs.PAGE, "x.html", b'<!DOCTYPE html>\n<meta name="generator" content="edge-se">'),
    "markdown": (outputs.MARKDOWN, "x.md", b"# Report: a\n\nNon-inferior when the drop is below 0.50 points"),
    "junit": (outputs.JUNIT, "x.xml", b'<?xml version="1.0"?>\n<testsuites name="edge-se gate">'),
    "figure": (outputs.FIGURE, "x.svg", b"<!-- Created with matplotlib -->"),
}
FOREIGN = {
    "weights": b"\x08\x00\x00\x00", "text": b"my notes", "other json": b'{"a": 1}', "a list": b"[1]",
    "not utf-8": b"\xff\xfe",
    "another schema": b'{"schema": "edge-se/export/1"}', "a schema that is none": b'{"schema": 1}',
}


@pytest.mark.parametrize(("kind", "name", "content"), OURS.values(), ids=OURS.keys())
def test_our_own_file_may_be_replaced_and_no_other(kind, name, content, tmp_path):
    path = tmp_path / name
    outputs.require_file(path, kind, "--out")  # new
    path.write_bytes(b"")
    outputs.require_file(path, kind, "--out")  # made by mktemp
    path.write_bytes(content)
    outputs.require_file(path, kind, "--out")
    with pytest.raises(ArtifactError, match="the command reads it; choose another file with --out"):
        outputs.require_file(path, kind, "--out", sources=(None, "se_resnet18", path))
    for foreign in FOREIGN.values():
        path.write_bytes(foreign)
        with pytest.raises(ArtifactError, match=f"exists and is not {kind.name}"):
            outputs.require_file(path, kind, "--out")
        assert path.read_bytes() == foreign
    with pytest.raises(ArtifactError, match="is a folder"):
        outputs.require_file(tmp_path, kind, "--out")


def test_two_options_may_not_name_one_file(tmp_path):
    (tmp_path / "sub").mkdir()
    for other in (tmp_path / "x.json", tmp_path / "sub" / ".." / "x.json"):
        with pytest.raises(ArtifactError, match="is named by two options; choose another file with --out"):
            outputs.require_file(tmp_path / "x.json", BENCH, "--out", beside=(None, other))
    outputs.require_file(tmp_path / "x.json", BENCH, "--out", beside=(None, tmp_path / "y.json"))


def test_markdown_is_added_to_a_text_alone(tmp_path):
    path = tmp_path / "x"
    for content in (b"# Summary\n", "Größe".encode(), b'{"mine": 1}'):
        path.write_bytes(content)
        outputs.require_file(path, outputs.PROSE, "--summary")
    for content in (b"\x08\x00", b"\xff\xfe", b'{"schema": "edge-se/export/1"}'):
        path.write_bytes(content)
        with pytest.raises(ArtifactError, match="exists and is not Markdown"):
            outputs.require_file(path, outputs.PROSE, "--summary")


def test_images_of_ours(tmp_path):
    path = tmp_path / "x.npz"
    write_archive(path, np.zeros((1, 3, 8, 8), np.uint8))
    outputs.require_file(path, outputs.PIXELS, "--out")
    np.savez(path, pixels=np.zeros(3))
    with pytest.raises(ArtifactError, match="not a calibration set"):
        outputs.require_file(path, outputs.PIXELS, "--out")


def folder_of(tmp_path, **files):
    for name, content in files.items():
        (tmp_path / name.replace("_", ".")).write_text(content)
    return tmp_path


def require(folder, *sources):
    outputs.require_folder(folder, {"manifest.json": "export"}, ("fp32.onnx", "int8.*.onnx"), sources=sources)


def test_a_folder_with_a_manifest_of_ours_may_be_written_to(tmp_path):
    require(tmp_path / "new")
    require(folder_of(tmp_path, README_md="mine"))
    require(folder_of(tmp_path, fp32_onnx="ours", manifest_json=json.dumps({"schema": "edge-se/export/1"})))
    with pytest.raises(ArtifactError, match="the command reads it"):
        require(tmp_path, tmp_path / "fp32.onnx")


@pytest.mark.parametrize("files", [{"fp32_onnx": "mine"}, {"int8_cpu_onnx": "mine"}, {"manifest_json": "{}"},
                                   {"fp32_onnx": "mine", "manifest_json": '{"schema": "edge-se/bench/1"}'}])
def test_any_other_folder_with_such_a_name_is_left_alone(tmp_path, files):
    folder_of(tmp_path, **files)
    with pytest.raises(ArtifactError, match=r"would be overwritten, and no manifest\.json beside it"):
        require(tmp_path)


def test_a_link_to_what_is_read_counts_as_it(tmp_path):
    (tmp_path / "mine.onnx").write_text("mine")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "fp32.onnx").symlink_to(tmp_path / "mine.onnx")
    with pytest.raises(ArtifactError, match="the command reads it"):
        require(tmp_path / "out", tmp_path / "mine.onnx")


@pytest.mark.parametrize(("place", "advice"), [
    ("/proc/new", "check the rights of /proc"), ("{here}/file/new", "move that away"),
    ("{here}/file/deeper/new", "move that away")])
def test_a_place_that_cannot_be_written_is_told_at_once(tmp_path, place, advice):
    (tmp_path / "file").write_text("mine")
    there = Path(place.format(here=tmp_path))
    with pytest.raises(ArtifactError, match=rf"new: cannot be written.*; {advice}, or choose another"):
        require(there)
    with pytest.raises(ArtifactError, match=rf"x\.json: cannot be written.*; {advice}, or choose another"):
        outputs.require_file(there / "x.json", BENCH, "--html")
    outputs.require_file(Path("/dev/null"), BENCH, "--html")
    require(tmp_path / "not" / "yet" / "there")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
