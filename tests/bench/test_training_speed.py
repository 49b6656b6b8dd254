"""`bench/training_speed.py` on few images and a tiny net, and the table made of what it writes."""

import functools
import json
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
import torch

from bench.tables import measured, readme, training_speed
from edge_se.core.errors import ModelError
from edge_se.training import compiling

SCRIPT = Path(__file__).parents[2] / "bench" / "training_speed.py"


@pytest.fixture(scope="module")
def script():
    spec = spec_from_file_location("training_speed_script", SCRIPT)
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture
def measure(script, random_images, tiny_spec, monkeypatch, tmp_path):
    """(arguments) -> the document, of tiny nets on a few images."""
    monkeypatch.setattr(script.cifar10, "require", lambda: None)
    monkeypatch.setattr(script.splits, "load", lambda split, cifar: random_images(40, split))
    monkeypatch.setattr(script, "spec_of", tiny_spec)
    monkeypatch.setattr(script, "WORKERS", (0, 1))

    def run(*arguments):
        script.main(["--batch", "8", "--device", "cpu", "--out", str(tmp_path / "training_speed.json"), *arguments])
        return json.loads((tmp_path / "training_speed.json").read_text())
    return run


def test_each_setting_has_its_loops_and_ratios(measure, monkeypatch):
    monkeypatch.setattr(compiling, "why_not", lambda: "a C++ compiler")
    document = measure("--settings", "none:off,se:bf16", "--rounds", "2", "--steps", "2", "--minutes", "0.3")
    assert [(item["model"], item["amp"], item["rounds"]) for item in document["settings"]] == [
        ("none", "off", 2), ("se", "bf16", 2)]
    assert not document["compiler"] and document["batch"] == 8
    for setting in document["settings"]:
        loops = {loop["loop"]: loop for loop in setting["loops"]}
        assert set(loops) == {"engine, eager", "input pipeline of the engine", *(
            f"plain, {workers} workers, {layout}" for workers in (0, 1) for layout in ("contiguous", "channels_last"))}
        assert all(len(loop["step_ms_of_rounds"]) == 2 for loop in loops.values())
        [engine] = setting["engines"]
        for layout, found in engine["against"].items():
            assert found["loop"].endswith(layout) and found["lowest"] <= found["ratio"] <= found["highest"]
            plain, own = (loops[name]["step_ms_of_rounds"] for name in (found["loop"], "engine, eager"))
            assert found["highest"] == pytest.approx(max(one / other for one, other in zip(plain, own)))


def test_the_compiled_engine_takes_its_turn(measure, monkeypatch):
    monkeypatch.setattr(compiling, "why_not", lambda: None)
    monkeypatch.setattr(compiling.torch, "compile", functools.partial(torch.compile, backend="eager"))
    document = measure("--settings", "se:off", "--rounds", "1", "--steps", "1", "--minutes", "0.3")
    assert [engine["loop"] for engine in document["settings"][0]["engines"]] == ["engine, eager", "engine, compiled"]


@pytest.mark.parametrize(("seconds", "of_all", "expected"), [
    (900, 1.0, (9, 20)), (90, 1.0, (9, 7)), (50, 1.0, (9, 2)), (40, 1.0, (8, 2)), (1, 1.0, (5, 2)), (-5, 1.0, (5, 2))])
def test_rounds_and_steps_fit_the_time_that_is_left(script, seconds, of_all, expected):
    rounds, steps = script.affordable(seconds, of_all, 9, 20)
    assert (rounds, steps) == expected
    if seconds > 35:
        assert rounds * (3 + steps) * of_all <= seconds
    assert script.affordable(900, 1.0, 1, 1) == (1, 1)


@pytest.mark.parametrize("settings", ["mini", "mini:fp8", "mini:off,", "mini:off:bf16"])
def test_a_setting_of_another_form_is_refused(script, settings, capsys):
    with pytest.raises(SystemExit) as stopped:
        script.main(["--settings", settings])
    assert stopped.value.code == 2 and "give NET:off or NET:bf16" in capsys.readouterr().err


def test_a_misspelled_net_is_told_first(script):
    with pytest.raises(ModelError, match="did you mean 'mini'"):
        script.main(["--settings", "minj:off"])


def test_the_table_quotes_the_document(measure, monkeypatch, tmp_path):
    monkeypatch.setattr(compiling, "why_not", lambda: "a C++ compiler")
    document = measure("--settings", "se:bf16", "--rounds", "2", "--steps", "1", "--minutes", "0.3")
    monkeypatch.setattr(measured, "RESULTS", tmp_path)
    table = training_speed.speed_table()
    engine, own = document["settings"][0]["engines"][0], document["settings"][0]["loops"][0]
    found = engine["against"]["contiguous"]
    row = table.splitlines()[2]
    assert row.startswith(f"| `se` | bf16 | eager | {own['step_ms']:.1f} | {own['images_per_s']:.0f} "
                          f"| {found['ratio']:.2f} ({found['lowest']:.2f}–{found['highest']:.2f}) |")
    assert row.endswith(f"| {100 * engine['pipeline_share']:.1f} % | 2 x 1 |")
    assert "no compiler" in table and "Batch 8" in table


@pytest.mark.parametrize("left", [None, '{"schema": "edge-se/training-speed/1", "rows": []}'])
def test_without_a_result_in_this_form_the_document_says_so(monkeypatch, tmp_path, left):
    if left:
        (tmp_path / "training_speed.json").write_text(left)
    monkeypatch.setattr(measured, "RESULTS", tmp_path)
    assert readme.FIGURES["training-speed"]() == "Not measured yet.\n"
