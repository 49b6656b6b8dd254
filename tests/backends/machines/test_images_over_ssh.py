"""Images on a device behind a real SSH server: sent once, answered as here, whatever happens on the way."""

import os
import signal
import subprocess

import numpy as np
import pytest

from edge_se.backends import shards
from edge_se.backends.base import Device
from edge_se.backends.machines import link as link_module
from edge_se.backends.machines.choice import machine_of
from edge_se.backends.onnxruntime import OnnxRuntime
from edge_se.core.errors import EdgeSeError, UnavailableError
from edge_se.device import shipped

SHARD = 100 * 3072  # bytes of 100 images
BATCH = 32


@pytest.fixture
def sent(monkeypatch):
    """Requests about images in order, (operation, shard, offset); `before[n]` is called before the n-th."""
    class Sent(list):
        before = None

        @property
        def parts(self):
            return [one for one in self if one[0] == "put"]
    asked, whole = Sent(), link_module._Connection.exchange
    asked.before = {}

    def exchange(self, header, *rest, **settings):
        if header.get("kind") == "images" or header["op"] == "answer":
            asked.append((header["op"], header["sha256"], header.get("offset")))
            asked.before.get(len(asked), lambda: None)()
        return whole(self, header, *rest, **settings)
    monkeypatch.setattr(link_module._Connection, "exchange", exchange)
    monkeypatch.setattr(link_module, "CHUNK", SHARD // 3)
    monkeypatch.setattr(shards, "SHARD_BYTES", SHARD)
    return asked


@pytest.fixture
def answered(box, tiny_onnx, random_images, notes):
    """() -> logits of 350 images there; `.here` are those of this process."""
    images = random_images(350)

    def there():
        with machine_of(box.url, progress=notes) as machine, \
                machine.backends["onnxruntime"].open(tiny_onnx, machine.device) as session:
            return np.concatenate(list(session.logits(images, BATCH)))
    with OnnxRuntime().open(tiny_onnx, Device(threads=1)) as session:
        there.here = np.concatenate(list(session.logits(images, BATCH)))
    return there


def kept(box):
    return sorted(path.name for path in (box.cache / "device" / "images").iterdir())


def test_images_go_over_once_and_answers_there_are_the_answers_here(box, answered, sent):
    np.testing.assert_array_equal(answered(), answered.here)
    assert [(operation, offset) for operation, _, offset in sent[:5]] == [
        ("has", None), ("put", 0), ("put", SHARD // 3), ("put", 2 * SHARD // 3), ("answer", None)]
    assert len(sent.parts) == 3 * 3 + 2 and len(kept(box)) == 4
    sent.clear()
    np.testing.assert_array_equal(answered(), answered.here)
    assert not sent.parts and [operation for operation, *_ in sent] == ["has", "answer"] * 4
    assert {path.parent.name for path in box.left()} == {"images"} and not box.agents()


def test_a_connection_cut_in_the_middle_of_a_shard_goes_on_at_that_shard(box, answered, sent, notes):
    sent.before[8] = box.cut  # the second part of the second shard
    np.testing.assert_array_equal(answered(), answered.here)
    assert any("trying again (1 of 3)" in note for note in notes.notes)
    first, second = list(dict.fromkeys(name for _, name, _ in sent))[:2]
    assert [offset for _, name, offset in sent.parts if name == first] == [0, SHARD // 3, 2 * SHARD // 3]
    third = SHARD // 3
    assert [offset for _, name, offset in sent.parts if name == second] == [0, third, 0, third, 2 * third]
    assert {path.parent.name for path in box.left()} == {"images"}


@pytest.mark.slow
def test_a_connection_cut_while_it_answers_asks_again_and_sends_nothing_twice(box, answered, sent, notes):
    sent.before[10] = box.cut  # the answer of the second shard
    np.testing.assert_array_equal(answered(), answered.here)
    assert len(sent.parts) == len(set(sent.parts)) and any("trying again" in note for note in notes.notes)


def test_a_killed_agent_is_one_message_and_the_next_run_has_what_was_sent(box, answered, sent, wait_until):
    sent.before[10] = lambda: [os.kill(process, signal.SIGKILL) for process in box.agents()]
    with pytest.raises(UnavailableError, match=r"the agent ended there \(signal 9\).*run it again"):
        answered()
    assert len(kept(box)) == 2 and not box.agents()
    sent.clear()
    sent.before.clear()
    np.testing.assert_array_equal(answered(), answered.here)
    assert len({name for _, name, _ in sent.parts}) == 2


@pytest.fixture
def disk(box, tmp_path):
    """(kilobytes beside the agent and the model) -> a disk of that size is the device's."""
    place = tmp_path / "disk"
    place.mkdir()

    def make(room, model):
        size = 2 * len(shipped.zipapp()) // 1024 + len(model.content) // 1024 + room
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", place]
        if subprocess.run(command, capture_output=True).returncode:
            pytest.skip("mounting a tmpfs takes root")
        box.profile(cache=place)
        return place
    yield make
    subprocess.run(["umount", "-l", place], capture_output=True)


def test_a_disk_without_room_for_images_is_one_message(disk, answered, tiny_onnx):
    place = disk(200, tiny_onnx)
    with pytest.raises(EdgeSeError, match=r"has room for 0\.\d MB of images, half of what is free; a part of them "
                                          r"takes 1\.1 MB; free some space on the device"):
        answered()
    assert not [path for path in place.rglob("*") if path.is_file() and path.name != "lock"]


@pytest.mark.slow
def test_a_disk_with_room_for_some_images_keeps_the_latest(disk, answered, sent, tiny_onnx, notes):
    place = disk(1400, tiny_onnx)
    for _ in range(2):
        np.testing.assert_array_equal(answered(), answered.here)
    assert len(sent.parts) == 2 * (3 * 3 + 2)
    assert 1 <= len(list((place / "device" / "images").iterdir())) <= 3
