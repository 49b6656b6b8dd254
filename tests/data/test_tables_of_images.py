"""Tables, arrays and shards of labelled images: labels as numbers and names, and what is refused with its line."""

import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image

from edge_se.core.errors import DataError
from edge_se.data.dataset import open_dataset
from edge_se.data.preprocessing import assumed

HOW = assumed((8, 8))


@pytest.fixture
def files(tmp_path):
    """Six small images, `0.png` to `5.png`."""
    random = np.random.default_rng(0)
    for number in range(6):
        Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(tmp_path / f"{number}.png")
    return tmp_path


def table(folder, lines, name="test.csv"):
    (folder / name).write_text("\n".join(lines) + "\n")
    return open_dataset(folder / name)


def test_numbers_stay_numbers_and_names_are_sorted(files):
    numbered = table(files, ["path,label", "0.png,2", "1.png,0", "2.png,1"])
    assert (numbered.classes, numbered.judged(HOW, 3).labels.tolist()) == ((), [2, 0, 1])
    named = table(files, ["label,path", "dog,0.png", "ant,1.png", "cat,2.png"])
    assert (named.classes, named.judged(HOW, 3).labels.tolist()) == (("ant", "cat", "dog"), [2, 0, 1])
    lines = ['{"path": "0.png", "label": 1, "split": "val"}', "", '{"path": "1.png", "label": 0, "split": "val"}']
    assert table(files, lines, "mine.jsonl").judging == "validation"


@pytest.mark.parametrize("name", ["test.csv", "test.tsv"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_spreadsheets_separate_columns_in_three_ways(files, name, separator):
    lines = [separator.join(row) for row in (("\ufeffpath", "label"), ("0.png", "a dog, asleep"), ("1.png", "cat"))]
    lines = [line.replace("a dog, asleep", '"a dog, asleep"') for line in lines]
    read = table(files, lines, name)
    assert (read.classes, read.judged(HOW, 2).labels.tolist()) == (("a dog, asleep", "cat"), [0, 1])


def test_a_table_without_splits_is_split_by_content(files):
    data = table(files, ["path,label", *(f"{number}.png,{number % 2}" for number in range(6))], "mine.csv")
    assert set(data.splits) == {"train", "validation", "test"}
    assert sum(len(data.split(name, HOW)) for name in data.splits) == 6


@pytest.mark.parametrize(("lines", "message"), [
    (["file,label", "0.png,1"], r"line 2 has no path or no label; its columns are file, label"),
    (["path,label", "0.png,1", "1.png,"], r"line 3 has no path or no label"),
    (["path,label,split", "0.png,1,test", "1.png,0,"], r"line 3 names no split, others do"),
    (["path,label"], r"holds no line with a path and a label"),
    (['path,label', '"0.png,1'], r"is no table \(unexpected end of data\)"),
    (["path,label", "0.png,3000000000"], r"label 3000000000 is the number of no class"),
    (["path,label", "nowhere.png,0"], r"nowhere\.png: cannot be read"),
    (["path,label", "0.png,-1"], r"label -1 is none of the model's outputs")])
def test_what_is_wrong_with_a_table_is_told(files, lines, message):
    name = "mine.csv" if "split" in lines[0] else "test.csv"
    with pytest.raises(DataError, match=message):
        list(table(files, lines, name).judged(HOW).batches(2))


@pytest.mark.parametrize(("line", "message"), [
    ("[1, 2]", "line 1 is no object"), ('{"path": "0.png", "label": true}', "the label in line 1 is True"),
    ('{"path": 3, "label": 0}', "line 1 has no path"),
    ('{"path": "0.png", "label": 0.5}', "the label in line 1 is 0.5"),
    ("{", "is no table")])
def test_what_is_wrong_with_lines_of_json_is_told(files, line, message):
    with pytest.raises(DataError, match=message):
        table(files, [line], "test.jsonl")


@pytest.mark.parametrize(("name", "lines", "number"), [
    ("mine.csv", ["path,label,split", "0.png,1,test", "", "1.png,0,"], 4),
    ("mine.jsonl", ['{"path": "0.png", "label": 1, "split": "test"}', '{"path": "1.png", "label": 0}'], 2),
    ("mine.csv", ["path,label,split", '"0\n.png",1,test', "1.png,0,"], 4)])
def test_the_line_that_is_told_is_that_of_the_file(files, name, lines, number):
    with pytest.raises(DataError, match=f"line {number} names no split, others do"):
        table(files, lines, name)


@pytest.mark.parametrize("layout", ["npz", "jsonl"])
def test_an_unlabelled_test_split_leaves_the_others_to_judge_on(files, layout):
    """As Hugging Face's image sets have it: -1."""
    labels = np.array([0, 1, 0, 1, -1, -1])
    splits = np.array(["train", "train", "validation", "validation", "test", "test"])
    path = files / f"mine.{layout}"
    if layout == "npz":
        np.savez(path, pixels=np.zeros((6, 8, 8, 3), np.uint8), labels=labels, split=splits, names=np.array(["a", "b"]))
    else:
        path.write_text("\n".join(f'{{"path": "{number}.png", "label": {label}, "split": "{split}"}}'
                                  for number, (label, split) in enumerate(zip(labels, splits))))
    with pytest.raises(DataError, match=r"label -1 is none of .*"):
        open_dataset(path).judged(HOW, 2)
    assert open_dataset(path, split="validation").judged(HOW, 2).labels.tolist() == [0, 1]


@pytest.mark.parametrize(("changes", "message"), [
    ({"labels": np.zeros(2, int)}, r"'pixels' is uint8 \(3, 3, 8, 8\) for 2 labels"),
    ({"pixels": np.zeros((3, 5, 8, 9), np.uint8)}, "nothing says which axis holds the channels"),
    ({"pixels": np.zeros((3, 3, 8, 8), np.float32)}, r"'pixels' is float32"),
    ({"names": np.array(["a"]), "labels": np.array(["a", "b", "a"])}, "'names' lacks b"),
    ({"names": np.array(["a"]), "labels": np.array([0, 1, 0])}, "label 1 is none of its 1 classes"),
    ({"split": np.array(["test"])}, "its arrays do not belong together"),
    ({"labels": np.array([0.5, 1, 1])}, "its arrays do not belong together")])
def test_arrays_that_do_not_belong_together_are_refused(tmp_path, changes, message):
    sound = {"pixels": np.zeros((3, 3, 8, 8), np.uint8), "labels": np.array([0, 1, 0])}
    np.savez(tmp_path / "test.npz", **(sound | changes))
    with pytest.raises(DataError, match=message):
        open_dataset(tmp_path / "test.npz").judged(HOW)


@pytest.mark.parametrize(("labels", "names", "classes", "expected"), [
    ([b"dog", b"cat", b"dog"], None, ("cat", "dog"), [1, 0, 1]),  # as h5py has text
    ([1, 0, 1], ["dög".encode(), b"cat"], ("dög", "cat"), [1, 0, 1]),
    ([b"cat", b"dog", b"cat"], [b"dog", b"cat"], ("dog", "cat"), [1, 0, 1]),
    (["2", "10", "7"], ["10", "7", "2"], ("10", "7", "2"), [2, 0, 1]),  # names, though of digits
    (["1", "0", "1"], ["dog", "cat"], ("dog", "cat"), [1, 0, 1])])
def test_names_and_numbers_of_an_archive_however_they_are_written(tmp_path, labels, names, classes, expected):
    arrays = {"labels": np.array(labels), "split": np.array([b"val", b"val", b"val"])}
    np.savez(tmp_path / "mine.npz", pixels=np.zeros((3, 8, 8), np.uint8), **arrays,
             **({} if names is None else {"names": np.array(names)}))
    data = open_dataset(tmp_path / "mine.npz")
    assert (data.classes, data.judging) == (classes, "validation")
    assert data.judged(HOW).labels.tolist() == expected


@pytest.mark.parametrize(("names", "expected"), [(["dog", "1", "cat", "0"], {"train": [3, 1], "test": [2, 0]}),
                                                 (["dog", "cat"], "'names' lacks 0, 1")])
def test_numbers_in_one_archive_and_names_in_another_are_all_names(tmp_path, names, expected):
    for split, labels in (("train", [0, 1]), ("test", ["cat", "dog"])):
        np.savez(tmp_path / f"{split}.npz", pixels=np.full((2, 8, 8), len(split), np.uint8), labels=np.array(labels),
                 names=np.array(names))
    if isinstance(expected, str):
        with pytest.raises(DataError, match=expected):
            open_dataset(tmp_path)
        return
    splits = open_dataset(tmp_path).contents.splits
    assert {split: splits[split]().labels.tolist() for split in splits} == expected


def test_bytes_that_are_no_text_are_refused(tmp_path):
    np.savez(tmp_path / "test.npz", pixels=np.zeros((2, 8, 8), np.uint8), labels=np.array([b"a", b"\xff"]))
    with pytest.raises(DataError, match=r"is no \.npz of arrays"):
        open_dataset(tmp_path / "test.npz")


@pytest.mark.parametrize("layout", ["npz", "parquet"])
@pytest.mark.parametrize("others", [["dog", "cat"], ["cat", "dog", "owl"], ["cat", "dog"], None])
def test_files_that_name_other_classes_are_not_one_set(tmp_path, layout, others):
    for split, names in (("train", ["cat", "dog"]), ("test", others)):
        if layout == "npz":
            np.savez(tmp_path / f"{split}.npz", pixels=np.full((2, 8, 8), len(split), np.uint8), labels=np.arange(2),
                     **({} if names is None else {"names": np.array(names)}))
            continue
        pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install 'edge-se[parquet]'")
        from pyarrow import parquet

        told = {"info": {"features": {"label": {"names": names}}}} if names else {}
        table = pyarrow.table({"image": [b"", b""], "label": [0, 1]})
        parquet.write_table(table.replace_schema_metadata({"huggingface": json.dumps(told)}),
                            tmp_path / f"{split}.parquet")
    if others in (["cat", "dog"], None):
        assert open_dataset(tmp_path).classes == ("cat", "dog")
        return
    with pytest.raises(DataError, match=rf"train\.{layout}: names other classes than test\.{layout}"):
        open_dataset(tmp_path)


def test_several_sets_of_idx_files_are_not_mixed(tmp_path):
    """EMNIST has six in one folder."""
    def write(name):
        (tmp_path / f"{name}-images-idx3-ubyte").write_bytes(
            bytes((0, 0, 8, 3)) + np.array([2, 8, 8], ">u4").tobytes() + bytes(128))
        (tmp_path / f"{name}-labels-idx1-ubyte").write_bytes(
            bytes((0, 0, 8, 1)) + np.array([2], ">u4").tobytes() + bytes((0, 1)))

    for split in ("train", "test"):
        write(f"emnist-digits-{split}")
    assert len(open_dataset(tmp_path).judged(HOW)) == 2
    write("emnist-letters-test")
    with pytest.raises(DataError, match=r"several sets: emnist-digits-test-.*, emnist-letters-test-.*; give each set"):
        open_dataset(tmp_path)
    assert len(open_dataset(tmp_path / "emnist-letters-test-images-idx3-ubyte").judged(HOW)) == 2


def test_one_archive_for_each_split(tmp_path):
    for split, count in (("train", 4), ("test", 3)):
        np.savez_compressed(tmp_path / f"mine_{split}.npz", pixels=np.full((count, 8, 8), count, np.uint8),
                            labels=np.arange(count) % 2)
    data = open_dataset(tmp_path)
    assert data.layout == "pixel archive" and len(data.judged(HOW)) == 3
    assert (data.judged(HOW).image(2) == 3).all()


@pytest.mark.parametrize("cut", [1024 + 512, 4 * 512, 6 * 512])
def test_a_shard_that_ends_between_two_members_is_refused(files, cut):
    """Which tarfile takes for a whole one."""
    with tarfile.open(files / "test.tar", "w") as archive:
        for number in range(6):
            content = (files / f"{number}.png").read_bytes()
            for name, data in ((f"{number}.png", content), (f"{number}.cls", b"0")):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    whole = (files / "test.tar").read_bytes()
    assert len(open_dataset(files / "test.tar").judged(HOW)) == 6
    (files / "test.tar").write_bytes(whole[:cut])
    with pytest.raises(DataError, match=r"test\.tar: is no tar file of images and class numbers"):
        open_dataset(files / "test.tar").judged(HOW)


@pytest.mark.parametrize(("ending", "kind"), [("jpe", "jpeg"), ("JFIF", "jpeg"), ("gif", "gif"), ("heic", None)])
def test_images_of_other_endings_in_shards_are_not_passed_over(files, ending, kind):
    content = io.BytesIO(b"no image")
    if kind:
        Image.new("RGB", (8, 8), (9, 9, 9)).save(content, kind)
    with tarfile.open(files / "test.tar", "w") as archive:
        for name, data in ((f"a.{ending}", content.getvalue()), ("a.cls", b"0")):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    images = open_dataset(files / "test.tar").judged(HOW)
    if kind:
        assert abs(images.image(0).astype(int) - 9).max() <= 1
        return
    with pytest.raises(DataError, match=r"test\.tar, a\.heic: cannot be read as an image"):
        images.image(0)


def test_shards_without_a_number_are_refused_by_name(files):
    with tarfile.open(files / "test.tar", "w") as archive:
        archive.add(files / "0.png", "a/0.png")
    with pytest.raises(DataError, match=r"'a/0\.png' has no 'a/0\.cls' beside it"):
        open_dataset(files / "test.tar").judged(HOW)


def test_files_that_tell_a_split_and_files_that_do_not_are_not_mixed(tmp_path):
    for name in ("mine-train.tar", "mine-test.tar", "other.tar"):
        tarfile.open(tmp_path / name, "w").close()
    with pytest.raises(DataError, match=r"other\.tar tells no split in its name, other files do"):
        open_dataset(tmp_path)
