"""What a user may say of a model's preprocessing, and what is assumed where nobody says it."""

import numpy as np
import pytest

from edge_se.core.errors import EdgeSeError
from edge_se.data.cifar10 import CLASSES, MEAN, STD
from edge_se.data.class_names import labels_of, names_in
from edge_se.data.preprocessing import IMAGENET_MEAN, assumed, require_normalisation, tensor, whose

ZERO, HALF, ONE = (0.0,) * 3, (0.5,) * 3, (1.0,) * 3


@pytest.mark.parametrize(("mean", "std", "says"), [
    ((123.675, 116.28, 103.53), HALF, r"--mean: .* from 0 to 255; .*--mean 0\.485,0\.456,0\.406"),
    (HALF, (58.395, 57.12, 57.375), r"--std: .* from 0 to 255; .*--std 0\.229,0\.224,0\.225"),
    (HALF, (1.0, 1.0, 255.0), "--std: .* from 0 to 255"),
    ((-0.1, 0.5, 0.5), HALF, "--mean: .* cannot be"), (HALF, (0.5, -0.2, 0.5), "--std: .* cannot be"),
    (HALF, (0.5, 0.0, 0.5), "--std: .* above 0"), (HALF, ZERO, "--std"),
    ((float("nan"), 0.5, 0.5), HALF, "--mean: .* no number"), (HALF, (0.5, 0.5, float("nan")), "--std: .* no number"),
    (HALF, (float("inf"), 1.0, 1.0), "--std: .* no number")])
def test_the_option_is_named_that_cannot_be(mean, std, says):
    with pytest.raises(EdgeSeError, match=says):
        require_normalisation(mean, std)


@pytest.mark.parametrize(("mean", "std"), [(None, None), (ZERO, ONE), (HALF, HALF), (ZERO, (1 / 255,) * 3), (ONE, None),
                                           (MEAN, STD)])
def test_what_models_are_trained_with_is_taken(mean, std):
    require_normalisation(mean, std)


def test_the_size_says_what_is_usual():
    small, large = assumed((32, 32)), assumed((224, 224), ("cat",))
    assert (small.mean, small.labels, whose(small), small.share) == (MEAN, (), "CIFAR-10", 1.0)
    assert (large.mean, large.labels, whose(large), large.share) == (IMAGENET_MEAN, ("cat",), "ImageNet", 0.875)
    white = tensor(np.full((1, 3, 1, 1), 255, np.uint8), large)
    np.testing.assert_allclose(white.ravel(), [2.2489, 2.4286, 2.64], atol=1e-3)


def test_labels_are_cifar10s_or_a_files(tmp_path):
    assert labels_of("cifar10") == CLASSES
    path = tmp_path / "names.txt"
    for mark in ("", "\ufeff"):  # with it Windows says that it is UTF-8
        path.write_text(f"{mark}cat\n dog \nmaillot\nmaillot\n\n", "utf-8")  # ImageNet has two classes of one name
        assert labels_of(str(path)) == ("cat", "dog", "maillot", "maillot")


@pytest.mark.parametrize("content", [
    '["cat", "dog"]', '\ufeff["cat", "dog"]', '{"1": "dog", "0": "cat"}', '{"cat": 0, "dog": 1}',
    '{"0": ["n02", "cat"], "1": ["n01", "dog"]}'])
def test_labels_of_json(tmp_path, content):
    path = tmp_path / "names.json"
    path.write_text(content, "utf-8")
    assert labels_of(str(path)) == ("cat", "dog")
    assert [own[0] for own in names_in(str(path))] == (["n02", "n01"] if "n02" in content else ["cat", "dog"])


@pytest.mark.parametrize(("content", "says"), [
    ("{", "is no JSON"), ("[]", "holds no name"), ('["cat", ""]', "line 2 is empty"), ('"cat"', "something else"),
    ('{"0": "cat", "2": "dog"}', "names 2 classes, and none with number 1"), ('{"0": 1.5}', "something else"),
    ('[["n01"], []]', "line 2 is empty"), ('{"cat": 1, "dog": 2}', "none with number 0")])
def test_json_that_is_no_labels(tmp_path, content, says):
    path = tmp_path / "names.json"
    path.write_text(content)
    with pytest.raises(EdgeSeError, match=f"--labels .*names.json: .*{says}"):
        labels_of(str(path))


@pytest.mark.parametrize(("content", "says"), [
    (b"", "holds no name"), (b"\n\n", "holds no name"), (b"cat\n\ndog\n", "line 2 is empty"),
    (b"\xff\xfe\x00", "no text"),
    (None, "No such file")])
def test_labels_that_cannot_be_read(tmp_path, content, says):
    path = tmp_path / "names.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(EdgeSeError, match=f"--labels .*names.txt.*{says}"):
        labels_of(str(path))
