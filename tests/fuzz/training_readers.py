"""What trainings and studies read: how `readers.py` reads damaged run folders, study files and cells."""

import json
import shutil
from dataclasses import asdict
from functools import cache
from types import SimpleNamespace

STUDY = """
name = "small"
question = "What?"
models = ["mini", "mini_se"]
recipes = ["fast-cpu", "own.toml"]
epochs = 6
seeds = [0, 1]
baseline = "mini"
baseline_recipe = "own.toml"

[evaluations]
test = true
volatility = true

[evaluations.int8]
targets = ["cpu", "tensorrt"]
placements = ["se-float"]
images = 100

[evaluations.robustness]
corruptions = ["gaussian_noise", "jpeg_compression"]
severities = [1, 3]
target = "cpu"
"""
OWN = """
batch_size = 64
compile = "auto"
amp = "bf16"
ema = 0.9
tta = "flip"
channels_last = false
label_smoothing = 0.1
seed = 3

[[phases]]
epochs = 2
resolution = 16

[[phases]]
epochs = 3

[optimizer]
name = "adamw"
learning_rate = 0.1
clip_norm = 1.0

[schedule]
decay = "step"
milestones = [0.3, 0.6]
warmup_fraction = 0.1

[augmentation]
policy = "randaugment"
operations = 2
mixup = 0.2
erasing = 0.25
"""
CURVE = "epoch,validation_top1\n1,10\n2,30.5\n3,40\n4,60\n5,55\n6,61\n"
SCORE = {"top1": 60.0, "n": 100, "ci95": [50.2, 69.1], "interval": "Wilson"}


def write_originals(folder, spec):
    """A run folder's manifest, a study file with its recipe, and the folder of a cell that is done."""
    import torch

    from edge_se.core.files import sha256_of
    from edge_se.core.recipes import read_recipe
    from edge_se.studies.collect import Figure
    from edge_se.training.run_folder import start_run

    (folder / "own.toml").write_text(OWN)
    (folder / "study.toml").write_text(STUDY)
    start_run(folder, spec, read_recipe(folder / "own.toml"), "own.toml", {}, torch.device("cpu"), 1, False)
    cell = folder / "cell"
    cell.mkdir()
    (cell / "weights.safetensors").write_bytes(b"weights")
    (cell / "log.csv").write_text(CURVE)
    (cell / "card.json").write_text(json.dumps({
        "validation": SCORE, "seconds": 1.5, "epochs": 6, "best_epoch": 6, "params": 10, "macs": 20, "device": "cpu",
        "weights": {"sha256": sha256_of(cell / "weights.safetensors")}, "recipe": {"sha256": "1" * 64},
        "commit": None, "hardware": {"cpu": "x", "cores": 2}, "versions": {"torch": "2"}}))
    figures = [Figure(evaluation="int8", measure=measure, value=value, low=low, high=high, n=100,
                      conditions={"target": "cpu", "placement": "se-float", "method": "mse"})
               for measure, value, low, high in (("top1", 59.0, 49.0, 68.0), ("drop_pp", 1.0, -1.0, 3.0),
                                                 ("flips", 3.0, None, None))]
    own = sha256_of(cell / "weights.safetensors")
    test = Figure(evaluation="test", measure="top1", value=58.0, low=48.0, high=67.0, n=100)
    noisy = Figure(evaluation="robustness", measure="top1", value=40.0, low=30.0, high=50.0, n=100,
                   conditions={"file": "fp32", "corruption": "gaussian_noise", "severity": 1})
    for name, told in (("figures", figures), ("test", [test]), ("robustness", [noisy])):
        (cell / f"{name}.json").write_text(json.dumps({
            "weights_sha256": own, "figures": [asdict(figure) for figure in told]}))


def read_run(path, originals):
    import torch

    from edge_se.core.recipes import read_recipe
    from edge_se.nets.spec import ModelSpec
    from edge_se.training.run_folder import finish_run, start_run

    spec = ModelSpec(**json.loads((originals / "spec.json").read_text()))
    start_run(path.parent, spec, read_recipe(originals / "own.toml"), "own.toml", {}, torch.device("cpu"), 1, True)
    finish_run(path.parent)


def read_study(path, originals):
    from edge_se.studies.plan import read_plan

    plan = read_plan(path)
    json.dumps(plan.study.model_dump(mode="json"), allow_nan=False)
    return [(cell.folder, cell.curve_start) for cell in plan.cells], plan.study.baseline_recipe_label


@cache
def _plan(path):
    from edge_se.studies.plan import read_plan

    return read_plan(path)


def read_cell(path, originals):
    """The study's document and page with the damaged cell as its first and sound ones beside it."""
    from edge_se.studies.collect import csv_of
    from edge_se.studies.finished import evaluation_file, evaluations_of, finished
    from edge_se.studies.study import _document
    from edge_se.studies.tables import page

    plan = _plan(originals / "study.toml")
    wanted = plan.study.evaluations
    for folder in (path.parent, originals / "cell"):
        for kind, settings in evaluations_of(wanted):  # under the names that their settings give
            own = folder / ("figures.json" if kind == "int8" else f"{kind}.json")
            shutil.copyfile(own, evaluation_file(folder, kind, settings))
    done = {cell.key: finished(cell, wanted, originals / "cell" if number else path.parent)
            for number, cell in enumerate(plan.cells)}
    if None in done.values():  # of other weights, by the altered hash: the cell would be evaluated again
        return
    document = _document(plan, originals / "study.toml", done, {},
                         SimpleNamespace(name="local", workers=1, threads=1))
    json.dumps(document, allow_nan=False)
    page(document).encode(), csv_of(document["rows"]).encode()
