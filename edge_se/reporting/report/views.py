"""Parts of the report as tables of strings, the same in HTML and in Markdown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edge_se.core.measured_by import of_files
from edge_se.measure.timing import CV_WARNING
from edge_se.reporting.amounts import amount, mebibytes, milliseconds
from edge_se.reporting.report.latencies import THROUGHPUT
from edge_se.reporting.tables import DASH, accuracy

KINDS = {"layer": "layer", "se-gate": "excitation", "operator": "operator"}
APART = ("drop", "top-1 %", "flips")  # of each file beside FP32
MARKS = {"pass": "✓ pass", "fail": "✗ fail", "inconclusive": "? inconclusive", "not judged": "not judged"}

CLASSES_SHOWN = 40  # more make a page that nobody reads


@dataclass(frozen=True, kw_only=True)
class View:
    """A table: the first `left` columns are text, the others numbers; the first cell of a row names the row."""

    title: str
    columns: list[str]
    rows: list[list[str]]
    left: int = 1
    note: str = ""


def drop(row: dict[str, Any]) -> str:
    """`+0.02 (-0.09 to +0.13)` points."""
    if row["ci_pp"] is None:
        return DASH if row["drop_pp"] is None else f"{row['drop_pp']:+.2f}"
    low, high = row["ci_pp"]
    return f"{row['drop_pp']:+.2f} ({low:+.2f} to {high:+.2f})"


def summary(document: dict[str, Any]) -> View:
    """One row per build."""
    rows = []
    for build in document["builds"]:
        fp32 = next((file for file in build["files"] if file["label"] == "fp32"), None)
        worst = next((file for file in build["files"] if file["file"] == build["worst"]), None)
        rows.append([build["name"], MARKS[build["verdict"]],
                     accuracy(fp32["top1"], fp32["top1_ci"]) if fp32 else DASH, drop(worst) if worst else DASH,
                     build["worst"] or DASH, fastest(build), f"{build['size_ratio']:.2f}" if build["size_ratio"] else
                     DASH])
    return View(title="Summary", left=2, rows=rows, columns=[
        "model", "verdict", "FP32 top-1 % (95 % CI)", f"worst drop, points ({confidence(document)})", "of file",
        "fastest INT8", "size, INT8 / FP32"])


def fastest(build: dict[str, Any]) -> str:
    """`7.16 x FP32 (openvino, 1.136 ms)`, with its coefficient of variation where the bench called that noise."""
    row = build["fastest"]
    if not row:
        return DASH
    noise = f"; noisy: CV {100 * row['cv']:.1f} %" if (row["cv"] or 0.0) > CV_WARNING else ""
    return f"{row['x_fp32']:.2f} x FP32 ({row['backend']}, {milliseconds(row['p50_ms'])} ms{noise})"


def confidence(document: dict[str, Any]) -> str:
    """`95 % CI`."""
    return f"{100 * document['confidence']:g} % CI"


def files(build: dict[str, Any], document: dict[str, Any]) -> View:
    """Accuracy and size of each file."""
    rows = [[row["file"], MARKS[row["verdict"]] if row["ci_pp"] else DASH, accuracy(row["top1"], row["top1_ci"]),
             drop(row), DASH if row["broken"] is None else f"{row['broken']} / {row['fixed']}",
             DASH if row["mcnemar_p"] is None else f"{row['mcnemar_p']:.3g}",
             DASH if row["label"] == "fp32" else f"{row['flips']} / {row['flips_n']:,}", mebibytes(row["bytes"]),
             amount(100 * row["int8_mac_share"], 2) if row["int8_mac_share"] else DASH] for row in build["files"]]
    told = of_files((row["file"], row["measured_by"]) for row in build["files"])
    return View(title=f"Files of {build['name']}", left=2, rows=rows, note=told[0].upper() + told[1:] + ".", columns=[
        "file", "verdict", "top-1 % (95 % CI)", f"drop, points ({confidence(document)})", "broken / fixed",
        "McNemar p", "flips", "MiB", "INT8 MACs %"])


def on_devices(rows: list[dict[str, Any]]) -> View | None:
    """Top-1 that a device measured beside this machine's of the same file; None where no device did."""
    told = [row for row in rows if row["judged_there"]]
    if not told:
        return None
    words = [of_files((f"{row['file']} of {row['model']}", row[key]) for row in told)
             for key in ("measured_by", "here_measured_by")]
    return View(
        title="Accuracy where it runs, and here", left=4, note=f"On the device, {words[0]}. Here, {words[1]}.",
        columns=["model", "file", "backend", "machine", "batch", "top-1 % there (95 % CI)", "top-1 % here",
                 "there - here"],
        rows=[[row["model"], row["file"], row["backend"], row["machine"], str(row["batch"]),
               accuracy(row["top1"], row["top1_ci"]), accuracy(row["top1_here"], None),
               DASH if row["top1_here"] is None else f"{row['top1'] - row['top1_here']:+.2f}"] for row in told])


def matrix(rows: list[dict[str, Any]]) -> View:
    """Precision x backend: median milliseconds, with the 90th percentile and the speed-up over FP32."""
    backends = list(dict.fromkeys(row["backend"] for row in rows))
    keys = ("model", "file", "machine", "scenario", "streams", "batch", "threads")
    cells: dict[tuple[Any, ...], dict[str, str]] = {}
    for row in rows:
        cells.setdefault(tuple(row[key] for key in keys), {})[row["backend"]] = _latency(row)
    varying = {key for position, key in enumerate(keys) if len({values[position] for values in cells}) > 1}
    named = [key for key in keys if key in varying | {"model", "file"}]
    common = "" if varying & {"batch", "threads"} else f"; {_load(rows[0])}"
    return View(
        title=f"Precision and backend: p50 ms (p90), times as fast as FP32 in the same backend{common}", left=2,
        columns=[*named, *backends],
        rows=[[*(DASH if value is None else str(value) for key, value in zip(keys, conditions) if key in named),
               *(values.get(backend, DASH) for backend in backends)] for conditions, values in cells.items()])


def _load(row: dict[str, Any]) -> str:
    """`batch 1, 1 thread`; threads are null where they mean nothing."""
    count = row["threads"]
    threads = "" if count is None else ", all threads" if count == 0 else f", {count} thread{'s' if count > 1 else ''}"
    return f"batch {row['batch']}{threads}"


def _latency(row: dict[str, Any]) -> str:
    if row["estimated"]:
        return f"at least {milliseconds(row['p50_ms'])} (estimate)"
    if row["scenario"] == THROUGHPUT:
        return f"{amount(row['throughput_ips'], 0)} images/s" + (f", {row['x_fp32']:.2f} x" if row["x_fp32"] else "")
    spread = f" ({milliseconds(row['p90_ms'])})" if row["p90_ms"] is not None else ""
    ratio = f", {row['x_fp32']:.2f} x" if row["x_fp32"] and row["precision"] != "fp32" else ""
    return f"{milliseconds(row['p50_ms'])}{spread}{ratio}"


def measurements(rows: list[dict[str, Any]]) -> View:
    """Every measurement with its spread."""
    def number(value: float | None, decimals: int, figures: int = 1) -> str:
        return DASH if value is None else amount(value, decimals, figures=figures)

    return View(title="Every measurement", left=5, columns=[
        "model", "file", "backend", "machine", "scenario", "batch", "threads", "p50 ms", "p90 ms", "p99 ms", "CV %",
        "images/s", "x FP32"], rows=[
        [row["model"], row["file"], row["backend"] + (" (estimate)" if row["estimated"] else ""), row["machine"],
         row["scenario"], str(row["batch"]), number(row["threads"], 0),
         *(number(row[key], 3, 2) for key in ("p50_ms", "p90_ms", "p99_ms")),
         number(None if row["cv"] is None else 100 * row["cv"], 1), number(row["throughput_ips"], 0),
         number(row["x_fp32"], 2)] for row in rows])


def group_name(group: dict[str, Any]) -> str:
    """The conditions that all rows of a Pareto group share."""
    estimated = "ESTIMATE, lower bounds; " if group["estimated"] else ""
    return f"{estimated}{_load(group)}, {group['scenario']}, on {group['machine']}"


def pareto(group: dict[str, Any]) -> View:
    """The points of a Pareto chart, the fastest first."""
    told = of_files((f"{point['label']} of {point['model']}", point["measured_by"]) for point in group["points"])
    return View(title=group_name(group), left=4, note=told[0].upper() + told[1:] + ".", columns=[
        "model", "file", "backend", "front", "p50 ms", "top-1 % (95 % CI)"], rows=[
        [point["model"], point["label"], point["backend"], "yes" if point["front"] else "no",
         milliseconds(point["p50_ms"]), accuracy(point["top1"], point["top1_ci"])] for point in group["points"]])


def worst_classes(build: dict[str, Any]) -> dict[str, Any]:
    """The classes of the file that decides the verdict, else those of the first file."""
    worst: dict[str, Any] = next((file for file in build["classes"] if file["file"] == build["worst"]),
                                 build["classes"][0])
    return worst


def telling_classes(file: dict[str, Any]) -> list[int]:
    """Positions of the classes to show: all, or of many those with the most evidence of a drop or a gain, in order."""
    rows = file["classes"]
    places = sorted(range(len(rows)), key=lambda place: (rows[place]["p_holm"], -abs(rows[place]["drop_pp"])))
    return sorted(places[:CLASSES_SHOWN])


def classes_left_out(build: dict[str, Any]) -> str:
    """Which classes are shown, in words; empty where all are."""
    count = len(worst_classes(build)["classes"])
    return f"the {CLASSES_SHOWN} of {count:,} classes that tell most; all are in the JSON document" \
        if count > CLASSES_SHOWN else ""


def classes(build: dict[str, Any], document: dict[str, Any]) -> View:
    """Drop of each class in each file; an asterisk where it is significant over all classes of the file."""
    rows, left_out = worst_classes(build)["classes"], classes_left_out(build)
    names = {place: rows[place]["class"] for place in telling_classes(worst_classes(build))}
    return View(title=f"Drop by class of {build['name']}, points ({confidence(document)}"
                      + (f"; {left_out})" if left_out else ")"),
                columns=["class", *(file["label"] for file in build["classes"])],
                rows=[[name, *(drop(file["classes"][position]) + ("*" if file["classes"][position]["significant"]
                                                                  else "") for file in build["classes"])]
                      for position, name in names.items()])


def gallery(build: dict[str, Any]) -> View:
    """The flipped images as rows."""
    return View(title=f"Images that {build['name']} answers otherwise in INT8", left=4, columns=[
        "image", "label", "FP32", "INT8"], rows=[
        [str(item["index"]), item["label"] or DASH, answer(item["fp32"]),
         "; ".join(f"{other['file']}: {answer(other)}" for other in item["int8"])]
        for item in build["gallery"]["shown"]])


def answer(given: dict[str, Any]) -> str:
    """`dog 51 %`."""
    return f"{given['answer']} {100 * given['confidence']:.0f} %"


def calibration(build: dict[str, Any]) -> View:
    """Range of each tensor, the part that 8 bits cover, and how many values are outside."""
    return View(title=f"Ranges of {build['name']}", columns=["tensor", "least", "largest", "INT8 covers", "beyond, %"],
                rows=[[tensor["name"], f"{tensor['low']:.3g}", f"{tensor['high']:.3g}", covered(tensor),
                       f"{100 * tensor['clipped_share']:.4f}"] for tensor in build["calibration"]["tensors"]])


def covered(tensor: dict[str, Any]) -> str:
    """`-1.2 to 3.4`."""
    return "{:.3g} to {:.3g}".format(*tensor["covered"])


def sensitivity(given: dict[str, Any]) -> View:
    """Units, the costliest first."""
    return View(title=f"Target {given['target']}, {given['method']}, {given['n']:,} images of {given['dataset']}",
                left=2, note=gates(given), columns=["unit", "kind", "SQNR dB", "flips", "brings ms", "MACs"], rows=[
                [unit["name"], KINDS[unit["kind"]], f"{unit['sqnr_db']:.1f}", str(unit["flips"]),
                 DASH if unit["brings_ms"] is None else f"{unit['brings_ms']:+.3f}", f"{unit['macs']:,}"]
                for unit in given["units"]])


def gates(given: dict[str, Any]) -> str:
    """How excitations compare with the other units; empty when either kind is missing."""
    spans = []
    for units in ([unit for unit in given["units"] if (unit["kind"] == "se-gate") == gate] for gate in (True, False)):
        if not units:
            return ""
        values = [unit["sqnr_db"] for unit in units]
        spans.append((len(units), f"{min(values):.1f} to {max(values):.1f} dB"))
    return f"Excitations ({spans[0][0]}): SQNR {spans[0][1]}; other units ({spans[1][0]}): {spans[1][1]}."


def robustness(given: dict[str, Any]) -> View:
    """A row per corruption and severity: top-1 of FP32; of each other file top-1, drop and flips."""
    fp32, *others = given["files"]
    rows = []
    for one in given["conditions"]:
        first, *rest = one["files"]
        strength = ", ".join(f"{value:g}" for value in one["strength"]) or DASH
        rows.append([one["corruption"], str(one["severity"]), strength, accuracy(first["top1"], first["top1_ci"]),
                     *(f"{row['top1']:.2f}; {drop(row)}; {row['flips']}" for row in rest)])
    return View(title=f"Top-1 on corrupted images: {judged(given)}", left=3, rows=rows, note=computed(given), columns=[
        "corruption", "severity", "strength", f"{fp32['label']} top-1 % ({confidence(given)})",
        *(f"{item['label']}: top-1 %; drop, points ({confidence(given)}); flips" for item in others)])


def robustness_apart(given: dict[str, Any]) -> View:
    """The same with a column for each figure, for a table that has no room for all: `LABEL drop` and its like."""
    fp32, *others = (item["label"] for item in given["files"])
    rows = []
    for one in given["conditions"]:
        first, *rest = one["files"]
        rows.append([one["corruption"], str(one["severity"]),
                     ", ".join(f"{value:g}" for value in one["strength"]) or DASH,
                     accuracy(first["top1"], first["top1_ci"]),
                     *(cell for row in rest for cell in (drop(row), f"{row['top1']:.2f}", str(row["flips"])))])
    return View(title=f"Top-1 on corrupted images: {judged(given)}", left=3, rows=rows, columns=[
        "corruption", "severity", "strength", f"{fp32} top-1 %",
        *(f"{label} {what}" for label in others for what in APART)])


def robustness_overall(given: dict[str, Any]) -> View:
    """A row per file: means over all corrupted conditions, and whether they cost more than clean images do."""
    clean = given["conditions"][0]["files"]
    rows = [[item["label"], accuracy(row["top1"], row["top1_ci"]), drop(row), drop(before),
             drop({"drop_pp": row["excess_pp"], "ci_pp": row["excess_ci_pp"]})]
            for item, row, before in zip(given["files"], given["overall"], clean)]
    return View(title=f"Mean of all corruptions: {judged(given)}", rows=rows, columns=[
        "file", f"top-1 % ({confidence(given)})", f"drop, points ({confidence(given)})", "drop on clean images",
        "lost more than on clean images"])


def computed(given: dict[str, Any]) -> str:
    """What computed each file's answers, as a sentence."""
    told = of_files((item["label"], item.get("measured_by")) for item in given["files"])
    return told[0].upper() + told[1:] + "."


def judged(given: dict[str, Any]) -> str:
    """`10,000 images of cifar10-test10k`."""
    return f"{given['n']:,} images of {given['dataset']}"


def facts(build: dict[str, Any]) -> View:
    """What a build was made with."""
    provenance = build["provenance"]
    made, set_ = provenance["environment"], provenance["calibration"]
    rows = [["calibration set", f"{set_['name']}, {set_['images']} images, sha256 {set_['sha256']}"]] if set_ else []
    match provenance["source"].get("gates"):
        case {"folded": folded, "gates": [*gates]}:
            rows.append(["excitations", f"{folded} of {len(gates)} are constants, folded into convolutions"])
    pixels = provenance["preprocessing"]
    match provenance["source"].get("fused_preprocessing"):
        case {"layout": inside, "mean": mean, "std": std}:
            rows.append(["in the graph", f"{inside}; mean {mean}, std {std}"])
    rows += [["preprocessing", f"{pixels.get('layout', DASH)}; mean {pixels['mean']}, std {pixels['std']}"],
             *([["to its size", to_size(pixels)]] if "resize" in pixels else []),
             ["commit", str(made.get("commit") or "not from a checkout")],
             ["processor", str(made["hardware"].get("cpu", DASH))]]
    rows += [[name, str(version)] for name, version in made["versions"].items()]
    return View(title=f"What {build['name']} was made with", columns=["fact", "value"], rows=rows, left=2)


def to_size(pixels: dict[str, Any]) -> str:
    """How an image gets to the model's size: `crop of 0.875, bilinear`."""
    share = f" of {pixels.get('share', DASH)}" if pixels["resize"] == "crop" else ""
    plain = "" if pixels.get("antialias", True) else ", no antialiasing"
    return f"{pixels['resize']}{share}, {pixels.get('interpolation', DASH)}{plain}"


def tree(build: dict[str, Any]) -> list[tuple[int, str, str]]:
    """(depth, name, SHA-256) from the source down to each file, parents before children."""
    source, files_ = build["provenance"]["source"], build["files"]
    origin = " ".join(str(source[key]) for key in ("kind", "weights") if source.get(key))
    nodes = [(0, f"source: {origin or 'file'}", str(source.get("sha256", DASH)))]
    known, seen = {row["sha256"] for row in files_}, set[str]()

    def add(row: dict[str, Any], depth: int) -> None:
        seen.add(row["file"])
        how = ", ".join(part for part in (row["method"], row["placement"]) if part)
        nodes.append((depth, row["file"] + (f" ({how})" if how else ""), row["sha256"]))
        for child in files_:
            if child["parent_sha256"] == row["sha256"] and child["file"] not in seen:
                add(child, depth + 1)

    for row in files_:
        if row["parent_sha256"] not in known:
            add(row, 1)
    for row in files_:  # an altered manifest may make files each other's parents
        if row["file"] not in seen:
            add(row, 1)
    return nodes
