"""Images in shards: all of them in order, under names that hold whoever cuts them."""

import json
from dataclasses import replace

import pytest

from edge_se.backends import shards
from edge_se.backends.shards import shards_of


@pytest.fixture
def decoded(monkeypatch, tmp_path):
    """How many images were decoded, shard after shard, with an empty cache."""
    monkeypatch.setenv("EDGE_SE_CACHE", str(tmp_path))
    monkeypatch.setattr(shards, "SHARD_BYTES", 64 * 3072)
    counts, whole = [], shards._content
    monkeypatch.setattr(shards, "_content", lambda part: counts.append(len(part)) or whole(part))
    return counts


@pytest.mark.parametrize(("budget", "sizes"), [
    (4 << 20, [250]), (130 * 3072, [128, 122]), (60 * 3072, [48] * 5 + [10]), (10 * 3072, [10] * 25),
    (1, [1] * 250)])
def test_every_image_is_in_one_shard(decoded, monkeypatch, random_images, budget, sizes):
    monkeypatch.setattr(shards, "SHARD_BYTES", budget)
    images = random_images(250)
    cut = list(shards_of(images))
    assert [shard.shape for shard in cut] == [(size, 3, 32, 32) for size in sizes]
    assert b"".join(shard.content() for shard in cut) == images.pixels.tobytes()
    assert len(decoded) == len(sizes)  # for name and content at once
    assert b"".join(shard.content() for shard in shards_of(images)) == images.pixels.tobytes()
    assert len({shard.sha256 for shard in cut}) == len(cut)


def test_what_is_known_by_name_is_not_decoded_again(decoded, random_images):
    images = random_images(128)
    first, again = ([shard.sha256 for shard in shards_of(images)] for _ in range(2))
    assert again == first and decoded == [64, 64]
    list(shards_of(replace(images, preprocessing=replace(images.preprocessing, labels=("a", "b")))))
    assert decoded == [64, 64]  # names of classes are no pixels
    other = [shard.sha256 for shard in shards_of(replace(images, pixels=255 - images.pixels))]
    assert not set(other) & set(first) and decoded == [64] * 4


@pytest.mark.parametrize("content", ["", "[]", "[1, 2]", '["a", "b"]', "[" * 100_000, "{}", "\udcff"])
def test_broken_names_are_made_anew(decoded, random_images, tmp_path, content):
    images = random_images(128)
    names = [shard.sha256 for shard in shards_of(images)]
    path, = (tmp_path / "shards").iterdir()
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    assert [shard.sha256 for shard in shards_of(images)] == names == json.loads(path.read_text())


def test_names_of_a_set_that_was_not_read_to_its_end_are_not_kept(decoded, random_images, tmp_path):
    next(shards_of(random_images(128)))
    assert not (tmp_path / "shards").exists()
