"""What computed a figure, in words and as a document."""

import pytest

from edge_se.core import environment
from edge_se.core.measured_by import in_words, measured_by, of_files, sound

ORT = {"runtime": "onnxruntime", "version": "1.31.1", "device": "a processor", "floats": "f32"}


@pytest.mark.parametrize(("more", "words"), [
    ({}, "onnxruntime 1.31.1, floats f32, on a processor"),
    ({"runtime": "openvino", "floats": "bf16"}, "OpenVINO 1.31.1, floats bf16, on a processor"),
    ({"version": None}, "onnxruntime of an unknown version, floats f32, on a processor"),
    ({"simulation": True}, "simulated in onnxruntime 1.31.1, floats f32, on a processor"),
    ({"instead_of": "openvino"}, "onnxruntime 1.31.1 (not OpenVINO, which is not installed), floats f32, on a "
                                 "processor")])
def test_in_words(more, words):
    assert in_words(ORT | more) == words


def test_a_figure_of_before_says_that_nobody_noted_it():
    assert in_words(None) == in_words({}) == "not noted: an earlier edge-se measured it"


def test_it_names_what_is_here():
    told = measured_by("onnxruntime", floats="f32")
    assert told == {"runtime": "onnxruntime", "version": environment.version_of("onnxruntime"),
                    "device": environment.hardware()["cpu"], "floats": "f32"}
    assert measured_by("x", floats="f16", package="numpy", simulation=True, instead_of="y") == {
        "runtime": "x", "version": environment.version_of("numpy"), "device": environment.hardware()["cpu"],
        "floats": "f16", "simulation": True, "instead_of": "y"}


def test_files_of_one_runtime_are_told_together():
    other = ORT | {"runtime": "openvino"}
    assert of_files([("a", ORT), ("b", ORT)]) == f"accuracy: {in_words(ORT)}"
    assert of_files([("a", ORT), ("b", other), ("c", ORT), ("a", ORT)]) == (
        f"accuracy: a, c: {in_words(ORT)}; b: {in_words(other)}")


@pytest.mark.parametrize(("told", "expected"), [
    (ORT, True), (ORT | {"version": None}, True), ({**ORT, "floats": 32}, False), ("onnxruntime", False),
    ({"runtime": "onnxruntime"}, False), (ORT | {"instead_of": ["openvino"]}, False)])
def test_only_what_can_be_shown_is_sound(told, expected):
    assert sound(told) is expected
