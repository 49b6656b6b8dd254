"""What runs which file: every target in every runtime, on the processors and in the versions that differ."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from edge_se.backends.table import BACKENDS
from edge_se.device import agent
from edge_se.device.agent.fits import as_written, unfit
from edge_se.graph.targets.base import Target
from edge_se.graph.targets.table import TARGETS, is_for, runs_in
from edge_se.graph.targets.tensorrt import OPSETS
from edge_se.quantization.targets import targets_for

VNNI, AVX2 = ("sse4_2", "avx2", "avx512_vnni"), ("sse4_2", "avx2", "avx512f")
ORIN, NANO = ("asimd", "asimddp"), ("asimd",)
CASES = {  # runtime, version, machine, flags
    "onnxruntime, x86 with VNNI": ("onnxruntime", "1.20", "x86_64", VNNI),
    "onnxruntime, x86 with AMX": ("onnxruntime", "1.20", "AMD64", ("avx2", "amx_int8")),
    "onnxruntime, x86 with AVX2": ("onnxruntime", "1.20", "x86_64", AVX2),
    "onnxruntime, x86 with SSE": ("onnxruntime", "1.20", "x86_64", ("sse4_2",)),
    "onnxruntime, x86 that tells nothing": ("onnxruntime", "1.20", "x86_64", ()),
    "onnxruntime, arm64": ("onnxruntime", "1.20", "aarch64", ORIN),
    "onnxruntime, arm64 without dot products": ("onnxruntime", "1.20", "aarch64", NANO),
    "onnxruntime, macOS": ("onnxruntime", "1.20", "arm64", ()),
    "openvino": ("openvino", "2026.4", "x86_64", AVX2),
    "tensorrt 8.5": ("tensorrt", "8.5.2", "aarch64", ORIN), "tensorrt 8.6": ("tensorrt", "8.6.1", "aarch64", ORIN),
    "tensorrt 10": ("tensorrt", "10.3.0.26", "aarch64", ORIN), "tensorrt 11": ("tensorrt", "11.4.1", "aarch64", ORIN),
    "tensorrt_rtx": ("tensorrt_rtx", "1.7.1", "x86_64", VNNI),
    "opencv": ("opencv", "5.0.0", "x86_64", VNNI),
    "litert": ("litert", "2.3.0", "x86_64", VNNI), "litert, arm64": ("litert", "2.3.0", "aarch64", ORIN),
    "torch": ("torch", "2.13", "x86_64", VNNI), "torch-compiled": ("torch-compiled", "2.13", "x86_64", VNNI),
    "onnxruntime-web": ("onnxruntime-web", "1.30.0", "wasm32", ("simd128",)),
    "onnxruntime-web-webgpu": ("onnxruntime-web-webgpu", "1.30.0", "wasm32", ("simd128",)),
    **{name: (name, None, "x86_64", VNNI) for name in BACKENDS if name.startswith("onnxruntime-")},
}
NAMES = ("cpu", "cpu-avx2", "arm", "openvino", "tensorrt", "tensorrt-fp16", "litert", "litert-dynamic")
RUNS = {  # which of NAMES; every case that is not here runs none of them
    "onnxruntime, x86 with VNNI": ("cpu", "cpu-avx2"), "onnxruntime, x86 with AMX": ("cpu", "cpu-avx2"),
    "onnxruntime, x86 with AVX2": ("cpu-avx2",), "onnxruntime, x86 with SSE": ("cpu-avx2",),
    "onnxruntime, x86 that tells nothing": ("cpu", "cpu-avx2"),
    "onnxruntime, arm64": ("arm",), "onnxruntime, arm64 without dot products": ("arm",),
    "onnxruntime, macOS": ("arm",),
    "openvino": ("cpu", "cpu-avx2", "arm", "openvino"),
    "opencv": ("cpu", "cpu-avx2", "arm"),
    "litert": ("litert", "litert-dynamic"), "litert, arm64": ("litert", "litert-dynamic"),
    "tensorrt 8.5": ("tensorrt",), "tensorrt 8.6": ("tensorrt",),
    "tensorrt 10": ("tensorrt", "tensorrt-fp16"), "tensorrt 11": ("tensorrt", "tensorrt-fp16"),
    "tensorrt_rtx": ("tensorrt", "tensorrt-fp16"),
    "onnxruntime-tensorrt": ("tensorrt", "tensorrt-fp16"), "onnxruntime-openvino": ("openvino",),
    "onnxruntime-web": ("cpu",),
}
OF_A_PAGE = {"onnxruntime-web", "onnxruntime-web-webgpu"}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", TARGETS)
def test_every_target_in_every_runtime(case, name):
    runtime, version, machine, flags = CASES[case]
    reason = TARGETS[name].runs_in(runtime, version, machine=machine, flags=flags, opset=17)
    assert (reason is None) == (name in RUNS.get(case, ())), reason
    assert reason is None or reason.startswith(("written for ", "its FP16 scales need TensorRT 10"))
    assert runs_in("any", runtime, version, machine=machine, flags=flags) is None
    assert reason == runs_in(name, runtime, version, machine=machine, flags=flags, opset=17)
    assert reason is not None or is_for(name, runtime)


def test_the_table_is_whole():
    assert tuple(TARGETS) == NAMES
    schema = json.loads((Path(__file__).parents[2] / "docs" / "schema" / "export-1.json").read_text())
    assert schema["properties"]["artifacts"]["items"]["properties"]["target"]["enum"] == ["any", *NAMES]
    assert {runtime for runtime, *_ in CASES.values()} == {*BACKENDS, *agent.RUNTIMES, *OF_A_PAGE}


@pytest.mark.parametrize(("name", "case", "reason"), [
    ("cpu", "onnxruntime, x86 with AVX2", "8-bit weights saturate on this processor; export --target cpu-avx2"),
    ("cpu", "onnxruntime, arm64", "onnxruntime runs the `arm` file faster here"),
    ("arm", "onnxruntime, x86 with VNNI", "written for Arm: its latency is measured there"),
    ("openvino", "onnxruntime, x86 with VNNI", "use --backend openvino"),
    ("tensorrt", "openvino", "its latency is measured on the device"),
    ("tensorrt-fp16", "tensorrt 8.6", "its FP16 scales need TensorRT 10 or later; here is 8.6.1"),
    ("cpu", "tensorrt 10", "written for cpu, not for TensorRT"),
    ("openvino", "onnxruntime-cuda", "written for openvino, not for onnxruntime-cuda")])
def test_reasons(name, case, reason):
    runtime, version, machine, flags = CASES[case]
    assert TARGETS[name].runs_in(runtime, version, machine=machine, flags=flags).endswith(reason)


@pytest.mark.parametrize(("version", "opset", "runs"), [
    ("8.5.2", 17, True), ("8.5.2", 18, False), ("8.6.1", 20, False), ("10.0.1", 20, True), ("11.4.1", 22, True),
    ("8.6.1", 21, False), ("8.5.2", 24, False), (None, 20, True), ("8.5.2", None, True)])
def test_a_newer_opset_needs_a_newer_parser(version, opset, runs):
    reason = TARGETS["tensorrt"].runs_in("tensorrt", version, opset=opset)
    assert (reason is None) == runs
    needs = "needs TensorRT 10 or later" if opset and opset <= 20 else "is not read by every TensorRT 10"
    assert runs or reason == f"its opset {opset} {needs}; {version} reads up to 17: export the source with opset 17"
    assert [rule["opset_from"] for rule in OPSETS] == [21, 18]


def test_who_knows_nothing_refuses_nothing():
    for name, runtime in (("cpu", "onnxruntime"), ("tensorrt-fp16", "tensorrt"), ("openvino", "openvino")):
        assert TARGETS[name].runs_in(runtime) is None
    assert "does not know" in runs_in("cpu-of-tomorrow", "onnxruntime") and not is_for("cpu-of-tomorrow", "onnxruntime")
    assert not is_for("cpu", "tensorrt") and is_for("any", "tensorrt") and not is_for("tensorrt", "onnxruntime")


def test_rules_survive_json_and_are_read_by_the_function_that_a_device_has():
    for target in TARGETS.values():
        rules = json.loads(json.dumps(target.rules))
        for runtime, version, machine, flags in CASES.values():
            told = {"version": version, "machine": machine, "flags": flags, "opset": 18}
            assert unfit(target.name, rules, runtime, **told) == target.runs_in(runtime, **told)


@pytest.mark.parametrize("flags", [AVX2, VNNI, ORIN])
def test_export_writes_what_runs_where_it_is(flags):
    assert ("cpu-avx2" in [target.name for target in targets_for(None, flags)]) == (flags == AVX2)


def test_what_fp16_scales_are_too_small_for_is_run_as_written():
    """onnxruntime multiplies two of them into one that FP16 cannot hold; no other file asks for it."""
    asking = {name for name, target in TARGETS.items() if as_written(target.rules, "onnxruntime")}
    assert asking == {name for name, target in TARGETS.items() if target.half_floats} == {"tensorrt-fp16"}
    assert not any(as_written(target.rules, "tensorrt") for target in TARGETS.values())


def test_every_target_says_what_runs_it():
    for target in TARGETS.values():
        assert target.reasons and any(rule["reason"] is None for rule in target.rules)
        for runtime, version in target.oldest.items():
            assert target.runs_in(runtime, version, opset=target.opset) is None
    devices = [target for target in TARGETS.values() if target.preference]
    assert len({target.preference for target in devices}) == len(devices)


def test_a_target_is_a_value():
    toy = replace(TARGETS["cpu"], name="toy")
    assert isinstance(toy, Target) and toy.runs_in("tensorrt") == "written for toy, not for TensorRT"
    assert not [path for path in Path(agent.__file__).parent.rglob("*.py") if "cpu-avx2" in path.read_text()]
