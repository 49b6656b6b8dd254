"""The gate's document: every design, every verdict beside accuracy, and its outputs, on predictions that are known."""

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from edge_se.cli import main
from edge_se.core.artifacts import read_build
from edge_se.core.errors import EdgeSeError
from edge_se.data.cifar10 import BINARY_FOLDER, CLASSES
from edge_se.data.contents import Contents
from edge_se.data.dataset import Dataset
from edge_se.data.splits import ImageSet
from edge_se.evaluation import looks
from edge_se.evaluation.settings import Settings
from edge_se.reporting.tables import accuracy
from edge_se.reporting.verdict import explain
from edge_se.steps import gate as step
from edge_se.steps.export import export
from edge_se.steps.gate import gate
from edge_se.steps.gate_plan import plan

N = 4000
SCHEMAS = Path(__file__).parents[2] / "docs" / "schema"


@pytest.fixture(scope="module")
def built(tiny_onnx, calibration_npz, tmp_path_factory):
    """A build with two INT8 files, made without CIFAR-10."""
    folder = tmp_path_factory.mktemp("gate")
    (folder / "tiny.onnx").write_bytes(tiny_onnx.content)
    export(str(folder / "tiny.onnx"), int8=True, targets=["cpu", "tensorrt"], calibration=str(calibration_npz),
           out=folder / "build", accuracy=False)
    return folder / "build"


@pytest.fixture
def known(built, monkeypatch, tmp_path):
    """(wrong) -> gates judge N images of which each file gets those wrong that `wrong` says; the number evaluated.

    The first `different` ones are repeated to make them N.

    Each image carries its number in its pixels, so that predictions follow it through every order.
    """
    labels = (np.arange(N) % 10).astype(np.uint8)
    evaluated = []

    def make(wrong, different=N):
        numbers = np.arange(N) % different
        pixels = np.zeros((N, 3, 32, 32), np.uint8)
        pixels[:, 0, 0, 0], pixels[:, 0, 0, 1] = numbers // 256, numbers % 256

        def logits(model, images, advance, **how):
            own = images.pixels[:, 0, 0, 0].astype(int) * 256 + images.pixels[:, 0, 0, 1]
            evaluated.append((model.file_name, len(own)))
            answers = np.where(wrong(model.file_name, own), (labels[own] + 1) % 10, labels[own])
            return np.eye(10, dtype=np.float32)[answers]
        monkeypatch.setattr(looks, "logits_of", logits)
        images = ImageSet(name="known", split="test", pixels=pixels, labels=labels)
        monkeypatch.setattr(step, "require_dataset", lambda data, **told: Dataset(
            name="known", path=tmp_path / "data", layout="CIFAR-10", classes=CLASSES, splits=("test",), judging="test",
            contents=Contents(classes=CLASSES, splits={"test": lambda: images})))
        (tmp_path / "data" / BINARY_FOLDER).mkdir(parents=True, exist_ok=True)
        monkeypatch.chdir(tmp_path)
        return evaluated
    return make


def nothing(file, own):
    return np.zeros(len(own), bool)


def tenth(file, own):
    """INT8 loses every tenth image, all of class 3; FP32 none."""
    return (own % 10 == 3) & ("int8" in file)


def validate(document):
    Draft202012Validator(json.loads((SCHEMAS / "gate-1.json").read_text())).validate(document)


def test_all_images_in_one_look(built, known):
    evaluated = known(nothing)
    document = gate(str(built))
    validate(document)
    assert (document["verdict"], document["overall"], document["design"]) == ("pass", "pass", "fixed")
    assert (document["n"], document["images"], len(document["looks"])) == (N, N, 1)
    assert document["alpha"] == document["looks"][0]["alpha"] == 0.025
    assert [count for _, count in evaluated] == [N] * 3
    assert not {"latency", "size", "baseline"} & document.keys()


def chance(file, own):
    """Every file gets nine in ten wrong, by turns: what guessing gets."""
    return own // 10 % 10 != 0


def constant(file, own):
    """INT8 answers with one class: right where that is the label."""
    return (own % 10 != 9) & ("int8" in file)


def test_a_net_at_chance_does_not_pass(built, known, capsys):
    known(chance)
    document = gate(str(built))
    validate(document)
    assert (document["verdict"], document["drop_pp"], document["fp32_above_chance"]) == ("inconclusive", 0.0, False)
    assert "better than chance" in document["notes"][0] and all(row["notes"] for row in document["targets"])
    with pytest.raises(SystemExit) as exit_:
        main(["gate", "--model", str(built), "--quiet", "--sequential"])
    shown = capsys.readouterr().out
    assert exit_.value.code == 3
    assert "not surely better than chance on these" in shown and "note: FP32 is not surely better than chance" in shown


@pytest.mark.parametrize(("different", "told", "sequential"), [
    (10, True, False), (2000, True, True), (3950, True, False), (3990, False, False)])
def test_copies_are_told_since_they_narrow_the_interval(built, known, different, told, sequential):
    known(nothing, different)
    document = gate(str(built), wanted=Settings(sequential=sequential))
    validate(document)
    says = [f"only {different:,} of the 4,000 images differ: a copy tells nothing new, so the interval is too narrow"]
    assert all(row["notes"] == (says if told else []) for row in document["targets"])
    assert (document["n"] < N) == sequential


def test_what_passes_without_doubt_has_no_note(built, known, capsys, tmp_path):
    known(nothing)
    assert gate(str(built))["notes"] == []
    known(constant)
    document = gate(str(built), max_drop=95)
    assert document["verdict"] == "pass"
    assert any("agree on only 10.0 %" in note for note in document["notes"])
    with pytest.raises(SystemExit):
        main(["gate", "--model", str(built), "--max-drop", "95", "--quiet", "--summary", str(tmp_path / "s.md")])
    assert "note: INT8 and FP32 agree on only 10.0 %" in capsys.readouterr().out
    assert "agree on only 10.0 %" in (tmp_path / "s.md").read_text()


def test_a_clear_verdict_stops_early(built, known):
    evaluated = known(tenth)
    document = gate(str(built), wanted=Settings(sequential=True))
    validate(document)
    assert (document["verdict"], document["design"]) == ("fail", "sequential")
    assert document["n"] < N / 2 and {count for _, count in evaluated} == {N // 10}
    assert [look["verdict"] for look in document["looks"]] == ["inconclusive"] * (len(document["looks"]) - 1) + ["fail"]
    assert document["looks"][-1]["n"] == document["n"] == sum(count for file, count in evaluated if "cpu" in file)
    assert document["drop_pp"] == pytest.approx(10, abs=4)


def test_only_the_files_that_are_undecided_go_on(built, known):
    evaluated = known(lambda file, own: tenth(file, own) & ("tensorrt" in file) | (own % 200 == 0) & ("cpu" in file))
    document = gate(str(built), wanted=Settings(sequential=True))
    cpu, tensorrt = document["targets"]
    assert (tensorrt["verdict"], cpu["verdict"], document["verdict"]) == ("fail", "inconclusive", "fail")
    assert (cpu["n"], len(cpu["looks"])) == (N, 10) and tensorrt["n"] < N / 2
    assert sum(count for file, count in evaluated if "tensorrt" in file) == tensorrt["n"]


def test_sequential_and_whole_agree_at_the_last_image(built, known):
    known(lambda file, own: (own % 200 == 0) & ("int8" in file))
    whole, sequential = gate(str(built)), gate(str(built), wanted=Settings(sequential=True))
    assert {(row["broken"], row["fixed"], row["n"]) for row in (whole, sequential)} == {(N // 200, 0, N)}
    low, high = whole["ci_pp"]
    assert sequential["ci_pp"][0] < low < high < sequential["ci_pp"][1]  # repeated: it holds at every look


def test_the_class_that_lost_is_shown_alone(built, known, capsys):
    known(tenth)
    document = gate(str(built), max_drop=20)
    assert [item["class"] for item in document["classes"] if item["significant"]] == ["cat"]
    assert document["classes"][3]["drop_pp"] == 100 and document["classes"][2]["drop_pp"] == 0
    with pytest.raises(SystemExit):
        main(["gate", "--model", str(built), "--max-drop", "20", "--quiet"])
    shown = capsys.readouterr().out
    assert shown.count("class cat: drop +100.00 points (400 broken, 0 fixed of 400") == 2
    assert shown.count("  class ") == 2


def test_limits_have_verdicts_of_their_own(built, known, tmp_path):
    known(nothing)
    build = read_build(built)
    rows = [{"sha256": item.sha256, "target": item.target, "backend": "onnxruntime", "batch": 1, "threads": 1,
             "estimated": False, "p50_ms": 4.0 if item.precision == "fp32" else 3.0,
             "round_p50_ms": [4.0 if item.precision == "fp32" else 3.0] * 9} for item in build.artifacts
            if item.target != "tensorrt"]
    (tmp_path / "bench.json").write_text(json.dumps({"schema": "edge-se/bench/1", "measurements": rows}))
    document = gate(str(built), wanted=Settings(max_latency_ratio=0.5, max_size_ratio=0.9),
                    bench=tmp_path / "bench.json")
    validate(document)
    assert [(row["target"], row["verdict"]) for row in document["latency"]] == [
        ("cpu", "fail"), ("tensorrt", "inconclusive")]
    assert [row["verdict"] for row in document["size"]] == ["pass", "pass"]
    assert (document["verdict"], document["overall"]) == ("pass", "fail")


def test_a_baseline_is_written_only_when_asked_and_compared_with(built, known, tmp_path):
    known(nothing)
    gate(str(built), baseline=None)
    assert not (tmp_path / "bench").exists()
    gate(str(built), update_baseline=True)
    (path,) = (tmp_path / "bench" / "baselines").glob("*.json")
    before = path.read_bytes()
    same = gate(str(built), baseline=path)
    validate(same)
    assert [(row["verdict"], row["drop_pp"]) for row in same["baseline"]] == [("pass", 0.0)] * 2
    known(lambda file, own: own % 10 == 3)  # FP32 lost them, too: the gate against it sees nothing
    worse = gate(str(built), baseline=path)
    assert (worse["verdict"], worse["overall"]) == ("pass", "fail")
    assert [row["verdict"] for row in worse["baseline"]] == ["fail", "fail"]
    assert path.read_bytes() == before


@pytest.mark.parametrize(("told", "verdict"), [
    ({"runtime": "openvino"}, "inconclusive"), ({"version": "1.0", "device": "another processor"}, "pass"),
    (None, "pass")])
def test_a_baseline_of_another_runtime_decides_nothing(built, known, tmp_path, told, verdict):
    """Another version or processor is compared, since that may be the purpose; an earlier edge-se noted no runtime."""
    known(nothing)
    path = tmp_path / "baseline.json"
    gate(str(built), baseline=path, update_baseline=True)
    kept = json.loads(path.read_text())
    row = next(row for row in kept["targets"] if row["target"] == "cpu")
    row["measured_by"] = told and row["measured_by"] | told
    path.write_text(json.dumps(kept))
    document = gate(str(built), baseline=path)
    validate(document)
    rows = {row["target"]: row for row in document["baseline"]}
    assert (rows["cpu"]["verdict"], rows["tensorrt"]["verdict"], document["overall"]) == (verdict, "pass", verdict)
    if verdict == "inconclusive":
        assert "was judged in OpenVINO, and this file in onnxruntime" in rows["cpu"]["why"]


def test_each_file_has_fp32_on_its_own_images(built, known):
    """In looks one file is decided on fewer images than another, and FP32 is not as accurate on both."""
    known(lambda file, own: (own % 7 == 3) if file == "fp32.onnx" else (own % 7 == 3) | (
        (own % 10 == 3) & ("cpu" in file)))
    document = gate(str(built), max_drop=0.5, wanted=Settings(sequential=True))
    validate(document)
    cpu, tensorrt = sorted(document["targets"], key=lambda row: row["target"])
    assert cpu["n"] < tensorrt["n"] and cpu["fp32_top1"] != tensorrt["fp32_top1"] == tensorrt["top1"]
    words = "\n".join(explain(document))
    for row in (cpu, tensorrt):
        assert row["fp32_top1"] - row["top1"] == pytest.approx(row["drop_pp"])
        assert f"top-1 {accuracy(row['top1'], row['top1_ci'])} %, FP32 {row['fp32_top1']:.2f} %" in words


def test_what_fails_is_no_baseline(built, known, tmp_path):
    known(tenth)
    assert gate(str(built), update_baseline=True)["verdict"] == "fail"
    assert not (tmp_path / "bench").exists()


@pytest.mark.parametrize(("arguments", "says"), [
    ({"wanted": Settings(sequential=True), "update_baseline": True}, "--sequential"),
    ({"wanted": Settings(max_latency_ratio=0.5)}, "--max-latency-ratio: no measurement"),
    ({"bench": Path("bench.json")}, "--bench: no limit"), ({"config": Path("no.toml")}, "no.toml")])
def test_what_cannot_be_judged_is_refused_before_any_image(built, known, arguments, says):
    evaluated = known(nothing)
    with pytest.raises(EdgeSeError, match=says):
        gate(str(built), **arguments)
    assert not evaluated


@pytest.mark.parametrize(("wrong", "arguments", "code"), [
    (nothing, [], 0), (tenth, [], 1), (nothing, ["--max-drop", "0"], 3), (tenth, ["--sequential"], 1),
    (nothing, ["--max-size-ratio", "0.01"], 1), (nothing, ["--preset", "strict"], 0)])
def test_exit_codes_and_files_for_ci(built, known, tmp_path, capsys, wrong, arguments, code):
    known(wrong)
    (tmp_path / "summary.md").write_text("earlier\n")
    with pytest.raises(SystemExit) as exit_:
        main(["gate", "--model", str(built), "--junit", str(tmp_path / "gate.xml"), "--summary",
              str(tmp_path / "summary.md"), "--json", "--quiet", *arguments])
    assert exit_.value.code == code
    document = json.loads(capsys.readouterr().out)
    validate(document)
    assert {"pass": 0, "fail": 1, "inconclusive": 3}[document["overall"]] == code
    summary = (tmp_path / "summary.md").read_text()
    assert summary.startswith("earlier\n### ") and document["overall"] in summary.splitlines()[1]
    suites = ElementTree.parse(tmp_path / "gate.xml").getroot()
    assert sum(int(suite.get("failures")) + int(suite.get("errors")) for suite in suites) == (0 if code == 0 else 2)


def test_a_plan_needs_no_data(built, monkeypatch, tmp_path, capsys):
    monkeypatch.delenv("EDGE_SE_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    for arguments, sizes in ((["--discordance", "1"], 1), ([], 4), (["--model", str(built)], None)):
        with pytest.raises(SystemExit) as exit_:
            main(["gate", "--plan", "--json", *arguments])
        assert exit_.value.code == 0
        document = json.loads(capsys.readouterr().out)
        Draft202012Validator(json.loads((SCHEMAS / "gate-plan-1.json").read_text())).validate(document)
        assert sizes in (None, len(document["rows"])) and document["n"] == max(row["n"] for row in document["rows"])
    flips = {100 * max(item.flips, 3) / item.flips_n for item in read_build(built).artifacts
             if item.precision == "int8"}
    assert [row["discordance_pct"] for row in document["rows"]] == pytest.approx(sorted(flips))
    with pytest.raises(SystemExit):
        main(["gate", "--plan", "--discordance", "1"])
    assert capsys.readouterr().out.splitlines()[1].split() == ["1", "%", "4,580", "90.2", "%"]


@pytest.mark.parametrize(("flips", "counted"), [(0, 3), (1, 3), (3, 3), (9, 9)])
def test_a_plan_from_few_flips_leaves_room_for_three(built, tmp_path, flips, counted):
    manifest = json.loads((built / "manifest.json").read_text())
    for item in manifest["artifacts"]:
        if item["precision"] == "int8":
            item |= {"flips": flips, "flips_n": 300, "agreement_with_fp32": 100 - flips / 3}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    document = plan(str(tmp_path), wanted=Settings(max_drop=1.0))
    assert [row["discordance_pct"] for row in document["rows"]] == pytest.approx([counted / 3])


def test_a_sequential_plan_counts_on_the_level_of_its_last_look(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gate.toml").write_text("sequential = true\n")
    found = {}
    for name, arguments in {"fixed": [], "asked": ["--sequential"], "of the file": ["--config", "gate.toml"],
                            "not after all": ["--config", "gate.toml", "--all-images"]}.items():
        with pytest.raises(SystemExit):
            main(["gate", "--plan", "--json", "--max-drop", "5", "--discordance", "5", *arguments])
        found[name] = json.loads(capsys.readouterr().out)
        Draft202012Validator(json.loads((SCHEMAS / "gate-plan-1.json").read_text())).validate(found[name])
    assert [document["design"] for document in found.values()] == ["fixed", "sequential", "sequential", "fixed"]
    assert found["asked"]["rows"] == found["of the file"]["rows"] and found["fixed"]["rows"] == found[
        "not after all"]["rows"]
    assert found["asked"]["n"] > found["fixed"]["n"] and found["asked"]["alpha"] == found["fixed"]["alpha"]


def test_a_share_of_an_unknown_accuracy_cannot_be_planned(built, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for arguments in ([], ["--model", str(built)]):
        with pytest.raises(SystemExit) as exit_:
            main(["gate", "--plan", "--preset", "mlperf99", *arguments])
        assert exit_.value.code == 2 and "--max-drop" in capsys.readouterr().err
