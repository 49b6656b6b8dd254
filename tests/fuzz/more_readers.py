"""What the gate, the report, a search, a resumed training and a device read: how `readers.py` reads damaged ones."""

import json
from dataclasses import asdict

import numpy as np

from edge_se.core.errors import EdgeSeError
from edge_se.data.splits import ImageSet

MODEL, DATA_SHA256, IMAGES = "tiny", "0" * 64, 12


def write_originals(folder, build, tiny_net):
    """A sound file of each kind beside the build in `folder`."""
    import torch
    from PIL import Image

    from edge_se.evaluation.baseline import write_baseline
    from edge_se.steps.bundle import write_bundle
    from edge_se.training.checkpoint import Checkpoint, save_checkpoint

    write_baseline(folder / "baseline.json", model=MODEL, dataset="known", dataset_sha256=DATA_SHA256,
                   rights={"cpu": np.arange(IMAGES) % 5 > 0}, files={"cpu": {"file": "int8.cpu.onnx", "sha256": "0"}})
    (folder / "measured.json").write_text(json.dumps(measured(build)))
    (folder / "sensitivity.json").write_text(json.dumps(sensitive(build)))
    (folder / "candidates.json").write_text(json.dumps(candidates(build)))
    (folder / "gate.toml").write_text("max_drop = 0.5\nalpha = 0.01\nsequential = true\nmax_latency_ratio = 0.9\n"
                                      "max_size_ratio = 0.3\n")
    net = tiny_net("se")
    torch.save(net.state_dict(), folder / "weights.pth")
    save_checkpoint(folder / "checkpoint.pt", Checkpoint(
        model_name=MODEL, recipe_sha256="0", data_sha256="0", epoch=1, step=2, seconds=3.0, loss_sum=4.0,
        model={"a": torch.zeros(3)}, optimizer={"state": {0: {"b": torch.ones(2)}}}, history=[{"loss": 1.0}]))
    np.save(folder / "logits.npy", np.zeros((IMAGES, 10), np.float32))
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    (folder / "images").mkdir()
    Image.fromarray(pixels).save(folder / "images" / "one.png")
    Image.fromarray(pixels).save(folder / "images" / "two.jpg")
    write_bundle(build)
    np.save(folder / "bundle" / "pixels.npy", np.zeros((3, 32, 32), np.uint8))


def measured(build):
    """A bench of every file."""
    rows = [{"model": build.model, "precision": item.precision, "target": item.target, "backend": "onnxruntime",
             "batch": 1, "threads": 1, "streams": 1, "scenario": "latency", "p50_ms": 1.5, "p90_ms": 1.6, "p99_ms": 1.7,
             "mean_ms": 1.5, "cv": 0.01, "throughput_ips": 660.0,
             "samples": 100, "round_p50_ms": [1.5 + 0.01 * turn for turn in range(9)], "estimated": False, "top1": None,
             "top1_n": None, "params": item.params, "macs": item.macs, "flops": item.flops, "bytes": item.bytes,
             "peak_memory_bytes": None, "energy_mj": None, "sha256": item.sha256} for item in build.artifacts]
    return {"schema": "edge-se/bench/1", "device": "cpu", "environment": {"hardware": {"cpu": "x"}, "device": None},
            "measurements": rows}


def sensitive(build):
    """Three units of the build's FP32 file."""
    units = [{"name": f"unit{number}", "kind": kind, "macs": 100, "sqnr_db": 20.5, "flips": number, "brings_ms": brings}
             for number, (kind, brings) in enumerate((("layer", 0.1), ("se-gate", None), ("operator", -0.1)))]
    return {"schema": "edge-se/sensitivity/1", "model": build.model, "target": "cpu", "method": "mse",
            "dataset": "known", "n": 100, "sha256": build.find("fp32").sha256, "units": units}


def candidates(build):
    """The log of a search with two placements."""
    from edge_se.quantization.candidates import Candidate

    rows = [Candidate(name=name, float_units=("conv1", "fc"), sha256=name * 64, n=100, drop_pp=0.1, ci_pp=(-0.1, 0.3),
                      flips=flips, sqnr_db=30.0, p50_ms=p50, within_budget=True, reference="fp32", reference_ms=3.0,
                      ratio=p50 and p50 / 3, ratio_ci=p50 and (0.4, 0.6), timed_on="a board")
            for name, flips, p50 in (("a", 3, 1.5), ("b", 1, None))]
    return {**_key(build), "candidates": [asdict(row) for row in rows]}


def _key(build):
    from edge_se.quantization.candidates import SCHEMA

    return {"schema": SCHEMA, "model_sha256": build.find("fp32").sha256,
            "calibration_sha256": build.calibration["sha256"], "target": "cpu"}


def read_gate_settings(path, originals):
    from edge_se.evaluation.settings import given, read_settings

    settings, _ = read_settings(path, given())
    json.dumps([settings.model_dump(), settings.level], allow_nan=False)


def read_gate_baseline(path, originals):
    from edge_se.evaluation.baseline import judge_against, read_baseline

    rights = {"cpu": np.arange(IMAGES) % 4 > 0, "arm": np.ones(IMAGES, bool)}
    found = judge_against(read_baseline(path, model=MODEL, dataset_sha256=DATA_SHA256).rights, rights, 0.5, 0.025)
    json.dumps({target: judgement and asdict(judgement) for target, judgement in found.items()}, default=str)


def read_gate_latencies(path, originals):
    from edge_se.core.artifacts import read_build
    from edge_se.evaluation.limits import latency_verdicts
    from edge_se.reporting.gate_outputs import workflow_commands
    from edge_se.reporting.verdict import words

    build = read_build(originals)
    rows = latency_verdicts(build.find("fp32"), [build.find("int8", "cpu")], 0.9, 0.025, path)
    json.dumps([rows, [words("latency", row) for row in rows]], allow_nan=False)
    workflow_commands({"model": "tiny", "targets": [], "latency": rows})


def read_report_bench(path, originals):
    _report(path.parent, originals, bench=[path])


def read_report_sensitivity(path, originals):
    _report(path.parent, originals, bench=[originals / "measured.json"], sensitivity=[path])


def _report(folder, originals, **documents):
    from edge_se.steps.report import report

    json.dumps(report([str(originals)], html=folder / "report.html", markdown=folder / "report.md", **documents),
               allow_nan=False)


def read_candidates(path, originals):
    from edge_se.core.artifacts import read_build
    from edge_se.quantization import search
    from edge_se.quantization.candidates import read_log
    from edge_se.quantization.targets import TARGETS
    from edge_se.reporting.placements import chosen_words, placement_rows

    known = read_log(path, _key(read_build(originals)))
    if known:
        images = ImageSet(name="known", split="validation", pixels=np.zeros((2, 3, 32, 32), np.uint8), labels=None)
        document = search.described_search(TARGETS["cpu"], images, search.Budget(), search._decided([*known.values()]))
        json.dumps([document, placement_rows(document), chosen_words(document)], allow_nan=False)


def read_checkpoint(path, originals):
    from edge_se.training.checkpoint import load_checkpoint

    return load_checkpoint(path, model_name=MODEL, recipe_sha256="0", data_sha256="0")


def read_state_dict(path, originals):
    from edge_se.nets.weights import state_dict_of

    return state_dict_of(path)


def read_logits(path, originals):
    from edge_se.evaluation.accuracy import _read

    if _read(path, IMAGES) is None:  # they are computed again then
        raise EdgeSeError("not the logits of these images")


def read_image_file(path, originals):
    from edge_se.data.calibration import load

    return list(load(str(path.parent), None).batches(8))


def read_bundle(path, originals):
    from edge_se.device.agent import AgentError, Bundle

    try:
        bundle = Bundle(str(path.parent), runtimes=("onnxruntime",))
        return bundle.label(bundle.run(bundle.read_image(str(path.parent / "pixels.npy")))[0])
    except AgentError as error:  # which the device's program prints
        raise EdgeSeError(str(error)) from error
