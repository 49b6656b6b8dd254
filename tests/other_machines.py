"""Fixtures: machines that are not this one, as far as tests need them, and tools that may not be here."""

import contextlib
import pickle
import shutil
import subprocess
import sys
import venv
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="session")
def bare_python(tmp_path_factory):
    """The folder of a `python3` that has numpy and onnxruntime, and nothing else of this environment."""
    import onnxruntime

    folder = tmp_path_factory.mktemp("device")
    venv.create(folder, symlinks=True)
    packages = folder / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    for module in (np, onnxruntime):
        place = Path(module.__file__).parents[1]
        for path in place.glob(f"{module.__name__}*"):
            (packages / path.name).symlink_to(path)
    return folder / "bin"


@pytest.fixture(scope="session")
def cudart_file(tmp_path_factory):
    """A libcudart.so on the host's memory, whose times are known."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler here: the stand-in for CUDA's library is C")
    source = Path(__file__).parent / "device" / "fake_cudart.c"
    path = tmp_path_factory.mktemp("cuda") / "libcudart.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", path, source], check=True)
    return path


class InProcess:
    """A cluster in this process: what it is given travels as to another, and the last part of a few ends first."""

    workers = 3

    def __init__(self):
        self.opened, self.parts = 0, []

    def run(self, work, parts):
        travelled = pickle.loads(pickle.dumps(work))
        with contextlib.ExitStack() as stack:
            workers = [stack.enter_context(travelled.opened()) for _ in range(self.workers)]
            self.opened += len(workers)
            started = []
            for position, part in enumerate(parts):
                self.parts.append(part.name)
                started.append((position, pickle.loads(pickle.dumps(part.content))))
                if len(started) == len(workers):
                    yield from self._ended(workers, started)
                    started = []
            yield from self._ended(workers, started)

    def _ended(self, workers, started):
        for do, (position, content) in reversed(list(zip(workers, started))):
            yield position, do(content)


@pytest.fixture
def in_process():
    """A cluster of three workers that are all in this process."""
    return InProcess()


@pytest.fixture(scope="session")
def chromium():
    """The path of a browser that runs without a screen."""
    found = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))),
                 None)
    if found is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    return found


@pytest.fixture
def full_disk():
    """A context in which no file of this process grows beyond 20 kB: writes fail as they do on a full disk."""
    resource = pytest.importorskip("resource", reason="needs POSIX resource limits")

    @contextmanager
    def limited():
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    return limited
