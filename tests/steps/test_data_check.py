"""`data check` names what is wrong with how a model sees images, or with the order of its classes."""

import json
import shlex
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from jsonschema import Draft202012Validator
from onnx import numpy_helper
from PIL import Image

from edge_se.core.errors import EdgeSeError
from edge_se.core.progress import SILENT
from edge_se.data.presets import IMAGENET_MEAN, IMAGENET_STD
from edge_se.evaluation.alternatives import matched_order
from edge_se.graph.source import SourceOptions, load_source
from edge_se.steps.data_check import check
from edge_se.steps.export import export
from edge_se.steps.gate import gate

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "schema" / "data-check-1.json").read_text())
SIZE, CLASSES, EACH = 16, 11, 12
COLOURS = np.random.default_rng(3).integers(20, 236, (CLASSES, 3))  # of the classes, in RGB
RGB = {"mean": np.zeros(3), "std": np.ones(3), "low": 0.0, "high": 1.0}
TRUTHS = {
    "BGR": (RGB | {"order": [2, 1, 0]}, "BGR channels"),
    "0 to 255": (RGB | {"high": 255.0}, "pixels from 0 to 255"),
    "-1 to 1": (RGB | {"low": -1.0}, "pixels from -1 to 1"),
    "0 to 1": (RGB, "pixels from 0 to 1, no mean and std"),
    "caffe": (RGB | {"high": 255.0, "mean": np.array([123.68, 116.779, 103.939]), "order": [2, 1, 0]},
              "BGR channels; pixels from 0 to 255 less Caffe's mean"),
}


def nearest(truth, order=None, background=False):
    """Weights and biases whose largest output is the class of the colour that is nearest to the image's mean."""
    span = truth["high"] - truth["low"]
    seen = (truth["low"] + COLOURS / 255 * span - truth["mean"]) / truth["std"]
    seen = seen[:, truth.get("order", [0, 1, 2])][order if order is not None else slice(None)]
    weights, bias = 2 * seen.T, -(seen**2).sum(1)
    if background:
        weights = np.concatenate([np.zeros((3, 1)), weights], axis=1)
        bias = np.concatenate([[-1e6], bias])
    return weights.astype(np.float32), bias.astype(np.float32)


@pytest.fixture
def saved(graph_of, tmp_path):
    """(weights, bias, nodes before the pool) -> a classifier by mean colour."""

    def make(weights, bias, pool=(("GlobalAveragePool", ["x"], ["p"]),), constants=None, size=SIZE):
        proto = graph_of([*pool, ("Flatten", ["p"], ["f"]), ("Gemm", ["f", "w", "b"], ["y"])],
                         {"w": weights, "b": bias, **(constants or {})}, x=("batch", 3, size, size),
                         shape=("batch", len(bias)))
        path = tmp_path / "mine.onnx"
        onnx.save(proto, path)
        return path
    return make


def picture(random, colour, frame=None):
    noisy = np.clip(np.asarray(colour) + random.integers(-12, 13, (20, 20, 3)), 0, 255).astype(np.uint8)
    if frame is None:
        return Image.fromarray(noisy)
    around = np.broadcast_to(np.array(frame, np.uint8), (32, 48, 3)).copy()
    around[6:26, 14:34] = noisy
    return Image.fromarray(around)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """(names of the classes, framed) -> class folders; what is in the frame says nothing of the class."""
    made = {}

    def make(names, framed=False):
        key = (*names, framed)
        if key not in made:
            random, folder = np.random.default_rng(0), tmp_path_factory.mktemp("pictures")
            for colour, name in zip(COLOURS, names):
                (folder / name).mkdir()
                for number in range(EACH):
                    frame = random.integers(0, 256, 3) if framed else None
                    picture(random, colour, frame).save(folder / name / f"{number}.png")
            made[key] = folder
        return made[key]
    return make


LETTERS = tuple("abcdefghijk")
NUMBERS = tuple(str(number) for number in range(CLASSES))


@pytest.mark.parametrize("name", TRUTHS)
def test_what_the_model_was_trained_with_is_named_and_the_fix_mends_it(saved, pictures, name):
    truth, words = TRUTHS[name]
    path, told = saved(*nearest(truth)), {"mean": IMAGENET_MEAN, "std": IMAGENET_STD}
    if name == "BGR":
        told = {"mean": (0.0,), "std": (1.0,)}
    document = check(path, pictures(LETTERS), preprocessing=SourceOptions(**told))
    assert document["verdict"] == "wrong" and "; ".join(document["changes"]) == words
    assert document["best"]["top1"] > 95 > 75 > document["own"]["top1"]
    low, high = document["ci_pp"]
    assert 0 < low <= document["gain_pp"] <= high
    assert document["gain_pp"] == pytest.approx(document["best"]["top1"] - document["own"]["top1"])
    mended = check(path, pictures(LETTERS), preprocessing=SourceOptions(**options_of(document["fix"], told)))
    assert mended["verdict"] == "fits" and mended["own"]["top1"] == document["best"]["top1"], document["fix"]


def options_of(fix, told):
    """`--colour BGR --range 0-255` as fields, over those that were told."""
    words, fields = shlex.split(fix), {}
    while words:
        name, value = words.pop(0).removeprefix("--").replace("-", "_"), words.pop(0)
        fields[name] = tuple(float(part) for part in value.split(",")) if name in ("mean", "std") else (
            float(value) if name == "crop_share" else value)
    return fields if fields.keys() & {"preprocessing", "range"} else told | fields


def test_what_fits_is_left_alone(saved, pictures):
    document = check(saved(*nearest(RGB)), pictures(LETTERS), preprocessing=SourceOptions(mean=(0.0,), std=(1.0,)))
    assert document["verdict"] == "fits" and document["changes"] == [] and document["fix"] == ""
    assert document["own"]["top1"] > 95 and document["alternatives"] > 20
    assert all(row["ci_pp"][0] <= 0 for row in document["tried"])


@pytest.mark.parametrize(("names", "background", "words"), [
    (NUMBERS, False, "natural order"), (LETTERS, True, "background class as output 0"),
    (NUMBERS, True, "background class as output 0, classes in the natural order"),
    (tuple(f"class {number}" for number in range(CLASSES)), False, "natural order")])
def test_the_order_of_the_classes_is_named(saved, pictures, names, background, words):
    """The net knows its classes in natural order; folders are sorted by letters."""
    path = saved(*nearest(RGB, background=background))
    document = check(path, pictures(names), preprocessing=SourceOptions(mean=(0.0,), std=(1.0,)))
    assert document["verdict"] == "wrong" and words in "; ".join(document["changes"])
    assert document["best"]["top1"] > 95 and "--labels" in document["fix"]
    assert document["best"]["preprocessing"] == document["own"]["preprocessing"]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_any_order_of_the_classes_is_found_with_the_names_in_it(saved, pictures, seed):
    order = np.random.default_rng(seed).permutation(CLASSES)
    told = SourceOptions(mean=(0.0,), std=(1.0,))
    document = check(saved(*nearest(RGB, order=order)), pictures(LETTERS), preprocessing=told)
    assert document["verdict"] == "wrong" and document["changes"] == ["classes in another order"]
    names = document["fix"].removeprefix("name the outputs with --labels, in the order ").split(", ")
    assert names == [LETTERS[place] for place in order] and document["best"]["top1"] > 95


@pytest.mark.parametrize("outputs", [2, 3, 10, 100])
def test_an_order_does_not_explain_chance(outputs):
    random, shares = np.random.default_rng(outputs), []
    for _ in range(20):
        answers, labels = random.integers(0, outputs, (2, 200))
        shares.append(matched_order(answers, labels, (), outputs)[1].mean())
    assert np.mean(shares) < 1 / outputs + 0.03


def test_two_faults_at_once_are_both_named(saved, pictures):
    path = saved(*nearest(TRUTHS["BGR"][0] | {"high": 255.0}))
    document = check(path, pictures(NUMBERS), preprocessing=SourceOptions(mean=(0.0,), std=(1.0,)))
    assert document["changes"] == ["BGR channels", "pixels from 0 to 255",
                                   "classes in the natural order of their names (2 before 10)"]


def test_the_way_to_its_size_is_named(saved, pictures):
    """Only the centre of these pictures shows the class."""
    path = saved(*nearest(RGB))
    document = check(path, pictures(LETTERS, framed=True), preprocessing=SourceOptions(
        mean=(0.0,), std=(1.0,), resize="squash"))
    assert document["verdict"] == "wrong" and document["changes"] == ["the centre of 3/4"]
    assert document["fix"] == "--resize crop --crop-share 0.75"


def test_what_nothing_explains_is_said(saved, pictures):
    random = np.random.default_rng(0)
    weights, bias = random.standard_normal((3, CLASSES)), np.full(CLASSES, -1e3)
    bias[3] = 1e3  # one answer for every image
    document = check(saved(weights.astype(np.float32), bias.astype(np.float32)), pictures(LETTERS))
    assert document["verdict"] == "unexplained" and document["changes"] == []
    assert document["own"]["top1"] == pytest.approx(100 / CLASSES) == pytest.approx(document["by_chance"])


def test_names_that_match_are_matched_by_name(saved, pictures):
    order = np.random.default_rng(1).permutation(CLASSES)
    path = saved(*nearest(RGB, order=order))
    told = SourceOptions(mean=(0.0,), std=(1.0,), labels=tuple(LETTERS[place] for place in order))
    assert check(path, pictures(LETTERS), preprocessing=told)["verdict"] == "fits"


def test_a_gain_that_may_be_chance_is_no_cause(saved, pictures):
    """With few images nothing is sure."""
    path = saved(*nearest(TRUTHS["BGR"][0]))
    document = check(path, pictures(LETTERS), images=CLASSES, preprocessing=SourceOptions(mean=(0.0,), std=(1.0,)))
    few = max(document["tried"], key=lambda row: row["top1"])
    assert document["images"] == CLASSES and few["gain_pp"] > 30
    assert (document["verdict"] == "wrong") == (few["ci_pp"][0] > 0)


class Notes(type(SILENT)):
    def __init__(self):
        self.notes = []

    def note(self, message):
        self.notes.append(message)


@pytest.mark.parametrize("wrong", [True, False])
def test_export_tells_the_likely_cause_where_fp32_is_implausibly_bad(saved, pictures, tmp_path, monkeypatch, wrong):
    monkeypatch.delenv("EDGE_SE_DATA", raising=False)
    path, notes = saved(*nearest(RGB | {"high": 255.0})), Notes()
    told = SourceOptions(mean=(0.0,), std=(1.0,)) if wrong else SourceOptions(range="0-255")
    build = export(str(path), data=pictures(LETTERS), split="train", out=tmp_path / "build", preprocessing=told,
                   calibration=str(pictures(LETTERS)), progress=notes)
    assert (build.artifacts[0].top1 < 30) is wrong
    causes = [note for note in notes.notes if "data check" in note]
    assert len(causes) == wrong and all("pixels from 0 to 255 it would be on 100 %: --range 0-255" in note
                                        for note in causes)


def test_a_gate_on_a_net_that_sees_other_channels_names_them(saved, pictures, tmp_path, monkeypatch, calibration_npz):
    monkeypatch.delenv("EDGE_SE_DATA", raising=False)
    path, notes, folder = saved(*nearest(TRUTHS["BGR"][0]), size=32), Notes(), pictures(LETTERS)
    build = export(str(path), int8=True, targets=["cpu"], placement="all", effort="quick", out=tmp_path / "build",
                   calibration=str(calibration_npz), data=folder, split="train",
                   preprocessing=SourceOptions(mean=(0.0,), std=(1.0,)))
    document = gate(str(build.folder), data=folder, split="train", progress=notes)
    assert "BGR channels" in document["likely_cause"] and document["likely_cause"] in notes.notes


def run(arguments, capsys, monkeypatch):
    from edge_se.cli.program import main

    monkeypatch.setattr(sys, "argv", ["edge-se"])
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return ended.value.code, capsys.readouterr()


def test_the_command_says_it_in_words_and_in_its_exit_code(saved, pictures, capsys, monkeypatch, tmp_path):
    path = saved(*nearest(RGB | {"high": 255.0}))
    command = ["data", "check", "--model", path, "--data", pictures(LETTERS), "--mean", "0", "--std", "1"]
    code, said = run([*command, "--out", tmp_path / "check.json"], capsys, monkeypatch)
    assert code == 1 and "Something is wrong: with pixels from 0 to 255" in said.out
    assert "Tell it: --range 0-255" in said.out and max(map(len, said.out.splitlines()[:9])) <= 100
    document = json.loads((tmp_path / "check.json").read_text())
    Draft202012Validator(SCHEMA).validate(document)
    assert document["verdict"] == "wrong"
    code, said = run([*command[:-4], "--range", "0-255", "--json"], capsys, monkeypatch)
    assert code == 0 and json.loads(said.out)["verdict"] == "fits"
    code, said = run([*command, "--colour", "RBG"], capsys, monkeypatch)
    assert code == 2 and "did you mean 'RGB'" in said.err


def test_data_without_labels_is_one_message(saved, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(EdgeSeError, match="empty"):
        check(saved(*nearest(RGB)), tmp_path / "empty")


@pytest.mark.parametrize(("names", "told"), [
    (LETTERS[:1], "1 class .*, the model has 11 outputs"), (LETTERS[:7], "7 classes .*, the model has 11 outputs")])
def test_no_order_of_other_counts_is_looked_for(saved, pictures, names, told):
    with pytest.raises(EdgeSeError, match=told):
        check(saved(*nearest(RGB)), pictures(names))


def test_one_output_for_two_classes_is_told(saved, pictures):
    weights, bias = nearest(RGB)
    with pytest.raises(EdgeSeError, match="the model has 1 output; export the model with one output a class"):
        check(saved(weights[:, :1], bias[:1]), pictures(LETTERS[:3]))


@pytest.mark.slow
@pytest.mark.parametrize(("change", "images", "words"), [("swapped", 300, ["BGR channels"]),
                                                         ("0-255", 40, ["pixels from 0 to 255"])])
def test_a_bundled_net_on_a_slice_of_cifar10(cifar, net_exported_once, tmp_path, change, images, words):
    """Its file without metadata, once with swapped channels, once for pixels from 0 to 255."""
    model = load_source("slim_se", None).model
    proto, how = model.copy(), model.metadata.preprocessing
    del proto.metadata_props[:]
    first = next(node for node in proto.graph.node if node.op_type == "Conv")
    weight = next(value for value in proto.graph.initializer if value.name == first.input[1])
    values = numpy_helper.to_array(weight)
    if change == "swapped":
        weight.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values[:, ::-1]), weight.name))
    else:  # the normalisation is in the graph
        mean, std = (255 * np.array(part, np.float32).reshape(3, 1, 1) for part in (how.mean, how.std))
        image = proto.graph.input[0].name
        proto.graph.initializer.extend([numpy_helper.from_array(mean, "own_mean"),
                                        numpy_helper.from_array(std, "own_std")])
        first.input[0] = "own_normal"
        nodes = [onnx.helper.make_node("Sub", [image, "own_mean"], ["own_centred"]),
                 onnx.helper.make_node("Div", ["own_centred", "own_std"], ["own_normal"]), *proto.graph.node]
        del proto.graph.node[:]
        proto.graph.node.extend(nodes)
    onnx.save(proto, tmp_path / "mine.onnx")
    document = check(tmp_path / "mine.onnx", cifar.root, images=images, preprocessing=SourceOptions(
        preprocessing="cifar10"))
    assert document["verdict"] == "wrong" and document["changes"] == words and document["best"]["top1"] > 80
