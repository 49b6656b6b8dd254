"""Images in shards: all of them in order, under names that hold whoever cuts them."""

from dataclasses import replace

import numpy as np
import pytest

from edge_se.backends import shards
from edge_se.backends.shards import shards_of


@pytest.mark.parametrize(("budget", "sizes"), [
    (4 << 20, [250]), (130 * 3072, [100, 100, 50]), (60 * 3072, [60, 60, 60, 60, 10]), (1, [1] * 250)])
def test_every_image_is_in_one_shard(monkeypatch, random_images, budget, sizes):
    monkeypatch.setattr(shards, "SHARD_BYTES", budget)
    images = random_images(250)
    cut = list(shards_of(images, {}))
    assert [shard.shape for shard in cut] == [(size, 3, 32, 32) for size in sizes]
    assert b"".join(shard.content() for shard in cut) == images.pixels.tobytes()
    assert len({shard.sha256 for shard in cut}) == len(cut)


def test_what_is_known_by_name_is_not_decoded_again(random_images, monkeypatch):
    images, known, decoded = random_images(120), {}, []
    monkeypatch.setattr(shards, "_content", lambda part: decoded.append(len(part)) or part.pixels.tobytes())
    first, again = (list(shards_of(images, known)) for _ in range(2))
    assert [shard.sha256 for shard in again] == [shard.sha256 for shard in first] and decoded == [120]
    named = replace(images, preprocessing=replace(images.preprocessing, labels=("a", "b")))
    list(shards_of(named, known))
    assert decoded == [120]  # names of classes are no pixels
    other = replace(images, pixels=255 - images.pixels)
    assert [shard.sha256 for shard in shards_of(other, known)] != [shard.sha256 for shard in first]
    assert decoded == [120, 120]
    assert again[0].content() == np.ascontiguousarray(images.pixels).tobytes()
