"""Excitations as constants: what they computed, that the graph without them computes the same, how many."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from onnx import numpy_helper

from edge_se.core.errors import CalibrationError
from edge_se.core.progress import SILENT
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.view import GraphView
from edge_se.quantization import folding as module
from edge_se.quantization.excitations import find_excitations
from edge_se.quantization.folding import excitation_values, fold_excitations, folded
from edge_se.quantization.placement import PLACEMENTS, place
from edge_se.quantization.ranges import collect
from edge_se.quantization.static import quantize
from edge_se.quantization.targets import TARGETS, WEIGHTED

FORMS = ("se", "pre", "post", "identity", "double_fc", "pair2x1", "pair1x1", "folded")
LEFT = {"identity": 1, "post": 1}  # multiplications that no convolution of the tiny net can take
POOL = ("GlobalAveragePool", ["u"], ["s"])
LAYERS = [("Conv", ["s", "w1"], ["a"]), ("Relu", ["a"], ["b"]), ("Conv", ["b", "w2"], ["c"]), ("Sigmoid", ["c"], ["g"])]
SCALE = ("Mul", ["u", "g"], ["p"])
READ = ("Conv", ["p", "w3"], ["y"])
CONSTANTS = {"w": (8, 3, 1, 1), "w1": (2, 8, 1, 1), "w2": (8, 2, 1, 1), "w3": (4, 8, 1, 1), "by_channel": (8, 1, 3, 3),
             "bias": (8,), "w8": (8, 8, 1, 1)}
SHAPES = {"flat": np.array([0, 8, 1, 1024]), "map": np.array([0, 8, 32, 32])}


def images(count=8, seed=0):
    return np.random.default_rng(seed).standard_normal((count, 3, 32, 32), np.float32)


def operators(model):
    return Counter(node.op_type for node in model.proto.graph.node)


@pytest.fixture(scope="module")
def with_constant_excitations(family_onnx):
    """(attention) -> a net whose excitations are the same for every image, and differ from channel to channel."""
    random = np.random.default_rng(0)

    def make(attention):
        proto = family_onnx(attention, attention_bias=True).copy()
        view = GraphView(proto)
        for excitation in find_excitations(proto):
            # The last layer of an excitation is the one that its sigmoid reads.
            last = next(view.producer[name] for name in excitation.inner if view.producer[name].op_type in WEIGHTED)
            for name, value in ((last.input[1], 0.0), (last.input[2], None)):
                shape = numpy_helper.to_array(view.initializers[name]).shape
                made = np.zeros(shape, np.float32) if value is not None else random.standard_normal(shape, np.float32)
                view.initializers[name].CopyFrom(numpy_helper.from_array(made, name))
        return OnnxModel.of(proto)
    return make


@pytest.fixture
def handmade(graph_of):
    """(nodes, outputs) -> a graph of which the first excitation scales `u`."""
    random = np.random.default_rng(1)

    def make(*nodes, outputs=("y",)):
        used = {name for node in nodes for name in node[1]}
        constants = {name: random.standard_normal(shape, np.float32) for name, shape in CONSTANTS.items()
                     if name in used} | {name: shape for name, shape in SHAPES.items() if name in used}
        return OnnxModel.of(graph_of(nodes, constants, x=("batch", 3, 32, 32), outputs=outputs))
    return make


@pytest.mark.parametrize("attention", FORMS)
def test_constant_excitations_fold_without_a_trace(with_constant_excitations, family_onnx, random_images, run_onnx,
                                                         attention):
    model = with_constant_excitations(attention)
    values = excitation_values(model, random_images(10))
    assert len(values) == len(find_excitations(model.proto)) > 1
    assert all(value.deviation < 1e-6 and np.ptp(value.mean) > 0.1 for value in values)
    plain, without = family_onnx("none"), folded(model, values)
    (expected,), (got,) = run_onnx(model, images()), run_onnx(without, images())
    assert np.abs(got - expected).max() < 1e-4 * np.abs(expected).max()
    assert operators(without) - operators(plain) == ({"Mul": LEFT[attention]} if attention in LEFT else {})
    assert not operators(plain) - operators(without)
    assert {node.name for node in without.proto.graph.initializer} == {
        name for node in without.proto.graph.node for name in node.input} & {
        node.name for node in without.proto.graph.initializer}


def test_the_mean_of_excitations_that_move_is_what_stays(tiny_onnx, random_images, run_onnx):
    shown = random_images(10)
    (value, *others) = excitation_values(tiny_onnx, shown)
    excitation = next(name for name in GraphView(tiny_onnx.proto).producer[value.excitation.scale].input
                if name in value.excitation.inner)
    watched = tiny_onnx.copy()
    watched.graph.output.append(module.onnx.ValueInfoProto(name=excitation))
    seen = np.float64(run_onnx(watched, next(shown.batches(10)))[1])
    assert value.mean == pytest.approx(seen.mean(0, keepdims=True), rel=1e-5)
    assert value.deviation == pytest.approx((seen.std(0) / seen.mean(0)).mean(), rel=1e-4) and value.deviation > 1e-4
    assert value.name == "layer1.0.se"
    left = find_excitations(folded(tiny_onnx, [value]).proto)
    assert [excitation.scale for excitation in left] == [other.excitation.scale for other in others]


def test_of_a_fixed_batch_the_copies_that_fill_it_up_do_not_count(tiny_onnx, random_images):
    proto = tiny_onnx.copy()
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 4
    shown = random_images(6)
    pairs = zip(excitation_values(tiny_onnx, shown), excitation_values(OnnxModel.of(proto), shown), strict=True)
    for free, fixed in pairs:
        assert fixed.mean == pytest.approx(free.mean, rel=1e-5)


CONV = ("Conv", ["x", "w", "bias"], ["u"])
GRAPHS = {  # (nodes, outputs, multiplications that are left)
    "behind a convolution": ([CONV, POOL, *LAYERS, SCALE, READ], ("y",), 0),
    "behind one whose features are read elsewhere": (
        [CONV, POOL, *LAYERS, SCALE, ("Conv", ["u", "w8"], ["v"]), ("Add", ["p", "v"], ["y"])], ("y",), 1),
    "before convolutions": ([("Conv", ["x", "w"], ["t"]), ("Relu", ["t"], ["u"]), POOL, *LAYERS, SCALE, READ,
                             ("Conv", ["p", "w3"], ["z"])], ("y", "z"), 0),
    "before one and an output of its own": ([("Conv", ["x", "w"], ["t"]), ("Relu", ["t"], ["u"]), POOL, *LAYERS, SCALE,
                                             READ], ("y", "p"), 1),
    "before one that reads each channel alone": (
        [("Conv", ["x", "w"], ["t"]), ("Relu", ["t"], ["u"]), POOL, *LAYERS, SCALE,
         ("Conv", ["p", "by_channel"], ["y"], {"group": 8, "pads": [1, 1, 1, 1]})], ("y",), 1),
    "behind one that reads each channel alone": (
        [("Conv", ["x", "w"], ["t"]), ("Conv", ["t", "by_channel"], ["u"], {"group": 8, "pads": [1, 1, 1, 1]}), POOL,
         *LAYERS, SCALE, READ], ("y",), 0),
    "two excitations on one weight": (
        [("Conv", ["x", "w"], ["t"]), ("Relu", ["t"], ["v"]), ("Conv", ["v", "w8"], ["u"]), POOL, *LAYERS, SCALE,
         ("Conv", ["p", "w8"], ["y"])], ("y",), 0),
    "excitation as large as its features": (
        [CONV, POOL, *LAYERS[:3], ("Sigmoid", ["c"], ["h"]), ("Shape", ["u"], ["shape"]),
         ("Expand", ["h", "shape"], ["g"]), SCALE, READ], ("y",), 0),
    "features that are pooled in another shape": (
        [CONV, ("Reshape", ["u", "flat"], ["f"]), ("ReduceMax", ["f"], ["s"], {"axes": [2, 3]}), *LAYERS, SCALE, READ],
        ("y",), 0),
    "features that are scaled in another shape": (
        [CONV, POOL, *LAYERS, ("Reshape", ["u", "flat"], ["f"]), ("Mul", ["f", "g"], ["q"]),
         ("Reshape", ["q", "map"], ["p"]), READ], ("y",), 1),
}


@pytest.mark.parametrize("form", GRAPHS)
def test_where_the_scale_goes(handmade, random_images, run_onnx, form):
    nodes, outputs, left = GRAPHS[form]
    model = handmade(*nodes, outputs=outputs)
    one = random_images(1)  # the mean over one image is what the excitation is for that image
    without = folded(model, excitation_values(model, one))
    batch = next(one.batches(1))
    for expected, got in zip(run_onnx(model, batch), run_onnx(without, batch), strict=True):
        assert np.abs(got - expected).max() < 1e-5 * np.abs(expected).max()
    assert operators(without)["Mul"] == left and not find_excitations(without.proto)
    assert not operators(without).keys() & {"Sigmoid", "GlobalAveragePool", "ReduceMax", "Expand"}


@pytest.mark.parametrize("attention", ["se", "post"])
@pytest.mark.parametrize("target", TARGETS)
def test_every_target_and_placement_takes_a_folded_net(with_constant_excitations, random_images, run_onnx, attention,
                                                        target):
    model = with_constant_excitations(attention)
    shown = random_images(16)
    without = folded(model, excitation_values(model, shown))
    ranges = collect(without, shown).ranges("minmax", TARGETS[target].activations)
    batch = next(shown.batches(16))
    (expected,) = run_onnx(without, batch)
    for placement in PLACEMENTS:
        int8 = quantize(without, ranges, TARGETS[target], place(without.proto, TARGETS[target], placement))
        noise = run_onnx(int8, batch)[0] - expected
        assert (noise ** 2).sum() < 0.1 * (expected ** 2).sum(), placement


def choose(model, random_images, max_drop_pp, *, labelled=True, split="validation", **settings):
    return fold_excitations(model, random_images(20), random_images(60, split, seed=1, labelled=labelled),
                      **({"max_drop_pp": max_drop_pp, "alpha": 0.025, "progress": SILENT} | settings))


def test_all_excitations_fold_where_all_may(tiny_onnx, random_images):
    model, folding = choose(tiny_onnx, random_images, 100)
    told = folding.document()
    assert told["folded"] == len(told["gates"]) == 4 and not find_excitations(model.proto)
    assert [one["deviation"] for one in told["gates"]] == sorted(one["deviation"] for one in told["gates"])
    assert {excitation["name"] for excitation in told["gates"]} == {f"layer{stage}.0.se" for stage in (1, 2, 3, 4)}
    assert told["parent_sha256"] == tiny_onnx.sha256 and told["n"] == 60
    assert told["drop_pp"] == pytest.approx(told["parent_top1"] - told["top1"])
    assert told["ci_pp"][0] <= told["drop_pp"] <= told["ci_pp"][1]


def test_only_excitations_that_depend_least_fold_where_few_may(tiny_onnx, random_images, monkeypatch):
    real = module.drop_from
    asked = []

    def strict(reference, logits, labels, alpha):
        """Two excitations lose nothing, more lose everything."""
        asked.append(len(asked))
        lost = real(reference, logits, labels, alpha)
        return replace(lost, high=1.0 if asked[-1] in (0, 2) else 0.0)  # of 4, 2, 3 folded excitations

    monkeypatch.setattr(module, "drop_from", strict)
    model, folding = choose(tiny_onnx, random_images, 1.0)
    told = folding.document()
    assert [excitation["folded"] for excitation in told["gates"]] == [True, True, False, False]
    assert len(find_excitations(model.proto)) == 2 and len(asked) == 3


def test_the_most_that_holds_is_found():
    for most in range(1, 14):
        asked = []
        assert module._most(13, lambda count: asked.append(count) or count <= most) == most  # noqa: B023
        assert asked[0] == 13 and len(asked) <= 5
    assert module._most(13, lambda count: False) == 0


def test_where_none_may_fold_it_says_so(tiny_onnx, random_images):
    with pytest.raises(CalibrationError, match=r"no excitation can be folded within 0 points.*may lose \d.*60 images"):
        choose(tiny_onnx, random_images, 0.0)
    with pytest.raises(CalibrationError, match="labelled images"):
        choose(tiny_onnx, random_images, 0.0, labelled=False)


def test_without_labels_flips_bound_the_drop(tiny_onnx, random_images):
    _, folding = choose(tiny_onnx, random_images, 100, labelled=False)
    told = folding.document()
    assert told["top1"] is told["parent_top1"] is None
    assert told["drop_pp"] == pytest.approx(100 * told["flips"] / 60)


def test_the_test_set_chooses_nothing(tiny_onnx, random_images):
    with pytest.raises(CalibrationError, match="the test set chooses nothing"):
        choose(tiny_onnx, random_images, 100, split="test")


def test_a_plain_net_has_nothing_to_fold(tiny_plain_onnx, random_images):
    with pytest.raises(CalibrationError, match="has no excitations to fold"):
        choose(tiny_plain_onnx, random_images, 100)
