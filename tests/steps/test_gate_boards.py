"""A gate of several devices: each by itself, in its own column, whatever becomes of the others."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from jsonschema import Draft202012Validator

from edge_se.backends.machines.choice import Place
from edge_se.cli import main
from edge_se.core.errors import EdgeSeError, UnavailableError
from edge_se.steps import gate as step
from edge_se.steps.gate_boards import gate_boards, places_of

PLACES = [Place(device="ssh://a"), Place(device="jetson", host="orin"), Place(device="cuda", name="desk")]


def answers(**verdicts):
    """A gate whose boards have these verdicts; one that is None fails."""
    def gate(place):
        verdict = verdicts[place.shown.replace("://", "_").replace(" ", "_")]
        if verdict is None:
            raise UnavailableError("it does not answer", where=place.shown)
        return {"model": "net", "verdict": verdict, "overall": verdict, "of": place.shown}
    return gate


@pytest.mark.parametrize(("verdicts", "overall", "of"), [
    (("pass", "pass", "pass"), "pass", "ssh://a"), (("pass", "fail", "inconclusive"), "fail", "jetson orin"),
    (("pass", None, "pass"), "inconclusive", "ssh://a"), ((None, "fail", "pass"), "fail", "jetson orin"),
    ((None, None, "pass"), "inconclusive", "desk")])
def test_the_worst_board_decides_and_a_failed_one_shows_nothing(verdicts, overall, of):
    names = dict(zip(("ssh_a", "jetson_orin", "desk"), verdicts))
    document = gate_boards(PLACES, answers(**names))
    assert (document["overall"], document["of"]) == (overall, of)
    assert [board["name"] for board in document["boards"]] == ["ssh://a", "jetson orin", "desk"]
    assert ["error" in board for board in document["boards"]] == [verdict is None for verdict in verdicts]


def test_where_all_fail_the_first_error_is_the_gates():
    with pytest.raises(UnavailableError, match="ssh://a: it does not answer"):
        gate_boards(PLACES, answers(ssh_a=None, jetson_orin=None, desk=None))


def test_a_file_of_boards(tmp_path):
    path = tmp_path / "boards.toml"
    path.write_text('[[boards]]\ndevice = "jetson"\nhost = "orin"\nname = "Orin"\n[[boards]]\ndevice = "ssh://a"\n'
                    'python = "/usr/bin/python3"\n')
    assert places_of([str(path), "cuda"], python="py") == [
        Place(device="jetson", host="orin", name="Orin"), Place(device="ssh://a", python="/usr/bin/python3"),
        Place(device="cuda", python="py")]


@pytest.mark.parametrize(("content", "told"), [
    ("[[boards]]\ndevise = 'cuda'\n", "did you mean 'device'"), ("boards = []\n", "boards"), ("[[boards]", "TOML"),
    ("[[boards]]\ndevice = 'cuda'\n[[boards]]\ndevice = 'cuda'\n", "'cuda' is given twice; give each board a name"),
    (None, "no such file")])
def test_files_that_are_none(tmp_path, content, told):
    path = tmp_path / "boards.toml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(EdgeSeError, match=told):
        places_of([str(path)])


@pytest.mark.parametrize("option", [["--update-baseline"], ["--bench", "bench.json", "--max-latency-ratio", "1"]])
def test_what_is_of_one_device_is_refused_for_several(option, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["gate", "--device", "loopback", "--device", "cuda", *option])
    assert ended.value.code == 2 and f"{option[0]}: is of one device" in capsys.readouterr().err


def test_a_board_that_cannot_be_reached_does_not_take_the_other_with_it(tiny_build, own_answers, capsys, tmp_path,
                                                                        monkeypatch):
    build = tiny_build("build", targets=["cpu"]).out
    own_answers(step, 300)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDGE_SE_CACHE", str(tmp_path / "cache"))
    command = ["gate", "--model", str(build), "--max-drop", "20", "--device", "loopback", "--device",
               "ssh://no-such-host.invalid", "--out", "gate.json", "--junit", "gate.xml", "--summary", "s.md"]
    with pytest.raises(SystemExit) as ended:
        main([*command, "--annotate"])
    shown, document = capsys.readouterr().out, json.loads(Path("gate.json").read_text())
    assert ended.value.code == 3 and document["verdict"] == "pass" and document["overall"] == "inconclusive"
    schema = json.loads((Path(__file__).parents[2] / "docs" / "schema" / "gate-1.json").read_text())
    Draft202012Validator(schema).validate(document)
    assert "on ssh://no-such-host.invalid: not judged: " in shown and "on loopback: pass" in shown
    assert "loopback  ssh://no-such-host.invalid" in " ".join(shown.split()).replace(" ", "  ")
    assert "on all 2 devices: inconclusive" in shown and "::warning title=tiny on ssh" in shown
    suites = ElementTree.parse("gate.xml").getroot()
    assert [(suite.get("tests"), suite.get("errors")) for suite in suites] == [("1", "0"), ("1", "1")]
    assert "not judged" in Path("s.md").read_text() and "on loopback: ✅ pass" in Path("s.md").read_text()
