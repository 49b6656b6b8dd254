"""A saved table gives the same ranges without images, and is refused where it does not belong."""

import json
from dataclasses import replace

import numpy as np
import pytest

from edge_se.core.errors import CalibrationError
from edge_se.data.preprocessing import CIFAR10
from edge_se.quantization.methods import METHODS
from edge_se.quantization.ranges import collect
from edge_se.quantization.table import is_table, read_table, write_table


@pytest.fixture(scope="module")
def statistics(tiny_onnx, random_images):
    return collect(tiny_onnx, random_images(20))


@pytest.fixture
def path(statistics, tmp_path):
    write_table(tmp_path / "table.npz", statistics)
    return tmp_path / "table.npz"


def rewrite(path, **changes):
    with np.load(path) as archive:
        arrays = dict(archive)
    about = json.loads(str(arrays["about"]))
    for key, value in changes.items():
        if key in arrays:
            arrays[key] = value(arrays[key])
        else:
            about[key] = value
    np.savez(path, **(arrays | {"about": np.array(json.dumps(about))}))


@pytest.mark.parametrize("method", METHODS)
def test_the_ranges_are_the_same(path, statistics, tiny_onnx, method):
    again = read_table(path, tiny_onnx, CIFAR10)
    for activations in ("uint8", "by-sign", "int8-symmetric"):
        assert again.ranges(method, activations) == statistics.ranges(method, activations)
    assert (again.images, again.calibration_sha256, again.split) == (20, statistics.calibration_sha256, "calibration")


def test_equal_statistics_give_equal_bytes(path, statistics, tmp_path):
    write_table(tmp_path / "again.npz", statistics)
    assert (tmp_path / "again.npz").read_bytes() == path.read_bytes()


def test_it_is_told_from_an_archive_of_images(path, tmp_path):
    np.savez(tmp_path / "images.npz", pixels=np.zeros((1, 3, 4, 4), np.uint8))
    (tmp_path / "broken.npz").write_bytes(b"broken")
    assert is_table(path)
    assert not any(is_table(tmp_path / name) for name in ("images.npz", "broken.npz", "missing.npz"))


def test_another_graph_or_normalisation_is_refused(path, tiny_onnx, tiny_plain_onnx):
    with pytest.raises(CalibrationError, match="was collected on another graph"):
        read_table(path, tiny_plain_onnx, CIFAR10)
    with pytest.raises(CalibrationError, match="was collected with mean"):
        read_table(path, tiny_onnx, replace(CIFAR10, mean=(0.5, 0.5, 0.5)))


@pytest.mark.parametrize("changes", [
    {"schema": "edge-se/calibration/2"}, {"tensors": []}, {"tensors": 5}, {"mean": None}, {"model_sha256": None},
    {"images": "many"}, {"counts": lambda counts: counts[:, :-1]}, {"counts": lambda counts: counts.astype(float)},
    {"counts": lambda counts: counts - 1}, {"extents": lambda extents: extents[1:]},
    {"extents": lambda extents: extents * np.nan}, {"extents": lambda extents: -extents}])
def test_an_altered_table_is_refused(path, tiny_onnx, changes):
    rewrite(path, **changes)
    with pytest.raises(CalibrationError, match=r"table\.npz: "):
        read_table(path, tiny_onnx, CIFAR10)


@pytest.mark.parametrize("content", [None, b"", b"broken"])
def test_a_missing_or_broken_table(path, tiny_onnx, content):
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CalibrationError, match="no such calibration table" if content is None else
                       "not a calibration table"):
        read_table(path, tiny_onnx, CIFAR10)
