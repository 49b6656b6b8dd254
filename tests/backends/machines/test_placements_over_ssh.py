"""`export --placement auto --device`: candidates are timed on a device, in turns, whatever the connection does."""

import json
from contextlib import nullcontext

import pytest

from edge_se.backends.machines.choice import Place
from edge_se.cli import main
from edge_se.core.errors import UnavailableError
from edge_se.core.progress import SILENT
from edge_se.quantization import search as module
from edge_se.quantization import turns
from edge_se.quantization.ranges import collect
from edge_se.quantization.search import Budget, described_search, search
from edge_se.quantization.targets import TARGETS
from edge_se.reporting.placements import chosen_words, placement_rows
from edge_se.steps.export import export

# FP16 takes 30 microseconds more than nothing, and each INT8 tensor saves a quarter of one.
WEIGHED = """
import ctypes
import answering_tensorrt
from fake_tensorrt import Context
library = ctypes.CDLL("libcudart.so")
library.fake_set(1, 1)  # no CUDA graph: an engine takes as many calls as it makes
class Weighed(Context):
    def __init__(self, shape, graph):
        super().__init__(shape)
        self._calls = 30 - graph.count(b"DequantizeLinear") // 4
    def execute_async_v3(self, stream):
        for _ in range(self._calls):
            library.cudaMemcpyAsync(ctypes.byref(ctypes.c_int()), ctypes.byref(ctypes.c_int()), 4, 0, None)
        return True
answering_tensorrt.Computing = Weighed
globals().update(vars(answering_tensorrt.answering("10.3.0")))
"""


class Cutting:
    """Progress that keeps notes and cuts the connection at some turn of the timing."""

    def __init__(self, box, turn):
        self.notes, self._box, self._left = [], box, turn

    def note(self, message):
        self.notes.append(message)

    def task(self, what, total):
        return self._timing(what) if what.startswith("timing") else SILENT.task(what, total)

    def _timing(self, what):
        self.notes.append(what)

        def advance(turns):
            self._left -= turns
            if self._left == 0:
                self._box.cut()
        return nullcontext(advance)


@pytest.fixture(scope="module")
def statistics(tiny_onnx, random_images):
    return collect(tiny_onnx, random_images(48))


def test_the_device_decides_the_target_and_times_each_candidate(box, tiny_onnx, calibration_npz, tmp_path, capsys,
                                                                monkeypatch):
    monkeypatch.delenv("EDGE_SE_DATA", raising=False)
    (tmp_path / "mine.onnx").write_bytes(tiny_onnx.content)
    with pytest.raises(SystemExit) as exit_:
        main(["export", "--model", str(tmp_path / "mine.onnx"), "--int8", "--placement", "auto", "--device", box.url,
              "--calibration", str(calibration_npz), "--out", str(tmp_path / "out"), "--max-drop", "100"])
    told = capsys.readouterr()
    log, = (tmp_path / "out").glob("candidates.*.json")
    target = log.name.split(".")[1]
    assert target in ("cpu", "cpu-avx2", "arm") and f"--target {target}: what " in told.err
    rows = json.loads(log.read_text())["candidates"]
    assert len(rows) >= 3 and all(row["reference"] == "fp32" and "onnxruntime" in row["timed_on"] for row in rows)
    assert all(0 < row["ratio_ci"][0] <= row["ratio"] <= row["ratio_ci"][1] for row in rows)
    if min(row["ratio"] for row in rows) >= 1:  # so small a net may be no faster in INT8
        assert exit_.value.code == 2 and "no placement is faster than FP32 on" in told.err
        return
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    searched, = manifest["placements"]
    chosen, = (row for row in searched["candidates"] if row["chosen"])
    assert exit_.value.code == 0 and manifest["artifacts"][1]["placement"] == chosen["name"]
    assert f"{chosen['name']} (chosen)" in told.out and "of FP32's time" in told.out
    assert not box.left() and not box.agents()


@pytest.mark.slow
def test_engines_take_turns_with_fp16_and_a_cut_loses_nothing(gpu_of, tiny_onnx, statistics, random_images, tmp_path,
                                                              monkeypatch):
    monkeypatch.setattr(turns, "GPU_PLAN", turns.PLAN)
    monkeypatch.setattr(module, "_costliest", lambda *_: [])
    box, target, images = gpu_of(WEIGHED), TARGETS["tensorrt-fp16"], random_images(32, "validation")
    log, budget = tmp_path / "candidates.json", Budget(max_drop_pp=100.0)

    def searched(progress):
        return search(tiny_onnx, statistics, target, images, method="minmax", where=Place(device=box.url),
                      budget=budget, log=log, progress=progress)

    cutting = Cutting(box, 12)  # in the second candidate
    placement, rows = searched(cutting)
    assert any("trying again (1 of 3)" in note for note in cutting.notes)
    assert any(note.startswith(f"timing {len(rows)} placements for tensorrt-fp16 on ") and "Orin, tensorrt 10.3.0, "
               in note for note in cutting.notes)
    fastest = {row.name for row in rows if row.ratio == min(other.ratio for other in rows)}
    assert {row.reference for row in rows} == {"fp16"} and "all" in fastest and len(fastest) < len(rows)
    for row in rows:  # every call takes a microsecond, whatever the machine does
        assert row.ratio == pytest.approx(row.p50_ms / row.reference_ms) and row.ratio < 1
        assert row.ratio_ci == pytest.approx((row.ratio, row.ratio))
        assert row.int8_mac_share_engine is None  # the stand-in tells no layers
    again = Cutting(box, -1)
    assert searched(again) == (placement, rows) and not any("trying" in note for note in again.notes)
    assert any(note.startswith("timing 0 placements") for note in again.notes)
    document = described_search(target, images, budget, rows)
    columns, table = placement_rows(document)
    assert columns[-2:] == ["x FP16's time", "INT8 in the engine"] and table[0][0].split()[0] in fastest
    assert f"tensorrt-fp16: {placement.name} loses" in chosen_words(document)
    assert "of FP16's time" in chosen_words(document) and "Orin, tensorrt 10.3.0" in chosen_words(document)


def test_a_device_without_a_runtime_is_told_before_anything_takes_time(box, tiny_onnx, tmp_path, monkeypatch):
    from edge_se.steps import export_files

    monkeypatch.setattr(export_files, "collect", lambda *_: pytest.fail("calibrates"))
    (tmp_path / "mine.onnx").write_bytes(tiny_onnx.content)
    with pytest.raises(UnavailableError, match=r"--device: .* runs no file for tensorrt: tensorrt: not installed.*; "
                                               "choose another --target"):
        export(tmp_path / "mine.onnx", int8=True, placement="auto", targets=["tensorrt"], out=tmp_path / "out",
               place=Place(device=box.url))
