"""Stand-ins for TensorRT and for CUDA's library, and a bundle."""

import ctypes
import shutil
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tensorrt_of():
    """(version, package) -> a stand-in; see fake_tensorrt.py."""
    spec = spec_from_file_location("fake_tensorrt", Path(__file__).with_name("fake_tensorrt.py"))
    loaded = module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded.tensorrt_of


@pytest.fixture
def cudart(cudart_file):
    """(path of the library, its counters)."""
    library = ctypes.CDLL(str(cudart_file))
    library.fake_set(1, 0)
    yield str(cudart_file), library
    library.fake_set(1, 0)
    library.fake_share(0)


@pytest.fixture(scope="module")
def build(tiny_build):
    return tiny_build("build", fp16=True, targets=["cpu", "cpu-avx2", "arm", "tensorrt", "tensorrt-fp16"],
                      bundle=True)


@pytest.fixture
def bundle(build, tmp_path):
    """A copy elsewhere, as on a device."""
    return shutil.copytree(build.folder / "bundle", tmp_path / "copied")
