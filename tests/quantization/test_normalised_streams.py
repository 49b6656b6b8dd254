"""Nets that normalise their residual stream: in INT8 where that measures best, not by a rule."""

import numpy as np
import pytest

from edge_se.core.progress import SILENT
from edge_se.data.splits import ImageSet
from edge_se.evaluation.accuracy import logits_of
from edge_se.graph.onnx_model import OnnxModel
from edge_se.quantization import effort
from edge_se.quantization.effort import best_placement
from edge_se.quantization.placement import PLACEMENTS, default_placement, measured_placements, normalises, place, sums
from edge_se.quantization.ranges import collect
from edge_se.quantization.sensitivity import sqnr_db
from edge_se.quantization.static import quantize
from edge_se.quantization.targets import TARGETS

CHANNELS = 16


def as_operator(read, made):
    return [("LayerNormalization", [read, "gain", "shift"], [made], {"axis": -1})]


def spelled_out(read, made):
    return [("ReduceMean", [read], [f"{made}_mean"], {"axes": [-1]}), ("Sub", [read, f"{made}_mean"], [f"{made}_left"]),
            ("Mul", [f"{made}_left", f"{made}_left"], [f"{made}_square"]),
            ("ReduceMean", [f"{made}_square"], [f"{made}_variance"], {"axes": [-1]}),
            ("Add", [f"{made}_variance", "epsilon"], [f"{made}_positive"]),
            ("Sqrt", [f"{made}_positive"], [f"{made}_root"]),
            ("Div", [f"{made}_left", f"{made}_root"], [made])]


def by_channel(read, made):
    return [("InstanceNormalization", [read, "ones", "zeros"], [made])]


@pytest.fixture(scope="module")
def transformer(graph_of):
    """(norm, outlier) -> three residual blocks over 64 tokens; one channel of the stream is `outlier` times larger."""
    def make(norm=as_operator, outlier=300):
        rng = np.random.default_rng(0)
        weights = {name: rng.standard_normal(shape).astype(np.float32) * np.float32(scale) for name, shape, scale in (
            ("stem", (CHANNELS, 3, 1, 1), 0.5), ("v0", (CHANNELS, CHANNELS), 0.2), ("v1", (CHANNELS, CHANNELS), 0.2),
            ("v2", (CHANNELS, CHANNELS), 0.2), ("head", (CHANNELS, 10), 1))}
        weights["stem"][0] *= outlier
        tokens = 64 if norm is by_channel else CHANNELS
        constants = weights | {
            "tokens": np.array([0, CHANNELS, 64]), "epsilon": np.float32(1e-5), "gain": np.ones(CHANNELS, np.float32),
            "shift": np.zeros(CHANNELS, np.float32), "ones": np.ones(tokens, np.float32),
            "zeros": np.zeros(tokens, np.float32)}
        nodes = [("Conv", ["x", "stem"], ["map"]), ("Reshape", ["map", "tokens"], ["rows"]),
                 ("Transpose", ["rows"], ["s0"], {"perm": [0, 2, 1]})]
        for block in range(3):
            nodes += [*norm(f"s{block}", f"n{block}"), ("MatMul", [f"n{block}", f"v{block}"], [f"m{block}"]),
                      ("Relu", [f"m{block}"], [f"r{block}"]), ("Add", [f"s{block}", f"r{block}"], [f"s{block + 1}"])]
        nodes += [*norm("s3", "last"), ("ReduceMean", ["last"], ["pooled"], {"axes": [1], "keepdims": 0}),
                  ("MatMul", ["pooled", "head"], ["y"])]
        used = {name for node in nodes for name in node[1]}
        return OnnxModel.of(graph_of(nodes, {name: value for name, value in constants.items() if name in used}))
    return make


@pytest.mark.parametrize("norm", [as_operator, spelled_out, by_channel])
def test_a_norm_is_known_in_each_spelling(transformer, norm):
    model = transformer(norm).proto
    assert normalises(model) and len(sums(model)) == 3
    for name in ("cpu", "cpu-avx2", "arm"):
        assert measured_placements(model, TARGETS[name]) == (default_placement(model), "sums-float", "conv-only")
    for name in ("openvino", "tensorrt", "tensorrt-fp16"):  # only what layers read is quantized there
        assert measured_placements(model, TARGETS[name]) == ()


def test_other_nets_are_not_measured(tiny_onnx, random_images):
    assert not normalises(tiny_onnx.proto) and measured_placements(tiny_onnx.proto, TARGETS["cpu"]) == ()
    statistics = collect(tiny_onnx, random_images(4))
    chosen = best_placement(tiny_onnx, statistics, TARGETS["cpu"], "mse", random_images(4), SILENT)
    assert chosen == place(tiny_onnx.proto, TARGETS["cpu"])


@pytest.mark.parametrize("name", ["cpu", "arm"])
@pytest.mark.parametrize("norm", [as_operator, spelled_out])
def test_the_best_on_the_images_is_taken(transformer, random_images, name, norm):
    model, images, target = transformer(norm), random_images(16, size=8), TARGETS[name]
    statistics, reference = collect(model, images), logits_of(model, images)

    def decibels(placement):
        return sqnr_db(reference, logits_of(quantize(
            model, statistics.ranges("mse", target.activations), target, placement), images))

    chosen = best_placement(model, statistics, target, "mse", images, SILENT)
    scores = {each: decibels(place(model.proto, target, each)) for each in measured_placements(model.proto, target)}
    assert decibels(chosen) == max(scores.values()) > scores[default_placement(model.proto)] + 3
    assert chosen.name in PLACEMENTS


def test_it_is_measured_on_a_sample_of_the_images(transformer, random_images, monkeypatch):
    model, images, seen = transformer(), random_images(40, size=8), []
    monkeypatch.setattr(ImageSet, "sampled", lambda self, count: np.arange(0, 2 * count, 2))
    monkeypatch.setattr(effort, "logits_of",
                        lambda model, images: seen.append(images.sha256) or logits_of(model, images))
    best_placement(model, collect(model, images), TARGETS["cpu"], "mse", images, SILENT)
    assert set(seen) == {images.take(np.arange(0, 32, 2)).sha256}


def test_sums_float_leaves_the_stream_out(transformer):
    model = transformer().proto
    base, plan = place(model, TARGETS["cpu"], "ends-float"), place(model, TARGETS["cpu"], "sums-float")
    assert set(plan.float_nodes) == {*base.float_nodes, "s1", "s2", "s3"}
