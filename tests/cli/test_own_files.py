"""No command writes over a user's own file: exit 2, before anything is written."""

import json

import pytest

from edge_se.cli import main


def run(*arguments):
    with pytest.raises(SystemExit) as exit_:
        main(list(arguments))
    return exit_.value.code


@pytest.fixture
def here(tmp_path, monkeypatch, tiny_onnx, calibration_npz):
    """A folder with the user's files, among them a model whose name is that of a build's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EDGE_SE_DATA", raising=False)
    monkeypatch.setenv("EDGE_SE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "fp32.onnx").write_bytes(tiny_onnx.content)
    (tmp_path / "model.onnx").write_bytes(tiny_onnx.content)
    (tmp_path / "calibration").mkdir()
    (tmp_path / "calibration" / "set.npz").write_bytes(calibration_npz.read_bytes())
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "page.html").write_text("<!DOCTYPE html><title>mine</title>")
    (tmp_path / "data.json").write_text('{"mine": 1}')
    (tmp_path / "x.safetensors").write_bytes(b"mine")
    for path in ("searched/candidates.cpu.json", "cifar-10-batches-bin/test_batch.bin", "trained/weights.safetensors"):
        (tmp_path / path).parent.mkdir()
        (tmp_path / path).write_text("mine")
    return tmp_path


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


EXPORT = ("export", "--int8", "--target", "cpu", "--effort", "quick", "--quiet", "--calibration", "calibration/set.npz")
REFUSED = {
    "export: the source itself": (*EXPORT, "--model", "fp32.onnx", "--out", "."),
    "export: a model beside the source": (*EXPORT, "--model", "model.onnx", "--out", "."),
    "bench: a model": ("bench", "--model", "built", "--out", "model.onnx"),
    "bench: a manifest": ("bench", "--model", "built", "--out", "built/manifest.json"),
    "bench: a page": ("bench", "--model", "built", "--html", "page.html"),
    "report: a page": ("report", "built", "--html", "page.html"),
    "report: notes": ("report", "built", "--markdown", "notes.txt"),
    "report: a document": ("report", "built", "--out", "data.json"),
    "report: what it reads": ("report", "built", "--bench", "bench.json", "--out", "bench.json"),
    "bench: what it reads": ("bench", "--model", "built", "--against", "bench.json", "--out", "bench.json"),
    "lint": ("lint", "built/int8.cpu.onnx", "--static", "--out", "data.json"),
    "lint: a model": ("lint", "built/int8.cpu.onnx", "--fix", "model.onnx"),
    "gate: a document": ("gate", "--model", "built", "--out", "data.json"),
    "gate: a plan": ("gate", "--plan", "--out", "data.json"),
    "gate: XML": ("gate", "--model", "built", "--junit", "notes.txt"),
    "gate: a model as a summary": ("gate", "--model", "built", "--summary", "model.onnx"),
    "gate: a manifest as a summary": ("gate", "--plan", "--summary", "built/manifest.json"),
    "report: one file for two": ("report", "built", "--html", "new.html", "--out", "new.html"),
    "sensitivity: one file for two": ("sensitivity", "--model", "built", "--figure", "n.svg", "--out", "n.svg"),
    "sensitivity: what it reads": ("sensitivity", "--model", "built", "--calibration", "bench.json", "--out",
                                   "bench.json"),
    "export: candidates": (*EXPORT, "--model", "model.onnx", "--placement", "auto", "--out", "searched"),
    "fetch: a file": ("data", "fetch", "--out", "notes.txt"),
    "fetch: batches": ("data", "fetch", "--out", "."),
    "train: weights": ("train", "--model", "resnet20", "--out", "trained"),
    "gate: baseline": ("gate", "--model", "built", "--update-baseline", "--baseline", "data.json"),
    "sensitivity": ("sensitivity", "--model", "built", "--out", "data.json"),
    "robustness": ("robustness", "--model", "built", "--out", "built/manifest.json"),
    "explain": ("explain", "--layers", "data.json", "--profile", "data.json", "--out", "data.json"),
    "synthesize": ("data", "synthesize", "--images", "10", "--steps", "1", "--out", "x.safetensors"),
}


def test_each_command_leaves_the_users_files_alone(here, capsys) -> None:
    assert run(*EXPORT, "--model", "model.onnx", "--out", "built") == 0
    (here / "bench.json").write_text(json.dumps({"schema": "edge-se/bench/1", "measurements": []}))
    for what, arguments in REFUSED.items():
        before = contents(here)
        capsys.readouterr()
        assert run(*arguments) == 2, what
        said = capsys.readouterr().err
        assert "choose another f" in said and said.count("error:") == 1, (what, said)
        assert contents(here) == before, what


def test_what_edge_se_wrote_is_replaced(here) -> None:
    for _ in range(2):
        assert run(*EXPORT, "--model", "model.onnx", "--out", "built") == 0
        assert run("bench", "--model", "built", "--min-duration", "0.05", "--out", "bench.json", "--quiet") == 0
        assert run("report", "built", "--bench", "bench.json", "--html", "report.html", "--markdown", "report.md",
                   "--out", "report.json", "--quiet") == 0


def test_a_bundle_does_not_take_the_place_of_a_folder_of_that_name(here, capsys) -> None:
    (here / "out" / "bundle").mkdir(parents=True)
    (here / "out" / "bundle" / "thesis.tex").write_text("mine")
    assert run(*EXPORT, "--model", "model.onnx", "--out", "out", "--bundle") == 2
    assert "thesis.tex: would be overwritten" in capsys.readouterr().err
    assert [path.name for path in (here / "out").rglob("*") if path.is_file()] == ["thesis.tex"]


def test_a_bundle_is_replaced_but_for_what_somebody_put_into_it(here, capsys) -> None:
    asked = (*EXPORT, "--model", "model.onnx", "--out", "out", "--bundle")
    assert run(*asked) == 0
    (here / "out" / "bundle" / "__pycache__").mkdir()
    assert run(*asked) == 0
    before = contents(here / "out" / "bundle")
    assert run(*EXPORT, "--model", "model.onnx", "--out", "out/bundle") == 2
    assert "out/bundle: is a bundle" in capsys.readouterr().err and contents(here / "out" / "bundle") == before
    (here / "out" / "bundle" / "photo.png").write_text("mine")
    assert run(*asked) == 2
    assert "photo.png: would be removed" in capsys.readouterr().err
    assert (here / "out" / "bundle" / "photo.png").read_text() == "mine"


@pytest.mark.parametrize(("options", "says"), [
    (("--calibration", "nothing"), "unknown calibration set 'nothing'"),
    (("--calibration", "synthetic-265"), "did you mean 'synthetic-256'?"),
    (("--calibration", "notes.txt"), "unknown calibration set 'notes.txt'")])
def test_a_calibration_set_that_is_none_is_told_before_the_model_is_read(here, capsys, monkeypatch, options, says):
    monkeypatch.setattr("edge_se.steps.export.load_source", lambda *arguments: pytest.fail("read"))
    assert run("export", "--model", "model.onnx", "--int8", "--quiet", *options) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(("arguments", "files"), [
    (("gate", "--plan", "--max-drop", "0.5"), {"--out": "p.json"}),
    (("report", "built"), {"--markdown": "r.md", "--out": "r.json"}),
    (("bench", "--model", "built", "--estimate", "orin-nano-8gb"), {"--out": "b.json"})])
def test_what_was_written_is_said_but_for_quiet(here, capsys, arguments, files) -> None:
    assert run(*EXPORT, "--model", "model.onnx", "--out", "built") == 0
    options = [word for option in files.items() for word in option]
    for quiet in ([], ["--quiet"]):
        capsys.readouterr()
        assert run(*arguments, *options, *quiet) == 0
        said = capsys.readouterr()
        told = [line for line in said.err.splitlines() if line.startswith("written to ")]
        assert told == [f"written to {name}" for name in ([] if quiet else files.values())]
        assert "written to" not in said.out and all((here / name).stat().st_size for name in files.values())
