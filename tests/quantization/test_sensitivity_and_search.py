"""Units, what each costs and brings, and the search that chooses a placement by measuring."""

import json
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import numpy as np
import pytest

from edge_se.backends.base import Device
from edge_se.backends.machines.choice import HERE
from edge_se.backends.onnxruntime import OnnxRuntime
from edge_se.core.errors import CalibrationError, EdgeSeError, UnavailableError
from edge_se.core.progress import SILENT
from edge_se.measure.timing import Latencies
from edge_se.quantization import search as module
from edge_se.quantization.placement import place
from edge_se.quantization.ranges import collect
from edge_se.quantization.search import Budget, Candidate, search
from edge_se.quantization.sensitivity import interleaved_medians, sensitivity, sqnr_db
from edge_se.quantization.static import quantize
from edge_se.quantization.targets import TARGETS
from edge_se.quantization.units import only, units_of


@pytest.fixture(scope="module")
def statistics(tiny_onnx, random_images):
    return collect(tiny_onnx, random_images(48))


@pytest.fixture(scope="module")
def plain_statistics(tiny_plain_onnx, random_images):
    return collect(tiny_plain_onnx, random_images(48))


def searched(model, statistics, images, target="cpu", where=None, **options):
    return search(model, statistics, TARGETS[target], images, method="minmax", where=where,
                  **({"budget": Budget(max_drop_pp=50.0), "log": None, "progress": SILENT} | options))


def test_units_are_named_after_their_weights(tiny_onnx):
    units = {unit.name: unit for unit in units_of(tiny_onnx.proto, TARGETS["cpu"])}
    assert {"layer1.0.conv1", "layer2.0.downsample.0", "layer1.0.se", "layer4.0.se"} <= units.keys()
    assert units["layer1.0.se"].kind == "se-gate" and len(units["layer1.0.se"].nodes) == 4
    assert sum(unit.kind == "operator" for unit in units.values()) > 0
    covered = [node for unit in units.values() for node in unit.nodes]
    assert len(covered) == len(set(covered))


def test_units_hold_all_macs_and_tensorrt_has_no_operators(tiny_onnx):
    from edge_se.graph.counting import count

    for name in TARGETS:
        units = units_of(tiny_onnx.proto, TARGETS[name])
        assert sum(unit.macs for unit in units) == count(tiny_onnx.proto).macs
    assert not [unit for unit in units_of(tiny_onnx.proto, TARGETS["tensorrt"]) if unit.kind == "operator"]


@pytest.mark.parametrize(("logits", "decibels"), [
    ([3, 4, 0], 150), ([3, 4, 5], 0), ([3, 4, 0.5], 20), ([np.nan, 4, 0], -150), ([np.nan] * 3, -150),
    ([np.inf, 4, 0], -150), ([3, -np.inf, 0], -150), ([3e38, 4, 0], -150)])
def test_what_is_no_number_is_the_worst_of_all(logits, decibels):
    assert sqnr_db(np.float32([[3, 4, 0]]), np.float32([logits])) == pytest.approx(decibels)


@pytest.mark.parametrize(("logits", "decibels"), [([0, 0], 150), ([0, 1e-9], -150), ([np.nan, 0], -150)])
def test_noise_without_a_signal_is_not_nothing(logits, decibels):
    assert sqnr_db(np.zeros((1, 2), np.float32), np.float32([logits])) == decibels


def test_only_one_layer_is_quantized(tiny_onnx, statistics):
    from edge_se.graph.counting import count

    target = TARGETS["tensorrt"]
    unit = next(unit for unit in units_of(tiny_onnx.proto, target) if unit.name == "layer1.0.conv2")
    alone = quantize(tiny_onnx, statistics.ranges("minmax", "int8-symmetric"), target,
                     only(unit, tiny_onnx.proto, place(tiny_onnx.proto, target, "all")))
    assert count(alone.proto).int8_macs == unit.macs


def test_sensitivity_has_a_row_per_unit(tiny_onnx, statistics, random_images):
    rows = sensitivity(tiny_onnx, statistics, TARGETS["cpu"], random_images(32, "validation"), method="minmax",
                       backend=OnnxRuntime(), progress=SILENT)
    assert [row.unit.name for row in rows] == [unit.name for unit in units_of(tiny_onnx.proto, TARGETS["cpu"])]
    assert all(0 <= row.flips <= 32 and 10 < row.sqnr_db <= 150 and row.brings_ms is not None for row in rows)


def test_without_a_runtime_no_times(tiny_onnx, statistics, random_images):
    rows = sensitivity(tiny_onnx, statistics, TARGETS["tensorrt"], random_images(8, "validation"), method="minmax",
                       backend=None, progress=SILENT)
    assert all(row.brings_ms is None for row in rows)


def test_sqnr_by_its_definition():
    reference = np.array([[3.0, 4.0]], np.float32)
    assert sqnr_db(reference, reference + np.array([[0.5, 0.0]], np.float32)) == pytest.approx(20.0)
    assert sqnr_db(reference, reference) == 150


class Stopwatch:
    """A place with one runtime, in which FP32 takes `fp32` ms and an INT8 file 1 ms and its bytes in attoseconds.

    A turn of a file whose position among those opened is in `refuses` raises that error; `opened` counts them.
    """

    name, module, automatic, gpu, here = "stopwatch", "numpy", True, False, False

    def __init__(self, fp32, refuses=None, mode="15W"):
        self.fp32, self.refuses, self.mode, self.opened = fp32, refuses or {}, mode, 0
        self.device, self.facts, self.backends = Device(threads=1), {"name": "Orin"}, {"stopwatch": self}

    def why_not(self, model, device):
        return None

    @contextmanager
    def open(self, model, device=None):
        if not hasattr(model, "content"):
            yield self  # the machine
            return
        error = None if model.precision == "fp32" else self.refuses.get(self.opened)
        self.opened += model.precision != "fp32"
        took = self.fp32 if model.precision == "fp32" else 1 + 1e-9 * len(model.content)

        class Session:
            def time(self, images, plan):
                if error is not None:
                    raise error
                return Latencies(milliseconds=np.full(3, took), batch=1)
        yield Session()

    def state(self):
        return {"power_mode": self.mode, "clocks_locked": True}


def test_search_never_chooses_on_the_test_set(tiny_onnx, statistics, random_images):
    with pytest.raises(CalibrationError, match="the test set chooses nothing"):
        searched(tiny_onnx, statistics, random_images(16, "test"))


def test_without_labels_flips_bound_the_drop(tiny_onnx, statistics, random_images):
    images = random_images(64, "calibration", labelled=False)
    _, rows = searched(tiny_onnx, statistics, images)
    for row in rows:
        assert row.drop_pp == pytest.approx(100 * row.flips / 64)
        assert row.ci_pp[0] <= row.drop_pp <= row.ci_pp[1]


def test_search_refuses_where_int8_is_not_faster(tiny_onnx, statistics, random_images):
    with pytest.raises(CalibrationError, match=r"no placement is faster than FP32 on Orin \(1\.\d\d against "
                                               r"0\.50 ms\): between its \d+ layers run .*Relu.*use the FP32 file"):
        searched(tiny_onnx, statistics, random_images(16, "validation"), where=Stopwatch(0.5))


def test_search_measures_each_named_placement_and_chooses_one(tiny_onnx, statistics, random_images):
    plan, rows = searched(tiny_onnx, statistics, random_images(64, "validation"), where=Stopwatch(2.0))
    assert {row.name for row in rows} == {"all", "se-float", "ends-float", "conv-only"}
    chosen = [row for row in rows if row.chosen]
    assert len(chosen) == 1 and chosen[0].name == plan.name
    assert chosen[0].p50_ms <= min(row.p50_ms for row in rows if row.within_budget) * 1.02
    assert any(row.on_front for row in rows) and all(row.p50_ms > 0 for row in rows)
    assert {row.timed_on for row in rows} == {f"Orin, stopwatch {np.__version__}, 15W, clocks locked"}
    for row in rows:
        assert (row.reference, row.reference_ms, row.ratio) == ("fp32", 2.0, pytest.approx(row.p50_ms / 2))
        assert row.ratio_ci == pytest.approx((row.ratio, row.ratio)) and row.int8_mac_share_engine is None


def test_here_candidates_are_timed_in_the_runtime_of_this_machine(tiny_onnx, statistics, random_images):
    try:
        _, rows = searched(tiny_onnx, statistics, random_images(16, "validation"), where=HERE)
    except CalibrationError as refusal:  # so small a net may be no faster in INT8
        assert "no placement is faster than FP32 on this machine" in str(refusal)
        return
    assert all(row.ratio_ci[0] <= row.ratio <= row.ratio_ci[1] and "onnxruntime" in row.timed_on for row in rows)


def test_a_cut_connection_keeps_what_was_timed_and_the_next_run_times_the_rest(tiny_onnx, statistics, random_images,
                                                                               tmp_path):
    log, images = tmp_path / "candidates.json", random_images(32, "validation")
    cut = Stopwatch(2.0, {2: UnavailableError("the connection dropped")})
    with pytest.raises(UnavailableError):
        searched(tiny_onnx, statistics, images, where=cut, log=log)
    rows = json.loads(log.read_text())["candidates"]
    assert [row["ratio"] is None for row in rows].count(False) == 2 and len(rows) == 4
    rest = Stopwatch(2.0)
    _, found = searched(tiny_onnx, statistics, images, where=rest, log=log)
    assert rest.opened == 2 and all(row.ratio for row in found)
    again = Stopwatch(2.0)
    assert searched(tiny_onnx, statistics, images, where=again, log=log)[1] == found and again.opened == 0


def test_times_of_another_power_mode_are_taken_anew(tiny_onnx, statistics, random_images, tmp_path):
    log, images = tmp_path / "candidates.json", random_images(32, "validation")
    searched(tiny_onnx, statistics, images, where=Stopwatch(2.0), log=log)
    other = Stopwatch(3.0, mode="MAXN")
    _, rows = searched(tiny_onnx, statistics, images, where=other, log=log)
    assert other.opened == len(rows) and {row.reference_ms for row in rows} == {3.0}
    assert all(row.p50_ms is None and row.timed_on is None
               for row in searched(tiny_onnx, statistics, images, log=log)[1])  # nothing is timed there


def test_a_candidate_that_a_device_refuses_is_left_out(tiny_onnx, statistics, random_images, tmp_path):
    images, log = random_images(32, "validation"), tmp_path / "candidates.json"
    place = Stopwatch(2.0, {0: EdgeSeError("no implementation for conv1"), 1: EdgeSeError("out of memory")})
    _, rows = searched(tiny_onnx, statistics, images, where=place, log=log)
    refused = [row for row in rows if row.refused]
    assert {row.refused for row in refused} == {"no implementation for conv1", "out of memory"}
    assert not any(row.chosen or row.on_front or row.ratio for row in refused)
    again = Stopwatch(2.0)  # it has memory now
    assert all(row.ratio for row in searched(tiny_onnx, statistics, images, where=again, log=log)[1])
    assert again.opened == 2
    nothing = Stopwatch(2.0, {position: EdgeSeError("no INT8 here") for position in range(9)})
    with pytest.raises(CalibrationError, match="none of its placements runs on Orin: no INT8 here"):
        searched(tiny_onnx, statistics, images, where=nothing)


def test_a_place_without_a_runtime_is_one_message(tiny_onnx, statistics, random_images):
    class Without(Stopwatch):
        def why_not(self, model, device):
            return "tensorrt: not installed"
    with pytest.raises(CalibrationError, match="--device, target tensorrt: Orin does not run its files: tensorrt: not "
                                               "installed; choose another --target"):
        searched(tiny_onnx, statistics, random_images(16, "validation"), target="tensorrt", where=Without(2.0))


def test_a_plain_net_has_fewer_candidates(tiny_plain_onnx, plain_statistics, random_images):
    _, rows = searched(tiny_plain_onnx, plain_statistics, random_images(32, "validation"))
    assert {row.name for row in rows} == {"all", "ends-float", "conv-only"}  # no gates: `all` and `se-float` are one


def test_layers_are_restored_where_that_means_something(tiny_onnx, statistics, random_images):
    _, rows = searched(tiny_onnx, statistics, random_images(32, "validation"), target="tensorrt")
    assert {"se-float-1", "se-float-2", "se-float-4"} <= {row.name for row in rows}
    assert [len(row.float_units) for row in rows if row.name.startswith("se-float-")] == [1, 2, 4]
    assert all(row.p50_ms is None for row in rows)


def test_an_interrupted_search_goes_on_from_its_log(tiny_onnx, statistics, random_images, tmp_path, monkeypatch):
    images, log, calls = random_images(32, "validation"), tmp_path / "candidates.json", []
    evaluate = module._accuracy

    def dying(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return evaluate(*arguments)

    monkeypatch.setattr(module, "_accuracy", dying)
    with pytest.raises(KeyboardInterrupt):
        searched(tiny_onnx, statistics, images, log=log)
    assert len(json.loads(log.read_text())["candidates"]) == 2
    _, rows = searched(tiny_onnx, statistics, images, log=log)
    assert len(calls) == 3 + len(rows) - 2
    monkeypatch.setattr(module, "_accuracy", lambda *_: pytest.fail("everything is in the log"))
    assert searched(tiny_onnx, statistics, images, log=log)[1] == rows


def test_a_log_of_another_model_is_not_used_and_a_broken_one_is_a_message(tiny_plain_onnx, plain_statistics, tiny_onnx,
                                                                          statistics, random_images, tmp_path):
    log, images = tmp_path / "candidates.json", random_images(16, "validation")
    searched(tiny_plain_onnx, plain_statistics, images, log=log)
    searched(tiny_onnx, statistics, images, log=log)
    document = json.loads(log.read_text())
    assert document["model_sha256"] == tiny_onnx.sha256
    log.write_text(json.dumps(document | {"candidates": [{"name": 1}]}))
    with pytest.raises(CalibrationError, match="not a log of candidates"):
        searched(tiny_onnx, statistics, images, log=log)


def test_time_spent_ends_the_search_with_what_there_is(tiny_onnx, statistics, random_images):
    _, rows = searched(tiny_onnx, statistics, random_images(16, "validation"),
                       budget=Budget(max_drop_pp=50.0, seconds=1e-9))
    assert len(rows) == 1 and rows[0].chosen


def test_time_spent_ends_the_timing_with_what_there_is(tiny_onnx, statistics, random_images, monkeypatch):
    clock = [0.0]

    class Slow(Stopwatch):
        """Each file takes a minute."""

        def open(self, model, device=None):
            clock[0] += 60 * (getattr(model, "precision", "fp32") != "fp32")
            return super().open(model, device)

    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    _, rows = searched(tiny_onnx, statistics, random_images(16, "validation"), where=Slow(2.0),
                       budget=Budget(max_drop_pp=50.0, seconds=100.0))
    assert len(rows) == 4 and [row.ratio is None for row in rows].count(False) == 2
    assert not any(row.chosen or row.on_front for row in rows if row.ratio is None)


def row(name, flips, p50, high, spread=0.005):
    ratio = p50 and p50 / 4
    return Candidate(name=name, float_units=(), sha256=name, n=100, drop_pp=0.0, ci_pp=(-1.0, high), flips=flips,
                     sqnr_db=30.0, p50_ms=p50, within_budget=high <= 0.5, ratio=ratio, reference="fp32",
                     ratio_ci=ratio and (ratio * (1 - spread), ratio * (1 + spread)), reference_ms=4.0, timed_on="here")


@pytest.mark.parametrize(("rows", "chosen", "front"), [
    ([row("fast", 9, 1.0, 0.4), row("slow", 1, 2.0, 0.1)], "fast", {"fast", "slow"}),
    ([row("fast", 9, 1.0, 0.6), row("slow", 1, 2.0, 0.1)], "slow", {"fast", "slow"}),
    ([row("tied", 9, 1.0, 0.4), row("better", 1, 1.01, 0.4)], "better", {"tied", "better"}),
    ([row("dominated", 9, 2.0, 0.4), row("best", 1, 1.0, 0.4)], "best", {"best"}),
    ([row("bad", 9, 1.0, 3.0), row("less bad", 8, 2.0, 2.0)], "less bad", {"bad", "less bad"}),
    ([row("as bad", 8, 4.4, 2.0), row("faster", 8, 2.0, 2.0), row("slow", 8, 3.0, 2.0)], "faster", {"faster"}),
    ([row("as bad", 8, None, 2.0), row("as bad too", 8, None, 2.0)], "as bad", {"as bad", "as bad too"}),
    ([row("unknown", 9, None, 0.4), row("fewer", 1, None, 0.4)], "fewer", {"fewer"}),
    ([row("fast", 9, 1.0, 0.4, 0.2), row("overlaps", 1, 1.3, 0.4, 0.2)], "overlaps", {"fast", "overlaps"}),
    ([row("fast", 9, 1.0, 0.4, 0.1), row("apart", 1, 1.3, 0.4, 0.1)], "fast", {"fast", "apart"}),
    ([row("fast", 9, 3.9, 0.4, 0.2), row("slower than FP32", 1, 4.1, 0.4, 0.2)], "fast", {"fast", "slower than FP32"}),
    ([row("timed", 9, 1.0, 0.4), row("not timed", 1, None, 0.4)], "timed", {"timed"}),
])
def test_the_choice(rows, chosen, front):
    decided = module._decided(rows)
    assert [item.name for item in decided if item.chosen] == [chosen]
    assert {item.name for item in decided if item.on_front} == front


@pytest.mark.parametrize("latencies, rounds", [([(8.0, 5.9)], 1), ([(8.0, 6.1), (8.0, 5.0)], 2), ([(8.0, 9.0)] * 7, 7)])
def test_timing_ends_when_it_is_settled(monkeypatch, tiny_onnx, latencies, rounds):
    """Medians are of all rounds so far."""
    timed = [[row[position] for row in latencies] for position in (0, 1)]

    class Timed:
        def __init__(self, own):
            self.own = iter(own)

        def time(self, images, plan):
            value = next(self.own)
            return SimpleNamespace(percentile=lambda share: value)
    opened = iter(timed)
    backend = SimpleNamespace(open=lambda model, device: nullcontext(Timed(next(opened))))
    medians = interleaved_medians([tiny_onnx, tiny_onnx], backend, SILENT, settled=lambda now: now[1] < 0.75 * now[0])
    assert medians == [np.median(own[:rounds]) for own in timed]
