"""Puts measured figures into Markdown files: `python -m bench.tables.readme` (from a checkout).

A document marks a place with `<!-- figures: NAME -->` ... `<!-- end figures -->`; what stands between is made here
from the JSON in `bench/results/` and the cards. A test fails when they differ.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from bench.tables import (
    classifiers,
    compatibility,
    counts,
    devices,
    estimates,
    gate_errors,
    gpu_trainings,
    grouped,
    lint,
    microcontrollers,
    nets,
    peer_speed,
    referee,
    runtimes,
    se_cost,
    se_folding,
    se_studies,
    training_parts,
    training_speed,
    verdict,
)
from bench.tables.measured import ROOT, judged, measured, result_of
from edge_se.core.artifacts import Build, build_of
from edge_se.core.cards import card_of, measured_by_of
from edge_se.core.files import write_text
from edge_se.core.measured_by import in_words, of_files
from edge_se.nets.zoo import BUNDLED
from edge_se.quantization.effort import EFFORTS
from edge_se.quantization.placement import PLACEMENTS
from edge_se.quantization.targets import TARGETS
from edge_se.reporting.console import table_text
from edge_se.reporting.tables import DASH, accuracy, build_rows, markdown, measurement_rows
from edge_se.reporting.verdict import explain

MODELS = ("resnet18", "se_resnet18", "slim_se")  # that are measured in every runtime
DOCUMENTS = ("README.md", "docs/benchmarking.md", "docs/compatibility.md", "docs/estimates.md", "docs/gate.md",
             "docs/jetson.md", "docs/lint.md", "docs/litert.md", "docs/microcontrollers.md", "docs/models.md",
             "docs/peers.md", "docs/quantization.md", "docs/se.md", "docs/training.md", "docs/web.md")
TARGETS_SHOWN = ("cpu", "openvino", "tensorrt")
PLACE = re.compile(r"(<!-- figures: (\S+) -->\n).*?(<!-- end figures -->)", re.DOTALL)


def refreshed(text: str) -> str:
    """`text` with every marked place made anew."""
    return PLACE.sub(lambda match: match[1] + FIGURES[match[2]]() + match[3], text)


def accuracy_table() -> str:
    """Accuracy of each precision: top-1, paired drop with its interval, flips."""
    columns = ["model", "params", "MACs", "FP32 top-1 % (95 % CI)", "INT8 file", "drop, points (95 % CI)", "flips"]
    rows = []
    for model in MODELS:
        build, gate = _build(model), measured(f"gate-{model}")
        fp32 = build.find("fp32")
        assert fp32 is not None
        for target in gate["targets"]:
            item = build.find("int8", target["target"])
            assert item is not None
            low, high = target["ci_pp"]
            rows.append([f"`{model}`", f"{fp32.params:,}", f"{fp32.macs:,}", accuracy(fp32.top1, fp32.top1_ci),
                         f"`{item.file}`", f"{target['drop_pp']:+.2f} ({low:+.2f} to {high:+.2f})",
                         f"{item.flips} / {item.flips_n:,}"])
    return markdown(columns, rows) + "\n" + _judges(
        (item.file, item.measured_by) for model in MODELS for item in _build(model).artifacts)


def _judges(files: Iterable[tuple[str, Mapping[str, Any] | None]]) -> str:
    """What computed each accuracy, as a sentence below a table."""
    told = of_files(files)
    return f"{told[0].upper()}{told[1:]}.\n"


def headline() -> str:
    """What INT8 brings: speed, size, accuracy of one net for onnxruntime's target."""
    model, target = "se_resnet18", "cpu"
    build, document = _build(model), measured("int8_speedup")
    fp32, int8 = build.find("fp32"), build.find("int8", target)
    speed = next(row["speedup"] for row in document["rows"] if (row["model"], row["backend"], row["target"]) == (
        model, "onnxruntime", target))
    assert fp32 is not None and int8 is not None
    processor = document["environment"]["hardware"]["cpu"]
    return (f"In INT8 `{model}` runs {speed:.1f} times as fast as in FP32 (onnxruntime, one thread of an {processor}). "
            f"Its file has {int8.bytes / 2**20:.1f} MiB instead of {fp32.bytes / 2**20:.1f}. It classifies "
            f"{int8.top1:.2f} % of the test images correctly, FP32 {fp32.top1:.2f} % ({in_words(int8.measured_by)}).\n")


def latency_table() -> str:
    """Latency of one run with its spread; what INT8 gains is in `speedup_table` alone, from repeats."""
    rows: list[list[str]] = []
    for model in MODELS:
        columns, own = measurement_rows(measured(f"bench-{model}")["measurements"])
        rows += own
    keep = [columns.index(name) for name in ("model", "precision", "target", "backend", "p50 ms", "p90 ms", "p99 ms",
                                              "CV", "images/s", "MiB")]
    table = markdown([columns[index] for index in keep], [[row[index] for index in keep] for row in rows], left=4)
    return f"{table}\n{_machine(measured(f'bench-{MODELS[0]}'))}"


def _machine(document: dict[str, Any]) -> str:
    hardware, versions = document["environment"]["hardware"], document["environment"]["versions"]
    return (f"onnxruntime {versions['onnxruntime']}, OpenVINO {versions['openvino']}, 1 thread, batch 1, on "
            f"{hardware['cpu']} ({hardware['cores']} cores, {', '.join(hardware['flags'])}).\n")


def speedup_table() -> str:
    """FP32's and INT8's latency, and the ratio of medians over the repeats, with the machine."""
    document = measured("int8_speedup")
    table = markdown(["model", "runtime", "file", "FP32 ms", "INT8 ms", "INT8 x FP32, median of the repeats", "min",
                      "max", "repeats"], [
        [f"`{row['model']}`", row["backend"], f"`int8.{row['target']}.onnx`", f"{row['fp32_p50_ms']:.2f}",
         f"{row['int8_p50_ms']:.2f}", f"{row['speedup']:.2f}", f"{row['speedup_min']:.2f}",
         f"{row['speedup_max']:.2f}", str(row["repeats"])] for row in document["rows"]], left=3)
    return f"{table}\n{_machine(document)}"


def transcript() -> str:
    """What `export` and `gate` print, from the documents they wrote."""
    build, gate = _build("se_resnet18"), measured("gate-se_resnet18")
    columns, rows = build_rows(build)
    assert build.calibration is not None
    lines = [f"$ edge-se export --model se_resnet18 --fp16 --int8 --target {','.join(TARGETS_SHOWN)}",
             *table_text(columns, rows, left=3).splitlines(), "",
             f"written to {build.out}, calibrated on {build.calibration['name']}; evaluated on "
             f"{build.artifacts[0].dataset}", of_files((item.file, item.measured_by) for item in build.artifacts),
             "", "$ edge-se gate --model se_resnet18", *explain(gate),
             "$ echo $?", "0" if gate["verdict"] == "pass" else "not 0"]
    return "```text\n" + "\n".join(lines) + "\n```\n"


def weights_table() -> str:
    """The bundled weights, from their cards."""
    rows = []
    for model in BUNDLED:
        card = card_of(model)
        assert card is not None  # it is bundled
        test, validation = card["test"], card["validation"]
        rows.append([f"`{model}`", accuracy(test["top1"], test["ci95"]), f"{test['n']:,}",
                     accuracy(validation["top1"], validation["ci95"]), str(card["epochs"]), str(card["seed"]),
                     f"{card['seconds'] / 60:.0f} min on {_trained_on(card)}"])
    return markdown(["weights", "test top-1 % (95 % CI)", "n", "validation top-1 % (95 % CI)", "epochs", "seed",
                     "training"], rows) + "\n" + _judges(
        (f"`{model}`", measured_by_of(card_of(model), "test")) for model in BUNDLED)


def _trained_on(card: dict[str, Any]) -> str:
    cores = card["hardware"]["cores"]
    return card["device"] if card["device"] != "cpu" else f"{cores} core{'' if cores == 1 else 's'}"


def peers_table() -> str:
    """Each peer's file: accuracy, flips, latency in two runtimes, and what quantizing took."""
    parts = []
    for model in _models_with("peers"):
        document = measured(f"peers-{model}")
        fp32 = document["fp32"]
        columns = ["file", "top-1 %", "drop, points (95 % CI)", "flips", "onnxruntime ms", "OpenVINO ms",
                   "quantizing s", "peak GiB"]
        rows = [["FP32", f"{fp32['top1']:.2f}", DASH, DASH, f"{fp32['onnxruntime_ms']:.2f}",
                 f"{fp32['openvino_ms']:.2f}", DASH, DASH]]
        for row in document["rows"]:
            low, high = row["ci_pp"]
            rows.append([row["name"], f"{row['top1']:.2f}", f"{row['drop_pp']:+.2f} ({low:+.2f} to {high:+.2f})",
                         str(row["flips"]), *(DASH if row[key] is None else f"{row[key]:.2f}"
                                              for key in ("onnxruntime_ms", "openvino_ms")),
                         f"{row['seconds']:.1f}", f"{row['peak_memory_bytes'] / 2**30:.2f}"])
        versions = ", ".join(f"{name.partition(': ')[2]} {number}" for name, number in document["versions"].items())
        parts.append(f"### `{model}`\n\n{markdown(columns, rows)}\nn = {document['n']:,} test images, calibrated on "
                     f"{document['calibration']}; {versions}. {judged(document)}\n")
    return "\n".join(parts)


def ablation_table() -> str:
    """Methods and placements per target, on held-out images."""
    parts = []
    for model in _models_with("ablation"):
        document = measured(f"ablation-{model}")
        default = document["default_placement"]
        columns = ["target", "placement", "method", "calibration", "SQNR dB", "flips", "drop, points (95 % CI)", "ms"]
        rows = []
        for row in document["rows"]:
            low, high = row["ci_pp"]
            real = row["calibration"] == document["calibration"]
            bold = "**" if real and (row["method"], row["placement"]) == ("mse", default) else ""
            rows.append([f"`{row['target']}`", f"{bold}{row['placement']}{bold}", f"{bold}{row['method']}{bold}",
                         "real" if real else "synthetic", f"{row['sqnr_db']:.1f}", str(row["flips"]),
                         f"{row['drop_pp']:+.2f} ({low:+.2f} to {high:+.2f})",
                         DASH if row["p50_ms"] is None else f"{row['p50_ms']:.2f}"])
        parts.append(f"### `{model}`\n\n{markdown(columns, rows, left=4)}\nn = {document['n']:,} of "
                     f"{document['dataset']}; bold: the default effort. ms: `cpu` in onnxruntime, `openvino` in "
                     f"OpenVINO, one thread, batch 1, in turns, on {document['environment']['hardware']['cpu']}. "
                     f"{judged(document)}\n")
    return "\n".join(parts)


def memory_table() -> str:
    """Peak memory of calibrating, by number of images."""
    rows = [[row["tool"], f"{row['images']:,}", f"{row['peak_memory_bytes'] / 2**30:.2f}", f"{row['seconds']:.1f}"]
            for row in measured("calibration_memory")["rows"]]
    return markdown(["calibrator", "images", "peak GiB of the process", "seconds"], rows)


def foreign_table() -> str:
    """Models from elsewhere: what each target made of them, or why it refused."""
    columns = ["model", "params", "SE excitations", "`cpu` x FP32", "`openvino` x FP32", "`tensorrt`",
               "SQNR dB (cpu / openvino / tensorrt)"]
    rows, refused = [], []
    for row in measured("foreign_models")["rows"]:
        targets = row["targets"]
        cells = []
        for name in ("cpu", "openvino"):
            result = targets[name]
            if "refused" in result:
                refused.append(f"- `{row['name']}`, target `{name}`: {result['refused']}; {result['fix']}.")
                cells.append("refused")
            else:
                cells.append(f"{result['speedup']:.2f} ({result['placement']})")
        sqnr = " / ".join(DASH if "refused" in targets[name] else f"{targets[name]['sqnr_db']:.0f}"
                          for name in ("cpu", "openvino", "tensorrt"))
        rows.append([f"`{row['name']}`", f"{row['params']:,}", str(row["se_gates"]), *cells,
                     targets["tensorrt"]["parser"], sqnr])
    return markdown(columns, rows) + ("\nRefused:\n\n" + "\n".join(refused) + "\n" if refused else "")


def targets_table() -> str:
    """The rules of each target and their reasons, from the code itself."""
    rows = [[f"`{target.name}`", target.runs_on, target.activations, "yes" if target.quantized_bias else "no",
             "; ".join(target.reasons)] for target in TARGETS.values()]
    return markdown(["target", "for", "activations", "int32 bias", "why"], rows, left=5)


def placements_table() -> str:
    """The named placements, from the code itself."""
    return markdown(["placement", "what runs in INT8"], [[f"`{name}`", about] for name, about in PLACEMENTS.items()],
                    left=2)


def efforts_table() -> str:
    """The efforts, from the code itself."""
    return markdown(["effort", "method", "placement", ""], [
        [f"`{name}`", effort.method, effort.placement or "`ends-float` or `se-float`, by the MACs of the ends",
         effort.about] for name, effort in EFFORTS.items()], left=4)


FIGURES: dict[str, Callable[[], str]] = {
    "headline": headline,
    "accuracy": accuracy_table, "latency": latency_table, "speedup": speedup_table, "transcript": transcript,
    "weights": weights_table, "peers": peers_table, "ablation": ablation_table, "memory": memory_table,
    "counts": counts.counts_text, "foreign": foreign_table, "targets": targets_table, "placements": placements_table,
    "efforts": efforts_table,
    "estimate-sentence": estimates.error_sentence, "estimate-figures": estimates.figures_table,
    "estimate-errors": estimates.error_table, "estimate-nets": estimates.ratios_table,
    "estimate-kernels": estimates.kernels_table, "estimate-speedups": estimates.speedups_table,
    "gate-errors": gate_errors.error_table, "gate-errors-sentence": gate_errors.error_sentence,
    "referee": referee.referee_table, "referee-sentence": referee.referee_sentence,
    "se-figure": se_cost.figure_line, "se-shares": se_cost.shares_table, "se-times": se_cost.times_table,
    "se-gates": se_cost.excitations_table, "se-controls": se_cost.controls,
    "se-placements": se_studies.placements_table, "se-int8": se_studies.int8_table, "se-noise": se_studies.noise_table,
    "se-ranges": se_studies.ranges_table, "folded-accuracy": se_folding.accuracy_table,
    "excitation-deviation": se_folding.deviation_table,
    "folded-final": se_folding.final_table, "folded-times": se_folding.times_table,
    "training-speed": training_speed.speed_table, "training-parts": training_parts.parts_table,
    "recipe-trials": training_parts.trials_table, "time-to-accuracy": training_parts.time_to_accuracy_table,
    "gpu-trainings": gpu_trainings.gpu_trainings_table,
    "nets": nets.nets_table, "zoo-export": nets.exports_table, "over-ssh": devices.over_ssh_table,
    "web": devices.web_table,
    "microcontrollers": microcontrollers.board_table,
    "arm64": devices.arm64_table, "grouped": grouped.grouped_table,
    "target-drops": runtimes.drops_table, "simulations": runtimes.simulations_table,
    "precision-hints": runtimes.hints_table,
    "grouped-openvino": grouped.openvino_table, "lint-rules": lint.rules_table, "lint-kinds": lint.kinds_table,
    "compatibility": compatibility.compatibility_table, "litert": runtimes.litert_table,
    "time-to-verdict": verdict.verdict_table,
    "lint-peers": lint.peers_table, "peer-speed": peer_speed.speed_table,
    "classifiers": classifiers.classifiers_table, "classifiers-text": classifiers.classifiers_text}


def _models_with(kind: str) -> list[str]:
    """The bundled nets of which that was measured."""
    return [name for name in MODELS if result_of(f"{kind}-{name}").is_file()]


def _build(model: str) -> Build:
    return build_of(measured(f"export-{model}"))


def main() -> None:
    """Refreshes every document."""
    for name in DOCUMENTS:
        path = ROOT / name
        write_text(path, refreshed(path.read_text()))


if __name__ == "__main__":
    main()
