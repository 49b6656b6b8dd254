"""A device's answers as a gate's, on answers that are known: what is paired with what, and in which parts images go."""

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

import numpy as np
import pytest

from edge_se.backends.base import Backend, Device, Session
from edge_se.backends.remote import RemoteRuntime
from edge_se.evaluation.accuracy import BATCH
from edge_se.evaluation.on_device import Answers, OnDevice, compared
from edge_se.evaluation.sequential import looks, parts
from edge_se.graph.onnx_model import OnnxModel

LABELS = np.arange(1000) % 10
BY = {"runtime": "tensorrt", "version": "10.3.0", "device": "Orin", "floats": "f32 or tf32"}


def answers(there=(), here=()):
    """Right but for the images of these numbers."""
    wrong = [np.where(np.isin(np.arange(1000), list(own)), (LABELS + 1) % 10, LABELS) for own in (there, here)]
    return Answers(there=wrong[0], here=wrong[1], measured_by=BY)


def test_everything_is_paired_with_its_own():
    row = compared(LABELS, 0.025, answers(range(30), range(5, 30)), answers(range(10)), answers(range(5, 15), range(3)))
    assert (row["top1"], row["top1_here"], row["fp32"]["top1"], row["fp16"]["top1"]) == (97.0, 97.5, 99.0, 99.0)
    assert (row["runtime_flips"]["flips"], row["fp32"]["runtime_flips"]["flips"]) == (5, 10)
    assert row["fp16"]["runtime_flips"]["flips"] == 13 and row["fp16"]["measured_by"] == BY
    assert {key: row["fp16"]["against_fp32"][key] for key in ("broken", "fixed", "n")} == {
        "broken": 5, "fixed": 5, "n": 1000}
    assert (row["against_fp16"]["broken"], row["against_fp16"]["fixed"]) == (20, 0)
    low, high = row["runtime_flips"]["ci_pct"]
    assert low == pytest.approx(0.2137, abs=1e-3) and high == pytest.approx(1.1651, abs=1e-3)  # Wilson's, 5 of 1,000


def test_without_fp16_there_is_no_row_of_it():
    assert not {"fp16", "against_fp16"} & compared(LABELS, 0.025, answers(), answers()).keys()


@pytest.mark.parametrize("count", [10_000, 1003, 7, 1])
def test_the_parts_are_those_of_the_looks(count):
    cut = parts(count)
    assert np.cumsum([len(part) for part in cut]).tolist() == [look.n for look in looks(count, 0.025)]
    assert sorted(np.concatenate(cut)) == list(range(count)) and all((np.diff(part) > 0).all() for part in cut)
    assert parts(count, 1)[0].tolist() == list(range(count))


@dataclass
class Recorded(Backend):
    """A runtime that answers with the first pixels of each image, and keeps what it was asked."""

    name = "recorded"
    asked: list
    gpu: bool = False
    opened: int = 0

    def why_not(self, model, device):
        return None

    @contextmanager
    def open(self, model, device):
        self.opened += 1
        yield First(self.asked)


class First(Session):
    def __init__(self, asked):
        self._asked = asked

    def run(self, images):
        return images[:, 0, 0, :10]

    def time(self, images, plan):
        raise NotImplementedError

    def logits(self, images, batch, fixed=False):
        self._asked.append((len(images), batch))
        return super().logits(images, batch, fixed)


@pytest.mark.parametrize(("gpu", "batch"), [(True, 1), (False, BATCH)])
def test_all_images_go_in_the_parts_of_a_sequential_gate_and_one_session_answers_all(tiny_onnx, random_images, gpu,
                                                                                     batch):
    images, backend = random_images(95), Recorded(asked=[], gpu=gpu)
    with ExitStack() as stack:
        there = OnDevice(backend, Device(kind="remote"), stack)
        whole = there.logits(tiny_onnx, images, lambda count: None, whole=True)
        looks_ = [there.logits(tiny_onnx, images.take(part), lambda count: None, whole=False) for part in parts(95)]
    np.testing.assert_array_equal(whole, np.concatenate([part[:, 0, 0, :10] for part in images.batches(50)]))
    np.testing.assert_array_equal(whole[np.concatenate(parts(95))], np.concatenate(looks_))
    assert backend.asked[:10] == backend.asked[10:] == [(len(part), batch) for part in parts(95)]
    assert backend.opened == 1


@pytest.mark.parametrize(("changes", "opened"), [({"target": "arm"}, 2), ({"precision": "fp16"}, 1), ({}, 1)])
def test_files_for_two_targets_have_two_sessions_also_where_they_are_the_same_to_the_byte(tiny_onnx, random_images,
                                                                                         changes, opened):
    images, backend = random_images(12), Recorded(asked=[])
    with ExitStack() as stack:
        there = OnDevice(backend, Device(kind="remote"), stack)
        for model in (tiny_onnx, replace(tiny_onnx, **changes)):
            there.logits(model, images, lambda count: None, whole=True)
    assert backend.opened == opened


FACTS = {"machine": "aarch64", "name": "NVIDIA Jetson Orin Nano Developer Kit", "jetson": True, "flags": [],
         "gpu": {"name": "Orin", "capability": [8, 7]}}


@pytest.mark.parametrize(("runtime", "version", "precision", "target", "floats"), [
    ("tensorrt", "10.3.0", "fp32", "any", "f32 or tf32"), ("tensorrt", "10.3.0", "fp16", "any", "f16"),
    ("tensorrt", "10.3.0", "int8", "tensorrt", "f32 or tf32"), ("tensorrt", "10.3.0", "int8", "tensorrt-fp16", "f16"),
    ("tensorrt", "8.5.2", "int8", "tensorrt", "f32 or tf32 or f16"),
    ("tensorrt", "8.5.2", "fp32", "any", "f32 or tf32"),
    ("tensorrt_rtx", "1.1.0", "int8", "tensorrt", "f32 or tf32"), ("onnxruntime", "1.20", "fp16", "any", "f32 or f16"),
    ("onnxruntime", "1.20", "int8", "arm", "f32")])
def test_what_measured_it_there(tiny_onnx, runtime, version, precision, target, floats):
    facts = FACTS | {"runtimes": {runtime: {"version": version}}}
    model = OnnxModel(content=tiny_onnx.content, precision=precision, target=target)
    assert RemoteRuntime(None, runtime, facts).measured_by(model) == {
        "runtime": runtime, "version": version, "device": FACTS["name"], "floats": floats}


def test_a_card_in_a_machine_is_told_by_its_own_name(tiny_onnx):
    facts = FACTS | {"jetson": False, "gpu": {"name": "Tesla T4", "capability": [7, 5]},
                     "runtimes": {"tensorrt": {"version": "10.3.0"}, "onnxruntime": {"version": "1.20"}}}
    told = {name: RemoteRuntime(None, name, facts).measured_by(tiny_onnx) for name in ("tensorrt", "onnxruntime")}
    assert (told["tensorrt"]["device"], told["tensorrt"]["floats"]) == ("Tesla T4", "f32")
    assert told["onnxruntime"]["device"] == FACTS["name"]
