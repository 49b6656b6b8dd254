"""One suite for every layout of images, and a toy that is one file more."""

import gzip
import io
import json
import pickle
import re
import tarfile
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from edge_se.core.errors import CalibrationError, DataError
from edge_se.data import layouts as package
from edge_se.data.calibration import load
from edge_se.data.cifar10 import BINARY_FOLDER
from edge_se.data.dataset import open_dataset
from edge_se.data.images import hash_of_pixels
from edge_se.data.layout import Wanted, layout_of, layouts
from edge_se.data.layouts import cifar100_files as cifar100
from edge_se.data.layouts.pixel_archive import write_archive
from edge_se.data.preprocessing import CIFAR10

OTHER = replace(CIFAR10, mean=(0.1, 0.2, 0.3), labels=())
NAMES = [layout.name for layout in layouts()]
TOY = '''
"""A .txt of grey values, one image a line."""
import numpy as np
from edge_se.data.layout import Layout
from edge_se.data.splits import ImageSet

def read(path, wanted):
    values = np.array([int(line) for line in path.read_text().split()][: wanted.limit], np.uint8)
    pixels = np.broadcast_to(values[:, None, None, None], (len(values), 3, *wanted.preprocessing.size))
    return ImageSet(name=path.stem, split="calibration", pixels=pixels, labels=None, preprocessing=wanted.preprocessing)

LAYOUT = Layout(name="grey list", about="a .txt of grey values", tells=lambda path: path.suffix == SUFFIX,
                calibration=read)
'''


COUNT = 24
LABELS = np.arange(COUNT) % 3
CLASSES = ("ant", "bee", "cat")
LABELLED = ["CIFAR-100", "IDX", "image folder", "parquet", "pixel archive", "table", "tar shards"]


@pytest.fixture
def samples(tmp_path, random_images, monkeypatch):
    """What a user names, by layout; what is not here needs the data set itself.

    Those with labels hold 24 images of three classes, of which the last 12 are the test split.
    """
    images = random_images(COUNT).pixels
    monkeypatch.setattr(cifar100, "COUNTS", {"train.bin": COUNT // 2, "test.bin": COUNT // 2})
    return {name: write(tmp_path, images) for name, write in WRITE.items()}


def png(image):
    content = io.BytesIO()
    Image.fromarray(image.transpose(1, 2, 0)).save(content, "png")
    return content.getvalue()


def split_of(number):
    return "train" if number < COUNT // 2 else "test"


def a_folder(tmp_path, images):
    for number, image in enumerate(images):
        path = tmp_path / "pictures" / split_of(number) / CLASSES[number % 3] / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(image))
    return tmp_path / "pictures"


def an_archive(tmp_path, images):
    np.savez_compressed(tmp_path / "mine.npz", pixels=images, labels=LABELS, names=np.array(CLASSES),
                        split=np.array([split_of(number) for number in range(COUNT)]))
    return tmp_path / "mine.npz"


def indices(tmp_path, images):
    (tmp_path / "mine.json").write_text("{}")
    return tmp_path / "mine.json"


def cifar10_files(tmp_path, images):
    (tmp_path / "data" / BINARY_FOLDER).mkdir(parents=True)
    return tmp_path / "data"


def cifar100_files(tmp_path, images):
    root = tmp_path / "hundred" / "cifar-100-binary"
    root.mkdir(parents=True)
    records = [bytes([0, label]) + image.tobytes() for label, image in zip(LABELS.tolist(), images)]
    (root / "train.bin").write_bytes(b"".join(records[: COUNT // 2]))
    (root / "test.bin").write_bytes(b"".join(records[COUNT // 2 :]))
    (root / "fine_label_names.txt").write_text("\n".join(CLASSES) + "\n")
    return tmp_path / "hundred"


def idx_files(tmp_path, images):
    root = tmp_path / "MNIST" / "raw"
    root.mkdir(parents=True)
    for split, own in (("train", slice(0, COUNT // 2)), ("t10k", slice(COUNT // 2, COUNT))):
        grey = images[own, 0]
        (root / f"{split}-images-idx3-ubyte.gz").write_bytes(gzip.compress(
            bytes((0, 0, 8, 3)) + np.array(grey.shape, ">u4").tobytes() + grey.tobytes()))
        (root / f"{split}-labels-idx1-ubyte").write_bytes(
            bytes((0, 0, 8, 1)) + np.array([len(grey)], ">u4").tobytes() + LABELS[own].astype(np.uint8).tobytes())
    return root


def a_table(tmp_path, images):
    (tmp_path / "files").mkdir()
    lines = ["split\tlabel\tPath"]
    for number, image in enumerate(images):
        (tmp_path / "files" / f"{number}.png").write_bytes(png(image))
        lines.append(f"{split_of(number)}\t{CLASSES[number % 3]}\tfiles/{number}.png")
    (tmp_path / "mine.tsv").write_text("\n".join(lines))
    return tmp_path / "mine.tsv"


def tar_shards(tmp_path, images):
    (tmp_path / "shards").mkdir()
    for number, image in enumerate(images):
        with tarfile.open(tmp_path / "shards" / f"mine-{split_of(number)}-{number % 2}.tar", "a") as archive:
            for name, content in ((f"{number:03}.png", png(image)), (f"{number:03}.cls", str(number % 3).encode())):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return tmp_path / "shards"


def parquet_files(tmp_path, images):
    import pyarrow
    from pyarrow import parquet

    (tmp_path / "hub" / "data").mkdir(parents=True)
    told = {"info": {"features": {"label": {"names": list(CLASSES), "_type": "ClassLabel"}}}}
    for split, own in (("train", range(COUNT // 2)), ("test", range(COUNT // 2, COUNT))):
        table = pyarrow.table({"image": [{"bytes": png(images[number]), "path": None} for number in own],
                               "label": [number % 3 for number in own]})
        table = table.replace_schema_metadata({"huggingface": json.dumps(told)})
        parquet.write_table(table, tmp_path / "hub" / "data" / f"{split}-00000-of-00001.parquet", row_group_size=5)
    return tmp_path / "hub"


WRITE = {"image folder": a_folder, "pixel archive": an_archive, "CIFAR-10 indices": indices, "CIFAR-10": cifar10_files,
         "CIFAR-100": cifar100_files, "IDX": idx_files, "table": a_table, "tar shards": tar_shards,
         "parquet": parquet_files}


@pytest.mark.parametrize("name", NAMES)
def test_a_path_is_told_by_its_own_layout(samples, name):
    assert set(NAMES) == set(samples), "give the new layout a sample"
    found = layout_of(samples[name])
    assert found is not None and found.name == name


@pytest.mark.parametrize("name", LABELLED)
def test_the_test_split_is_the_same_images_and_labels_in_every_layout(samples, random_images, name):
    data = open_dataset(samples[name])
    assert data.layout == name and data.judging == "test" and data.classes in ((), CLASSES)
    images = data.judged(replace(OTHER, labels=CLASSES))
    pixels = random_images(COUNT).pixels[COUNT // 2 :]
    if name == "IDX":  # is grey
        pixels = np.repeat(pixels[:, :1], 3, axis=1)
    expected = {(hash_of_pixels(image), label) for image, label in zip(pixels, LABELS[COUNT // 2 :].tolist())}
    assert {(row.tobytes(), label) for row, label in zip(images.hashes, images.labels.tolist())} == expected
    decoded = np.concatenate(list(images.pixel_batches(5)))
    assert {hash_of_pixels(image) for image in decoded} == {content for content, _ in expected}
    np.testing.assert_array_equal(decoded[7], images.take([7]).image(0))
    larger = images.seen_by(replace(OTHER, size=(48, 40)))
    assert next(larger.pixel_batches(3)).shape == (3, 3, 48, 40)


@pytest.mark.parametrize("name", LABELLED)
def test_packed_images_are_the_same_where_no_file_is(samples, name):
    sizes = (OTHER, replace(OTHER, size=(48, 40)))
    images = open_dataset(samples[name]).judged(replace(OTHER, labels=CLASSES)).take([7, 2, 3])
    key, pixels = images.key, [next(images.seen_by(how).pixel_batches(3)) for how in sizes]
    content = pickle.dumps(images.packed())
    for path in sorted(samples[name].rglob("*") if samples[name].is_dir() else [samples[name]]):
        if path.is_file():
            path.unlink()
    there = pickle.loads(content)
    assert there.key == key and there.labels.tolist() == images.labels.tolist()
    for how, expected in zip(sizes, pixels):
        np.testing.assert_array_equal(next(there.seen_by(how).pixel_batches(3)), expected)


@pytest.mark.parametrize("name", LABELLED)
def test_the_training_split_is_calibrated_on_and_shares_nothing_with_the_test_split(samples, name):
    images, data = load(str(samples[name]), None, OTHER), open_dataset(samples[name])
    assert (images.labels, images.preprocessing) == (None, OTHER) and images.split in ("train", "calibration")
    assert 8 <= len(images) <= 12
    own = {row.tobytes() for row in images.hashes}
    assert not own & {row.tobytes() for row in data.judged(OTHER).hashes}
    held = data.held_out(OTHER)
    assert held is None or not {row.tobytes() for row in held.hashes} & {
        row.tobytes() for row in data.split("train", OTHER).hashes}


@pytest.mark.parametrize("name", LABELLED)
def test_a_damaged_file_is_named(samples, name):
    """Cut in the middle, each file that the layout reads is named, at the latest when images are decoded."""
    data = [path for path in sorted(samples[name].rglob("*")) if path.is_file()] if samples[name].is_dir() else [
        samples[name]]
    for path in [path for path in data if "train" not in str(path) or name == "CIFAR-100"]:
        if path.suffix in (".tsv", ".txt"):
            continue  # half a table is a table, half of the names are names
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(DataError, match=re.escape(str(path))):
            for split in ("train", "validation" if name == "CIFAR-100" else "test", "test"):
                for _ in open_dataset(samples[name]).split(split, OTHER, 3).batches(5):
                    pass
        path.write_bytes(whole)


def test_images_of_an_archive_without_labels_are_taken_as_they_are(tmp_path, random_images):
    write_archive(tmp_path / "plain.npz", random_images(5).pixels)
    images = load(str(tmp_path / "plain.npz"), None, OTHER)
    assert (images.split, images.labels, images.preprocessing) == ("calibration", None, OTHER)
    np.testing.assert_array_equal(np.concatenate(list(images.pixel_batches(2))), random_images(5).pixels)
    with pytest.raises(DataError, match="holds no 'pixels' with 'labels'"):
        open_dataset(tmp_path / "plain.npz")


@pytest.mark.parametrize("layout", ["archive without labels", "pixel archive", "IDX", "table"])
def test_a_sample_is_of_all_classes_though_they_lie_class_by_class(tmp_path, layout):
    grey = np.repeat(np.array([10, 100, 200], np.uint8), 40)  # of each class one shade
    pixels = np.tile(grey[:, None, None, None], (1, 3, 32, 32))
    pixels[:, :, 31, 31] = np.arange(len(grey))[:, None]  # of equal ones all would be held out, or none
    labels = np.repeat(np.arange(3, dtype=np.uint8), 40)
    path = tmp_path / "train.npz"
    if layout == "IDX":
        path = tmp_path / "train-images-idx3-ubyte"
        path.write_bytes(bytes((0, 0, 8, 3)) + np.array([len(grey), 32, 32], ">u4").tobytes() + pixels[:, 0].tobytes())
        path.with_name("train-labels-idx1-ubyte").write_bytes(
            bytes((0, 0, 8, 1)) + np.array([len(grey)], ">u4").tobytes() + labels.tobytes())
    elif layout == "table":
        path = tmp_path / "train.csv"
        for number, image in enumerate(pixels):
            (tmp_path / f"{number}.png").write_bytes(png(image))
        path.write_text("\n".join(["path,label", *(f"{number}.png,{label}" for number, label in enumerate(labels))]))
    else:
        np.savez(path, pixels=pixels, **({} if layout == "archive without labels" else {"labels": labels}))
    images = load(str(path), None, OTHER)
    sample = images.sample(12)
    shades, counts = np.unique(np.concatenate(list(sample.pixel_batches(5)))[:, 0, 0, 0], return_counts=True)
    assert shades.tolist() == [10, 100, 200] and counts.sum() == 12
    assert (sample.hashes == images.hashes[images.sampled(12)]).all()


def test_cifar10s_own_folder_is_its_512_images(cifar):
    images = load(str(cifar.root), None, OTHER)
    assert (len(images), images.split, images.preprocessing) == (512, "calibration", OTHER)
    assert images.sha256 == load("cifar10-calib512", cifar).sha256


@pytest.mark.parametrize("name", ["CIFAR-10 indices", "CIFAR-10"])
def test_damage_is_one_message(samples, name):
    with pytest.raises((CalibrationError, DataError), match=str(samples[name])):
        load(str(samples[name]), None)


@pytest.fixture
def extended(tmp_path, monkeypatch):
    """(suffix that the toy claims) -> nothing; the package's folder has one file more."""
    def make(suffix):
        (tmp_path / "more").mkdir()
        name = f"toy_{suffix.strip('.')}"  # modules are imported once
        (tmp_path / "more" / f"{name}.py").write_text(TOY.replace("SUFFIX", repr(suffix)))
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path / "more")])
    return make


def test_a_toy_is_one_file(extended, tmp_path):
    path = tmp_path / "values.txt"
    path.write_text("0\n7\n255\n")
    with pytest.raises(CalibrationError, match="unknown calibration set"):
        load(str(path), None)
    extended(".txt")
    images = load(str(path), None, OTHER)
    assert images.pixels.shape == (3, 3, 32, 32) and images.pixels[:, 0, 0, 0].tolist() == [0, 7, 255]
    found = layout_of(path)
    assert found is not None and len(found.calibration(path, Wanted(limit=2))) == 2
    with pytest.raises(CalibrationError, match=r"unknown calibration set 'x\.zip'; .*a \.txt of grey values"):
        load("x.zip", None)


def test_two_that_claim_one_path_are_an_error_that_names_both(extended, samples):
    extended(".npz")
    with pytest.raises(CalibrationError, match=r"is an \.npz of pixels and a \.txt of grey values"):
        load(str(samples["pixel archive"]), None)
