"""Tables of `bench/classifiers.py`: INT8 files of torchvision's and timm's classifiers beside those of peers."""

from __future__ import annotations

from collections import Counter
from typing import Any

from bench.tables.measured import measured
from edge_se.reporting.tables import DASH, markdown

TARGETS = ("cpu", "openvino", "tensorrt")
PEERS = {"onnxruntime": "onnxruntime's default", "nncf": "NNCF's default"}
BELOW_DB, SLOWER = 1.0, 1.05  # what counts as below the better peer, and as slower than FP32
SHORT = {"torchscript": "TorchScript"}


def classifiers_table() -> str:
    """One row a net; a range where its exports differ."""
    rows = []
    for net in measured("classifiers")["nets"]:
        made = [row for row in net["rows"] if row["targets"]]
        if not made:
            continue
        rows.append([
            f"`{net['net']}`", str(net["size"]), str(len(made)),
            *(DASH if (best := peer_db(net, name)) is None else f"{best:.1f}" for name in PEERS),
            *(span([row["targets"][target]["sqnr_db"] for row in made if target in row["targets"]], 1)
              for target in TARGETS),
            *(span([ratio for row in made if (ratio := speed(row, target)) is not None], 2)
              for target in TARGETS[:2])])
    return markdown(["net", "size", "exports", *PEERS.values(), *(f"`{target}`" for target in TARGETS),
                     "`cpu` x FP32", "`openvino` x FP32"], rows, left=1)


def classifiers_text() -> str:
    """What the table comes to, and each file that is refused, below the better peer, or slower than FP32."""
    document = measured("classifiers")
    nets, versions = document["nets"], document["environment"]["versions"]
    tried = [(net, row) for net in nets for row in net["rows"]]
    made = [(net, row) for net, row in tried if row["why_not"] is None]
    files = [(net, row, target) for net, row in made for target in TARGETS if target in row["targets"]]
    behind = [(net, row, target) for net, row, target in files if is_below(net, row, target)]
    of_form = sum(is_of_form(net, target) for net, _, target in behind)
    slow = [(net, row, target) for net, row, target in files if is_slow(row, target)]
    untold = [each for each in slow if not is_told(*each[1:])]
    ran = [net for net in nets if any(row["why_not"] is None for row in net["rows"])]
    text = (f"{len(ran)} of {len(nets) + len(document['left'])} nets are measured: {len(made)} exports, {len(files)} "
            f"INT8 files. More than {BELOW_DB:g} dB below the better of the two peers: {len(behind)}, of which "
            f"{of_form} are `tensorrt` files that would not be with free zero points. More than "
            f"{100 * (SLOWER - 1):.0f} % slower than FP32 in their runtime: {len(slow)}, of which `export` told "
            f"{len(slow) - len(untold)}.\n\n"
            f"SQNR in dB of {document['evaluation']} images, calibrated on {document['calibration']}, all of them "
            f"CIFAR-10's, enlarged; random weights. onnxruntime {versions['onnxruntime']}, OpenVINO "
            f"{versions['openvino']}, NNCF {versions['nncf']}, torch {versions['torch']}, torchvision "
            f"{versions['torchvision']}, timm {versions['timm']}; one thread, batch 1, in turns, on a shared "
            f"{document['environment']['hardware']['cpu']}.\n")
    commits = Counter(row["commit"][:7] + "+" * row["commit"].endswith("+") for _, row in made)
    text += ("Exports by edge-se's commit (+: and changes that were not committed): "
             f"{', '.join(f'{name} {times}' for name, times in commits.items())}.\n")
    if document["left"]:
        text += f"Not measured yet: {', '.join(f'`{name}`' for name in document['left'])}.\n"
    lines = [f"`{net['net']}`: {net['why_not']}" for net in nets if net["why_not"]]
    lines += [f"`{net['net']}`, {how(row)}: {row['why_not']}" for net, row in tried if row["why_not"]]
    lines += [f"`{net['net']}`, {how(row)}: refused. {row['refused']}" for net, row in made if row["refused"]]
    lines += [f"`{net['net']}`, {how(row)}, `{target}`: {row['targets'][target]['sqnr_db']:.1f} dB, the better peer "
              f"{better(net):.1f}{with_free_zero_points(net, target)}" for net, row, target in behind]
    lines += [f"`{net['net']}`, {how(row)}, `{target}`: {speed(row, target):.2f} times FP32's speed, "
              f"{'told' if is_told(row, target) else 'not told'}" for net, row, target in slow]
    return text + ("\n" + "\n".join(f"- {' '.join(line.split())}" for line in lines) + "\n" if lines else "")


def peer_db(net: dict[str, Any], name: str) -> float | None:
    """SQNR of a peer's file; None where it made none."""
    return next((row["peers"][name]["sqnr_db"] for row in net["rows"]
                 if row["peers"].get(name, {}).get("sqnr_db") is not None), None)


def better(net: dict[str, Any]) -> float:
    """SQNR of the better peer; minus infinity where both failed."""
    return max((db for name in PEERS if (db := peer_db(net, name)) is not None), default=float("-inf"))


def is_below(net: dict[str, Any], row: dict[str, Any], target: str) -> bool:
    """Whether a file is clearly worse than that of the better peer."""
    return bool(row["targets"][target]["sqnr_db"] < better(net) - BELOW_DB)


def is_of_form(net: dict[str, Any], target: str) -> bool:
    """Whether a file is below its peers for its form alone: with free zero points, as they have, it is not."""
    return target == "tensorrt" and bool(net.get("free_zero_points_db", float("-inf")) >= better(net) - BELOW_DB)


def with_free_zero_points(net: dict[str, Any], target: str) -> str:
    """What a `tensorrt` file has without its form, as the end of a sentence."""
    db = net.get("free_zero_points_db") if target == "tensorrt" else None
    return "" if db is None else f", with free zero points {db:.1f}"


def speed(row: dict[str, Any], target: str) -> float | None:
    """INT8's speed in times that of FP32 in the file's own runtime; None where it was not timed."""
    times = row["targets"].get(target, {})
    return times["fp32_ms"] / times["int8_ms"] if times.get("int8_ms") else None


def is_slow(row: dict[str, Any], target: str) -> bool:
    """Whether a file is slower than FP32."""
    ratio = speed(row, target)
    return ratio is not None and ratio * SLOWER < 1


def is_told(row: dict[str, Any], target: str) -> bool:
    """Whether `export` told that a file is slower than FP32."""
    return any(note.startswith(f"int8.{target}.onnx is slower") for note in row["notes"])


def how(row: dict[str, Any]) -> str:
    """By what it was exported."""
    return f"{SHORT.get(row['exporter'], row['exporter'])}, {row['batch']} batch"


def span(values: list[float], digits: int) -> str:
    """The value, or the least and the largest where they differ."""
    texts = [f"{value:.{digits}f}" for value in (min(values), max(values))] if values else [DASH, DASH]
    return texts[0] if texts[0] == texts[1] else " to ".join(texts)
