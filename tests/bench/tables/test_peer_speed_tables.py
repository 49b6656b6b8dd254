"""The table of files on one thread: tools that made no file, and the fastest peer in a runtime and in any."""

import pytest

from bench.tables import peer_speed


@pytest.fixture
def text(monkeypatch):
    def row(name, runtime, flips, **changes):
        return {"name": name, "runtime": runtime, "versions": {runtime: "1.0"}, "bytes": 3 << 20, "flips": flips,
                "top1": 92.5, "fp32_top1": 92.6, "cpu_ms": 1.5, "wall_ms": 1.6, "cpu_ms_of_processes": [1.5, 1.4],
                "time_over_fp32": 0.25} | changes
    def held(name, of, peer, ratio):
        return {"name": name, "of": of, "fastest_peer": peer, "time_over_it": ratio,
                "time_over_it_of_processes": [ratio + 0.01, ratio]}
    broken = {"name": "Broken", "runtime": "executorch", "versions": {}, "failed": "ImportError: no"}
    part = {"model": "slim_se", "n": 1000, "calibration": "c512", "calibrated": 512, "rounds": 5, "processes": 2,
            "rows": [row("edge-se cpu", "onnxruntime", 2), row("NNCF", "onnxruntime", 9),
                     row("LiteRT static", "ai-edge-litert", 14), broken],
            "against": [held("edge-se cpu", "onnxruntime", "NNCF", 0.4),
                        held("edge-se cpu", "any", "LiteRT static", 1.25)],
            "environment": {"hardware": {"cpu": "a processor"}}}
    monkeypatch.setattr(peer_speed, "measured", lambda name: {"models": [part]})
    return peer_speed.speed_table()


def test_each_file_has_a_row_and_a_tool_that_failed_its_words(text):
    assert "| LiteRT static | LiteRT | 3.0 | 92.5 | 14 | 1.50 | 1.50 / 1.40 | 0.25 |" in text
    assert "| Broken | ExecuTorch | – | – | – | – | – | – |" in text
    assert "- Broken made no file that runs: ImportError: no\n" in text


def test_a_file_is_told_against_the_fastest_in_its_runtime_and_in_any(text):
    assert ("- `edge-se cpu`: 0.40 of the time (0.40 to 0.41) of the fastest peer in onnxruntime, NNCF, with 2 flips "
            "for 9; 1.25 of the time (1.25 to 1.26) of the fastest peer in any runtime, LiteRT static, with 2 flips "
            "for 14.") in text
