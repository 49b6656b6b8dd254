"""`robustness` as a command: two tables or one JSON document, a file where asked for, one message for bad input."""

import json

import pytest

from edge_se.cli import main
from edge_se.reporting.report.views import APART

FILES = 3


def run(*arguments) -> int:
    with pytest.raises(SystemExit) as exit_:
        main([str(argument) for argument in arguments])
    return exit_.value.code


@pytest.fixture(scope="module")
def built(tiny_build):
    return tiny_build("built", targets=["cpu", "tensorrt"], effort="quick").folder


@pytest.fixture
def with_images(instead_of_cifar10):
    """Random images in the place of CIFAR-10."""
    from edge_se.steps import robustness

    instead_of_cifar10(robustness, 40)


def test_it_prints_tables_and_writes_the_document(built, with_images, tmp_path, capsys) -> None:
    out = tmp_path / "r.json"
    asked = ("robustness", "--model", built, "--images", 20, "--corruptions", "shot_noise,defocus_blur", "--severities",
             "1,5", "--split", "validation", "--seed", 1, "--quiet")
    assert run(*asked) == 0
    narrow = capsys.readouterr().out.splitlines()
    assert all(len(line) <= 100 for line in narrow[:-1]) and all(len(line.split()) > 4 for line in narrow[1:6])
    assert "int8.cpu drop" in narrow[0] and "int8.cpu flips" not in narrow[0]
    assert run(*asked, "--wide", "--out", out) == 0
    printed = capsys.readouterr().out.splitlines()
    document = json.loads(out.read_text())
    assert (document["n"], document["seed"], document["split"]) == (20, 1, "validation")
    assert all(f"{label} {what}" in printed[0] for label in ("int8.cpu", "int8.tensorrt") for what in APART)
    assert printed[0].startswith("corruption") and [line.split()[:2] for line in printed[1:6]] == [
        ["clean", "0"], ["shot_noise", "1"], ["shot_noise", "5"], ["defocus_blur", "1"], ["defocus_blur", "5"]]
    assert printed[7].startswith("file") and [line.split()[0] for line in printed[8 : 8 + FILES]] == [
        "fp32", "int8.cpu", "int8.tensorrt"]
    assert f"{document['conditions'][1]['files'][0]['top1']:.2f} (" in printed[2]
    assert printed[-1].startswith("20 images of random-validation; severity 0")
    assert run(*asked, "--json") == 0
    assert json.loads(capsys.readouterr().out) == document


def test_its_document_goes_into_a_report(built, with_images, tmp_path, capsys, monkeypatch) -> None:
    pytest.importorskip("jinja2", reason="jinja2 is not installed: pip install 'edge-se[report]'")
    monkeypatch.delenv("EDGE_SE_DATA", raising=False)
    robust, html = tmp_path / "r.json", tmp_path / "r.html"
    assert run("robustness", "--model", built, "--images", 8, "--corruptions", "jpeg_compression", "--out", robust,
               "--quiet") == 0
    assert run("report", built, "--robustness", robust, "--html", html, "--json", "--quiet") == 0
    assert html.read_text().count('class="chart small"') == 1
    printed = capsys.readouterr().out
    document = json.loads(printed[printed.index("\n{") :])
    assert len(document["builds"][0]["robustness"][0]["conditions"]) == 6
    robust.write_text("{}")
    assert run("report", built, "--robustness", robust, "--html", html) == 2
    assert "robustness --out FILE" in capsys.readouterr().err


@pytest.mark.parametrize(("arguments", "says"), [
    (("--severities", "1,zwei"), "write 1,3,5"),
    (("--severities", "6"), "between 1 and 5"),
    (("--corruptions", "fog"), "known: defocus_blur"),
    (("--split", "train"), "--split"),
    (("--images", "0"), "--images"),
    (("--model", "nothing"), "edge-se export"),
    ((), "data fetch"),
])
def test_bad_input_is_one_message(arguments, says, built, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.delenv("EDGE_SE_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    model = () if "--model" in arguments else ("--model", built)
    assert run("robustness", *model, *arguments) == 2
    said = capsys.readouterr().err
    assert says in said and "Traceback" not in said
