"""What is kept is keyed by everything that it depends on: each ingredient changed alone is a miss.

The keys of the project, one test each: logits, the log of `--placement auto`, the calibration table, the evaluations of
a study's cell, and the cell itself. The engine cache of the agent is tested beside it.
"""

from dataclasses import replace
from pathlib import Path

import pytest

from edge_se.backends.table import BACKENDS
from edge_se.core import environment
from edge_se.core.errors import CalibrationError
from edge_se.core.files import write_json
from edge_se.core.progress import SILENT
from edge_se.core.recipes import read_recipe, recipe_of
from edge_se.data.preprocessing import CIFAR10
from edge_se.evaluation import accuracy
from edge_se.nets.zoo import spec_of
from edge_se.quantization import search as module
from edge_se.quantization.candidates import log_key
from edge_se.quantization.ranges import collect
from edge_se.quantization.search import Budget, search
from edge_se.quantization.table import read_table, write_table
from edge_se.quantization.targets import TARGETS
from edge_se.studies import plan
from edge_se.studies.finished import evaluation_file, is_evaluated

OTHERWISE = replace(CIFAR10, mean=(0.5, 0.5, 0.5))


@pytest.fixture(scope="module")
def statistics(tiny_onnx, random_images):
    return collect(tiny_onnx, random_images(16))


def of_images(images):
    """Image sets that each differ in one thing from `images`."""
    turned = images.pixels.copy()
    turned[0, 0, 0, 0] ^= 1
    labels = images.labels.copy()
    labels[0] = (labels[0] + 1) % 10
    return {"fewer": images.first(len(images) - 1), "a pixel": replace(images, pixels=turned),
            "a label": replace(images, labels=labels), "no labels": replace(images, labels=None),
            "preprocessing": replace(images, preprocessing=OTHERWISE)}


def all_differ(keys):
    assert len({repr(key) for key in keys}) == len(keys)


def machines(monkeypatch, key):
    """`key` on another version of the runtime, and on another processor."""
    own = environment.version_of, environment.cpu_flags
    monkeypatch.setattr(environment, "version_of", lambda name: "0.0")
    monkeypatch.setattr(environment, "cpu_flags", lambda: own[1]())
    older = key()
    monkeypatch.setattr(environment, "version_of", own[0])
    monkeypatch.setattr(environment, "cpu_flags", lambda: ["none"])
    elsewhere = key()
    monkeypatch.setattr(environment, "cpu_flags", own[1])
    return [older, elsewhere]


def test_logits(tiny_onnx, tiny_plain_onnx, random_images, monkeypatch):
    images, judge, other_judge = random_images(8, "validation"), BACKENDS["onnxruntime"], BACKENDS["openvino"]

    def key(model, seen=images, by=judge):
        return accuracy._key(model, seen, by)

    all_differ([key(tiny_onnx), key(tiny_plain_onnx), key(replace(tiny_onnx, target="cpu")),
                key(tiny_onnx, by=other_judge), *(key(tiny_onnx, other) for other in of_images(images).values()),
                *machines(monkeypatch, lambda: key(tiny_onnx))])


def test_candidates(tiny_onnx, tiny_plain_onnx, statistics, random_images, monkeypatch):
    images, cpu = random_images(8, "validation"), TARGETS["cpu"]
    calibrated = replace(statistics, calibration_sha256="other")
    all_differ([log_key(tiny_onnx, statistics, cpu, images, 0.025), log_key(tiny_onnx, statistics, cpu, images, 0.2),
                log_key(tiny_plain_onnx, statistics, cpu, images, 0.025),
                log_key(tiny_onnx, calibrated, cpu, images, 0.025),
                log_key(tiny_onnx, statistics, TARGETS["arm"], images, 0.025),
                *(log_key(tiny_onnx, statistics, cpu, other, 0.025) for other in of_images(images).values()),
                *machines(monkeypatch, lambda: log_key(tiny_onnx, statistics, cpu, images, 0.025))])


def test_a_search_measures_anew_on_other_images_and_at_another_alpha(tiny_onnx, statistics, random_images, tmp_path,
                                                                     monkeypatch):
    """A log of 64 images without labels once told the accuracy on 500 that have them."""
    calls = []
    evaluate = module._accuracy

    def counted(*arguments):
        calls.append(1)
        return evaluate(*arguments)

    def searched(images, log, **budget):
        _, rows = search(tiny_onnx, statistics, TARGETS["cpu"], images, method="minmax", where=None,
                         budget=Budget(**budget), log=log, progress=SILENT)
        return rows

    monkeypatch.setattr(module, "_accuracy", counted)
    log, images = tmp_path / "candidates.json", random_images(24, "validation")
    first = searched(replace(images, labels=None).first(16), log)
    second = searched(images, log)
    assert len(calls) == len(first) + len(second) and {row.n for row in second} == {24}
    assert searched(images, log) == second and len(calls) == len(first) + len(second)
    wider = searched(images, log, alpha=0.2)
    assert len(calls) == len(first) + 2 * len(second)
    assert wider == searched(images, None, alpha=0.2) != second
    assert [row.within_budget for row in searched(images, log, alpha=0.2, max_drop_pp=100.0)] == [True] * len(wider)


def test_calibration_tables(tiny_onnx, tiny_plain_onnx, statistics, tmp_path):
    path = tmp_path / "calibration.npz"
    write_table(path, statistics)
    assert read_table(path, tiny_onnx, CIFAR10).calibration_sha256 == statistics.calibration_sha256
    for model, how in ((tiny_plain_onnx, CIFAR10), (tiny_onnx, OTHERWISE),
                       (tiny_onnx, replace(CIFAR10, std=(0.5, 0.5, 0.5)))):
        with pytest.raises(CalibrationError, match="was collected"):
            read_table(path, model, how)


def test_evaluations_of_a_cell(tmp_path):
    one, other = {"targets": ["cpu"], "images": 100}, {"targets": ["cpu"], "images": 200}
    all_differ([evaluation_file(tmp_path, "int8", one), evaluation_file(tmp_path, "int8", other),
                evaluation_file(tmp_path, "robustness", one)])
    path = evaluation_file(tmp_path, "int8", one)
    write_json(path, {"settings": one, "weights_sha256": "a" * 64, "figures": []})
    assert is_evaluated(path, "a" * 64) and not is_evaluated(path, "b" * 64)
    write_json(path, {"settings": one, "figures": []})  # as earlier versions wrote it
    assert not is_evaluated(path, "a" * 64)


def test_cells():
    spec, recipe = spec_of("mini_se"), read_recipe(Path(recipe_of("mini_se")))
    all_differ([plan._key(spec, recipe, ["a"]), plan._key(spec_of("mini"), recipe, ["a"]),
                plan._key(spec, recipe.model_copy(update={"seed": recipe.seed + 1}), ["a"]),
                plan._key(spec, recipe.shortened(recipe.epochs - 1), ["a"]), plan._key(spec, recipe, ["b"])])
