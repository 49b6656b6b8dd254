"""The whole way over a real SSH server: what is measured there."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from edge_se.backends.machines.choice import machine_of
from edge_se.core.errors import EdgeSeError
from edge_se.steps.bench import Options, bench


@pytest.fixture(scope="module")
def build(tiny_build):
    return tiny_build("a build;$(touch pwned)", fp16=True)


def test_a_build_is_measured_in_the_bare_environment(box, build, notes):
    options = Options(batches=(1, 4), min_duration=0.1)
    document = bench(box.url, model=build.out, options=options, progress=notes)
    rows = document["measurements"]
    assert [(row["precision"], row["target"], row["batch"]) for row in rows] == [
        (precision, target, batch) for batch in (1, 4)
        for precision, target in (("fp32", "any"), ("fp16", "any"), ("int8", "cpu"))]
    for row in rows:
        assert row["backend"] == "onnxruntime" and not row["estimated"] and row["samples"] >= 100
        assert len(row["round_p50_ms"]) == 9 and 0 < min(row["round_p50_ms"]) <= row["p50_ms"]
        assert 0 < row["p50_ms"] <= row["p90_ms"] <= row["p99_ms"]
        assert row["flips_against_onnxruntime"] == 0 and row["flips_n"] == 256  # the same runtime, the same answers
    device = document["environment"]["device"]
    assert device["runtimes"]["onnxruntime"]["version"] and "reason" in device["runtimes"]["tensorrt"]
    assert any("int8.tensorrt.onnx: not timed" in note and "tensorrt: not installed" in note for note in notes.notes)
    assert not box.left() and not box.agents()
    assert not Path("pwned").exists()


def test_the_environment_there_is_bare(box):
    with machine_of(box.url) as machine:
        pass
    assert subprocess.run([box.bin / "python3", "-c", "import onnx"], capture_output=True).returncode == 1
    assert machine.facts["python"] and machine.facts["cores"] >= 1


def test_logits_there_are_the_logits_here(link_to, opened, run_onnx, tiny_onnx, random_images):
    images = next(random_images(16).batches(16))
    with link_to() as link:
        opened(link)
        answer, content = link.ask("run", images.tobytes(), session="s", shape=images.shape)
    there = np.frombuffer(content, "<f4").reshape(answer["shape"])
    np.testing.assert_array_equal(there, run_onnx(tiny_onnx, images)[0])


@pytest.mark.parametrize("alias", ["orin", "behind"])
def test_an_alias_of_the_ssh_configuration_and_a_jump_host(link_to, alias):
    with link_to(alias) as link:
        assert link.ask("describe")[0]["device"]["cores"]


def test_a_talkative_login_shell_is_no_trouble(box, link_to):
    box.profile("echo 'Welcome to Ubuntu!'; echo 'Last login: today' >&2")
    with link_to() as link:
        assert link.ask("state")[0]["state"]["power_mode"] is None


@pytest.fixture
def gpu_box(gpu_of):
    """A device whose TensorRT and CUDA are the stand-ins of tests/device."""
    return gpu_of("from fake_tensorrt import tensorrt_of\nglobals().update(vars(tensorrt_of('10.3.0')))\n")


def test_engines_are_built_there_once_and_measured_by_cuda_events(gpu_box, build, notes):
    options = Options(batches=(1, 2), min_duration=0.01, explain=True)
    first = bench(gpu_box.url, model=build.out, options=options, progress=notes)
    rows = {(row["precision"], row["target"], row["backend"], row["batch"]): row for row in first["measurements"]}
    assert first["environment"]["device"]["gpu"]["name"] == "Orin"
    assert {key[:3] for key in rows} == {
        ("fp32", "any", "tensorrt"), ("fp32", "any", "onnxruntime"), ("fp16", "any", "tensorrt"),
        ("fp16", "any", "onnxruntime"), ("int8", "cpu", "onnxruntime"), ("int8", "tensorrt", "tensorrt")}
    row = rows["int8", "tensorrt", "tensorrt", 2]
    assert row["p50_ms"] == pytest.approx(0.005) and row["samples"] >= 1000 and row["cuda_graph"]
    assert row["throughput_ips"] == pytest.approx(2 / 5e-6)
    assert row["to_device_ms"] == row["to_host_ms"] == pytest.approx(0.001) and row["wall_ms"] > 0
    assert not row["engine"]["cached"]
    assert row["why"]["kernel_ms"] == pytest.approx(0.31) and row["why"]["comparison"]["speedup"] == pytest.approx(1)
    assert "why" not in rows["fp32", "any", "tensorrt", 2]
    assert row["flips_against_onnxruntime"] > 0  # the stand-in answers nonsense, and that is told
    assert any(note.startswith("int8.tensorrt in tensorrt: ") and "answers differ from onnxruntime's" in note
               for note in notes.notes)
    assert row["engine"]["kept"] and row["engine"]["skipped_tactics"] == 0
    assert not any("memory was short" in note for note in notes.notes)
    second = bench(gpu_box.url, model=build.out, options=options)
    assert all(row["engine"]["cached"] for row in second["measurements"] if row["backend"] == "tensorrt")
    assert {path.parent.name for path in gpu_box.left()} == {"engines"}


def test_an_engine_of_little_memory_is_told_and_built_again(gpu_box, build, notes, tmp_path):
    (tmp_path / "packages" / "tensorrt.py").write_text(
        "from fake_tensorrt import tensorrt_of\nmodule = tensorrt_of('10.3.0')\n"
        "whole = module.Builder.build_serialized_network\n"
        "def build(self, network, config):\n"
        "    self._logger.log(module.ILogger.WARNING, 'Skipping tactic 44 due to insufficient memory')\n"
        "    return whole(self, network, config)\n"
        "module.Builder.build_serialized_network = build\nglobals().update(vars(module))\n")
    for _ in range(2):
        document = bench(gpu_box.url, model=build.out, precisions=["fp32"], options=Options(min_duration=0.01),
                         progress=notes)
        engine, = (row["engine"] for row in document["measurements"] if row["backend"] == "tensorrt")
        assert (engine["cached"], engine["kept"], engine["skipped_tactics"]) == (False, False, 1)
    told = next(note for note in notes.notes if note.startswith("fp32 in tensorrt: 1 tactic skipped, since memory was "
                                                               "short or 1024 MiB of workspace are too few: it may"))
    assert "is not kept, and each run builds it again. To stop that, end other programs there" in told
    assert not gpu_box.left()


def test_energy_is_told_where_the_device_tells_its_power(box, build, tmp_path, notes, wait_until):
    program = tmp_path / "tegrastats"  # 4.08 W at rest, which is the first three seconds, and 6.08 W from then on
    program.write_text("#!/bin/sh\nstart=$(date +%s%N)\nwhile :; do W=6080\n"
                       "[ $(($(date +%s%N) - start)) -gt 3020000000 ] || W=4080\n"
                       "echo RAM 1/2MB VDD_IN ${W}mW/${W}mW cpu@48C; sleep 0.02; done\n")
    program.chmod(0o755)
    box.profile(path=f"{tmp_path}:{box.bin}")
    document = bench(box.url, model=build.out, precisions=["fp32"], options=Options(min_duration=1.0), progress=notes)
    row, device = document["measurements"][0], document["environment"]["device"]
    assert device["power_sources"] == ["tegrastats"] and device["temperature_c"] == (48.0, 48.0)
    energy = row["energy"]
    # A busy machine begins late with its three seconds at rest, and has some of the next ones among them.
    assert energy["rail"] == "VDD_IN" and energy["idle_watts"] == pytest.approx(4.08, abs=0.5)
    assert energy["active_watts"] == pytest.approx(6.08, abs=0.1)
    above = energy["active_watts"] - energy["idle_watts"]
    assert row["energy_mj"] == pytest.approx(above * row["mean_ms"], rel=0.1)  # watts times milliseconds
    assert any("uncertified" in note for note in notes.notes)
    assert not box.left()
    wait_until(lambda: not subprocess.run(["pgrep", "-f", str(program)], capture_output=True).stdout)


def test_runs_in_different_power_modes_are_not_compared(box, build, tmp_path):
    program = tmp_path / "nvpmodel"
    earlier = tmp_path / "earlier.json"
    for mode in ("15W", "MAXN"):
        program.write_text(f"#!/bin/sh\necho 'NV Power Mode: {mode}'; echo 0\n")
        program.chmod(0o755)
        box.profile(path=f"{tmp_path}:{box.bin}")
        settings = {"model": build.out, "precisions": ["fp32"], "options": Options(min_duration=0.05)}
        if mode == "15W":
            document = bench(box.url, **settings)
            earlier.write_text(json.dumps(document))
            again = bench(box.url, **settings, against=earlier)["measurements"][0]
            assert again["p50_before_ms"] == document["measurements"][0]["p50_ms"]
            continue
        with pytest.raises(EdgeSeError, match=r"power mode.*15W.*MAXN"):
            bench(box.url, **settings, against=earlier)


def test_jetson_names_what_it_reached(box, build):
    with pytest.raises(EdgeSeError, match=rf"{box.url}: is no Jetson but .*; use --device {box.url}"):
        bench("jetson", model=build.out, options=Options(host=f"localhost:{box.port}"))


@pytest.mark.parametrize(("variable", "host"), [("EDGE_SE_JETSON", None), (None, "orin")])
def test_a_jetson_is_found_by_variable_and_by_host(box, monkeypatch, variable, host):
    if variable:
        monkeypatch.setenv(variable, "orin")
    with pytest.raises(EdgeSeError, match=r"ssh://orin: is no Jetson"), machine_of("jetson", host=host):
        pass


def test_the_alias_jetson_is_found(box):
    from edge_se.backends.machines.destination import find_jetson

    assert find_jetson(None) is None
    config = box.client / "config"
    config.write_text(f"Host jetson\n  HostName localhost\n  Port {box.port}\n" + config.read_text())
    with pytest.raises(EdgeSeError, match=r"ssh://jetson: is no Jetson"), machine_of("jetson"):
        pass
