"""Which file of a bundle runs on a device, and what is told where one of them does not open."""

import json
import platform
import sys
from types import ModuleType

import pytest

from edge_se.device.agent import AgentError, Bundle, TensorRt


def test_precision_and_runtime_can_be_chosen(bundle):
    assert Bundle(str(bundle), precisions=["fp16"]).file == "fp16.onnx"
    with pytest.raises(AgentError, match=r"nothing of this bundle runs here: int8\.tensorrt-fp16\.onnx in tensorrt: "):
        Bundle(str(bundle), precisions=["int8"], runtimes=["tensorrt"])


VNNI, AVX2, ORIN, NANO = ["avx2", "avx512_vnni"], ["avx2", "avx512f"], ["asimd", "asimddp"], ["asimd"]


@pytest.mark.parametrize(("machine", "flags", "file"), [
    ("x86_64", VNNI, "int8.cpu.onnx"), ("x86_64", ["avx2", "amx_int8"], "int8.cpu.onnx"),
    ("x86_64", AVX2, "int8.cpu-avx2.onnx"), ("x86_64", ["sse4_2"], "int8.cpu-avx2.onnx"),
    ("aarch64", ORIN, "int8.arm.onnx"), ("aarch64", NANO, "int8.arm.onnx")])
def test_the_file_is_that_of_the_processor(bundle, monkeypatch, machine, flags, file):
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr("edge_se.device.agent.bundle.processor_flags", lambda: flags)
    monkeypatch.setattr("edge_se.device.agent.bundle.load_tensorrt", no_tensorrt)
    assert (Bundle(str(bundle)).file, Bundle(str(bundle)).runtime) == (file, "onnxruntime")


def no_tensorrt(name):
    raise AgentError("runtime", "not installed")


@pytest.mark.parametrize(("machine", "flags", "left"), [("x86_64", AVX2, "cpu"), ("aarch64", ORIN, "cpu"),
                                                        ("x86_64", VNNI, "arm")])
def test_a_file_that_saturates_or_is_slow_gives_way_to_fp16(bundle, monkeypatch, machine, flags, left):
    document = json.loads((bundle / "bundle.json").read_text())
    document["files"] = [entry for entry in document["files"] if entry["target"] in ("any", left)]
    (bundle / "bundle.json").write_text(json.dumps(document))
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr("edge_se.device.agent.bundle.processor_flags", lambda: flags)
    assert Bundle(str(bundle)).file == "fp16.onnx"
    with pytest.raises(AgentError, match=f"int8.{left}.onnx in onnxruntime: written for"):
        Bundle(str(bundle), precisions=["int8"])


@pytest.mark.parametrize(("version", "opset", "file"), [
    ("8.6.1", 17, "int8.tensorrt.onnx"), ("10.3.0", 17, "int8.tensorrt-fp16.onnx"), ("8.5.2", 20, None)])
def test_tensorrt_is_given_what_its_version_reads(bundle, monkeypatch, tensorrt_of, version, opset, file):
    document = json.loads((bundle / "bundle.json").read_text())
    for entry in document["files"]:
        entry["opset"] = max(entry["opset"], opset)
    (bundle / "bundle.json").write_text(json.dumps(document))
    monkeypatch.setattr("edge_se.device.agent.bundle.load_tensorrt", lambda name: TensorRt(tensorrt_of(version)))
    monkeypatch.setattr("edge_se.device.agent.bundle.Cuda", Gpu)
    monkeypatch.setattr(Bundle, "_open", lambda self, path, entry, runtime: None)
    if file is None:
        with pytest.raises(AgentError, match=r"its opset 20 needs TensorRT 10 or later; 8\.5\.2 reads up to 17"):
            Bundle(str(bundle), precisions=["int8"], runtimes=["tensorrt"])
    else:
        assert Bundle(str(bundle), precisions=["int8"], runtimes=["tensorrt"]).file == file


class Gpu:
    def device(self):
        return {"capability": [8, 7]}


@pytest.fixture
def refusing(monkeypatch, tensorrt_of):
    """(error) -> TensorRT 10.3 is there and fails with it, whatever the file."""
    monkeypatch.setattr("edge_se.device.agent.bundle.load_tensorrt", lambda name: TensorRt(tensorrt_of("10.3.0")))
    monkeypatch.setattr("edge_se.device.agent.bundle.Cuda", Gpu)

    def refuse(error):
        def fail(*arguments, **settings):
            raise error
        monkeypatch.setattr("edge_se.device.agent.bundle.engine_of", fail)
    return refuse


@pytest.mark.parametrize(("kind", "what"), [
    ("model", "TensorRT 10.3.0 builds no engine: Could not find any implementation for node conv"),
    ("cuda", "cudaMalloc: out of memory (CUDA error 2)"), ("runtime", "TensorRT 10.3.0 makes no runtime")])
def test_a_file_of_which_no_engine_can_be_built_gives_way_to_the_next(bundle, refusing, kind, what):
    """TensorRT 8.5 has no INT8 kernel for some layers: run.py ended there, with FP16 and the CPU's file beside it."""
    refusing(AgentError(kind, what))
    opened = Bundle(str(bundle))
    assert opened.runtime == "onnxruntime" and opened.file.startswith("int8.")
    files = ("int8.tensorrt-fp16.onnx", "int8.tensorrt.onnx"), ("fp16.onnx",)
    assert opened.notes == [f"left out {file} in {runtime}: {what}" for kind in files
                            for runtime in ("tensorrt", "tensorrt_rtx") for file in kind]
    with pytest.raises(AgentError, match=r"nothing of this bundle runs here: .*fp16\.onnx in tensorrt: "):
        Bundle(str(bundle), runtimes=["tensorrt"])


@pytest.mark.parametrize(("version", "opset", "failing", "file", "runtime"), [
    ("8.5.2", 17, "int8", "fp16.onnx", "tensorrt"), ("8.5.2", 20, "", "fp16.onnx", "tensorrt"),
    ("10.3.0", 17, "", "int8.tensorrt-fp16.onnx", "tensorrt"), ("10.3.0", 17, "int8 fp16", "int8", "onnxruntime")])
def test_fp16_of_a_gpu_goes_before_int8_of_its_processor(bundle, refusing, monkeypatch, tensorrt_of, version, opset,
                                                         failing, file, runtime):
    """JetPack 5 has no INT8 kernel for some layers: `int8.arm.onnx` ran on the processor, beside an idle GPU."""
    refusing(None)
    document = json.loads((bundle / "bundle.json").read_text())
    for entry in document["files"]:
        entry["opset"] = max(entry["opset"], opset)
    (bundle / "bundle.json").write_text(json.dumps(document))
    monkeypatch.setattr("edge_se.device.agent.bundle.load_tensorrt", lambda name: (
        TensorRt(tensorrt_of(version)) if name == "tensorrt" else no_tensorrt(name)))
    monkeypatch.setattr("edge_se.device.agent.bundle.TensorRtRunner", lambda trt, cuda, engine: None)

    def build(*arguments, precision, **settings):
        if precision in failing.split():
            raise AgentError("model", "no kernel")
        return b"engine", {"cached": True}

    monkeypatch.setattr("edge_se.device.agent.bundle.engine_of", build)
    opened = Bundle(str(bundle))
    assert opened.file.startswith(file) and opened.runtime == runtime


@pytest.mark.parametrize(("facts", "told"), [
    ({"cached": False, "kept": False}, True), ({"cached": False, "kept": True}, False), ({"cached": True}, False)])
def test_an_engine_that_the_next_run_builds_again_is_told(bundle, refusing, monkeypatch, facts, told):
    refusing(None)
    monkeypatch.setattr("edge_se.device.agent.bundle.engine_of", lambda *arguments, **settings: (b"engine", facts))
    monkeypatch.setattr("edge_se.device.agent.bundle.TensorRtRunner", lambda trt, cuda, engine: None)
    opened = Bundle(str(bundle))
    assert (opened.file, opened.runtime) == ("int8.tensorrt-fp16.onnx", "tensorrt")
    assert [note.partition(",")[0] for note in opened.notes] == (
        ["its engine was built while memory was short"] if told else [])


def test_who_waits_for_an_engine_is_told_before(bundle, refusing, monkeypatch):
    refusing(None)
    heard = []

    def build(*arguments, begins, **settings):
        begins()
        assert heard[:1] == ["builds an engine from int8.tensorrt-fp16.onnx for this GPU, which takes minutes"]
        return b"engine", {"cached": False, "kept": True}

    monkeypatch.setattr("edge_se.device.agent.bundle.engine_of", build)
    monkeypatch.setattr("edge_se.device.agent.bundle.TensorRtRunner", lambda trt, cuda, engine: None)
    assert Bundle(str(bundle), tell=heard.append).notes == []
    assert len(heard) == 1
    assert Bundle(str(bundle)).runtime == "tensorrt"  # who does not want to hear it need not


@pytest.mark.parametrize("kind", ["full", "disk"])
def test_a_disk_that_takes_no_engine_is_told(bundle, refusing, kind):
    refusing(AgentError(kind, "it cannot be written", "free some space"))
    with pytest.raises(AgentError, match="it cannot be written; free some space"):
        Bundle(str(bundle))


def test_a_folder_that_pip_left_of_onnxruntime_is_none(bundle, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", ModuleType("onnxruntime"))
    with pytest.raises(AgentError, match=r"nothing of this bundle runs here: .*\.onnx in onnxruntime: not installed"):
        Bundle(str(bundle), runtimes=["onnxruntime"])
