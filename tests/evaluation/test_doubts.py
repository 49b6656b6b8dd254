"""What makes a verdict worth less than it seems, each told by name."""

import numpy as np
import pytest

from edge_se.core.artifacts import Artifact, Build
from edge_se.evaluation.accuracy import NONE
from edge_se.evaluation.doubts import above_chance, doubts, doubts_of

LABELS = (np.arange(1000) % 10).astype(np.uint8)
RIGHT = LABELS.astype(np.intp)


def right_on(share):
    """Predictions of which `share` are right."""
    return np.where(np.arange(1000) < share * 1000, RIGHT, (RIGHT + 1) % 10)


def artifact(**changes):
    return Artifact(**({
        "precision": "int8", "target": "cpu", "file": "int8.cpu.onnx", "sha256": "a" * 64, "parent_sha256": "b" * 64,
        "bytes": 1, "params": 1, "macs": 1, "flops": 2, "int8_mac_share": 0.9, "placement": "all", "top1": None,
        "top1_n": None, "top1_ci": None, "dataset": "d", "agreement_with_fp32": 99.0, "flips": 1, "flips_n": 100,
        "seconds": 1.0} | changes))


def build(**changes):
    return Build(**({"model": "m", "out": "build/m", "source": {}, "calibration": {"images": 512}, "preprocessing": {},
                     "labels": tuple("0123456789"), "parity": {}, "artifacts": (), "environment": {}} | changes))


def of(reference=RIGHT, predictions=RIGHT, *, chance=False, of_build=None, of_file=None):
    return doubts(of_build or build(), of_file or artifact(), reference, predictions, chance=chance)


def test_a_sound_verdict_has_none():
    assert of(right_on(0.95), right_on(0.94)) == []


@pytest.mark.parametrize(("arguments", "says"), [
    ({"chance": True}, "better than chance"),
    ({"predictions": np.zeros(1000, np.intp), "reference": np.zeros(1000, np.intp)}, "FP32 answers every image with"),
    ({"predictions": np.zeros(1000, np.intp)}, "INT8 answers every image with one class"),
    ({"predictions": right_on(0.89)}, "agree on only 89.0 % of the images"),
    ({"predictions": np.where(np.arange(1000) < 3, NONE, RIGHT)}, "INT8 answers 3 of 1,000 images with NaN"),
    ({"reference": np.full(1000, NONE)}, "FP32 answers 1,000 of 1,000 images with NaN"),
    ({"of_file": artifact(int8_mac_share=0.0)}, "nothing in the file runs in INT8"),
    ({"of_build": build(calibration={"images": 1})}, "one calibration image"),
    ({"of_build": build(calibration={"images": 8, "different": 1})}, "8 calibration images that are all the same"),
    ({"of_build": build(source={"gates": {"drop_pp": 0.25}})}, "+0.25 points on held-out images, is not in the drop"),
    ({"of_build": build(source={"gates": {}})}, "what folding cost is not in the drop")])
def test_each_is_told(arguments, says):
    assert says in " | ".join(of(**arguments))


@pytest.mark.parametrize("told", [
    {"reference": right_on(0.95), "predictions": right_on(0.9)}, {"of_build": build(calibration=None)},
    {"of_build": build(calibration={"images": 8, "different": 7})}, {"of_file": artifact(int8_mac_share=0.01)}])
def test_what_is_near_is_not(told):
    assert of(**told) == []


@pytest.mark.parametrize(("share", "alpha", "above"), [
    (0.1, 0.025, False), (0.11, 0.025, False), (0.125, 0.025, True), (0.125, 1e-6, False), (0.9, 1e-12, True),
    (0.0, 0.4, False)])
def test_chance_by_the_exact_binomial(share, alpha, above):
    assert above_chance(int((right_on(share) == LABELS).sum()), LABELS, 10, alpha) is above


def test_guessing_the_most_frequent_label_is_chance_too():
    labels = np.where(np.arange(1000) < 600, 3, LABELS).astype(np.uint8)
    constant = np.full(1000, 3, np.intp)
    assert (constant == labels).mean() > 0.6
    assert not above_chance(int((constant == labels).sum()), labels, 10, 0.025)
    assert not above_chance(4, np.zeros(4, np.uint8), 10, 0.025)


@pytest.mark.parametrize(("changes", "says"), [
    ({}, []), ({"agreement_with_fp32": 90.0}, []),
    ({"agreement_with_fp32": 36.2}, ["INT8 and FP32 agree on only 36.2 % of the images: try --placement auto"]),
    ({"int8_mac_share": 0.0}, ["nothing in the file runs in INT8"]),
    ({"agreement_with_fp32": 0.0, "int8_mac_share": 0.0}, ["agree on only 0.0 %", "nothing in the file"]),
])
def test_what_export_measured_raises_doubts_of_its_own(changes, says):
    told = doubts_of(artifact(**changes))
    assert len(told) == len(says) and all(part in line for part, line in zip(says, told))
