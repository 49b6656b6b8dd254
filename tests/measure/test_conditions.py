"""What makes a run uncertified, each reason with its fix, and which documents may be compared."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_se.core.errors import EdgeSeError
from edge_se.measure.conditions import Conditions, conditions_of, require_comparable

LOCKED = {"now": 624.75e6, "min": 624.75e6, "max": 624.75e6}
GOOD = {"power_mode": "15W", "clocks_locked": True, "governors": {"cpu0": "schedutil"}, "clocks_hz": {"gpu": LOCKED},
        "temps_c": {"gpu": 40.0}, "throttle": {"oc1_event_cnt": 3}, "device": "NVIDIA Jetson Orin Nano Developer Kit"}
SAMPLES = [{"t": float(second), "temps_c": {"gpu": 50.0 + second, "pmic": 100.0}, "clocks_hz": {"gpu": 624.75e6},
            "throttle": {"oc1_event_cnt": 3}} for second in range(5)]


def test_a_locked_cool_board_is_certified():
    assert conditions_of(GOOD, GOOD, SAMPLES) == Conditions(
        power_mode="15W", clocks_locked=True, throttling=(), temperature_c=(50.0, 54.0), uncertified=())


@pytest.mark.parametrize(("state", "reason"), [
    ({"clocks_locked": False, "governors": {}}, "the clocks were not locked, .*; run `sudo jetson_clocks`"),
    ({"clocks_locked": None, "clocks_hz": None, "governors": {}}, "locked is not known; run `sudo jetson_clocks`"),
    ({"power_mode": None}, "the power mode is not known; .*`sudo nvpmodel -m 0`")])
def test_each_reason_has_its_fix(state, reason):
    (found,) = conditions_of(GOOD | state, GOOD | state, SAMPLES).uncertified
    assert re.search(reason, found)


def test_a_cpu_without_nvpmodel_needs_its_governor():
    state = {"device": "Raspberry Pi 5", "clocks_locked": False, "governors": {"cpu0": "ondemand", "cpu1": "ondemand"}}
    found = conditions_of(state, state, SAMPLES)
    assert found.power_mode is None
    assert [reason.partition(";")[0] for reason in found.uncertified] == [
        "the clocks were not locked, so they followed load and temperature", "the CPU governor was ondemand"]
    assert all("cpupower frequency-set -g performance" in reason for reason in found.uncertified)
    governed = state | {"governors": {"cpu0": "performance", "cpu1": "performance"}}
    assert conditions_of(governed, governed, SAMPLES).uncertified == ()
    assert conditions_of(state, governed, SAMPLES).uncertified != ()


PI = {"device": "Raspberry Pi 4 Model B Rev 1.5", "clocks_locked": False, "governors": {"cpu0": "performance"}}


@pytest.mark.parametrize(("device", "celsius", "event"), [
    (PI["device"], 79.9, None), (PI["device"], 80.1, "cpu reached 80.1 °C, and Raspberry Pis slow down from 80 °C on"),
    ("ROCK 5B", 85.0, None), ("NVIDIA Jetson Nano", 89.0, None)])
def test_a_raspberry_pi_slows_down_from_80_degrees_on(device, celsius, event):
    """Its clocks do not show it: cpufreq tells what was asked for."""
    found = conditions_of(PI | {"device": device}, PI | {"device": device, "temps_c": {"cpu": celsius}}, [])
    assert found.throttling == (() if event is None else (event,))


@pytest.mark.parametrize(("before", "after", "event"), [
    (0, 1, "rpi_volt_lcrit_alarm rose by 1"), (1, 1, "rpi_volt_lcrit_alarm was on from the beginning"), (0, 0, None)])
def test_low_voltage_of_a_raspberry_pi_is_no_heat(before, after, event):
    states = [PI | {"throttle": {"rpi_volt_lcrit_alarm": alarm}} for alarm in (before, after)]
    found = conditions_of(*states, SAMPLES)
    assert found.throttling == (() if event is None else (event,))
    assert [reason.partition(";")[2] for reason in found.uncertified] == (
        [] if event is None else [" the board's voltage fell: give it a stronger supply and a shorter cable"])


def test_a_governor_does_not_lock_the_clocks_of_a_jetson():
    state = GOOD | {"clocks_locked": False, "governors": {"cpu0": "performance"}}
    (reason,) = conditions_of(state, state, SAMPLES).uncertified
    assert reason.startswith("the clocks were not locked")


@pytest.mark.parametrize(("clocks", "locked"), [
    ({"cpu0": {"now": 1e9, "min": 1.7e9, "max": 1.7e9}, "emc": {"min": 2e8, "max": 3e9}}, True),
    ({"cpu0": {"min": 1.7e9, "max": 1.7e9}, "gpu": {"min": 3e8, "max": 6e8}}, False),
    ({"cpu0": {"now": 1e9}}, None), ({}, None)])
def test_locked_clocks_are_told_by_their_ranges(clocks, locked):
    """Memory keeps its range under jetson_clocks, which sets FreqOverride=1 instead."""
    state = GOOD | {"clocks_locked": None, "clocks_hz": clocks}
    assert conditions_of(state, state, SAMPLES).clocks_locked is locked


def test_clocks_that_came_loose_were_not_locked():
    assert conditions_of(GOOD, GOOD | {"clocks_locked": False}, SAMPLES).clocks_locked is False
    assert conditions_of(GOOD | {"clocks_locked": None, "clocks_hz": {}}, GOOD, SAMPLES).clocks_locked is True


def slow(*megahertz, **more):
    return [{"t": float(second), "clocks_hz": {"gpu": 1e6 * value}, **more} for second, value in enumerate(megahertz)]


@pytest.mark.parametrize(("after", "samples", "event"), [
    ({"throttle": {"oc1_event_cnt": 5}}, SAMPLES, "oc1_event_cnt rose by 2"),
    ({}, [*SAMPLES, {"t": 9.0, "throttle": {"hot": 0}}, {"t": 9.5, "throttle": {"hot": 1}},
          {"t": 9.6, "throttle": {"hot": 0}}], "hot rose by 1"),
    ({}, slow(624, 306, 320), "gpu fell to 306 MHz, below its floor of 625 MHz"),
    ({}, [{"t": 0.0, "tegrastats": "GR3D_FREQ 99%@[305]"}] * 2, "gpu fell to 305 MHz, below its floor of 625 MHz"),
    ({"clocks_hz": {"gpu": LOCKED | {"max": 4e8}}}, SAMPLES, "the ceiling of gpu came down from 625 to 400 MHz"),
    ({}, [{"t": 0.0, "temps_c": {"cpu": 89.9, "tj": 90.0}}], "tj reached 90.0 °C"),
    ({}, [{"t": 0.0, "tegrastats": "GPU@96C PMIC@100C"}], "gpu reached 96.0 °C"),
    ({}, [{"t": 0.0, "tegrastats": "a made-up line: throttled"}], "tegrastats said 'throttled'")])
def test_throttling_is_seen(after, samples, event):
    found = conditions_of(GOOD, GOOD | after, samples)
    (seen,) = found.throttling
    assert seen.startswith(event)
    (reason,) = found.uncertified
    assert reason.startswith(f"throttled: {event}")
    assert ("; this is too much current, not heat: " if event.startswith("oc") else "; cool the board") in reason


@pytest.mark.parametrize(("state", "samples", "advice"), [
    (GOOD, [{"t": 0.0, "throttle": {"oc3": 1}}, {"t": 1.0, "throttle": {"oc3": 4}}], "stronger supply"),
    (GOOD | {"throttle": {"curr1_crit_alarm": 1}}, [{"t": 0.0}], "stronger supply"),
    (GOOD, [{"t": 0.0, "tegrastats": "a made-up line: over-current"}], "stronger supply"),
    (GOOD, [{"t": 0.0, "temps_c": {"tj": 95.0}}], "cool the board, or"),
    (GOOD, slow(624, 306, 306), "cool the board or give it a stronger supply"),
    ({"device": "Xeon", "governors": {"cpu0": "performance"}, "clocks_locked": True},
     [{"t": 0.0, "throttle": {"cpu0": 1}}, {"t": 1.0, "throttle": {"cpu0": 9}}], "cool the machine")])
def test_advice_fits_its_event(state, samples, advice):
    (reason,) = conditions_of(state, state, samples).uncertified
    assert f"; {advice}" in reason or advice in reason.partition("not heat: ")[2]
    assert ("nvpmodel" in reason) is (state.get("device") != "Xeon") and ("heat" in reason) is ("supply" in reason
                                                                                            and "fell" not in reason)


UNSEEN = "the GPU's clock was not seen during the run"
ROOTLESS = "RAM 2/7MB CPU [5%@1728] GR3D_FREQ 99% gpu@71C VDD_IN 14542mW/14000mW"


@pytest.mark.parametrize(("state", "sample", "unseen"), [
    (GOOD, {"tegrastats": ROOTLESS}, True), (GOOD, {"tegrastats": ROOTLESS.replace("99%", "99%@[1020]")}, False),
    (GOOD, {"tegrastats": ROOTLESS, "clocks_hz": {"gpu": 624.75e6}}, False),
    (GOOD, {"clocks_hz": {"cpu0": 1e9}}, True), (GOOD, {"clocks_hz": {"gpu": 0}}, False),
    (GOOD | {"clocks_hz": {}, "jetson": True}, {"clocks_hz": {}}, True),
    ({"device": "Xeon", "clocks_locked": True}, {"clocks_hz": {"cpu0": 1e9}}, False)])
def test_a_gpu_whose_clock_was_not_seen_is_uncertified(state, sample, unseen):
    found = conditions_of(state, state, [sample | {"t": float(second)} for second in range(3)]).uncertified
    assert any(reason.startswith(UNSEEN) for reason in found) is unseen


def test_a_board_of_another_name_is_a_jetson_by_its_chip():
    state = {"device": "Lab Vision Box 4000", "jetson": True}
    assert all("nvpmodel" in reason or "jetson_clocks" in reason
               for reason in conditions_of(state, state, SAMPLES).uncertified)


def test_video_engines_are_no_clock_of_inference():
    state = GOOD | {"clocks_locked": None, "clocks_hz": {"gpu": LOCKED, "gpu-nvd-0": {"min": 3e8, "max": 1.6e9}}}
    assert conditions_of(state, state, SAMPLES).clocks_locked is True


@pytest.mark.parametrize("samples", [slow(620, 624), slow(624, 0, 0), slow(624, 306, 624)])
def test_a_clock_beside_its_floor_off_or_misread_once_is_no_throttling(samples):
    assert conditions_of(GOOD, GOOD, samples).throttling == ()


def test_an_alarm_that_was_always_on_counts():
    state = GOOD | {"throttle": {"curr1_crit_alarm": 1, "oc1_throt_en": 1}}
    assert conditions_of(state, state, [{"t": 0.0}]).throttling == ("curr1_crit_alarm was on from the beginning",)


def test_without_samples_throttling_may_have_passed_unseen():
    found = conditions_of(GOOD, GOOD | {"temps_c": {"gpu": 45.0}}, [])
    assert found.temperature_c == (40.0, 45.0)
    (reason,) = found.uncertified
    assert reason.startswith("nothing was sampled")


def test_a_device_that_tells_nothing_is_uncertified():
    found = conditions_of({}, {}, [])
    assert (found.power_mode, found.clocks_locked, found.temperature_c) == (None, None, None)
    assert len(found.uncertified) == 2


@pytest.mark.parametrize(("hidden", "reasons"), [
    (False, ["a page can read neither clocks nor temperatures"]),
    (True, ["a page can read neither clocks nor temperatures", "the page was in the background"])])
def test_a_page_knows_little_and_may_have_been_hidden(hidden, reasons):
    state = {"browser": True, "power_mode": None, "clocks_locked": None, "clocks_hz": {}, "governors": {}}
    found = conditions_of(state | {"hidden": False}, state | {"hidden": hidden}, []).uncertified
    assert len(found) == len(reasons) and all(said.startswith(reason) for said, reason in zip(found, reasons))
    assert not [said for said in found if "cpupower" in said or "jetson_clocks" in said]


def test_the_power_mode_must_not_change():
    with pytest.raises(EdgeSeError, match=r"Jetson.*: the power mode changed from 15W to MAXN .*nvpmodel -m 0"):
        conditions_of(GOOD, GOOD | {"power_mode": "MAXN"}, SAMPLES)
    assert conditions_of(GOOD | {"power_mode": None}, GOOD | {"power_mode": 0}, SAMPLES).power_mode == "0"


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
                        st.sampled_from(["cpu0", "gpu", "now", "min", "max", "oc1"]), inner, max_size=3), max_leaves=8)
STATES = st.dictionaries(st.sampled_from([*GOOD]), JSON)


@given(STATES, STATES, st.lists(st.dictionaries(st.sampled_from(
    ["t", "tegrastats", "rails_mw", "temps_c", "clocks_hz", "throttle"]), JSON), max_size=5))
def test_whatever_a_device_sends_gives_conditions_or_an_error(before, after, samples):
    try:
        found = conditions_of(before, after, samples)
    except EdgeSeError as error:
        assert "power mode changed" in error.what
        return
    assert all(";" in reason for reason in found.uncertified)
    assert len(found.throttling) <= len(found.uncertified)


# ---- comparing

def document(name="Orin Nano", mode="15W", **more):
    device = {"name": name, "power_mode": mode}
    return {"environment": {"device": device}, "measurements": [{"estimated": False}]} | more


@pytest.mark.parametrize(("first", "second"), [
    (document(), document()), (document(mode=None), document(mode=None)), (document(name=None), document()),
    ({"device": "cpu", "environment": {}}, {"device": "cpu"}), (document(estimated=True), document(estimated=True))])
def test_like_documents_may_be_compared(first, second):
    require_comparable(first, second)
    require_comparable(second, first)


@pytest.mark.parametrize(("first", "second", "message"), [
    (document(), document(mode="MAXN"), "different power modes: (15W and MAXN|MAXN and 15W); .*nvpmodel"),
    (document(), document(mode=None), "different power modes: (15W and none told|none told and 15W)"),
    (document(), {"environment": {}}, "different power modes"),
    (document(), document(name="Xavier NX"), "different devices: (Orin Nano and Xavier NX|Xavier NX and Orin Nano)"),
    (document(), document(estimated=True), "is an estimate, the (first|second) was measured; compare measurements"),
    (document(), document(measurements=[{"estimated": True}]), "is an estimate")])
def test_unlike_documents_are_refused(first, second, message):
    for one, other in ((first, second), (second, first)):
        with pytest.raises(EdgeSeError, match=f"comparison: .*{message}"):
            require_comparable(one, other)


def board(**device):
    return {"environment": {"device": {"name": "NVIDIA Jetson AGX Orin Developer Kit", "power_mode": "MAXN"} | device}}


@pytest.mark.parametrize(("one", "other", "message"), [
    ({"memory": 32 << 30}, {"memory": 64 << 30}, "different memory: (32 GiB and 64|64 GiB and 32) GiB"),
    ({"memory": 3.4e9}, {"memory": 7.9e9}, "different memory: "),
    ({"clocks_hz": {"gpu": {"max": 930750000}}}, {"clocks_hz": {"gpu": {"max": 1300500000}}},
     "different ceilings of the GPU's clock: (931 MHz and 1300|1300 MHz and 931) MHz"),
    ({"clocks_hz": {"gpu": {"max": 624750000}}}, {"clocks_hz": {"gpu": {"max": 1020000000}}}, "different ceilings")])
def test_one_name_of_two_modules_or_clocks_is_refused(one, other, message):
    for first, second in ((one, other), (other, one)):
        with pytest.raises(EdgeSeError, match=message):
            require_comparable(board(**first), board(**second))


@pytest.mark.parametrize(("one", "other", "told"), [
    ({"l4t": "36.4.4"}, {"l4t": "39.2.1"}, ["the runs differ in L4T: 36.4.4 and 39.2.1"]),
    ({"runtimes": {"tensorrt": {"version": "8.6.2"}}}, {"runtimes": {"tensorrt": {"version": "10.3.0"}}},
     ["the runs differ in TensorRT: 8.6.2 and 10.3.0"]),
    ({"gpu": {"cuda": "12.2"}, "l4t": "1"}, {"gpu": {"cuda": "12.6"}, "l4t": "2"},
     ["the runs differ in L4T: 1 and 2", "the runs differ in CUDA: 12.2 and 12.6"]),
    ({"memory": 7.99e9, "l4t": "36.4.4"}, {"memory": 7.42e9, "l4t": "36.4.4"}, []),
    ({"memory": 8e9, "l4t": None}, {"clocks_hz": None, "runtimes": {"tensorrt": {"reason": "not installed"}}}, [])])
def test_what_differs_and_may_be_the_purpose_is_told(one, other, told):
    assert require_comparable(board(**one), board(**other)) == told
