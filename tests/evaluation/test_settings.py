"""Settings: the file is validated, the command line wins, two margins are refused."""

import pytest

from edge_se.core.assets import asset
from edge_se.core.errors import EdgeSeError
from edge_se.evaluation.settings import Settings, given, read_settings


@pytest.fixture
def config(tmp_path):
    def write(text):
        path = tmp_path / "gate.toml"
        path.write_text(text)
        return path
    return write


def test_the_command_line_wins(config):
    path = config("max_drop = 1.0\nalpha = 0.01\nsequential = true\nmax_size_ratio = 0.4\n")
    settings, source = read_settings(path, given(max_drop=0.3, sequential=False))
    assert settings == Settings(max_drop=0.3, alpha=0.01, sequential=False, max_size_ratio=0.4)
    assert source == str(path)


@pytest.mark.parametrize(("text", "wanted", "expected"), [
    ("max_drop = 1.0\nalpha = 0.01", {"preset": "strict"}, Settings(preset="strict")),
    ('preset = "strict"', {"max_drop": 0.2}, Settings(max_drop=0.2)),
    ('preset = "strict"', {"alpha": 0.1}, Settings(preset="strict", alpha=0.1)),
    ('preset = "mlperf99"', {}, Settings(preset="mlperf99")),
])
def test_a_margin_replaces_the_other_kind_and_a_preset_brings_its_alpha(config, text, wanted, expected):
    assert read_settings(config(text), given(**wanted))[0] == expected


def test_levels():
    assert Settings().level == 0.025
    assert Settings(preset="strict").level == 0.005
    assert Settings(preset="strict", alpha=0.1).level == 0.1


def test_the_usual_place_is_read_where_it_exists(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert read_settings(None) == (Settings(), None)
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "gate.toml").write_text("max_drop = 0.7\n")
    assert read_settings(None) == (Settings(max_drop=0.7), "bench/gate.toml")


@pytest.mark.parametrize(("text", "says"), [
    ("max_dorp = 1.0", r"gate\.toml: unknown key 'max_dorp'; did you mean 'max_drop'\?"),
    ("max_drop = -1", "'max_drop': .*greater than or equal to 0"),
    ("max_drop = nan", "'max_drop': .*finite"),
    ("alpha = 0.6", "'alpha': .*less than 0.5"),
    ("alpha = [", "not readable as TOML"),
    ("max_latency_ratio = 0", "'max_latency_ratio'"),
    ('preset = "strict"\nmax_drop = 1', "gate.toml: max_drop and preset: both were given"),
    ('preset = "strickt"', "did you mean 'strict'"),
])
def test_a_wrong_file_is_one_message(config, text, says):
    with pytest.raises(EdgeSeError, match=says):
        read_settings(config(text))


def test_a_file_that_was_named_must_exist(tmp_path):
    with pytest.raises(EdgeSeError, match=r"no\.toml: no such file"):
        read_settings(tmp_path / "no.toml")


@pytest.mark.parametrize(("values", "says"), [
    ({"alpha": float("nan")}, "--alpha: nan is out of range"), ({"max_drop": 200.0}, "--max-drop: 200.0 is out of"),
    ({"max_size_ratio": -1.0}, "--max-size-ratio"), ({"preset": "strct"}, "--preset: .*did you mean 'strict'"),
    ({"preset": "strict", "max_drop": 1.0}, "give one margin")])
def test_wrong_options_are_named(values, says):
    with pytest.raises(EdgeSeError, match=says):
        given(**values)


def test_the_shipped_file_asks_for_what_is_usual():
    settings, _ = read_settings(asset("bench", "gate.toml"))
    assert (settings.max_drop, settings.level, settings.sequential) == (0.5, 0.025, False)
