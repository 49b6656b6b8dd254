"""Estimates of builds: what each board's TensorRT would run, in the types that it would run it in."""

import pytest

from edge_se.core.progress import Progress
from edge_se.graph.onnx_model import OnnxModel
from edge_se.measure.boards import read_board
from edge_se.measure.roofline import estimate, kernels_of
from edge_se.steps.estimate import estimates


class Notes(Progress):
    def __init__(self):
        self.said = []

    def note(self, text):
        self.said.append(text)


@pytest.fixture(scope="module")
def build(tiny_build):
    return tiny_build("build", fp16=True, targets=["cpu", "tensorrt", "tensorrt-fp16"])


def rows_of(build, board, notes=None):
    found = estimates(board, model=build.out, progress=notes or Notes())["measurements"]
    return {(row["precision"], row["target"], row["mode"]): row for row in found}


def test_floats_are_those_of_the_file_where_tensorrt_is_strongly_typed(build):
    rows = rows_of(build, "orin-nano-8gb")
    assert {key[:2]: row["floats"] for key, row in rows.items()} == {
        ("fp32", "any"): "fp32", ("fp16", "any"): "fp16", ("int8", "tensorrt"): "fp32",
        ("int8", "tensorrt-fp16"): "fp16"}
    model = OnnxModel.read(build.folder / "int8.tensorrt.onnx").proto
    mode = next(mode for mode in read_board("orin-nano-8gb").modes if mode.name == "25W")
    for target, floats in (("tensorrt", "fp32"), ("tensorrt-fp16", "fp16")):
        by_hand = estimate(kernels_of(model, floats), mode, floats, batch=1, launch_us=0.0).milliseconds
        assert rows["int8", target, "25W"]["p50_ms"] == pytest.approx(by_hand, rel=0.01)
    assert rows["int8", "tensorrt", "25W"]["p50_ms"] > 1.2 * rows["int8", "tensorrt-fp16", "25W"]["p50_ms"]


@pytest.mark.parametrize("board", ["xavier-nx", "agx-xavier"])
def test_older_tensorrt_runs_floats_in_fp16_and_no_fp16_scales(build, board):
    notes = Notes()
    rows = rows_of(build, board, notes)
    assert {key[:2]: row["floats"] for key, row in rows.items() if key[0] == "int8"} == {("int8", "tensorrt"): "fp16"}
    assert any("int8.tensorrt-fp16.onnx is left out: its FP16 scales need TensorRT 10 or later; here is 8.5" in text
               for text in notes.said)


def test_what_is_counted_is_said(build):
    notes = Notes()
    rows = rows_of(build, "orin-nx-16gb", notes)
    assert any("GPU alone, DLA not counted" in text for text in notes.said)
    assert {row["scope"] for row in rows.values()} == {"GPU alone, DLA not counted"}
    assert {row["figures"]["gpu_mhz"]["value"] for row in rows.values() if row["mode"] == "40W"} == {1173.0}
    assert not any("no INT8 file" in text for text in notes.said)


@pytest.mark.parametrize("board", ["thor-t5000", "nano", "tx2"])
def test_a_board_without_a_figure_says_why_int8_is_left_out(build, board):
    notes = Notes()
    assert {precision for precision, *_ in rows_of(build, board, notes)} == {"fp32", "fp16"}
    reason = "NVIDIA publishes no INT8 figure" if board == "thor-t5000" else "its GPU has no INT8 units"
    told = [text for text in notes.said if reason in text and "int8.tensorrt.onnx is left out" in text]
    assert len(told) == 1  # once, however many power modes the board has


@pytest.mark.parametrize("targets", [["cpu"], ["openvino", "arm"]])
def test_a_build_without_a_file_for_tensorrt_names_the_export_that_it_wants(tiny_build, targets):
    notes = Notes()
    build = tiny_build("without", targets=targets)
    assert {precision for precision, *_ in rows_of(build, "orin-nano-8gb", notes)} == {"fp32"}
    assert f"{build.model} has no INT8 file for TensorRT: edge-se export --int8 --target tensorrt" in notes.said
