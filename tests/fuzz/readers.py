"""Every kind of file that edge-se reads: how it is damaged, and what a command does with it."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import image_readers as own
import more_readers as more
import mutations
import numpy as np
import training_readers as training

BENCH = {"schema": "edge-se/bench/1", "device": "cpu", "environment": {"device": {"name": "x", "power_mode": None}},
         "measurements": [{"model": "tiny", "precision": precision, "target": "any", "backend": "onnxruntime",
                           "batch": 1, "threads": 1, "streams": 1, "scenario": "latency", "p50_ms": 1.5,
                           "estimated": False}
                          for precision in ("fp32", "fp16", "int8")]}
RECORDS = 4
ANSWERS = [{"file": "fp32.onnx", "top1": 50.0, "top1_ci": [40.0, 60.0], "drop_pp": None, "ci_pp": None, "broken": None,
            "fixed": None, "flips": None},
           {"file": "int8.cpu.onnx", "top1": 49.0, "top1_ci": [39.0, 59.0], "drop_pp": 1.0, "ci_pp": [-1.0, 3.0],
            "broken": 2, "fixed": 1, "flips": 3}]
ROBUSTNESS = {"schema": "edge-se/robustness/1", "split": "test", "dataset": "x", "n": 100, "seed": 0,
              "confidence": 0.95,
              "files": [{"file": "fp32.onnx", "label": "fp32", "precision": "fp32", "sha256": "0" * 64},
                        {"file": "int8.cpu.onnx", "label": "int8.cpu", "precision": "int8", "sha256": "1" * 64}],
              "conditions": [{"corruption": "clean", "severity": 0, "strength": [], "files": ANSWERS},
                             {"corruption": "shot_noise", "severity": 3, "strength": [100], "files": ANSWERS}],
              "overall": [{"file": "fp32.onnx", "top1": 50.0, "top1_ci": None, "drop_pp": None, "ci_pp": None,
                           "excess_pp": None, "excess_ci_pp": None},
                          {"file": "int8.cpu.onnx", "top1": 49.0, "top1_ci": [39.0, 59.0], "drop_pp": 1.0,
                           "ci_pp": [-1.0, 3.0], "excess_pp": 0.0, "excess_ci_pp": [-1.0, 1.0]}]}
CELL = ("card.json", "log.csv", "figures.json", "weights.safetensors", "test.json", "robustness.json")


@dataclass(frozen=True, kw_only=True)
class Kind:
    """`read(path, originals)` is what a command does with the damaged file `name`."""

    name: str
    damage: Callable[[Any, bytes], bytes]
    read: Callable[[Path, Path], object]
    beside: tuple[str, ...] = ()  # originals that must lie beside it


def read_onnx(path, originals):
    from edge_se.steps.export import export

    out = path.parent / "build"  # which a refused model must not leave
    export(str(path), int8=True, targets=["cpu", "tensorrt"], effort="quick", calibration=str(originals / "images.npz"),
           accuracy=False, out=out)
    shutil.rmtree(out)


def read_qdq(path, originals):
    from edge_se.steps.lint import lint

    return json.dumps(lint(path, static=True), allow_nan=False)


def read_weights(path, originals):
    import torch

    from edge_se.nets.spec import ModelSpec
    from edge_se.nets.weights import load_weights
    from edge_se.nets.zoo import build

    with torch.device("meta"):
        skeleton = build(ModelSpec(**json.loads((originals / "spec.json").read_text())))
    load_weights(skeleton.to_empty(device="cpu"), path)


def read_training_recipe(path, originals):
    from edge_se.core.recipes import read_recipe

    recipe = read_recipe(path)
    return recipe.sha256, recipe.epochs, recipe.shortened(1)


def read_board_file(path, originals):
    from edge_se.measure.boards import read_board

    return read_board(str(path))


def read_manifest(path, originals):
    from edge_se.core.artifacts import read_build
    from edge_se.reporting.tables import build_rows
    from edge_se.steps.verify import verify

    build = read_build(path.parent)
    json.dumps(build.document())
    build_rows(build)
    verify(str(path.parent))


class Images:
    """50,000 training images of one black pixel."""

    @staticmethod
    def read(source):
        return np.zeros((50_000, 3, 1, 1), np.uint8), np.zeros(50_000, np.uint8)


def read_indices(path, originals):
    from edge_se.data.calibration import load

    return load(str(path), Images())


def read_cifar(path, originals):
    from edge_se.data import cifar10

    cifar10.RECORDS_PER_FILE = RECORDS
    cifar10.SHA256 = json.loads((originals / "sha256.json").read_text())
    return cifar10.require(path.parent).read("test")


def read_calibration_table(path, originals):
    from edge_se.data.preprocessing import CIFAR10
    from edge_se.graph.onnx_model import OnnxModel
    from edge_se.quantization.table import is_table, read_table

    is_table(path)
    statistics = read_table(path, OnnxModel.read(originals / "fp32.onnx"), CIFAR10)
    return statistics.ranges("minmax", "uint8"), json.dumps(statistics.calibration)


def read_images(path, originals):
    from edge_se.data.calibration import load

    return next(load(str(path), None).batches(8))


def read_layers(path, originals):
    from edge_se.measure.explain import explain
    from edge_se.measure.layers import read_engine

    other = "int8.profile.json" if "layers" in path.name else "int8.layers.json"
    files = {path.name: path, other: originals / other}
    engine = read_engine(files["int8.layers.json"], files["int8.profile.json"])
    json.dumps(explain(engine, latency_ms=1.0, baseline=engine, baseline_latency_ms=2.0).document(), allow_nan=False)


def read_bench_document(path, originals):
    from edge_se.core.files import read_json
    from edge_se.measure.conditions import require_comparable
    from edge_se.steps.bench_against import set_beside

    earlier, new = read_json(path), json.loads(json.dumps(BENCH))
    require_comparable(new, earlier)
    set_beside(new, earlier)
    json.dumps(new, allow_nan=False)


def read_robustness_document(path, originals):
    from edge_se.reporting.report.inputs import Robustness, read_given
    from edge_se.reporting.report.robustness import charts_of, robustness_of
    from edge_se.reporting.report.views import robustness, robustness_overall

    given = read_given(Robustness, path)
    build = {"name": "tiny", "fp32_sha256": given.files[0].sha256, "files": [{"sha256": given.files[0].sha256}]}
    robustness_of([build], [(path.name, given)])
    (section,) = build["robustness"]
    whole = given.model_dump(mode="json")
    for document in (section, whole):
        json.dumps([document, charts_of(document)], allow_nan=False)
        robustness(document), robustness_overall(document)


KINDS = {
    "onnx": Kind(name="tiny.onnx", damage=mutations.onnx_file, read=read_onnx),
    "qdq": Kind(name="int8.cpu.onnx", damage=mutations.onnx_file, read=read_qdq),
    "safetensors": Kind(name="weights.safetensors", damage=mutations.safetensors_file, read=read_weights),
    "recipe": Kind(name="recipe.toml", damage=mutations.toml_file, read=read_training_recipe),
    "board": Kind(name="board.toml", damage=mutations.toml_file, read=read_board_file),
    "manifest": Kind(name="manifest.json", damage=mutations.json_file, read=read_manifest,
                     beside=("fp32.onnx", "int8.cpu.onnx", "calibration.npz")),
    "indices": Kind(name="indices.json", damage=mutations.json_file, read=read_indices),
    "cifar10": Kind(name="cifar-10-batches-bin/test_batch.bin", damage=mutations.bytes_of, read=read_cifar),
    "table": Kind(name="calibration.npz", damage=mutations.npz_file, read=read_calibration_table),
    "images": Kind(name="images.npz", damage=mutations.npz_file, read=read_images),
    "layers": Kind(name="int8.layers.json", damage=mutations.json_file, read=read_layers),
    "profile": Kind(name="int8.profile.json", damage=mutations.json_file, read=read_layers),
    "bench": Kind(name="bench.json", damage=mutations.json_file, read=read_bench_document),
    "robustness": Kind(name="robustness.json", damage=mutations.json_file, read=read_robustness_document),
    "settings": Kind(name="gate.toml", damage=mutations.toml_file, read=more.read_gate_settings),
    "baseline": Kind(name="baseline.json", damage=mutations.json_file, read=more.read_gate_baseline),
    "latencies": Kind(name="measured.json", damage=mutations.json_file, read=more.read_gate_latencies),
    "report-bench": Kind(name="measured.json", damage=mutations.json_file, read=more.read_report_bench),
    "report-sensitivity": Kind(name="sensitivity.json", damage=mutations.json_file, read=more.read_report_sensitivity),
    "candidates": Kind(name="candidates.json", damage=mutations.json_file, read=more.read_candidates),
    "checkpoint": Kind(name="checkpoint.pt", damage=mutations.bytes_of, read=more.read_checkpoint),
    "state-dict": Kind(name="weights.pth", damage=mutations.bytes_of, read=more.read_state_dict),
    "logits": Kind(name="logits.npy", damage=mutations.bytes_of, read=more.read_logits),
    "png": Kind(name="images/one.png", damage=mutations.bytes_of, read=more.read_image_file),
    "jpeg": Kind(name="images/two.jpg", damage=mutations.bytes_of, read=more.read_image_file),
    "bundle": Kind(name="bundle/bundle.json", damage=mutations.json_file, read=more.read_bundle,
                   beside=("bundle/pixels.npy", "bundle/fp32.onnx", "bundle/int8.cpu.onnx")),
    **{f"data-{name.rpartition('.')[2]}": Kind(name=f"own/{name}", damage=damage, read=own.read_data,
                                                beside=tuple(f"own/{number}.png" for number in range(own.COUNT)))
       for name, damage in (("table.csv", mutations.bytes_of), ("table.jsonl", mutations.bytes_of),
                            ("arrays.npz", mutations.npz_file), ("test.tar", mutations.bytes_of),
                            ("test.parquet", mutations.bytes_of))},
    "data-idx": Kind(name="own/t10k-images-idx3-ubyte", damage=mutations.bytes_of, read=own.read_data,
                     beside=("own/t10k-labels-idx1-ubyte",)),
    "data-idx-labels": Kind(name="own/t10k-labels-idx1-ubyte", damage=mutations.bytes_of, read=own.read_data,
                            beside=("own/t10k-images-idx3-ubyte",)),
    "whole-recipe": Kind(name="own.toml", damage=mutations.toml_file, read=read_training_recipe),
    "run": Kind(name="run.json", damage=mutations.json_file, read=training.read_run),
    "study": Kind(name="study.toml", damage=mutations.toml_file, read=training.read_study, beside=("own.toml",)),
    **{f"cell-{part}": Kind(name=f"cell/{name}", damage=damage, read=training.read_cell,
                            beside=tuple(f"cell/{other}" for other in CELL if other != name))
       for part, name, damage in (("card", "card.json", mutations.json_file), ("log", "log.csv", mutations.bytes_of),
                                  ("figures", "figures.json", mutations.json_file))},
}


def prepare(kind, originals, folder):
    """Where the damaged file goes, with what must lie beside it."""
    path = folder / kind.name
    path.parent.mkdir(parents=True, exist_ok=True)
    for name in kind.beside:
        shutil.copyfile(originals / name, path.parent / Path(name).name)
    return path
