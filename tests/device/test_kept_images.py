"""Images stay on a device within a bound of its disk, whatever ends; files do not."""

import hashlib
import os
from types import SimpleNamespace

import numpy as np
import pytest

from edge_se.data.preprocessing import CIFAR10, tensor
from edge_se.device.agent import AgentError, Cache, cache
from edge_se.device.agent.preprocess import in_batches

SHARD = 100_000


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """(free bytes of the disk) -> a cache there, and what puts a shard of a number into it."""

    def make(free):
        folder = Cache(str(tmp_path / "device"))

        def usage(path):
            return SimpleNamespace(free=free - sum(file.stat().st_size for file in os.scandir(f"{path}/images")))
        monkeypatch.setattr(cache.shutil, "disk_usage", usage)

        def put(number):
            content = bytes([number]) * SHARD
            sha256 = hashlib.sha256(content).hexdigest()
            for offset in (0, 60_000):
                folder.append(sha256, offset, SHARD, content[offset:][: 60_000 if not offset else None], "images")
            os.utime(folder.path(sha256, "images"), (number, number))
            return sha256
        return folder, put
    return make


def test_images_stay_when_files_go(kept):
    folder, put = kept(10**9)
    image, content = put(1), b"a model"
    model = hashlib.sha256(content).hexdigest()
    folder.append(model, 0, len(content), content)
    assert folder.has(model) and folder.has(image, "images")
    assert not folder.has(image) and not folder.has(model, "images")
    folder.sweep(everything=True)
    assert folder.has(image, "images") and not folder.has(model)


@pytest.mark.parametrize(("free", "stay"), [(8 * SHARD, 4), (5 * SHARD, 2), (10**9, 6)])
def test_the_oldest_go_first_and_half_of_the_disk_stays_free(kept, free, stay):
    folder, put = kept(free)
    names = [put(number) for number in range(6)]
    assert [folder.has(name, "images") for name in names] == [False] * (6 - stay) + [True] * stay


def test_no_more_than_the_limit_whatever_is_free(kept, monkeypatch):
    monkeypatch.setattr(cache, "IMAGES_BYTES", 3 * SHARD)
    folder, put = kept(10**9)
    names = [put(number) for number in range(3)]
    assert folder.has(names[0], "images")  # it is asked for now, so the second is the oldest
    names.append(put(3))
    assert [folder.has(name, "images") for name in names] == [True, False, True, True]


def test_a_disk_without_room_for_one_shard_is_told(kept):
    folder, put = kept(2 * SHARD - 2)
    with pytest.raises(AgentError, match=r"has room for 0.1 MB of images, half of what is free; a part of them takes "
                                         r"0.1 MB; free some space on the device, or set EDGE_SE_CACHE"):
        put(1)
    assert not list(os.scandir(f"{folder.folder}/images"))


@pytest.mark.parametrize("kind", ["agent", "../files", "", "engines"])
def test_nothing_else_is_received(kept, kind):
    folder, _ = kept(10**9)
    with pytest.raises(AgentError, match="nothing of kind"):
        folder.append("0" * 64, 0, 1, b"x", kind)


@pytest.mark.parametrize(("size", "fixed", "counts", "sizes"), [
    (4, False, [4, 4, 2], [4, 4, 2]), (4, True, [4, 4, 2], [4, 4, 4]), (20, False, [10], [10]),
    (1, True, [1] * 10, [1] * 10)])
def test_batches_there_are_the_batches_here(size, fixed, counts, sizes):
    pixels = np.random.default_rng(0).integers(0, 256, (10, 3, 32, 32), dtype=np.uint8)
    batches = list(in_batches(pixels, CIFAR10, size, fixed))
    assert [count for _, count in batches] == counts and [len(images) for images, _ in batches] == sizes
    whole = np.concatenate([images[:count] for images, count in batches])
    np.testing.assert_array_equal(whole, tensor(pixels, CIFAR10))
