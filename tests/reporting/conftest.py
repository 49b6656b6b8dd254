"""A build that was never exported, with every figure known."""

import hashlib

import numpy as np
import pytest

from edge_se.core.artifacts import SCHEMA, build_of
from edge_se.data.cifar10 import CLASSES
from edge_se.data.preprocessing import CIFAR10
from edge_se.quantization.histograms import Histogram
from edge_se.quantization.ranges import Statistics
from edge_se.reporting.report.document import report_document
from edge_se.reporting.report.inputs import Bench, Material, Predictions, Robustness, Sensitivity

IMAGES = 200
HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>|`</td>\n# [a](http://evil.example) *b* {{ 7 * 7 }}'


def sha(text):
    return hashlib.sha256(text.encode()).hexdigest()


def artifact(net, precision, target, size):
    name = f"{precision}.onnx" if target == "any" else f"{precision}.{target}.onnx"
    return {"precision": precision, "target": target, "file": name, "sha256": sha(net + name),
            "parent_sha256": None if precision == "fp32" else sha(net + "fp32.onnx"), "bytes": size, "params": 10,
            "macs": 100, "flops": 200, "int8_mac_share": 0.9 if precision == "int8" else 0.0, "placement": None,
            "top1": None, "top1_n": None, "top1_ci": None, "dataset": "some-images", "agreement_with_fp32": 99.0,
            "flips": 2, "flips_n": IMAGES, "seconds": 1.0, "method": "minmax" if precision == "int8" else None}


@pytest.fixture
def build_named():
    """(model, labels) -> a build of FP32 and two INT8 files."""

    def make(model="net", labels=CLASSES, **changes):
        return build_of({
            "schema": SCHEMA, "model": model, "out": f"build/{model}", "labels": list(labels),
            "source": {"kind": "zoo", "weights": "weights.safetensors", "sha256": sha("weights")},
            "calibration": {"name": "some-calib", "images": 8, "sha256": sha("calib")},
            "preprocessing": {"layout": "NCHW", "mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2]}, "parity": {},
            "artifacts": [artifact(model, "fp32", "any", 4000), artifact(model, "int8", "cpu", 1000),
                          artifact(model, "int8", "tensorrt", 1100)],
            "environment": {"versions": {"edge-se": "0.1"}, "hardware": {"cpu": "a processor"}, "commit": None},
        } | changes)
    return make


@pytest.fixture
def answered(random_images):
    """(build) -> predictions: FP32 is right but for image 0; `cpu` breaks images 1 to 3 and mends 0; `tensorrt` equal.

    Logits are 2 for the answer and 0 for the nine others.
    """

    def make(build):
        images = random_images(IMAGES, "test")
        fp32 = images.labels.astype(int).copy()
        fp32[0] = (fp32[0] + 1) % 10
        cpu = fp32.copy()
        cpu[0] = images.labels[0]
        cpu[1:4] = (cpu[1:4] + 1) % 10
        logits = {item.file: 2 * np.eye(10, dtype=np.float32)[cpu if item.target == "cpu" else fp32]
                  for item in build.artifacts}
        return Predictions(images=images, logits=logits)
    return make


@pytest.fixture
def statistics():
    """Two tensors: one within [-1, 3], one that is zero throughout."""
    wide, flat = Histogram(), Histogram()
    wide.add(np.concatenate([np.linspace(-1, 3, 1000), np.zeros(1000)]).astype(np.float32))
    flat.add(np.zeros(10, np.float32))
    return Statistics(model_sha256="0" * 64, calibration="some-calib", calibration_sha256="1" * 64, images=8,
                      split="calibration", preprocessing=CIFAR10, histograms={"wide": wide, "flat": flat})


@pytest.fixture
def bench_of():
    """(rows of (file, backend, p50)) -> a bench document of those files of `net`."""

    def make(rows, model="net", **changes):
        return Bench.model_validate({"schema": "edge-se/bench/1", "device": "cpu", "measurements": [
            {"precision": file.split(".")[0], "target": file.removesuffix(".onnx").partition(".")[2] or "any",
             "backend": backend, "batch": 1, "threads": 1,
             "p50_ms": p50, "p90_ms": 1.1 * p50, "p99_ms": 1.2 * p50, "cv": 0.01, "throughput_ips": 1000 / p50,
             "estimated": False, "sha256": sha(model + file)} | changes for file, backend, p50 in rows],
            "environment": {"hardware": {"cpu": "a processor"}}})
    return make


@pytest.fixture
def sensitivity_of():
    """(unit names) -> a sensitivity document; every second unit is an excitation."""

    def make(*names, model="net"):
        return Sensitivity.model_validate({
            "schema": "edge-se/sensitivity/1", "target": "cpu", "method": "mse", "dataset": "some-images", "n": 100,
            "sha256": sha(model + "fp32.onnx"), "units": [
                {"name": name, "kind": "se-gate" if number % 2 else "layer", "macs": 10, "sqnr_db": 60.0 - number,
                 "flips": number, "brings_ms": None if number else 0.1} for number, name in enumerate(names)]})
    return make


@pytest.fixture
def robust_of():
    """(corruptions, INT8 files) -> a robustness document at severities 1 and 5; INT8 loses a point per severity."""

    def make(*corruptions, model="net", int8=("int8.cpu", "int8.tensorrt")):
        labels = ("fp32", *int8)

        def rows(severity):
            top1 = 90.0 - 10 * severity
            return [{"file": f"{label}.onnx", "top1": top1 - severity * bool(number),
                     "top1_ci": [top1 - 3 - severity, top1 + 3], "drop_pp": float(severity) if number else None,
                     "ci_pp": [severity - 1, severity + 2] if number else None, "broken": severity if number else None,
                     "fixed": 0 if number else None, "flips": 2 * severity if number else None}
                    for number, label in enumerate(labels)]
        conditions = [("clean", 0), *((name, severity) for name in corruptions for severity in (1, 5))]
        return Robustness.model_validate({
            "schema": "edge-se/robustness/1", "split": "test", "dataset": "some-images", "n": 100, "seed": 0,
            "confidence": 0.95, "files": [{"file": f"{label}.onnx", "label": label, "precision": label.split(".")[0],
                                           "sha256": sha(f"{model}{label}.onnx")} for label in labels],
            "conditions": [{"corruption": name, "severity": severity, "strength": [severity] if severity else [],
                            "files": rows(severity)} for name, severity in conditions],
            "overall": [{"file": f"{label}.onnx", "top1": 57.0, "top1_ci": [55.0, 59.0],
                         "drop_pp": 3.0 if number else None, "ci_pp": [2.0, 4.0] if number else None,
                         "excess_pp": 3.0 if number else None, "excess_ci_pp": None}
                        for number, label in enumerate(labels)]})
    return make


@pytest.fixture
def whole(build_named, answered, statistics, bench_of, sensitivity_of, robust_of):
    """The document of a report that lacks nothing."""
    build = build_named()
    material = Material(name="net", build=build, predictions=answered(build), statistics=statistics)
    benches = [("bench.json", bench_of([("fp32.onnx", "onnxruntime", 8.0), ("fp32.onnx", "openvino", 7.0),
                                        ("int8.cpu.onnx", "onnxruntime", 2.0)]))]
    return report_document([material], benches=benches, margin_pp=0.5, alpha=0.025,
                           sensitivities=[("s.json", sensitivity_of("conv1", "layer1.0.se", "fc"))],
                           robust=[("r.json", robust_of("gaussian_noise", "jpeg_compression"))])


@pytest.fixture
def hostile(build_named, answered, statistics, bench_of, sensitivity_of, robust_of):
    """A report in which every text from outside tries to become markup."""
    build = build_named(
        "net", labels=[f"{HOSTILE}{number}" for number in range(10)],
        source={"kind": HOSTILE, "weights": HOSTILE, "sha256": HOSTILE},
        calibration={"name": HOSTILE, "images": 8, "sha256": HOSTILE},
        preprocessing={"layout": HOSTILE, "mean": [0.5] * 3, "std": [0.2] * 3},
        environment={"versions": {HOSTILE: HOSTILE}, "hardware": {"cpu": HOSTILE}, "commit": HOSTILE})
    statistics.histograms[HOSTILE] = statistics.histograms.pop("wide")
    material = Material(name=HOSTILE, build=build, predictions=answered(build), statistics=statistics)
    bench = bench_of([("fp32.onnx", HOSTILE, 8.0), ("int8.cpu.onnx", HOSTILE, 2.0)], board=HOSTILE, scenario=HOSTILE)
    return report_document([material], benches=[(HOSTILE, bench), (HOSTILE, bench_of([("x", "y", 1.0)]))],
                           margin_pp=0.5, alpha=0.025, sensitivities=[("s", sensitivity_of(HOSTILE, "fc"))],
                           robust=[("r", robust_of(HOSTILE)), (HOSTILE, robust_of("a", model="other"))])
