"""Histograms count everything, whatever order it comes in; methods choose sensible ranges from them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edge_se.quantization import histograms, methods
from edge_se.quantization.histograms import BINS, Histogram, of_images
from edge_se.quantization.methods import METHODS, PERCENTILE

floats = st.floats(-1e6, 1e6, width=32)


def of(*batches):
    histogram = Histogram()
    for batch in batches:
        histogram.add(np.asarray(batch, np.float32))
    return histogram


@given(st.lists(arrays(np.float32, st.integers(1, 50), elements=floats), min_size=1, max_size=4))
def test_everything_is_counted_once_near_its_place(batches):
    histogram = of(*batches)
    everything = np.concatenate(batches)
    assert histogram.counts.sum() == everything.size
    assert (histogram.low, histogram.high) == (everything.min(), everything.max())
    assert histogram.limit >= np.abs(everything).max()
    width = 2 * histogram.limit / BINS
    restored = np.repeat(histogram.centres, histogram.counts)
    np.testing.assert_allclose(restored, np.sort(everything), atol=1.01 * width + 1e-12)


@given(st.lists(arrays(np.float32, 8, elements=floats), min_size=2, max_size=4), st.randoms())
def test_the_order_of_the_batches_does_not_matter(batches, random):
    shuffled = batches.copy()
    random.shuffle(shuffled)
    one, other = of(*batches), of(*shuffled)
    assert (one.limit, one.low, one.high) == (other.limit, other.low, other.high)
    np.testing.assert_array_equal(one.counts, other.counts)
    merged = of(shuffled[0])
    merged.merge(of(*shuffled[1:]))
    np.testing.assert_array_equal(merged.counts, one.counts)


@pytest.mark.parametrize("batches", [([4.0], [5.0]), ([-4.0], [5.0]), ([4.0, 1.0], [-4.5], [4.0]),
                                     ([0.0], [4.0], [17.0]), ([1e-45], [1.0]), ([3.4e38], [-1.0])])
def test_a_value_on_the_border_is_in_one_bin_whatever_came_first(batches):
    one, other = of(*batches), of(*batches[::-1])
    np.testing.assert_array_equal(one.counts, other.counts)
    assert one.counts.sum() == sum(map(len, batches))


@pytest.mark.parametrize("size, total", [(56 * 56 * 8, 4000), (7 * 7 * 64, 20_000), (1000, 70_000)])
def test_a_sample_shows_every_place(monkeypatch, size, total):
    monkeypatch.setattr(histograms, "COUNTED", 2**20)
    step = histograms._step(size, total)
    assert step > 1 and size * total / step <= 2**20
    place = np.arange(size, dtype=np.float32)
    whole = Histogram()
    for first in range(0, step, 4):  # in batches of another size than the step
        batch = np.stack([place] * min(4, step - first))
        whole.merge(of_images(batch, first=first, batch=len(batch), total=total))
    expected = of(place)
    assert (whole.low, whole.high) == (expected.low, expected.high) == (0, size - 1)
    np.testing.assert_array_equal(whole.counts, expected.counts)


def test_a_small_set_is_counted_whole():
    values = np.random.default_rng(0).standard_normal((4, 65_536)).astype(np.float32)
    assert of_images(values, first=0, batch=4, total=512).counts.sum() == values.size
    assert of_images(values, first=0, batch=4, total=5120).counts.sum() < values.size / 9


def test_a_tensor_that_is_always_zero():
    histogram = of(np.zeros(5), np.zeros(3))
    assert (histogram.low, histogram.high, histogram.limit, histogram.counts.sum()) == (0, 0, 0, 8)
    histogram.add(np.float32([4.0]))
    assert histogram.counts.sum() == 9 and histogram.counts[BINS // 2] == 8


@pytest.fixture(scope="module")
def outlier():
    """100,000 normal values and one far away."""
    return of(np.append(np.random.default_rng(0).standard_normal(100_000), 100.0))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("symmetric", [True, False])
def test_no_method_goes_beyond_the_extremes_or_turns_around(outlier, method, symmetric):
    for histogram in (outlier, of([0.0]), of([0.0, 1.0]), of([-2.0]), of(np.linspace(-3, -1, 50)), of([5.0] * 9)):
        low, high = METHODS[method](histogram, symmetric)
        assert np.isfinite([low, high]).all()
        assert histogram.low <= low <= high <= histogram.high or method == "mse"
        assert min(histogram.low, 0) <= low and high <= max(histogram.high, 0)


def test_minmax_keeps_an_outlier_and_the_others_clip_it(outlier):
    tops = {name: method(outlier, True)[1] for name, method in METHODS.items()}
    assert tops.pop("minmax") == 100.0
    assert max(tops.values()) < 99 and tops["percentile"] < 5


def test_entropy_does_not_clip_an_excitation(monkeypatch):
    """Sigmoids of an SE block: a value per image and channel, none near zero, the smallest in a range's last bin."""
    random = np.random.default_rng(0)
    excitation = (random.uniform(0.4, 0.65, 16) + random.normal(0, 0.02, (512, 16))).clip(0.3, 0.7).ravel()
    _, width = methods._folded(of(excitation))
    last = int(np.ceil(excitation.max() / width))
    stop = [stop for stop in np.linspace(128, last, methods.KL_STARTS).astype(int) if stop * width < 0.3][-1]
    histogram = of(np.append(excitation, (stop - 0.5) * width))
    assert METHODS["entropy"](histogram, False)[1] >= np.quantile(excitation, methods.KL_KEEPS)
    monkeypatch.setattr(methods, "KL_KEEPS", 0.0)
    assert METHODS["entropy"](histogram, False)[1] < 0.3  # all of it clipped, and no divergence: what the rule is for


def test_percentile_leaves_out_as_much_as_it_says():
    values = np.random.default_rng(0).standard_normal(1_000_000).astype(np.float32)
    low, high = METHODS["percentile"](of(values), False)
    outside = [np.mean(values < low), np.mean(values > high)]
    assert outside == pytest.approx([(100 - PERCENTILE) / 200] * 2, rel=0.2)


@pytest.mark.parametrize("symmetric", [True, False])
def test_mse_is_the_least_error_among_its_candidates(symmetric):
    values = np.append(np.random.default_rng(1).standard_normal(20_000), 15.0)

    def error(bounds):
        bound = max(map(abs, bounds))
        low, high = (-bound, bound) if symmetric else bounds
        step = (high - low) / 255
        return np.mean((np.clip(np.round(values / step) * step, low, high) - values) ** 2)
    low, high = METHODS["minmax"](of(values), symmetric)
    least = min(error((keep * low, keep * high)) for keep in np.linspace(0.3, 1, 30))
    found = error(METHODS["mse"](of(values), symmetric))
    assert found < 1.1 * least and found < error((low, high))
