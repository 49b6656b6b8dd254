"""`gate --device`: judged by a device's answers, beside FP16 there and onnxruntime here; images go over once."""

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from edge_se.backends.machines import link
from edge_se.backends.machines.choice import Place
from edge_se.cli import main
from edge_se.core.artifacts import read_build
from edge_se.core.errors import EdgeSeError
from edge_se.evaluation.settings import Settings
from edge_se.steps import gate as step
from edge_se.steps.gate import gate

N = 700
LOOPBACK = Place(device="loopback")
SCHEMA = Path(__file__).parents[2] / "docs" / "schema" / "gate-1.json"


@pytest.fixture(scope="module")
def built(tiny_build):
    return tiny_build("build", targets=["cpu", "tensorrt"], fp16=True).out


@pytest.fixture
def known(own_answers, monkeypatch, tmp_path):
    """Gates judge N images, nearly all of which FP32 gets right."""
    own_answers(step, N)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDGE_SE_CACHE", str(tmp_path / "cache"))  # of this machine, and of the one behind the agent


@pytest.fixture
def sent(monkeypatch):
    """Bytes of images that went over, part after part."""
    parts, whole = [], link._Connection.exchange

    def exchange(self, header, payload=b"", **settings):
        if header["op"] == "put" and header["kind"] == "images":
            parts.append(len(payload))
        return whole(self, header, payload, **settings)
    monkeypatch.setattr(link._Connection, "exchange", exchange)
    return parts


def test_a_device_gives_the_verdict_of_this_machine(built, known, sent):
    here, there = gate(built, max_drop=5), gate(built, max_drop=5, place=LOOPBACK)
    Draft202012Validator(json.loads(SCHEMA.read_text())).validate(there)
    assert sum(sent) == N * 3072 and "device" not in here and "on_device" not in here
    assert there["device"]["runtimes"]["onnxruntime"]["version"] and "flags" not in there["device"]
    row, = there["targets"]  # the file for TensorRT has no runtime there
    same = next(one for one in here["targets"] if one["target"] == "cpu")
    for key in ("verdict", "n", "broken", "fixed", "drop_pp", "ci_pp", "top1", "classes"):
        assert row[key] == same[key], key
    told = row["on_device"]
    assert (told["top1"], told["top1_here"], told["fp32"]["top1"]) == (row["top1"], row["top1"], here["fp32_top1"])
    assert [one["runtime_flips"]["flips"] for one in (told, told["fp32"], told["fp16"])] == [0, 0, 0]
    assert told["fp16"]["against_fp32"]["n"] == told["against_fp16"]["n"] == N
    assert told["fp16"]["against_fp32"]["drop_pp"] == pytest.approx(here["fp32_top1"] - told["fp16"]["top1"])
    assert row["measured_by"]["runtime"] == "onnxruntime" and row["measured_by"]["floats"] == "f32"


@pytest.mark.parametrize("kind", ["floor", "size", "latency"])
def test_a_file_that_does_not_run_there_has_no_verdict_beside_accuracy_either(built, known, tmp_path, kind):
    bench = tmp_path / "bench.json"
    measured, name = [], gate(built, max_drop=20, place=LOOPBACK)["device"]["name"]
    for item in read_build(Path(built)).artifacts:
        measured += [{"sha256": item.sha256, "target": item.target, "backend": "onnxruntime", "batch": 1, "threads": 1,
                      "p50_ms": 1.0, "round_p50_ms": [1.0] * 9, "estimated": False}] * (item.target != "tensorrt")
    bench.write_text(json.dumps({"schema": "edge-se/bench/1", "measurements": measured,
                                 "environment": {"device": {"name": name}}}))
    wanted = {"floor": {"min_top1": 50}, "size": {"max_size_ratio": 5}, "latency": {"max_latency_ratio": 2}}[kind]
    document = gate(built, wanted=Settings(max_drop=20, **wanted), bench=bench if kind == "latency" else None,
                    place=LOOPBACK)
    assert [(row["target"], row["verdict"]) for row in document[kind]] == [("cpu", "pass")]
    assert document["overall"] == "pass"


def test_later_runs_of_either_design_send_no_image(built, known, sent):
    settings = Settings(max_drop=20, sequential=True)
    early = gate(built, wanted=settings, place=LOOPBACK)
    assert early["n"] < N and sum(sent) == early["n"] * 3072 == early["on_device"]["runtime_flips"]["n"] * 3072
    whole = gate(built, max_drop=20, place=LOOPBACK)
    assert whole["n"] == N and sum(sent) == N * 3072
    sent.clear()
    for wanted in (settings, Settings(max_drop=20)):
        assert gate(built, wanted=wanted, place=LOOPBACK)["verdict"] == "pass"
    assert not sent


def test_words_and_outputs_tell_of_the_device(built, known, capsys, tmp_path):
    with pytest.raises(SystemExit) as ended:
        main(["gate", "--model", str(built), "--max-drop", "20", "--device", "loopback",
              "--summary", str(tmp_path / "s.md")])
    shown, summary = capsys.readouterr(), (tmp_path / "s.md").read_text()
    assert ended.value.code == 0
    for text in (shown.out, summary):
        assert "on the device: top-1 " in text and " %, FP16 " in text
        assert "against FP16 there" in text and f"0 of {N} answers (0.00 %, 0.00 to 0.5" in text
    assert "int8.tensorrt.onnx: not judged: " in shown.err


@pytest.mark.parametrize(("place", "told"), [
    (Place(device="jetsn"), "did you mean 'jetson'"), (Place(host="orin"), "names a Jetson, and the device is 'cpu'"),
    (Place(python="/usr/bin/python3"), "is for a device with an agent in Python")])
def test_places_that_are_none(built, known, place, told):
    with pytest.raises(EdgeSeError, match=told):
        gate(built, place=place)


def test_a_devices_baseline_has_a_name_of_its_own(built, known, tmp_path):
    (tmp_path / "baselines").mkdir()
    gate(built, max_drop=5, place=LOOPBACK, update_baseline=True, baseline=tmp_path / "baselines")
    path, = (tmp_path / "baselines").iterdir()
    document = json.loads(path.read_text())
    assert document["targets"][0]["measured_by"]["device"] and document["board"]
    assert path.name.startswith(f"{document['model']}.") and path.name != f"{document['model']}.json"
    again = gate(built, max_drop=5, place=LOOPBACK, baseline=tmp_path / "baselines")
    assert [(row["verdict"], row["baseline"]) for row in again["baseline"]] == [("pass", str(path))]
    with pytest.raises(EdgeSeError, match=r"is a baseline of .+, and this is no device; give the one of this board"):
        gate(built, max_drop=5, baseline=path)
    path.write_text(json.dumps(document | {"board": "another"}))
    with pytest.raises(EdgeSeError, match="is a baseline of another, and this is"):
        gate(built, max_drop=5, place=LOOPBACK, baseline=path)


def test_a_bench_of_another_device_is_refused(built, known, tmp_path):
    bench = tmp_path / "bench.json"
    bench.write_text(json.dumps({"schema": "edge-se/bench/1", "measurements": [],
                                 "environment": {"device": {"name": "another board"}}}))
    with pytest.raises(EdgeSeError, match="was measured on another board, and files are judged on "):
        gate(built, wanted=Settings(max_latency_ratio=0.9), bench=bench, place=LOOPBACK)


def test_a_plan_needs_no_device(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["gate", "--plan", "--device", "loopback"])
    assert ended.value.code == 2 and "--device" in capsys.readouterr().err


def test_a_build_without_a_file_for_the_device_is_told(tiny_build, known):
    build = tiny_build("build", targets=["tensorrt"]).out
    with pytest.raises(EdgeSeError, match=r"none of its INT8 files runs there: int8.tensorrt.onnx: not judged: "):
        gate(build, place=LOOPBACK)
