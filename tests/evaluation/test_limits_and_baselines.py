"""What is judged beside accuracy: latency and size ratios, and a baseline that is paired image by image."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

from edge_se.core.artifacts import Artifact
from edge_se.core.assets import asset
from edge_se.core.errors import EdgeSeError
from edge_se.evaluation.baseline import board_of, file_of, judge_against, read_baseline, write_baseline
from edge_se.evaluation.limits import floor_verdicts, latency_verdicts, require_measured_there, size_verdicts, worst

FP32 = Artifact(precision="fp32", target="any", file="fp32.onnx", sha256="a" * 64, parent_sha256=None, bytes=1000,
                params=1, macs=1, flops=2, int8_mac_share=0.0, placement=None, top1=None, top1_n=None, top1_ci=None,
                dataset="d", agreement_with_fp32=100.0, flips=0, flips_n=10, seconds=0.0)
CPU = replace(FP32, precision="int8", target="cpu", file="int8.cpu.onnx", sha256="b" * 64, bytes=260)
OPENVINO = replace(CPU, target="openvino", file="int8.openvino.onnx", sha256="c" * 64, bytes=300)


@pytest.fixture
def bench(tmp_path):
    """(rows) -> a bench document; a row is (artifact, backend, batch, median of each turn in ms, estimated)."""

    def write(*rows):
        path = tmp_path / "bench.json"
        path.write_text(json.dumps({"schema": "edge-se/bench/1", "measurements": [
            {"sha256": item.sha256, "target": item.target, "backend": backend, "batch": batch, "threads": 1,
             "p50_ms": float(np.median(turns)), "round_p50_ms": list(turns), "estimated": estimated}
            for item, backend, batch, turns, estimated in rows]}))
        return path
    return write


def test_sizes():
    rows = size_verdicts(FP32, [CPU, OPENVINO], 0.27)
    assert [(row["target"], row["verdict"], row["ratio"]) for row in rows] == [
        ("cpu", "pass", 0.26), ("openvino", "fail", 0.3)]


def test_latencies_are_paired_by_hash_and_setting(bench):
    path = bench((FP32, "onnxruntime", 1, [8.0] * 9, False), (CPU, "onnxruntime", 1, [2.0] * 9, False),
                 (FP32, "onnxruntime", 8, [40.0] * 9, False), (CPU, "onnxruntime", 8, [36.0] * 9, False),
                 (OPENVINO, "openvino", 1, [2.0] * 9, False),
                 (replace(FP32, sha256="d" * 64), "openvino", 1, [8.0] * 9, False))
    rows = latency_verdicts(FP32, [CPU, OPENVINO], 0.5, 0.025, path)
    assert [(row["target"], row["verdict"], row["ratio"], row.get("batch")) for row in rows] == [
        ("cpu", "pass", 0.25, 1), ("cpu", "fail", 0.9, 8), ("openvino", "inconclusive", None, None)]
    assert "no measurement of this file" in rows[2]["why"]


def test_files_that_are_the_same_to_the_byte_keep_their_own_latencies(bench):
    arm, litert = replace(CPU, target="arm"), replace(CPU, target="litert")
    path = bench((FP32, "openvino", 1, [8.0] * 9, False), (arm, "openvino", 1, [2.0] * 9, False),
                 (FP32, "litert", 1, [8.0] * 9, False), (litert, "litert", 1, [6.0] * 9, False))
    assert [(row["target"], row["backend"], row["verdict"])
            for row in latency_verdicts(FP32, [arm, litert], 0.5, 0.025, path)] == [
        ("arm", "openvino", "pass"), ("litert", "litert", "fail")]


# Nine ratios, of which the second and the eighth are the 95 % interval; FP32 drifts from 8 to 16 ms meanwhile.
RATIOS = (0.40, 0.44, 0.45, 0.46, 0.47, 0.48, 0.49, 0.50, 0.90)
DRIFT = tuple(8.0 + turn for turn in range(9))


@pytest.mark.parametrize(("limit", "verdict"), [(0.51, "pass"), (0.50, "pass"), (0.47, "inconclusive"),
                                                (0.44, "inconclusive"), (0.43, "fail")])
def test_the_interval_of_the_turns_judges_and_not_their_median(bench, limit, verdict):
    path = bench((FP32, "onnxruntime", 1, DRIFT, False),
                 (CPU, "onnxruntime", 1, [ratio * fp32 for ratio, fp32 in zip(RATIOS, DRIFT)], False))
    (row,) = latency_verdicts(FP32, [CPU], limit, 0.025, path)
    assert row["verdict"] == verdict and row["rounds"] == 9
    assert (row["ratio"], *row["ci"]) == pytest.approx((0.47, 0.44, 0.50))


def test_a_stricter_level_has_a_wider_interval(bench):
    path = bench((FP32, "onnxruntime", 1, DRIFT, False),
                 (CPU, "onnxruntime", 1, [ratio * fp32 for ratio, fp32 in zip(RATIOS, DRIFT)], False))
    (row,) = latency_verdicts(FP32, [CPU], 0.51, 0.005, path)
    assert row["verdict"] == "inconclusive" and row["ci"] == pytest.approx([0.40, 0.90])


@pytest.mark.parametrize(("turns", "why"), [
    (([], []), "tells no turns"), (([8.0] * 9, [2.0] * 8), "tells no turns"),
    (([8.0] * 5, [2.0] * 5), "5 turns are too few for an interval at alpha 0.025")])
def test_a_ratio_without_an_interval_decides_nothing(bench, turns, why):
    path = bench((FP32, "onnxruntime", 1, [8.0], False), (CPU, "onnxruntime", 1, [2.0], False))
    document = json.loads(path.read_text())
    for row, own in zip(document["measurements"], turns):
        row["round_p50_ms"] = own
    path.write_text(json.dumps(document))
    (row,) = latency_verdicts(FP32, [CPU], 0.5, 0.025, path)
    assert (row["verdict"], row["ratio"], row["ci"]) == ("inconclusive", 0.25, None) and why in row["why"]


@pytest.mark.parametrize("turns", [["fast"] * 9, [0.0] * 9, 3, [None], [True]])
def test_turns_that_are_no_times_are_refused(bench, turns):
    path = bench((FP32, "onnxruntime", 1, [8.0] * 9, False), (CPU, "onnxruntime", 1, [2.0] * 9, False))
    document = json.loads(path.read_text())
    document["measurements"][1]["round_p50_ms"] = turns
    path.write_text(json.dumps(document))
    with pytest.raises(EdgeSeError, match="incomplete measurement"):
        latency_verdicts(FP32, [CPU], 0.5, 0.025, path)


def test_the_latency_of_a_stream_among_many_is_left_out(bench):
    path = bench((FP32, "onnxruntime", 1, [8.0] * 9, False), (CPU, "onnxruntime", 1, [2.0] * 9, False))
    document = json.loads(path.read_text())
    document["measurements"] += [row | {"scenario": "throughput", "p50_ms": 9.0} for row in document["measurements"]]
    path.write_text(json.dumps(document))
    assert [row["ratio"] for row in latency_verdicts(FP32, [CPU], 0.5, 0.025, path)] == [0.25]


def test_an_estimate_is_no_measurement(bench):
    path = bench((FP32, "onnxruntime", 1, [8.0] * 9, True), (CPU, "onnxruntime", 1, [2.0] * 9, True))
    assert [row["verdict"] for row in latency_verdicts(FP32, [CPU], 0.5, 0.025, path)] == ["inconclusive"]


@pytest.mark.parametrize("content", ["[]", "{}", '{"schema": "edge-se/bench/1", "measurements": [1]}',
                                     '{"schema": "edge-se/bench/1", "measurements": [{"estimated": false}]}', "no"])
def test_what_is_no_bench_document_is_one_message(tmp_path, content):
    (tmp_path / "bench.json").write_text(content)
    with pytest.raises(EdgeSeError, match=r"bench\.json"):
        latency_verdicts(FP32, [CPU], 0.5, 0.025, tmp_path / "bench.json")


def test_a_latency_of_nothing_is_refused(bench):
    with pytest.raises(EdgeSeError, match="not a positive number"):
        latency_verdicts(FP32, [CPU], 0.5, 0.025, bench((CPU, "onnxruntime", 1, [0.0] * 9, False)))


XEON = {"name": "Xeon", "gpu": {"name": "NVIDIA L4"}}


@pytest.mark.parametrize(("device", "told"), [
    (XEON, None), (XEON | {"gpu": {"name": "NVIDIA T4"}}, "Xeon, NVIDIA T4"), (XEON | {"gpu": None}, "Xeon"),
    (XEON | {"name": "EPYC"}, "EPYC, NVIDIA L4"), (XEON | {"gpu": {"name": 4}}, "Xeon, 4"),
    (None, "no device that it names"), ({}, "no device that it names"), ("Xeon", "no device that it names")])
def test_a_bench_of_another_board_is_refused_also_where_only_the_gpu_differs(bench, device, told):
    path = bench((FP32, "onnxruntime", 1, [8.0] * 9, False))
    path.write_text(json.dumps(json.loads(path.read_text()) | {"environment": {"device": device}}))
    if told is None:
        require_measured_there(path, board_of(XEON))
        return
    with pytest.raises(EdgeSeError, match=f"was measured on {told}, and files are judged on Xeon, NVIDIA L4; bench"):
        require_measured_there(path, board_of(XEON))


@pytest.mark.parametrize("alpha", [0.025, 0.005])
@pytest.mark.parametrize(("n", "limit"), [(10, 99.0), (100, 99.9), (256, 99.0), (12, 72.0), (40, 0.5), (1, 50.0)])
def test_a_floor_errs_no_more_often_than_alpha_however_few_images_and_near_the_ends(n, limit, alpha):
    """Wilson's interval fails one of ten nets that have 99 % right, on ten images."""
    verdicts = [floor_verdicts({CPU.file: np.arange(n) < right}, [CPU], limit, alpha)[0]["verdict"]
                for right in range(n + 1)]
    chances = binom.pmf(np.arange(n + 1), n, limit / 100)
    for verdict in ("pass", "fail"):
        assert chances[np.array(verdicts) == verdict].sum() <= alpha, verdict


@pytest.mark.parametrize(("right", "limit", "verdict"), [(20, 0.0, "pass"), (0, 0.0, "pass"), (0, 50.0, "fail"),
                                                         (20, 100.0, "inconclusive"), (19, 100.0, "fail")])
def test_a_floor_where_all_or_none_are_right(right, limit, verdict):
    row, = floor_verdicts({CPU.file: np.arange(20) < right}, [CPU], limit, 0.025)
    assert (row["verdict"], row["top1"], row["n"]) == (verdict, 5.0 * right, 20)
    assert 0 <= row["top1_ci"][0] <= row["top1"] <= row["top1_ci"][1] <= 100


def test_the_worst_verdict():
    assert worst(["pass", "inconclusive", "pass"]) == "inconclusive"
    assert worst(["inconclusive", "fail", "pass"]) == "fail"
    assert worst(["pass"]) == "pass"


@pytest.fixture
def rights():
    random = np.random.default_rng(0)
    return {target: random.random(1003) < 0.9 for target in ("cpu", "openvino")}


def written(path, rights):
    write_baseline(path, model="m", dataset="d", dataset_sha256="s", rights=rights,
                   files={target: {"file": f"int8.{target}.onnx", "sha256": "b" * 64, "bytes": 3} for target in rights})
    return path


def test_a_baseline_comes_back_bit_by_bit(tmp_path, rights):
    path = written(tmp_path / "folder" / "m.json", rights)
    found = read_baseline(path, model="m", dataset_sha256="s").rights
    assert found.keys() == rights.keys()
    assert all(np.array_equal(found[target], rights[target]) for target in rights)
    assert json.loads(path.read_text())["targets"][0]["top1"] == pytest.approx(100 * rights["cpu"].mean())


def test_the_baseline_takes_the_place_of_fp32(rights):
    now = rights["cpu"].copy()
    now[np.flatnonzero(now)[:60]] = False
    now[np.flatnonzero(~rights["cpu"])[:2]] = True
    found = judge_against(rights, {"cpu": now, "arm": now}, 0.5, 0.025)
    assert found["arm"] is None
    assert (found["cpu"].paired.broken, found["cpu"].paired.fixed, found["cpu"].verdict) == (60, 2, "fail")
    assert judge_against(rights, {"cpu": rights["cpu"]}, 0.5, 0.025)["cpu"].verdict == "pass"


@pytest.mark.parametrize(("change", "says"), [
    ({"schema": "other"}, "schema 'other'"), ({"model": "n"}, "its model is 'n'"),
    ({"dataset_sha256": "t"}, "its dataset_sha256"), ({"targets": [{}]}, "incomplete"), ({"targets": 3}, "incomplete"),
    ({"board": "an Orin"}, "is a baseline of an Orin, and this is no device"),
    ({"n": 4000}, "do not hold 4000 images"), ({"n": "x"}, "incomplete"),
    ({"targets": [{"target": "cpu", "right": "###"}]}, "incomplete"), ({"targets": ["cpu"]}, "incomplete"),
    ({"targets": [{"target": "cpu", "measured_by": {"runtime": 3}}]}, "measured_by is not whole")])
def test_a_foreign_or_broken_baseline_is_refused(tmp_path, rights, change, says):
    path = written(tmp_path / "m.json", rights)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(EdgeSeError, match=says):
        read_baseline(path, model="m", dataset_sha256="s")


@pytest.mark.parametrize(("device", "board", "name"), [
    (None, None, "m.json"),
    ({"name": "NVIDIA Jetson Orin Nano", "gpu": {"name": "Orin"}}, "NVIDIA Jetson Orin Nano",
     "m.nvidia-jetson-orin-nano.json"),
    ({"name": "AMD EPYC", "gpu": {"name": "NVIDIA L4"}}, "AMD EPYC, NVIDIA L4", "m.amd-epyc-nvidia-l4.json"),
    ({"name": "Raspberry Pi 5", "gpu": None}, "Raspberry Pi 5", "m.raspberry-pi-5.json")])
def test_each_board_has_a_baseline_of_its_own(tmp_path, rights, device, board, name):
    assert board_of(device) == board
    path = file_of(tmp_path, "m", board_of(device))
    assert path == tmp_path / name and file_of(None, "m", board) == Path("bench/baselines") / name
    assert file_of(tmp_path / "x.json", "m", board) == tmp_path / "x.json"
    assert file_of(tmp_path / "to be made", "m", board) == tmp_path / "to be made" / name
    (tmp_path / "file").touch()
    assert file_of(tmp_path / "file", "m", board) == tmp_path / "file"
    write_baseline(path, model="m", dataset="d", dataset_sha256="s", rights=rights, board=board,
                   files={target: {} for target in rights})
    assert read_baseline(path, model="m", dataset_sha256="s", board=board).rights.keys() == rights.keys()
    with pytest.raises(EdgeSeError, match=f"is a baseline of {board or 'no device'}, and this is another"):
        read_baseline(path, model="m", dataset_sha256="s", board="another")


@pytest.mark.parametrize("model", ["resnet18", "se_resnet18", "slim_se"])
def test_the_shipped_baselines_are_those_of_the_measured_builds(model):
    path = asset("bench", "baselines", f"{model}.json")
    gate = json.loads(asset("bench", "results", f"gate-{model}.json").read_text())
    found = read_baseline(path, model=model, dataset_sha256=json.loads(path.read_text())["dataset_sha256"]).rights
    measured = {row["target"]: gate["fp32_top1"] - row["drop_pp"] for row in gate["targets"]}
    assert {target: 100 * right.mean() for target, right in found.items()} == pytest.approx(measured)
