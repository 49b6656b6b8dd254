"""Each branch over TensorRT's versions, and an engine driven through ctypes to CUDA's calls."""

import numpy as np
import pytest

from edge_se.device.agent import AgentError, Cache, Cuda, TensorRt, TensorRtRunner, engine_of
from edge_se.device.agent.cuda import CUDA_CALLS

VERSIONS = ("8.5.2.2", "8.6.1", "10.3.0", "10.13.2", "11.4.1", "11.9.0")
WEAK, STRONG = VERSIONS[:2], VERSIONS[2:]
FAST = {"min_duration": 0.0, "min_runs": 7, "warmup": 0.0}


@pytest.fixture
def cuda(cudart):
    return Cuda(cudart[0])


def built(module, content, precision, **settings):
    engine, cache = TensorRt(module).build(content, precision=precision, batch=4, **settings)
    network, config = module.built[-1]
    return engine, cache, network, config


@pytest.mark.parametrize("version", WEAK)
@pytest.mark.parametrize(("precision", "flags"), [("fp32", []), ("fp16", ["FP16"]), ("int8", ["FP16", "INT8"])])
def test_below_10_precision_is_a_flag(tensorrt_of, tiny_onnx, version, precision, flags):
    _, _, network, config = built(tensorrt_of(version), tiny_onnx.content, precision)
    assert network.flags == 1 and config.flags == flags  # 1 << EXPLICIT_BATCH


@pytest.mark.parametrize("version", STRONG)
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_from_10_on_types_come_from_the_graph(tensorrt_of, tiny_onnx, version, precision):
    module = tensorrt_of(version)
    _, _, network, config = built(module, tiny_onnx.content, precision)
    typed = getattr(module.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    assert network.flags == (0 if typed is None else 1 << typed) and config.flags == []


def test_rtx_is_strongly_typed_whatever_its_number_and_has_no_timing_cache(tensorrt_of, tiny_onnx):
    trt = TensorRt(tensorrt_of("1.7.1", "tensorrt_rtx"))
    engine, cache = trt.build(tiny_onnx.content, precision="int8", batch=1)
    assert trt.strongly_typed and cache is None and engine.endswith(b"|1,3,32,32")


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_gets_shapes_memory_and_details(tensorrt_of, tiny_onnx, version):
    engine, cache, _, config = built(tensorrt_of(version), tiny_onnx.content, "fp32", workspace=12345)
    assert config.profiles[0].shapes == ((4, 3, 32, 32),) * 3
    assert config.pool == {"WORKSPACE": 12345} and config.profiling_verbosity == "DETAILED"
    assert cache == version.encode() + b" timings" and engine.decode() == f"engine of {version}|4,3,32,32"


def test_a_timing_cache_of_another_version_is_started_afresh(tensorrt_of, tiny_onnx):
    _, cache, *_ = built(tensorrt_of("10.3.0"), tiny_onnx.content, "fp32", timing_cache=b"8.6.1 timings")
    assert cache == b"10.3.0 timings"


def test_files_that_a_version_or_a_gpu_cannot_take(tensorrt_of):
    old, new = (TensorRt(tensorrt_of(version)) for version in ("8.6.1", "10.3.0"))
    assert old.why_not("int8", (8, 7)) is None and new.why_not("int8", (8, 7)) is None
    for nano in ((5, 3), (6, 2)):
        assert "has no INT8; deploy FP16" in old.why_not("int8", nano)
        assert old.why_not("fp16", nano) is None
    with pytest.raises(AgentError, match=r"TensorRT 8\.4\.1 is older than 8\.5; update to JetPack 5\.1"):
        TensorRt(tensorrt_of("8.4.1"))


def test_refusals_are_in_tensorrts_own_words(tensorrt_of, tiny_onnx):
    trt = TensorRt(tensorrt_of("10.3.0"))
    with pytest.raises(AgentError, match=r"TensorRT 10\.3\.0 refuses the graph: no ONNX"):
        trt.build(b"garbage", precision="fp32", batch=1)
    with pytest.raises(AgentError, match=r"TensorRT 10\.3\.0 builds no engine: no tactic for node conv$"):
        trt.build(tiny_onnx.content, precision="fp32", batch=13)


def test_a_fixed_batch_is_kept(tensorrt_of):
    module = tensorrt_of("10.3.0")
    module.input_shape = (2, 3, 32, 32)
    trt = TensorRt(module)
    assert trt.build(b"onnx", precision="fp32", batch=2)[0].endswith(b"|2,3,32,32")
    with pytest.raises(AgentError, match="the graph has a fixed batch of 2; use --batch 2"):
        trt.build(b"onnx", precision="fp32", batch=1)


def test_nvidias_own_library_has_every_call():
    pytest.importorskip("tensorrt_rtx", reason="brings a CUDA library: pip install 'edge-se[rtx]'")
    try:
        real = Cuda()
    except AgentError as error:
        pytest.skip(str(error))
    missing = [name for name in CUDA_CALLS if not hasattr(real._library, name)]
    assert not missing and real.number("cudaRuntimeGetVersion") >= 11040


def test_what_cuda_tells_of_its_device(cuda, cudart):
    assert cuda.device() == {"name": "Orin", "capability": [8, 7], "cuda": "12.6", "memory": 8_000_000_000,
                             "free": 3_000_000_000, "processors": 8}
    with pytest.raises(AgentError, match=r"cudaMalloc: out of memory \(CUDA error 2\)"):
        cuda.made("cudaMalloc", 2_000_000_000)
    with pytest.raises(AgentError, match=r"this CUDA has no cudaNoSuchCall"):
        cuda.call("cudaNoSuchCall")
    cudart[1].fake_set(0, 0)
    with pytest.raises(AgentError, match="no CUDA device"):
        cuda.device()


@pytest.mark.parametrize(("shared", "available", "free"), [
    (1, 6 << 30, 6 << 30), (1, 1 << 30, 3_000_000_000), (1, None, 3_000_000_000), (0, 6 << 30, 3_000_000_000)])
def test_memory_that_linux_would_give_back_is_free_where_the_gpu_shares_it(cuda, cudart, monkeypatch, shared, available,
                                                                          free):
    """A Jetson that was up for a day: CUDA tells 300 MB, and the rest holds files. No engine was kept there."""
    cudart[1].fake_share(shared)
    monkeypatch.setattr("edge_se.device.agent.cuda.memory", {"MemAvailable": available}.__getitem__)
    assert cuda.device()["free"] == free


@pytest.fixture
def runner(tensorrt_of, cuda, tiny_onnx):
    trt = TensorRt(tensorrt_of("10.3.0"))
    engine, _ = trt.build(tiny_onnx.content, precision="int8", batch=4)
    return TensorRtRunner(trt, cuda, engine)


@pytest.mark.parametrize("images", [1, 4, 7])
def test_an_engine_of_one_batch_size_takes_any_number_of_images(runner, images):
    given = np.random.default_rng(0).standard_normal((images, 3, 32, 32), dtype=np.float32)
    np.testing.assert_allclose(runner.run(given), np.repeat(given.mean(axis=(1, 2, 3))[:, None], 10, axis=1), atol=1e-6)


def test_an_engine_that_takes_bytes_gets_bytes(tensorrt_of, cuda, graph_of):
    proto = graph_of([("Relu", ["x"], ["y"])], x=("batch", 8, 8, 3))  # the stand-in takes channels at the end as uint8
    module = tensorrt_of("10.3.0")
    module.input_shape = (-1, 8, 8, 3)
    trt = TensorRt(module)
    runner = TensorRtRunner(trt, cuda, trt.build(proto.SerializeToString(), precision="int8", batch=4)[0])
    given = np.random.default_rng(0).integers(0, 256, (7, 8, 8, 3), dtype=np.uint8)
    np.testing.assert_allclose(runner.run(given), np.repeat(given.mean(axis=(1, 2, 3))[:, None], 10, axis=1), atol=1e-4)


def test_gpu_time_is_the_time_between_events_and_copies_stand_apart(runner, cudart):
    before = cudart[1].fake_launches()
    timed = runner.time(np.zeros((4, 3, 32, 32), np.float32), FAST)
    assert timed["ns"] == [5000] * 7            # a launch takes five calls' time
    assert timed["to_device_ns"] == timed["to_host_ns"] == 1000
    assert timed["cuda_graph"] and not timed["cuda_graph_note"] and len(timed["wall_ns"]) == 7
    assert timed["window"][1] - timed["window"][0] >= sum(timed["wall_ns"]) / 1e9
    assert cudart[1].fake_launches() - before == 8  # one of them to warm up


def test_an_engine_that_cannot_be_captured_is_launched_as_it_is(runner, cudart):
    cudart[1].fake_set(1, 1)
    timed = runner.time(np.zeros((4, 3, 32, 32), np.float32), FAST)
    assert not timed["cuda_graph"] and "not permitted when stream is capturing" in timed["cuda_graph_note"]
    assert len(timed["ns"]) == 7


def test_layers_and_their_times(runner):
    assert runner.layers()["Layers"] == [{"Name": "conv"}]
    profile = runner.profile(np.zeros((4, 3, 32, 32), np.float32), 5)
    assert [(layer["name"], pytest.approx(layer["averageMs"])) for layer in profile] == [
        ("conv", 0.25), ("reformat", 0.05), ("reformat", 0.01)]  # two layers of one name stay two


def test_all_memory_is_given_back(tensorrt_of, cuda, cudart, tiny_onnx):
    before = cudart[1].fake_live()
    trt = TensorRt(tensorrt_of("8.6.1"))
    runner = TensorRtRunner(trt, cuda, trt.build(tiny_onnx.content, precision="fp32", batch=1)[0])
    runner.time(np.zeros((1, 3, 32, 32), np.float32), FAST)
    runner.close()
    assert cudart[1].fake_live() == before


@pytest.mark.parametrize("what", ["Builder", "Runtime"])
@pytest.mark.parametrize(("error", "kind", "says"), [
    ("pybind11::init(): factory function returned nullptr", AgentError,  # what pybind11 makes of a null pointer
     r"TensorRT 10\.3\.0 makes no {}: CUDA initialization failure with error: 2; free memory on the device"),
    ("__init__(): incompatible constructor arguments", TypeError, "incompatible constructor arguments")])  # a bug
def test_what_tensorrt_cannot_make_is_told_in_its_words(tensorrt_of, cuda, tiny_onnx, what, error, kind, says):
    module = tensorrt_of("10.3.0")
    trt = TensorRt(module)

    def refuse(logger):
        logger.log(module.ILogger.INTERNAL_ERROR, "CUDA initialization failure with error: 2")
        raise TypeError(error)

    setattr(module, what, refuse)
    with pytest.raises(kind, match=says.format(what.lower())):
        TensorRtRunner(trt, cuda, trt.build(tiny_onnx.content, precision="fp32", batch=1)[0])


def test_an_engine_without_room_to_run_is_told(runner, tensorrt_of, cuda, monkeypatch):
    monkeypatch.setattr(type(runner._engine), "create_execution_context", lambda self: None)
    with pytest.raises(AgentError, match=r"TensorRT 10\.3\.0 makes no execution context: without saying why; free mem"):
        runner.profile(np.zeros((4, 3, 32, 32), np.float32), 1)
    with pytest.raises(AgentError, match="makes no execution context"):
        TensorRtRunner(runner._trt, cuda, b"engine|1,3,32,32")


def test_an_engine_is_built_once_per_everything_that_it_is_tied_to(tensorrt_of, cuda, tiny_onnx, tmp_path):
    module, cache, gpu = tensorrt_of("10.3.0"), Cache(str(tmp_path)), cuda.device()

    begun = []

    def get(*, module=module, gpu=gpu, content=tiny_onnx.content, precision="fp32", batch=1):
        return engine_of(TensorRt(module), gpu, content, cache, precision=precision, batch=batch,
                         begins=lambda: begun.append(precision))

    engine, facts = get()
    assert not facts["cached"] and get() == (engine, {"key": facts["key"], "cached": True, "seconds": 0.0})
    assert begun == ["fp32"]  # who waits for minutes is told before, and nobody else
    others = [get(batch=2), get(precision="fp16"), get(gpu=gpu | {"name": "Thor"}),
              get(gpu=gpu | {"capability": [11, 0]}), get(module=tensorrt_of("10.13.2"))]
    assert not any(facts["cached"] for _, facts in others)
    assert len({facts["key"] for _, facts in others} | {facts["key"]}) == 6
    damaged = tmp_path / "engines" / f"{facts['key']}.engine"
    damaged.write_bytes(damaged.read_bytes()[:-3])
    assert not get()[1]["cached"] and get()[1]["cached"]
    with pytest.raises(AgentError, match="has no INT8; deploy FP16"):
        get(gpu=gpu | {"capability": [5, 3]}, precision="int8")


@pytest.mark.parametrize("tie", [{"processors": 4}, {"memory": 64 << 30}, {"module": "NVIDIA Jetson AGX Orin"},
                                 {"ceiling_hz": 624750000}])
def test_one_engine_for_each_module_and_clock_of_one_gpu(tensorrt_of, cuda, tiny_onnx, tmp_path, tie):
    """Every Orin calls its GPU "Orin" and has capability 8.7, whatever its processors, memory and power mode."""
    module, cache, gpu = tensorrt_of("10.3.0"), Cache(str(tmp_path)), cuda.device()

    def get(gpu):
        return engine_of(TensorRt(module), gpu, tiny_onnx.content, cache, precision="int8", batch=1)[1]

    first, other = get(gpu), get(gpu | tie)
    assert gpu["processors"] == 8 and not other["cached"] and other["key"] != first["key"]
    assert get(gpu)["cached"] and get(gpu | tie)["cached"]
    assert len(list((tmp_path / "engines").glob("*.timing"))) == 2  # kernels' times, too, are of one module and clock


SHORT = {
    "10": ["Tactic Device request: 1000MB Available: 302MB. Device memory is insufficient to use tactic.",
           "UNSUPPORTED_STATE: Skipping tactic 44 due to insufficient memory on requested size of 1048576000 detected"],
    "8.5": ["Skipping tactic 0x0000000000000000 due to insuficient memory on requested size of 4229 detected"],
    "8.2": ["Some tactics do not have sufficient workspace memory to run. Increasing workspace size may help"]}


@pytest.mark.parametrize(("lines", "count"), [
    (SHORT["10"], 3), (SHORT["10"][:1], 3), (SHORT["8.5"], 3), (SHORT["8.2"], 3),
    (["Skipping tactic 0x1 due to Myelin error: no kernel"], 0), (["Using cuDNN as a tactic source"], 0)])
def test_an_engine_with_tactics_skipped_for_want_of_memory_is_not_kept(tensorrt_of, cuda, tiny_onnx, tmp_path, lines,
                                                                       count):
    module, cache = tensorrt_of("10.3.0"), Cache(str(tmp_path))
    whole = module.Builder.build_serialized_network

    def short(self, network, config):
        for _ in range(3):
            for line in lines:
                self._logger.log(module.ILogger.WARNING, line)
        return whole(self, network, config)

    def get():
        trt = TensorRt(module)
        return engine_of(trt, cuda.device(), tiny_onnx.content, cache, precision="int8", batch=1)[1]

    module.Builder.build_serialized_network = short
    first = get()
    assert (first["skipped_tactics"], first["kept"], first["cached"]) == (count, count == 0, False)
    module.Builder.build_serialized_network = whole
    second = get()
    assert second["cached"] is (count == 0) and get()["cached"]
    assert count == 0 or (second["skipped_tactics"], second["kept"]) == (0, True)


@pytest.mark.parametrize(("memory", "free", "kept"), [
    (64 << 30, 302 << 20, False), (8 << 30, 64 << 20, False), (64 << 30, 40 << 30, True), (4 << 30, 2200 << 20, True)])
def test_an_engine_that_was_built_while_memory_was_short_is_built_again(tensorrt_of, cuda, tiny_onnx, tmp_path, memory,
                                                                        free, kept):
    module, cache = tensorrt_of("10.3.0"), Cache(str(tmp_path))

    def get(free):
        return engine_of(TensorRt(module), cuda.device() | {"memory": memory, "free": free}, tiny_onnx.content, cache,
                         precision="int8", batch=1)[1]

    first = get(free)
    assert first["workspace_wanted"] == min(1 << 30, memory // 4) and first["kept"] is (
        first["workspace"] == first["workspace_wanted"])
    assert first["kept"] is kept and bool(list((tmp_path / "engines").iterdir())) is kept
    assert get(memory // 2)["cached"] is kept
    assert get(free)["cached"]  # a good one is good for all


def test_engines_beyond_the_limit_go_oldest_first(tmp_path, monkeypatch):
    import os

    monkeypatch.setattr("edge_se.device.agent.cache.ENGINES_BYTES", 250)
    cache = Cache(str(tmp_path))
    for age, name in enumerate(("new", "middle", "old")):
        path = tmp_path / "engines" / f"{name}.engine"
        path.write_bytes(bytes(100))
        os.utime(path, (1e9 - age, 1e9 - age))
    cache.sweep(everything=True)
    assert sorted(path.stem for path in (tmp_path / "engines").iterdir()) == ["middle", "new"]
