"""Logits computed in shards are those of one machine to the bit, and a worker that computes others is found out."""

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from edge_se.backends.base import Session
from edge_se.backends.onnxruntime import OnnxRuntime
from edge_se.backends.openvino import OpenVino
from edge_se.core.errors import DataError, ModelError, UnavailableError
from edge_se.data.corrupted_images import corrupted
from edge_se.data.dataset import open_dataset
from edge_se.data.preprocessing import CIFAR10
from edge_se.evaluation import accuracy, on_cluster
from edge_se.evaluation.accuracy import computed, logits_of
from edge_se.evaluation.on_cluster import compute_on
from edge_se.graph.onnx_model import OnnxModel


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch, tmp_path):
    monkeypatch.setattr(accuracy, "BATCH", 4)
    monkeypatch.setenv("EDGE_SE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path):
    """Ten classes of three JPEG images of several sizes, all `test`."""
    random = np.random.default_rng(4)
    for number in range(30):
        path = tmp_path / "images" / "test" / "abcdefghij"[number % 10] / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 256, (30 + number, 50, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    return tmp_path / "images"


def images_in(folder):
    return open_dataset(folder).judged(replace(CIFAR10, labels=()))


@pytest.mark.parametrize("count", [1, 3, 4, 16, 37])
@pytest.mark.parametrize("judge", [OnnxRuntime(), OpenVino("f32")], ids=lambda judge: judge.name)
def test_shards_of_pixels_give_the_same_bits(small_net, random_images, in_process, judge, count):
    if why := judge.missing():
        pytest.skip(why)
    images, heard = random_images(count, "test"), []
    alone = computed(small_net, images, judge, heard.append)
    assert sum(heard) == count
    heard.clear()
    np.testing.assert_array_equal(compute_on(in_process)(small_net, images, judge, heard.append), alone)
    assert sum(heard) == count and in_process.opened == 3
    assert len(in_process.parts) == -(-count // 4) and in_process.parts[0].startswith("images 0 to")


def test_files_are_decoded_and_corrupted_by_the_workers(small_net, folder, in_process):
    images = images_in(folder)
    for shown in (images, corrupted(images, "shot_noise", 3, seed=2).take([5, 4, 29, 0, 17, 8])):
        alone = computed(small_net, shown, OnnxRuntime(), lambda images: None)
        np.testing.assert_array_equal(
            compute_on(in_process)(small_net, shown, OnnxRuntime(), lambda images: None), alone)


def test_a_fixed_batch_is_filled_at_the_end_alone(small_net, random_images, in_process):
    proto = small_net.copy()
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 6
    fixed, images = OnnxModel.of(proto), random_images(20, "test")
    alone = computed(fixed, images, OnnxRuntime(), lambda images: None)
    shards = compute_on(in_process)(fixed, images, OnnxRuntime(), lambda images: None)
    np.testing.assert_array_equal(shards, alone)
    assert in_process.parts == [f"images {start} to {min(start + 5, 19)} of random-test" for start in (0, 6, 12, 18)]


def test_both_ways_share_the_cache(small_net, random_images, in_process):
    images, others = random_images(9, "test"), random_images(9, "test", seed=1)
    first = logits_of(small_net, images)
    np.testing.assert_array_equal(logits_of(small_net, images, compute=compute_on(in_process)), first)
    assert not in_process.parts
    sharded = logits_of(small_net, others, compute=compute_on(in_process))
    assert len(in_process.parts) == 3
    np.testing.assert_array_equal(logits_of(small_net, others, compute=lambda *_: pytest.fail("computed")), sharded)


class _Shaky(Session):
    def __init__(self, session):
        self._session = session

    def run(self, images):
        return self._session.run(images) * np.float32(1 + 1e-6)

    def time(self, images, plan):
        raise NotImplementedError


class Elsewhere(OnnxRuntime):
    """A runtime that gives other bits where it has travelled to, in the `shaky` ones of the sessions opened there."""

    def __init__(self, shaky, travelled=False):
        self.shaky, self.travelled, self.opened = shaky, travelled, 0

    def __reduce__(self):
        return Elsewhere, (self.shaky, True)

    @contextmanager
    def open(self, model, device):
        place, self.opened = self.opened, self.opened + 1
        with super().open(model, device) as session:
            yield _Shaky(session) if self.travelled and place in self.shaky else session


def test_other_bits_are_refused_and_not_kept(small_net, random_images, in_process, tmp_path):
    images = random_images(9, "test")
    with pytest.raises(UnavailableError, match=r"answers of fp32\.onnx are not those of this machine to the bit; take"):
        logits_of(small_net, images, judge=Elsewhere((0, 1, 2)), compute=compute_on(in_process))
    assert not list((tmp_path / "cache").rglob("*.npy"))


@pytest.mark.parametrize("machines", [["a", "b", "a"], ["a", "b", "c"]])
def test_every_machine_is_checked(small_net, random_images, in_process, monkeypatch, machines):
    monkeypatch.setattr(on_cluster.socket, "gethostname", iter(machines).__next__)
    with pytest.raises(UnavailableError, match=r"--cluster, b: its answers of fp32\.onnx"):
        compute_on(in_process)(small_net, random_images(50, "test"), Elsewhere((1,)), lambda images: None)


def test_a_broken_image_is_named_by_the_worker_as_here(small_net, folder, in_process):
    (folder / "test" / "j" / "29.jpg").write_bytes(b"\xff\xd8 no image")
    images = images_in(folder)
    said = []
    for cluster in (None, in_process):
        with pytest.raises(DataError, match=r"29\.jpg") as refused:
            compute_on(cluster)(small_net, images, OnnxRuntime(), lambda images: None)
        said.append(str(refused.value))
    assert said[0] == said[1]


def test_a_file_that_goes_meanwhile_is_named(small_net, folder, in_process):
    images = images_in(folder)
    (folder / "test" / "j" / "29.jpg").unlink()
    with pytest.raises(DataError, match=r"29\.jpg: cannot be read \(No such file"):
        compute_on(in_process)(small_net, images, OnnxRuntime(), lambda images: None)


def test_images_of_another_size_are_refused_before_anything_travels(small_net, random_images, in_process):
    with pytest.raises(ModelError, match="takes images of"):
        compute_on(in_process)(small_net, random_images(9, size=16), OnnxRuntime(), lambda images: None)
    assert not in_process.opened


@pytest.mark.parametrize(("count", "size", "side", "workers", "batches"), [
    (10_000, 100, 32, 2, 3),       # 32 shards or a few more
    (10_000, 100, 32, 64, 1),      # never less than a batch
    (1_000_000, 100, 32, 2, 27),   # 8 MiB of pixels
    (50_000, 8, 224, 2, 6),        # larger images, fewer of them
    (5, 8, 224, 2, 1),
    (100, 1, 4096, 2, 1)])         # one that is larger than any shard
def test_a_shard_is_a_few_whole_batches(random_images, count, size, side, workers, batches):
    images = random_images(1, size=side if side < 4096 else 4096)
    assert on_cluster._batches(count, size, images, workers) == batches
