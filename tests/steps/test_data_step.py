"""`data fetch` downloads into a folder of the user's, and replaces nothing there but the data set's own files."""

import hashlib

import pytest

from edge_se.core.errors import ArtifactError
from edge_se.data import cifar10
from edge_se.steps.data import fetch


@pytest.fixture
def official(monkeypatch):
    """What the files hold that count as official; the download only tells where it went."""
    content = b"official"
    monkeypatch.setattr(cifar10, "SHA256", dict.fromkeys(cifar10.SHA256, hashlib.sha256(content).hexdigest()))
    monkeypatch.setattr(cifar10, "fetch", lambda folder: cifar10.Cifar10(root=folder, binary=True))
    return content


def test_a_new_folder_and_one_with_the_official_files_are_taken(tmp_path, official):
    assert fetch(tmp_path / "new")["folder"] == str(tmp_path / "new")
    (tmp_path / cifar10.BINARY_FOLDER).mkdir()
    (tmp_path / cifar10.BINARY_FOLDER / "test_batch.bin").write_bytes(official)
    (tmp_path / "notes.txt").write_text("mine")
    assert fetch(tmp_path)["files"] == len(cifar10.SHA256)


@pytest.mark.parametrize("name", ["data_batch_3.bin", "test_batch.bin"])
def test_a_file_that_is_another_is_left_alone(tmp_path, official, name):
    path = tmp_path / cifar10.BINARY_FOLDER / name
    path.parent.mkdir()
    path.write_text("mine")
    with pytest.raises(ArtifactError, match=rf"{name}: would be overwritten, and is not the official file; choose"):
        fetch(tmp_path)
    path.unlink()
    path.mkdir()
    with pytest.raises(ArtifactError, match=f"{name}: would be overwritten"):
        fetch(tmp_path)


@pytest.mark.parametrize("name", ["", cifar10.BINARY_FOLDER])
def test_a_file_in_place_of_a_folder_is_left_alone(tmp_path, official, name):
    folder = tmp_path / "out"
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("mine")
    with pytest.raises(ArtifactError, match="is a file, not a folder"):
        fetch(folder)
    assert path.read_text() == "mine"
