"""One value for labelled images: splits, classes by name, provenance, memory, broken images."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from edge_se.core.errors import DataError
from edge_se.data import lazy_images
from edge_se.data.dataset import open_dataset
from edge_se.data.preprocessing import CIFAR10, assumed
from edge_se.data.records import content_hash

HOW = replace(CIFAR10, labels=())
NAMES = ("ant", "bee", "cat")


def save(path, seed, size=32):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels.transpose(2, 0, 1)


@pytest.fixture
def folders(tmp_path):
    """Three classes in train/, val/ and test/: 5, 2 and 3 images of each."""
    seed = 0
    for split, count in (("train", 5), ("val", 2), ("test", 3)):
        for name in NAMES:
            for number in range(count):
                save(tmp_path / "pets" / split / name / f"{number}.png", seed := seed + 1)
    return tmp_path / "pets"


def both(folder, *names):
    """An image in each of the folders."""
    for seed, name in enumerate(names):
        save(folder / name / "a.png", seed)


@pytest.fixture
def alone(tmp_path):
    """Three class folders of 60 images."""
    for place, name in enumerate(NAMES):
        for number in range(60):
            save(tmp_path / "alone" / name / f"{number}.png", 100 * place + number, size=8)
    return tmp_path / "alone"


def test_splits_and_classes_are_the_folders(folders):
    data = open_dataset(folders)
    assert (data.name, data.layout, data.classes, data.judging) == ("pets", "image folder", NAMES, "test")
    assert set(data.splits) == {"train", "validation", "test"}
    test = data.judged(HOW)
    assert (len(test), test.name, test.split, test.labels.dtype) == (9, "pets-test", "test", np.int32)
    assert test.labels.tolist() == [0] * 3 + [1] * 3 + [2] * 3
    assert len(data.held_out(HOW)) == 6 and len(data.split("train", HOW)) == 15
    assert [len(batch) for batch in test.batches(4)] == [4, 4, 1]


def test_pixels_come_as_they_are_saved_and_in_order(tmp_path):
    saved = [save(tmp_path / "test" / name / f"{number:02}.png", 10 * place + number)
             for place, name in enumerate(NAMES) for number in range(10)]
    images = open_dataset(tmp_path).judged(HOW)
    for _ in range(2):  # decoded, then held
        np.testing.assert_array_equal(np.concatenate(list(images.pixel_batches(7))), saved)
    some = images.take([29, 3])
    np.testing.assert_array_equal(some.image(0), saved[29])
    assert some.labels.tolist() == [2, 0]


def test_what_is_not_held_is_the_same(alone, monkeypatch):
    images = open_dataset(alone).split("train", HOW)
    held = np.concatenate(list(images.pixel_batches(10)))
    monkeypatch.setattr(lazy_images, "HELD", 0)
    np.testing.assert_array_equal(np.concatenate(list(images.pixel_batches(16))), held)
    assert "_held" in vars(images) and "_held" not in vars(images.take([0]))


def test_class_folders_alone_are_split_by_content(alone):
    splits = {name: open_dataset(alone).split(name, HOW) for name in ("train", "validation", "test")}
    assert sum(map(len, splits.values())) == 180
    assert 5 <= len(splits["test"]) <= 35 and 5 <= len(splits["validation"]) <= 35
    before = {name: {row.tobytes() for row in images.hashes} for name, images in splits.items()}
    for number in range(60):
        save(alone / "bee" / f"new{number}.png", 1000 + number, size=8)
    (alone / "ant" / "0.png").rename(alone / "ant" / "zzz.png")
    for name, hashes in before.items():
        after = {row.tobytes() for row in open_dataset(alone).split(name, HOW).hashes}
        assert hashes < after or (hashes == after and name != "train")


@pytest.mark.parametrize(("present", "judging", "splits"), [
    (("train", "test"), "test", {"train", "test", "held-out"}),
    (("train", "valid"), "validation", {"train", "validation", "held-out"}),
    (("train", "dev", "test"), "test", {"train", "validation", "test"}),
    (("test",), "test", {"test"})])
def test_a_part_of_train_is_held_out_where_no_split_is_free(tmp_path, present, judging, splits):
    for place, split in enumerate(present):
        for name in NAMES:
            for number in range(20):
                save(tmp_path / split / name / f"{number}.png", 1000 * place + number + 100 * NAMES.index(name), 8)
    data = open_dataset(tmp_path)
    assert data.judging == judging and set(data.splits) == splits
    held = data.held_out(HOW)
    assert (held is None) == (present == ("test",))
    if "held-out" in splits:
        assert 0 < len(held) < 20 and len(held) + len(data.split("train", HOW)) == 60
        assert not {row.tobytes() for row in held.hashes} & {row.tobytes() for row in data.split("train", HOW).hashes}


@pytest.mark.parametrize("name", ["test", "val", "Testing"])
def test_a_folder_that_is_called_as_a_split_is_that_split(folders, tmp_path, name):
    (folders / "test").rename(tmp_path / name)
    data = open_dataset(tmp_path / name)
    assert len(data.judged(HOW)) == 9 and len(data.splits) == 1


def test_train_alone_is_calibrated_on_and_not_judged_on(folders):
    data = open_dataset(folders / "train")
    images = data.calibration(HOW, limit=7)
    assert (len(images), images.split, images.labels) == (7, "train", None)
    with pytest.raises(DataError, match=r"has no split to judge on, only train; .*--split"):
        data.judged(HOW)
    assert open_dataset(folders / "train", split="train").judged(HOW).split == "train"


def test_a_sample_of_calibration_images_is_of_all_classes_though_they_lie_class_by_class(alone):
    images = open_dataset(alone).calibration(HOW)
    assert images.labels is None
    places = images.sampled(16)
    thirds = np.histogram(places, bins=3, range=(0, len(images)))[0]
    assert len(places) == 16 and (thirds > 1).all()
    assert (images.sample(16).hashes == images.hashes[places]).all()
    assert len(images.sample(1000)) == len(images.sampled(1000)) == len(images)


def test_labels_are_outputs_of_the_model_by_name(folders):
    data, swapped = open_dataset(folders), replace(HOW, labels=("cat", "ant", "bee"))
    assert data.judged(swapped).labels.tolist() == [1] * 3 + [2] * 3 + [0] * 3
    assert open_dataset(folders, names=tuple((name,) for name in swapped.labels)).judged(HOW).labels.tolist()[0] == 1
    assert data.judged(swapped).sha256 != data.judged(HOW).sha256
    assert (data.judged(swapped).hashes == data.judged(HOW).hashes).all()


@pytest.mark.parametrize(("labels", "outputs", "message"), [
    (("ant", "bee", "dog"), 3, r"the images have 'cat', which the model does not know; the model knows 'dog', of"),
    (("ant", "bee", "cat", "dog"), 4, r"the model knows 'dog', of which there are no images; .*--labels FILE"),
    (("ant", "bee"), 2, r"the images have 'cat', which the model does not know"),
    ((), 4, r"3 classes \('ant', 'bee', 'cat'\), the model has 4 outputs"),
    ((), 2, r"3 classes .* the model has 2 outputs")])
def test_names_and_counts_that_do_not_match_are_refused(folders, labels, outputs, message):
    with pytest.raises(DataError, match=message):
        open_dataset(folders).judged(replace(HOW, labels=labels), outputs)


def test_classes_may_go_by_another_name_of_the_file(folders):
    """ImageNet's folders are WordNet's numbers, and two of its classes are called crane."""
    names = (("ant", "crane"), ("cat", "crane"), ("bee", "maillot"))
    data = open_dataset(folders, names=names)
    for own in ((), ("crane", "crane", "maillot"), ("bird", "machine", "suit")):
        assert data.judged(replace(HOW, labels=own), 3).labels.tolist() == [0] * 3 + [2] * 3 + [1] * 3
    for labels in (("maillot", "crane", "crane"), ("crane", "maillot")):
        with pytest.raises(DataError, match="--labels: the model has labels of its own, and they differ"):
            data.judged(replace(HOW, labels=labels), 3)
    with pytest.raises(DataError, match="'ant' names several outputs of the model"):
        open_dataset(folders, names=(("ant",), ("ant",), ("bee",))).judged(HOW, 3)


@pytest.mark.parametrize("name", ["test", "train"])
def test_a_class_without_images_is_named(folders, name):
    for path in (folders / name / "bee").iterdir():
        path.unlink()
    data = open_dataset(folders)
    if name == "train":  # nothing is judged on it
        assert len(data.split("train", HOW)) == 10 and len(data.judged(HOW)) == 9
        return
    with pytest.raises(DataError, match=r"no image of 'bee' in split 'test'"):
        data.judged(HOW)


def test_broken_images_are_named_or_skipped_and_counted(folders):
    (folders / "test" / "bee" / "1.png").write_bytes(b"\x89PNG no")
    whole = (folders / "test" / "cat" / "0.png").read_bytes()
    (folders / "test" / "cat" / "0.png").write_bytes(whole[: len(whole) // 2])
    (folders / "train" / "cat" / "0.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"bee/1\.png: cannot be read as an image .*--skip-broken"):
        list(open_dataset(folders).judged(HOW).batches(10))
    data = open_dataset(folders, skip_broken=True)
    test, calibration = data.judged(HOW), data.calibration(HOW)
    assert (len(test), test.skipped, test.labels.tolist()) == (7, 2, [0] * 3 + [1] * 2 + [2] * 2)
    assert sum(map(len, test.batches(3))) == 7
    assert (len(calibration), calibration.skipped) == (14, 1)


def test_an_image_that_cannot_be_read_is_skipped_too(alone, monkeypatch):
    (alone / "ant" / "gone.png").symlink_to(alone / "nowhere.png")
    with pytest.raises(DataError, match=r"gone\.png: cannot be read .*--skip-broken"):
        open_dataset(alone).split("test", HOW)
    data = open_dataset(alone, skip_broken=True)
    images = [data.split(name, HOW) for name in data.splits]
    assert (sum(map(len, images)), sum(one.skipped for one in images)) == (180, 1)


@pytest.mark.parametrize(("make", "message"), [
    (lambda folder: None, "no such file or folder; check the path: from here it is /"),
    (lambda folder: folder.mkdir(), "holds no folder for each class"),
    (lambda folder: save(folder / "a.png", 0), "holds no folder for each class"),
    (lambda folder: folder.write_text("x"), "holds no images that are known here; give a folder of images, "),
    (lambda folder: both(folder / "x" / "pets", "test/ant", "train/ant"),
     "holds one folder, 'x/pets', and no class folders beside it; give .*x/pets, where"),
    (lambda folder: both(folder / "all", "ant", "bee"), "holds one folder, 'all', .*give .*x/all, where"),
    (lambda folder: both(folder / "train" / "all", "ant", "bee"), "holds one folder, 'train/all'")])
def test_what_holds_no_labelled_images_is_told(tmp_path, make, message):
    make(tmp_path / "x")
    with pytest.raises(DataError, match=message):
        open_dataset(tmp_path / "x")


@pytest.mark.parametrize(("added", "message"), [
    ("valid", "holds 'val' and 'valid', and both are the validation split"),
    ("testing", "holds 'test' and 'testing', and both are the test split"),
    ("training", "holds 'train' and 'training', and both are the train split")])
def test_two_folders_of_one_split_are_told(folders, added, message):
    save(folders / added / "ant" / "new.png", 99)
    with pytest.raises(DataError, match=message):
        open_dataset(folders)


@pytest.mark.parametrize(("split", "asked"), [("test", "judged"), ("val", "held_out"), ("train", "calibration")])
def test_images_of_a_split_that_lie_in_no_class_folder_are_told(folders, split, asked):
    """As the test images of a competition do, whose labels nobody has."""
    for name in NAMES:
        for path in (folders / split / name).iterdir():
            path.rename(folders / split / f"{name}{path.name}")
        (folders / split / name).rmdir()
    data = open_dataset(folders)
    with pytest.raises(DataError, match=f"{split}: its images lie in no class folder.*or move this folder away"):
        getattr(data, asked)(HOW)


def test_one_class_whose_images_lie_deeper_is_a_class(tmp_path):
    for name in ("ant/a.png", "ant/left/b.png", "ant/right/c.png"):
        save(tmp_path / name, 0)
    assert open_dataset(tmp_path).classes == ("ant",)


@pytest.mark.parametrize("content", [b"not an image", b"GIF9", b"\x89PNG\r\n\x1a\nnothing"])
def test_what_is_no_image_is_told_without_an_address(folders, content):
    (folders / "test" / "bee" / "1.png").write_bytes(content)
    with pytest.raises(DataError, match=r"bee/1\.png: cannot be read as an image") as caught:
        list(open_dataset(folders).judged(HOW).batches(10))
    assert "0x" not in str(caught.value)


@pytest.mark.parametrize(("name", "told"), [("", "'cow' in split 'test', which is drawn by content; add"),
                                            ("test", "'cow' in split 'test'; add"),
                                            ("val", "'cow' in split 'validation'; add")])
def test_a_class_without_judged_images_is_told_with_how_they_were_chosen(tmp_path, name, told):
    both(tmp_path / name, *(f"ant/{number}" for number in range(60)))
    (tmp_path / name / "cow").mkdir()
    with pytest.raises(DataError, match=f"no image of {told}"):
        open_dataset(tmp_path).judged(HOW)


def test_an_unknown_split_has_a_suggestion(folders):
    with pytest.raises(DataError, match=r"--split tset: has no split 'tset'; did you mean 'test'"):
        open_dataset(folders, split="tset")
    with pytest.raises(DataError, match="did you mean 'train'"):
        open_dataset(folders).split("trian", HOW)


def test_content_is_the_same_in_every_lossless_container(tmp_path):
    pixels = save(tmp_path / "a.png", 3)
    for name in ("a.bmp", "a.ppm"):
        Image.open(tmp_path / "a.png").save(tmp_path / name)
        assert content_hash((tmp_path / name).read_bytes()) == content_hash(pixels)
    Image.open(tmp_path / "a.png").save(tmp_path / "a.jpg")
    assert content_hash((tmp_path / "a.jpg").read_bytes()) != content_hash(pixels)
    grey = np.full((1, 8, 8), 7, np.uint8)
    Image.fromarray(grey[0]).save(tmp_path / "grey.png")
    assert content_hash((tmp_path / "grey.png").read_bytes()) == content_hash(grey)
    assert content_hash(pixels.reshape(3, 16, 64)) != content_hash(pixels)


def test_a_split_is_decoded_in_the_models_size(folders):
    test = open_dataset(folders).judged(assumed((48, 40)))
    assert test.shape == (3, 48, 40) and next(test.pixel_batches(5)).shape == (5, 3, 48, 40)
    assert test.seen_by(HOW).shape == (3, 32, 32) and test.seen_by(test.preprocessing) is test


def test_hidden_files_and_links_in_circles_are_no_images(folders):
    (folders / "test" / "ant" / "._0.png").write_bytes(b"resource fork")
    (folders / "test" / "ant" / "round").symlink_to(folders / "test")
    (folders / "test" / ".ipynb_checkpoints").mkdir()
    assert len(open_dataset(folders).judged(HOW)) == 9


def test_cifar10_is_what_it_was(cifar):
    from edge_se.data import splits

    data = open_dataset(cifar.root)
    assert (data.layout, data.classes, data.judging) == ("CIFAR-10", CIFAR10.labels, "test")
    for name in data.splits:
        old, new = splits.load(name, cifar), data.split(name, CIFAR10)
        assert (new.name, new.split, new.sha256, len(new)) == (old.name, old.split, old.sha256, len(old))
    assert data.held_out(CIFAR10).split == "validation"
    assert not {row.tobytes() for row in data.judged(CIFAR10).hashes} & {
        row.tobytes() for row in data.calibration(CIFAR10).hashes}
