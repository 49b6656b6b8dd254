"""A build that commands may read and alter."""

import shutil

import pytest

from edge_se.steps.export import export


@pytest.fixture(scope="session")
def exported(tiny_onnx, calibration_npz, tmp_path_factory):
    """tiny.onnx and beside it `built`, a build of it that was made without CIFAR-10."""
    folder = tmp_path_factory.mktemp("exported")
    (folder / "tiny.onnx").write_bytes(tiny_onnx.content)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("EDGE_SE_DATA", raising=False)
        export(folder / "tiny.onnx", int8=True, fp16=True, targets=["cpu", "tensorrt"], calibration=calibration_npz,
               out=folder / "built")
    return folder


@pytest.fixture
def build(exported, tmp_path, monkeypatch):
    """A copy that a test may alter: a folder with a build of a small SE net, tiny.onnx beside it."""
    monkeypatch.delenv("EDGE_SE_DATA", raising=False)
    shutil.copyfile(exported / "tiny.onnx", tmp_path / "tiny.onnx")
    return shutil.copytree(exported / "built", tmp_path / "built")
