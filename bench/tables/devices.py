"""What was measured of devices without a device: over SSH against here, and arm64's programs under emulation."""

from __future__ import annotations

from bench.tables.measured import measured
from edge_se.measure.timing import noise_in_words
from edge_se.reporting.tables import markdown


def over_ssh_table() -> str:
    """p50 over SSH against p50 here, the same processor, interleaved."""
    document = measured("over_ssh")
    rows = [[f"`{row['model']}`", f"`{row['file']}`", f"{row['here_p50_ms']:.3f}", f"{row['there_p50_ms']:.3f}",
             f"{row['ratio']:.3f} ({row['ratio_min']:.3f}–{row['ratio_max']:.3f})", str(row["repeats"])]
            for row in document["rows"]]
    hardware = document["environment"]["hardware"]
    return (f"{markdown(['model', 'file', 'here p50 ms', 'over SSH p50 ms', 'ratio (range)', 'repeats'], rows, left=2)}"
            f"\n1 thread, batch 1, onnxruntime on both sides, on {hardware['cpu']} ({hardware['cores']} cores).\n")


def web_table() -> str:
    """Answers and times of onnxruntime-web, in node and in a browser."""
    measurements = measured("web")["rows"]
    rows = [[row["place"], f"`{row['model']}`", f"`{row['file']}`", f"{row['time_of_fp32']:.2f}",
             f"{row['flips']} of {row['images']:,}", f"{row['peak_memory_bytes'] / 2**20:.0f}"] for row in measurements]
    places = {row["place"]: row["device"]["browser"]["user_agent"] for row in measurements}
    first, noise = measurements[0], noise_in_words([row["cv"] for row in measurements])
    columns = ["place", "model", "file", "time over FP32's", "other answers than native", "MiB"]
    return (f"{markdown(columns, rows, left=3)}\nonnxruntime-web "
            f"{first['device']['runtimes']['onnxruntime-web']['version']} against onnxruntime "
            f"{first['versions']['onnxruntime']}, {first['threads']} thread, batch 1, on {first['hardware']['cpu']}; "
            f"{'; '.join(f'{place}: {agent}' for place, agent in places.items())}."
            f"{f' {noise}.' if noise else ''}\n")


def arm64_table() -> str:
    """Classes and logits of arm64's onnxruntime against x86's."""
    document = measured("arm64")
    rows = [[f"`{row['model']}`", f"`{row['file']}`", f"{row['differing_classes']} / {row['images']}",
             f"{row['max_logit_difference']:.1e}", f"{row['max_logit']:.1f}"] for row in document["rows"]]
    sides, emulator = (document["x86"], document["arm64"]), document["emulator"]
    columns = ["model", "file", "other classes", "largest logit difference", "largest logit"]
    return (f"{markdown(columns, rows, left=2)}\nonnxruntime {sides[0]['onnxruntime']} on x86, "
            f"{sides[1]['onnxruntime']} on arm64, {emulator['name']} {emulator['version']} as {emulator['cpu']}.\n")
