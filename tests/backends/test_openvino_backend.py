"""OpenVINO gives onnxruntime's numbers, and says what is missing."""

import os
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from edge_se.backends import openvino as module
from edge_se.backends.base import Device
from edge_se.backends.onnxruntime import OnnxRuntime
from edge_se.backends.openvino import OpenVino
from edge_se.backends.table import first_that_runs
from edge_se.core.errors import UnavailableError
from edge_se.graph.onnx_model import OnnxModel

installed = pytest.mark.skipif(not module.installed(), reason=f"openvino is missing: {module.INSTALL}")


@installed
def test_it_agrees_with_onnxruntime(tiny_onnx):
    images = np.random.default_rng(0).standard_normal((5, 3, 32, 32), dtype=np.float32)
    with OpenVino().open(tiny_onnx, Device()) as one, OnnxRuntime().open(tiny_onnx, Device()) as other:
        np.testing.assert_allclose(one.run(images), other.run(images), rtol=1e-3, atol=1e-3)


@installed
@pytest.mark.parametrize(("target", "kind", "reason"), [
    ("any", "cpu", None), ("openvino", "cpu", None), ("cpu", "cpu", None), ("tensorrt", "cpu", "written for TensorRT"),
    ("any", "cuda", "this backend runs on the CPU, not on 'cuda'")])
def test_why_not(tiny_onnx, target, kind, reason):
    found = OpenVino().why_not(OnnxModel(content=tiny_onnx.content, target=target), Device(kind=kind))
    assert found is None if reason is None else reason in found


@installed
def test_files_for_openvino_go_to_openvino_and_others_to_onnxruntime(tiny_onnx):
    names = {target: getattr(first_that_runs(OnnxModel(content=tiny_onnx.content, target=target), Device())[0],
                             "name", None) for target in ("any", "cpu", "openvino", "tensorrt")}
    assert names == {"any": "onnxruntime", "cpu": "onnxruntime", "openvino": "openvino", "tensorrt": None}


def test_without_the_package_it_says_how_to_get_it(tiny_onnx, monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    assert "pip install 'edge-se[openvino]'" in OpenVino().why_not(tiny_onnx, Device())
    with pytest.raises(UnavailableError, match="OpenVINO is not installed"), OpenVino().open(tiny_onnx, Device()):
        pass


@installed
@pytest.mark.skipif(not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2,
                    reason="one processor, or a system that does not tell")
def test_streams_may_use_every_processor(tiny_onnx):
    images, seen = np.zeros((1, 3, 32, 32), np.float32), []

    def threads_here():
        return {int(task.name) for task in Path("/proc/self/task").iterdir()}

    bound = {thread for thread in threads_here() if len(os.sched_getaffinity(thread)) == 1}  # by other tests' sessions

    def allowed():  # of each thread, while two streams run
        return {len(os.sched_getaffinity(thread)) for thread in threads_here() - bound}

    with OpenVino().open(tiny_onnx, Device(threads=1, streams=2)) as one, \
            OpenVino().open(tiny_onnx, Device(threads=1, streams=2)) as other, ThreadPoolExecutor(2) as threads:
        for session in (one, other):
            session.prepare(images)  # a thread is bound for as long as it compiles
        runs = [threads.submit(lambda session=session: [session.run(images) for _ in range(300)])
                for session in (one, other)]
        while not all(run.done() for run in runs):
            with suppress(ProcessLookupError):
                seen.append(min(allowed()))
    assert seen and min(seen) > 1


@installed
def test_an_interrupt_after_openvino_is_an_interrupt(tiny_onnx, tmp_path):
    (tmp_path / "tiny.onnx").write_bytes(tiny_onnx.content)
    done = subprocess.run([sys.executable, "-c", textwrap.dedent("""
        import gc, os, signal, sys
        import numpy as np
        from pathlib import Path
        from edge_se.backends.base import Device
        from edge_se.backends.openvino import OpenVino
        from edge_se.graph.onnx_model import OnnxModel
        model, images = OnnxModel(content=Path(sys.argv[1]).read_bytes()), np.zeros((1, 3, 32, 32), np.float32)
        for _ in range(3):
            with OpenVino().open(model, Device(threads=1)) as one, OpenVino().open(model, Device(threads=1)) as other:
                one.run(images), other.run(images)
            del one, other
            gc.collect()
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except KeyboardInterrupt:
            sys.exit(17)
    """), tmp_path / "tiny.onnx"], capture_output=True, text=True)
    assert done.returncode == 17, done.stderr
