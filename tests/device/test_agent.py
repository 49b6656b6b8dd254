"""What the agent tells of a device, from files as a Jetson and a PC have them; and what it may be written in."""

import io
import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_se.device import agent
from edge_se.device.agent.system import ADMIN_PATHS as SBIN


@pytest.fixture
def tree(tmp_path):
    """(path -> text) -> a root folder that holds these files."""

    def make(files):
        for name, text in files.items():
            path = tmp_path / "root" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return str(tmp_path / "root")
    return make


CPU = "sys/devices/system/cpu/cpu{}/cpufreq/"
GPU = "sys/class/devfreq/17000000.gpu/"
ORIN = {
    "proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit\0",
    "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64\n",
    "proc/meminfo": "MemTotal:        7802936 kB\nMemFree: 1 kB\n",
    "proc/cpuinfo": "processor : 0\nFeatures : fp asimd asimddp\n",
    "var/lib/nvpmodel/status": "pmode:0002\n",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n", "sys/class/thermal/thermal_zone0/temp": "48031\n",
    "sys/class/thermal/thermal_zone1/type": "cv0-thermal\n", "sys/class/thermal/thermal_zone1/temp": "-256000\n",
    "sys/class/hwmon/hwmon3/oc1_event_cnt": "2\n",
    **{CPU.format(cpu) + name: text for cpu in (0, 1) for name, text in (
        ("scaling_governor", "schedutil\n"), ("scaling_cur_freq", "1510400\n"), ("scaling_min_freq", "1510400\n"),
        ("scaling_max_freq", "1510400\n"))},
    GPU + "cur_freq": "624750000\n", GPU + "min_freq": "306000000\n", GPU + "max_freq": "624750000\n"}
RAILS = {f"sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1/{name}": text for name, text in (
    ("in1_label", "VDD_IN\n"), ("in1_input", "5000\n"), ("curr1_input", "800\n"),
    ("in2_label", "VDD_CPU_GPU_CV\n"), ("in2_input", "5000\n"), ("curr2_input", "120\n"),
    ("in4_label", "Sum\n"), ("in4_input", "0\n"))}
RAPL = {f"sys/class/powercap/intel-rapl:0/{name}": text for name, text in (
    ("name", "package-0\n"), ("energy_uj", "1234567\n"), ("max_energy_range_uj", "262143328850\n"))}


def test_a_jetson_is_known_by_its_own_files(tree):
    told = agent.describe(tree(ORIN))
    assert told["jetson"] and told["l4t"] == "36.4.3" and told["name"] == "NVIDIA Jetson Orin Nano Developer Kit"
    assert told["memory"] == 7802936 * 1024 and "asimddp" in told["flags"]


def test_a_pc_is_none(tree):
    told = agent.describe(tree({"proc/cpuinfo": "model name : Xeon\nflags : avx2 avx512_vnni\n"}))
    assert not told["jetson"] and told["l4t"] is None and told["name"] == "Xeon" and told["memory"] is None
    assert set(told["runtimes"]) == set(agent.RUNTIMES) and told["runtimes"]["onnxruntime"]["version"]
    for name in ("tensorrt", "tensorrt_rtx"):
        assert told["gpu"] or told["runtimes"][name]["reason"]


def test_state_of_a_jetson(tree):
    state = agent.state(tree(ORIN))
    assert state["power_mode"] == "pmode:0002" and state["clocks_locked"] is False  # the GPU's float
    assert state["governors"] == {"cpu0": "schedutil", "cpu1": "schedutil"}
    assert state["clocks_hz"]["cpu1"] == {"now": 1510400000, "min": 1510400000, "max": 1510400000}
    assert state["clocks_hz"]["gpu"]["min"] == 306000000
    assert state["temps_c"] == {"cpu": 48.031} and state["throttle"] == {"oc1": 2}
    assert agent.state(tree(ORIN | {GPU + "min_freq": "624750000"}))["clocks_locked"] is True


@pytest.mark.parametrize(("chip", "alarm", "told"), [
    ("rpi_volt", "1", {"rpi_volt_lcrit_alarm": 1}), ("rpi_volt", "0", {"rpi_volt_lcrit_alarm": 0}),
    ("nct6775", "1", {})])
def test_a_raspberry_pi_tells_of_low_voltage(tree, chip, alarm, told):
    state = agent.state(tree({"sys/class/hwmon/hwmon1/name": chip + "\n",
                              "sys/class/hwmon/hwmon1/in0_lcrit_alarm": alarm + "\n"}))
    assert state["throttle"] == told


def test_state_where_nothing_is_told(tree):
    state = agent.state(tree({"empty": ""}))
    assert state == {"power_mode": None, "clocks_locked": None, "governors": {}, "clocks_hz": {}, "temps_c": {},
                     "throttle": {}, "device": None, "jetson": False}


def test_power_of_rails_and_counters(tree):
    taken = agent.sample(tree(RAILS))
    assert taken["rails_mw"] == {"VDD_IN": 4000.0, "VDD_CPU_GPU_CV": 600.0} and taken["t"] <= time.monotonic()
    both = tree(RAPL)
    assert agent.sample(both)["rapl_uj"] == {"package-0": 1234567}
    assert agent.sample(both)["rapl_max_uj"] == {"package-0": 262143328850}
    assert agent.power_sources(both) == ["ina3221", "rapl"]


def test_rails_of_jetpack_4(tree):
    folder = "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/"
    root = tree({folder + "rail_name_0": "POM_5V_IN\n", folder + "in_power0_input": "2532\n"})
    assert agent.sample(root)["rails_mw"] == {"POM_5V_IN": 2532.0}


def test_unreadable_numbers_are_left_out(tree):
    root = tree(RAILS | {"sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1/in1_input": "N/A\n"})
    assert agent.sample(root)["rails_mw"] == {"VDD_CPU_GPU_CV": 600.0}


def test_tegrastats_is_read_while_something_runs(tmp_path, monkeypatch):
    program = tmp_path / "tegrastats"
    program.write_text("#!/bin/sh\n[ \"$1 $2\" = '--interval 50' ] || exit 1\n"
                       "while :; do echo 'RAM 1/2MB VDD_IN 4080mW/4080mW'; sleep 0.01; done\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    try:
        before = time.monotonic()
        done = agent.sampled(lambda: time.sleep(0.5) or {"ns": [1]})
        time.sleep(0.2)
        later = agent.idle(0.3)
        assert done["ns"] == [1] and len(done["power"]) > 3 and len(later) > 3
        lines = [one for one in done["power"] if "tegrastats" in one]
        assert lines[0]["tegrastats"] == "RAM 1/2MB VDD_IN 4080mW/4080mW"
        told = [one for one in done["power"] if "throttle" in one]  # by /sys, whoever tells the power
        assert len(told) > 3 and not any("rails_mw" in one or "rapl_uj" in one for one in told)
        assert before <= done["power"][0]["t"] < done["power"][-1]["t"]
        assert later[0]["t"] - done["power"][-1]["t"] > 0.15  # what came between belongs to neither
    finally:
        agent.stop_sampling()


@pytest.mark.parametrize(("tegrastats", "told"), [
    ("while :; do echo 'VDD_IN 4080mW/4080mW'; sleep 0.01; done", {"t", "tegrastats", "temps_c"}),
    ("sleep 0.8; echo 'VDD_IN 4080mW/4080mW'; exec sleep 60", {"t", "tegrastats", "temps_c"}),
    ("echo 'VDD_IN 4080mW/4080mW'; sleep 30 & wait", {"t", "tegrastats", "temps_c"}),  # the sleep outlives it
    ("exit 1", {"t", "temps_c"})], ids=["at once", "later", "with a child", "never"])
def test_a_run_waits_for_the_first_sample_of_each_process(tmp_path, monkeypatch, tegrastats, told):
    """tegrastats speaks before a Python has started: the clocks of a first short run stayed unseen."""
    from edge_se.device.agent import sampling

    (tmp_path / "tegrastats").write_text(f"#!/bin/sh\n{tegrastats}\n")
    (tmp_path / "tegrastats").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(sampling, "_PROGRAM", "import json, time\ntime.sleep(0.4)\nwhile True:\n time.sleep(0.05)\n"
                        " print(json.dumps({'t': time.monotonic(), 'temps_c': {}}), flush=True)")
    start = time.monotonic()
    sampler = agent.Sampler(["tegrastats"])
    sampler.wait(20)
    taken = sampler.take(start, time.monotonic())
    sampler.stop()
    assert set().union(*taken) == told and time.monotonic() - start < 15


def test_samples_come_from_a_process_of_their_own():
    sampler = agent.Sampler(["rapl"], 0.05)
    start = time.monotonic()
    while not (taken := sampler.take(start, time.monotonic())):
        assert time.monotonic() - start < 20
    sampler.stop()
    assert all("temps_c" in sample for sample in taken) and sampler._processes[0].returncode is not None


class Answers:
    """A session whose hundred runs waited 2 ms in the mean and 1 ms in the median, after 0.1 s that are not timed."""

    def time(self, images, plan):
        time.sleep(0.1)
        start = time.monotonic()
        time.sleep(0.2)
        return {"ns": [500_000] * 100, "wall_ns": [1_000_000] * 90 + [11_000_000] * 10, "to_device_ns": 1.0,
                "to_host_ns": 1.0, "window": [start, time.monotonic()]}


def test_the_server_tells_the_mean_wait_and_the_window(monkeypatch):
    monkeypatch.setattr("edge_se.device.agent.sampling.power_sources", lambda root="/": [])
    server = agent.Server(None, None)
    server._sessions["s"] = Answers()
    answer, _ = server._op_time({"session": "s", "shape": [1], "min_duration": 0, "min_runs": 1, "warmup": 0}, bytes(4))
    assert answer["wall_ns"] == 2_000_000 and 0.2 <= answer["window_s"] < 0.3 and "window" not in answer


def test_without_sensors_nothing_is_sampled_and_nothing_waits(monkeypatch):
    monkeypatch.setattr("edge_se.device.agent.sampling.power_sources", lambda root="/": [])
    before = time.monotonic()
    assert agent.idle(30) == [] and time.monotonic() - before < 5


@given(st.lists(st.tuples(st.dictionaries(st.text(), st.integers() | st.text()), st.binary())))
def test_frames_come_out_as_they_went_in(frames):
    stream = io.BytesIO()
    for header, payload in frames:
        header.pop("bytes", None)
        agent.write_frame(stream, header, payload)
    stream.seek(0)
    for header, payload in frames:
        found, content = agent.read_frame(stream)
        assert content == payload and found == (dict(header, bytes=len(payload)) if payload else header)
    assert agent.read_frame(stream) is None


@given(st.binary(max_size=60) | st.builds(
    lambda content: len(content).to_bytes(4, "big") + content,
    st.sampled_from([b"[]", b"1", b'{"bytes": -1}', b'{"bytes": "x"}', b'{"bytes": 1e300}', b'{"bytes": 5}', b"{",
                     b"\xff"])))
def test_what_is_no_frame_is_a_value_error_or_the_end(content):
    try:
        found = agent.read_frame(io.BytesIO(content))
    except ValueError:
        return
    assert found is None or isinstance(found[0], dict)


# ---- clocks, chips and sensors of boards

def thor(gpc=(1575, 1575), nvd=(1692, 1692), cpu=(2601, 2601)):
    """A Thor developer kit: gpu-gpc-0 are its cores, gpu-nvd-0 its video engines (jetson_stats#885)."""
    files = {"proc/device-tree/model": "NVIDIA Jetson AGX Thor Developer Kit\0"}
    for node, (low, high) in {"bwmgr": (665, 4266), "gpu-gpc-0": gpc, "gpu-nvd-0": nvd}.items():
        files |= {f"sys/class/devfreq/{node}/{key}_freq": f"{value}000000\n" for key, value in (
            ("min", low), ("max", high), ("cur", low))}
    return files | {CPU.format(0) + f"scaling_{key}_freq": f"{value}000\n" for key, value in (
        ("min", cpu[0]), ("max", cpu[1]), ("cur", cpu[0]))}


@pytest.mark.parametrize(("settings", "locked"), [
    ({}, True), ({"gpc": (315, 1575)}, False), ({"nvd": (315, 1692)}, True), ({"cpu": (729, 2601)}, False)])
def test_each_clock_of_thors_gpu_is_its_own(tree, settings, locked):
    state = agent.state(tree(thor(**settings)))
    assert state["clocks_hz"]["gpu"]["max"] == 1575000000 and state["clocks_hz"]["gpu-nvd-0"]["max"] == 1692000000
    assert state["clocks_locked"] is locked and "bwmgr" not in state["clocks_hz"]


@pytest.mark.parametrize("node", ["57000000.gpu", "17000000.gv11b", "17000000.ga10b", "17000000.gp10b", "gpu-gpc-0"])
def test_the_gpu_is_known_by_its_node_on_every_generation(tree, node):
    root = tree({f"sys/class/devfreq/{node}/{key}_freq": "612000000\n" for key in ("cur", "min", "max")}
                | {"sys/class/devfreq/15340000.vic/max_freq": "1\n"})
    assert agent.state(root)["clocks_hz"] == {"gpu": {"now": 612000000, "min": 612000000, "max": 612000000}}
    assert agent.sample(root)["clocks_hz"] == {"gpu": 612000000}


@pytest.mark.parametrize(("online", "governors"), [("0", ["cpu0"]), ("1", ["cpu0", "cpu1"]), (None, ["cpu0", "cpu1"])])
def test_processors_that_are_off_count_nowhere(tree, online, governors):
    """An AGX Orin in MODE_30W: processors 8 to 11 are off, and their files keep another range."""
    loose = {CPU.format(1) + "scaling_min_freq": "729600\n", CPU.format(1) + "scaling_max_freq": "2201600\n"}
    state = agent.state(tree(ORIN | loose | {GPU + "min_freq": "624750000\n"} | (
        {"sys/devices/system/cpu/cpu1/online": online + "\n"} if online else {})))
    assert list(state["governors"]) == governors == [name for name in state["clocks_hz"] if name != "gpu"]
    assert state["clocks_locked"] is (online == "0")


@pytest.mark.parametrize(("model", "compatible", "jetson"), [
    ("NVIDIA Orin NX Developer Kit", "nvidia,p3768-0000+p3767-0000\0nvidia,p3767-0000\0nvidia,tegra234", True),
    ("Jetson-AGX", "nvidia,galen\0nvidia,jetson-xavier\0nvidia,tegra194", True),
    ("Lab Vision Box 4000", "acme,vb4000\0nvidia,p3767-0003\0nvidia,tegra234", True),
    ("jetson_tx1", "nvidia,jetson-cv\0nvidia,tegra210", True),
    ("Raspberry Pi 5 Model B Rev 1.0", "raspberrypi,5-model-b\0brcm,bcm2712", False),
    ("Board with a tegra in its name", "acme,nvidia,tegra-like", False)])
def test_a_jetson_is_told_by_its_chip(tree, model, compatible, jetson):
    root = tree({"proc/device-tree/model": model + "\0", "proc/device-tree/compatible": compatible + "\0"})
    assert agent.describe(root)["jetson"] is agent.is_jetson(root) is agent.state(root)["jetson"] is jetson


@pytest.mark.parametrize("chip", ["ina238", "ina226", "ina219"])
@pytest.mark.parametrize(("files", "watts"), [
    ({"power1_input": "62000000\n"}, 62000.0), ({"in1_input": "20000\n", "curr1_input": "3100\n"}, 62000.0)])
def test_single_channel_monitors_are_known_by_their_chip(tree, chip, files, watts):
    folder = "sys/class/hwmon/hwmon2/"
    root = tree({folder + "name": chip + "\n", "sys/class/hwmon/hwmon3/name": "pwmfan\n",
                 "sys/class/hwmon/hwmon3/power1_input": "1\n", **{folder + name: text for name, text in files.items()}})
    assert agent.sample(root)["rails_mw"] == {f"{chip} in hwmon2": pytest.approx(watts)}
    assert agent.power_sources(root) == [chip]
    Path(root, folder, "label").write_text("VDD_MAIN")
    assert agent.sample(root)["rails_mw"] == {"VDD_MAIN": pytest.approx(watts)}


def test_the_monitor_of_a_thors_input_has_no_label(tree):
    root = tree({"sys/class/hwmon/hwmon2/name": "ina238\n", "sys/class/hwmon/hwmon2/power1_input": "52000000\n",
                 "proc/device-tree/compatible": "nvidia,p3834-0008\0nvidia,tegra264\0"})
    assert agent.sample(root)["rails_mw"] == {"VIN": 52000.0}


def test_clocks_and_counters_are_sampled_whoever_tells_the_power(tree):
    for power in ({}, RAILS, RAPL):
        taken = agent.sample(tree(ORIN | power))
        assert taken["clocks_hz"] == {"gpu": 624750000, "cpu0": 1510400000, "cpu1": 1510400000}
        assert taken["throttle"] == {"oc1": 2} and taken["temps_c"] == {"cpu": 48.031}


@pytest.mark.parametrize("name", ["nvpmodel", "tegrastats", "jetson_clocks"])
def test_programs_are_found_where_a_login_over_ssh_does_not_look(name, tmp_path, monkeypatch):
    from edge_se.device.agent import system

    (tmp_path / name).write_text("#!/bin/sh\n")
    (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", "/usr/local/bin:/usr/bin:/bin")
    assert system.program(name) is None
    monkeypatch.setattr(system, "ADMIN_PATHS", ("/nowhere", str(tmp_path)))
    assert system.program(name) == str(tmp_path / name)
    assert {"/usr/sbin", "/sbin", "/usr/local/sbin"} == set(SBIN)


def test_the_power_mode_is_told_by_an_nvpmodel_outside_the_path(tmp_path, monkeypatch):
    """jetson_stats#38; and what it says on stdout holds, whatever it warns of and exits with (jetbot#49)."""
    from edge_se.device.agent import system

    (tmp_path / "nvpmodel").write_text("#!/bin/sh\necho 'NVPM WARN: power mode' >&2\n"
                                       "echo 'NV Power Mode: MAXN_SUPER'; echo 2; exit 255\n")
    (tmp_path / "nvpmodel").chmod(0o755)
    monkeypatch.setattr(system, "ADMIN_PATHS", (str(tmp_path),))
    assert agent.state()["power_mode"] == "MAXN_SUPER"
