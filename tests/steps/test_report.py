"""`report` on real builds: what it reads, checks, refuses and writes."""

import json
import shutil

import numpy as np
import pytest

from edge_se.core.errors import ArtifactError, EdgeSeError, ModelError
from edge_se.steps import report as step
from edge_se.steps.bench import Options, bench
from edge_se.steps.report import report


@pytest.fixture(scope="module")
def exported(tiny_build):
    """tiny.onnx and beside it `built`, a build of it that was made without CIFAR-10."""
    return tiny_build("built", targets=["cpu", "tensorrt"], effort="quick").folder.parent


@pytest.fixture
def build(exported, tmp_path, monkeypatch):
    """The folder of a build that a test may alter."""
    monkeypatch.delenv("EDGE_SE_DATA", raising=False)
    return shutil.copytree(exported / "built", tmp_path / "built")


@pytest.fixture
def with_images(instead_of_cifar10):
    """Random images in the place of CIFAR-10's test set."""
    instead_of_cifar10(step, 300)


def test_without_cifar10_it_says_what_is_missing(build, tmp_path) -> None:
    pytest.importorskip("jinja2", reason="jinja2 is not installed: pip install 'edge-se[report]'")
    paths = {"html": tmp_path / "r.html", "markdown": tmp_path / "r.md", "out": tmp_path / "r.json"}
    document = report([str(build)], **paths)
    assert json.loads(paths["out"].read_text()) == document
    assert all(path.stat().st_size > 1000 for path in paths.values())
    assert document["builds"][0]["verdict"] == "not judged"
    assert document["builds"][0]["calibration"]["file"] == "int8.cpu.onnx"
    assert "edge-se data fetch" in document["missing"][0]["how"]
    for path in paths.values():
        assert str(tmp_path) not in path.read_text(), "no path of this machine leaves it"


def test_with_images_files_are_judged(build, with_images, tmp_path) -> None:
    (found,) = report([str(build)], data=tmp_path, max_drop=50)["builds"]
    assert found["judged_on"] == "random-test" and found["verdict"] == "inconclusive"  # FP32 guesses
    assert {row["flips_n"] for row in found["files"][1:]} == {300} and found["files"][0]["top1"] is not None
    flipped = found["gallery"]["flipped"]
    assert max(row["flips"] for row in found["files"]) <= flipped <= sum(row["flips"] for row in found["files"])
    assert len(found["gallery"]["shown"]) == min(24, flipped)


def test_a_bench_beside_the_build_is_taken_and_a_given_one_instead_of_it(build, tmp_path) -> None:
    options = Options(backend="onnxruntime", min_duration=0.05)
    (build / "bench.json").write_text(json.dumps(bench("cpu", model=str(build), options=options)))
    beside = report([str(build)])
    assert {row["file"] for row in beside["latency"]["rows"]} >= {"fp32.onnx", "int8.cpu.onnx"}
    assert beside["builds"][0]["fastest"]["backend"] == "onnxruntime"
    given = json.loads((build / "bench.json").read_text())
    given["measurements"] = given["measurements"][:1]
    (tmp_path / "given.json").write_text(json.dumps(given))
    assert len(report([str(build)], bench=[tmp_path / "given.json"])["latency"]["rows"]) == 1


def test_two_builds_of_one_model_are_told_apart(build, tmp_path) -> None:
    shutil.copytree(build, tmp_path / "again")
    document = report([str(build), str(tmp_path / "again")])
    assert [found["name"] for found in document["builds"]] == ["tiny (built)", "tiny (again)"]
    twice = report([str(build), str(build)])
    assert [found["name"] for found in twice["builds"]] == ["tiny (built) 1", "tiny (built) 2"]


def test_an_altered_file_is_refused_and_nothing_written(build, tmp_path) -> None:
    path = build / "int8.cpu.onnx"
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(ArtifactError, match="SHA-256 differs"):
        report([str(build)], out=tmp_path / "r.json")
    assert not (tmp_path / "r.json").exists()


def test_a_calibration_table_of_another_export_is_not_shown(build) -> None:
    path = build / "manifest.json"
    document = json.loads(path.read_text())
    document["calibration"]["table_sha256"] = "0" * 64
    path.write_text(json.dumps(document))
    found = report([str(build)])
    assert found["builds"][0]["calibration"] is None
    assert any(item["section"].startswith("Calibration") for item in found["missing"])


def test_a_file_that_answers_with_other_classes_is_refused(build, with_images, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(step, "logits_of", lambda model, images, advance: np.zeros((len(images), 11), np.float32))
    with pytest.raises(ModelError, match="answers with 11 classes, its manifest names 10"):
        report([str(build)], data=tmp_path)


def test_a_file_name_in_the_place_of_a_build_is_explained() -> None:
    with pytest.raises(EdgeSeError, match=r"report\.json: is no build; .*--out FILE"):
        report(["report.json"])


@pytest.mark.parametrize("margin", [-1.0, 101.0, float("nan")])
def test_a_margin_that_is_none_is_refused_without_images_too(build, margin) -> None:
    with pytest.raises(EdgeSeError, match=r"--max-drop: .*not between 0 and 100"):
        report([str(build)], max_drop=margin)


def test_nothing_is_evaluated_when_a_given_document_is_broken(build, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(step, "logits_of", lambda *anything: pytest.fail("evaluated"))
    (tmp_path / "s.json").write_text("{}")
    with pytest.raises(EdgeSeError, match="sensitivity --out FILE"):
        report([str(build)], sensitivity=[tmp_path / "s.json"])
