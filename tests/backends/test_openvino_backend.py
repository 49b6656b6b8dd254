"""OpenVINO gives onnxruntime's numbers, and says what is missing."""

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from edge_se.backends import openvino as module
from edge_se.backends.base import Device
from edge_se.backends.onnxruntime import OnnxRuntime
from edge_se.backends.openvino import OpenVino
from edge_se.backends.table import first_that_runs
from edge_se.core.errors import UnavailableError
from edge_se.graph.onnx_model import OnnxModel

PREPARED = """
    import gc, os, signal, sys
    from concurrent.futures import ThreadPoolExecutor
    from contextlib import ExitStack, suppress
    from pathlib import Path
    from threading import Event, Thread
    import numpy as np
    from edge_se.backends.base import Device
    from edge_se.backends.openvino import OpenVino
    from edge_se.graph.onnx_model import OnnxModel
    model, images = OnnxModel(content=Path(sys.argv[1]).read_bytes()), np.zeros((1, 3, 32, 32), np.float32)
"""
installed = pytest.mark.skipif(not module.installed(), reason=f"openvino is missing: {module.INSTALL}")


def alone(code, model, folder):
    """`code` with `model` and `images` in a process of its own, killed after a minute."""
    (folder / "tiny.onnx").write_bytes(model.content)
    return subprocess.run([sys.executable, "-c", textwrap.dedent(PREPARED) + textwrap.dedent(code),
                           folder / "tiny.onnx"], capture_output=True, text=True, timeout=60)


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
def test_convolutions_with_float_biases_run_in_int8(tiny_build):
    build = tiny_build("float_biases", accuracy=False, targets=["openvino"])
    compiled = module.core().compile_model(module.core().read_model(build.folder / "int8.openvino.onnx"), "CPU")
    told = [(node.get_rt_info()["layerType"].astype(str), node.get_rt_info()["runtimePrecision"].astype(str))
            for node in compiled.get_runtime_model().get_ops()]
    types = [precision for kind, precision in told if kind == "Convolution"]
    assert sum(precision in ("u8", "i8") for precision in types) >= 10


@installed
def test_files_for_openvino_go_to_openvino_and_others_to_onnxruntime(tiny_onnx):
    names = {target: getattr(first_that_runs(OnnxModel(content=tiny_onnx.content, target=target), Device())[0],
                             "name", None) for target in ("any", "cpu", "openvino", "tensorrt")}
    assert names == {"any": "onnxruntime", "cpu": "onnxruntime", "openvino": "openvino", "tensorrt": None}


def test_without_the_package_it_says_how_to_get_it(tiny_onnx, monkeypatch):
    monkeypatch.setattr(module, "importable", lambda name: False)
    assert "pip install 'edge-se[openvino]'" in OpenVino().why_not(tiny_onnx, Device())
    with pytest.raises(UnavailableError, match="OpenVINO is not installed"), OpenVino().open(tiny_onnx, Device()):
        pass


@installed
@pytest.mark.skipif(not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2,
                    reason="one processor, or a system that does not tell")
def test_streams_may_use_every_processor(tiny_onnx, tmp_path):
    done = alone("""
        with ExitStack() as stack:
            sessions = [stack.enter_context(OpenVino().open(model, Device(threads=1, streams=2))) for _ in range(2)]
            for session in sessions:
                session.prepare(images)  # a thread is bound for as long as it compiles
            threads = stack.enter_context(ThreadPoolExecutor(2))
            runs = [threads.submit(lambda own=session: [own.run(images) for _ in range(300)]) for session in sessions]
            seen = set()
            while not all(run.done() for run in runs):
                with suppress(ProcessLookupError):
                    seen |= {len(os.sched_getaffinity(int(task.name))) for task in Path("/proc/self/task").iterdir()}
        sys.exit(17 if seen and min(seen) > 1 else f"processors of a thread: {seen}")
    """, tiny_onnx, tmp_path)  # in a process of its own: sessions of other tests bind the threads that call them
    assert done.returncode == 17, done.stderr


@installed
def test_two_threads_may_be_the_first_to_run(tiny_onnx, tmp_path):
    # The second is at its first run when the first lets go of the interpreter to set up arrays. It was a deadlock in
    # five of eight processes.
    code = """
        with ExitStack() as stack:
            one, other = [stack.enter_context(OpenVino().open(model, Device(threads=1, streams=2))) for _ in range(2)]
            one.prepare(images), other.prepare(images)
            ready, go = Event(), False

            def second():
                ready.set()
                while not go:
                    pass
                other.run(images)

            def first():
                global go
                ready.wait()
                sum(range(100_000))  # until the other spins
                go = True
                one.run(images)

            threads = [Thread(target=task, daemon=True) for task in (second, first)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(20)
            os._exit(17 if not any(thread.is_alive() for thread in threads) else 1)
    """
    for _ in range(4):
        done = alone(code, tiny_onnx, tmp_path)
        assert done.returncode == 17, done.stderr


@installed
def test_an_interrupt_after_openvino_is_an_interrupt(tiny_onnx, tmp_path):
    done = alone("""
        for _ in range(3):
            with OpenVino().open(model, Device(threads=1)) as one, OpenVino().open(model, Device(threads=1)) as other:
                one.run(images), other.run(images)
            del one, other
            gc.collect()
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except KeyboardInterrupt:
            sys.exit(17)
    """, tiny_onnx, tmp_path)
    assert done.returncode == 17, done.stderr
