"""`gate --device ssh://`: the verdict of this machine, by a bare device and by engines, also when the network fails."""

import pytest

from edge_se.backends.machines import link
from edge_se.backends.machines.choice import Place
from edge_se.core.errors import EdgeSeError
from edge_se.steps import gate as step
from edge_se.steps.gate import gate

pytestmark = pytest.mark.slow  # half a minute in all
N = 400
SAME = ("verdict", "n", "broken", "fixed", "drop_pp", "ci_pp", "top1")


@pytest.fixture(scope="module")
def build(tiny_build):
    return tiny_build("build", targets=["cpu", "tensorrt"]).out


@pytest.fixture
def judged(build, own_answers, notes, box):
    """(box, settings) -> the gate's document on N images there; of this machine without a box."""
    own_answers(step, N)

    def make(there=None):
        place = Place(device=there.url) if there else Place()
        return {row["target"]: row for row in gate(build, max_drop=20, place=place, progress=notes)["targets"]}
    return make


@pytest.fixture
def engines(gpu_of):
    """A device with TensorRT 10.3, whose engines answer as their graph says."""
    return gpu_of("from answering_tensorrt import answering\nglobals().update(vars(answering('10.3.0')))\n")


@pytest.fixture
def cut_at(monkeypatch, box):
    """(operation, n) -> the connection is cut before the n-th of it."""
    whole, counts = link._Connection.exchange, {}

    def make(operation, number):
        def exchange(self, header, *rest, **settings):
            counts[header["op"]] = counts.get(header["op"], 0) + 1
            if (header["op"], counts[header["op"]]) == (operation, number):
                box.cut()
            return whole(self, header, *rest, **settings)
        monkeypatch.setattr(link._Connection, "exchange", exchange)
    return make


def test_a_bare_device_gives_the_verdict_of_this_machine(judged, box, cut_at, notes):
    cut_at("answer", 12)  # FP32 has ten shards: one for each look
    here, there = judged()["cpu"], judged(box)["cpu"]
    assert [there[key] for key in SAME] == [here[key] for key in SAME]
    assert there["on_device"]["runtime_flips"]["flips"] == there["on_device"]["fp32"]["runtime_flips"]["flips"] == 0
    assert any("trying again (1 of 3)" in note for note in notes.notes)
    assert {path.parent.name for path in box.left()} == {"images"} and not box.agents()


def test_engines_are_judged_beside_fp32_and_fp16_engines(judged, engines, cut_at, notes):
    cut_at("answer", 25)
    there = judged(engines)
    told = there["tensorrt"]["on_device"]
    assert there["tensorrt"]["measured_by"] == {
        "runtime": "tensorrt", "version": "10.3.0", "device": "Orin", "floats": "f32 or tf32"}
    assert told["fp16"]["measured_by"]["floats"] == "f16"
    assert [one["runtime_flips"]["flips"] for one in (told, told["fp32"], told["fp16"])] == [0, 0, 0]
    assert told["top1"] == told["top1_here"] and told["against_fp16"]["n"] == N
    assert there["cpu"]["measured_by"]["runtime"] == "onnxruntime" and "fp16" not in there["cpu"]["on_device"]
    assert any("trying again" in note for note in notes.notes)
    assert {path.parent.name for path in engines.left()} == {"images", "engines"}


def test_two_gates_at_once_are_one_message(judged, box, link_to):
    with link_to(), pytest.raises(EdgeSeError, match=r"process \d+ measures here for someone else; wait"):
        judged(box)
