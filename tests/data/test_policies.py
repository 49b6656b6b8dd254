"""RandAugment and AutoAugment: operations, magnitudes and pairs are torchvision's; a batch is its images."""

import pytest
import torch

from edge_se.core.recipes import Augmentation
from edge_se.data import policies
from edge_se.data.draws import Draws
from edge_se.data.torchvision_import import torchvision  # noqa: F401  (before torchvision.transforms.v2)

from torchvision.transforms import v2  # isort: skip

COUNT, SIZE = 40, 32
NAMES = (*policies.RANDAUGMENT[1:], "Invert")


@pytest.fixture(scope="module")
def pixels(random_images):
    return torch.from_numpy(random_images(COUNT, "train", size=SIZE).pixels)


def draws(seed=0, rows=None, count=COUNT):
    return Draws(count, torch.Generator().manual_seed(seed), rows, torch.device("cpu"))


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in (v2.RandAugment, v2.AutoAugment) for name in NAMES
                                            if name in kind._AUGMENTATION_SPACE])
def test_operations_and_magnitudes_are_those_of_torchvision(pixels, kind, name):
    reference, bins = kind(), policies.BINS[kind.__name__.lower()]
    ranges, signed = reference._AUGMENTATION_SPACE[name]
    assert signed == (name in policies.SIGNED)
    magnitudes = ranges(bins, SIZE, SIZE)
    for level in (0, 2, bins // 2, bins - 1):
        amount = policies.amount_of(name, level, bins, SIZE)
        theirs = 0.0 if magnitudes is None else float(magnitudes[level])
        for sign in (1, -1) if signed else (1,):
            expected = reference._apply_image_or_video_transform(
                pixels[:4], name, sign * theirs, interpolation=v2.InterpolationMode.NEAREST, fill={})
            ours = policies.distort(pixels[:4], name, sign * amount)
            different = (ours != expected).float().mean()
            assert ours.dtype == torch.uint8 and different < 0.01, level  # threshold and slope differ in the last bit


def test_the_pairs_are_those_of_torchvision():
    theirs = v2.AutoAugment(v2.AutoAugmentPolicy.CIFAR10)._policies
    assert [tuple((name, probability, level or 0) for name, probability, level in pair)
            for pair in theirs] == list(policies.AUTOAUGMENT)


def test_torchvision_knows_the_same_operations():
    assert set(policies.RANDAUGMENT) == set(v2.RandAugment._AUGMENTATION_SPACE)


@pytest.mark.parametrize("name", ["randaugment", "autoaugment"])
def test_a_batch_is_what_its_images_are_alone(pixels, name):
    apply = policies.policy(Augmentation(policy=name))
    whole = apply(pixels, draws())
    assert whole.dtype == torch.uint8 and whole.shape == pixels.shape
    for row in range(COUNT):
        alone = apply(pixels[row : row + 1], draws(rows=torch.tensor([row])))
        assert torch.equal(alone[0], whole[row]), row


@pytest.mark.parametrize("name", ["randaugment", "autoaugment"])
def test_it_changes_most_images_each_in_its_own_way_and_not_the_source(pixels, name):
    apply, before = policies.policy(Augmentation(policy=name)), pixels.clone()
    one, other = apply(pixels, draws(0)), apply(pixels, draws(1))
    assert torch.equal(pixels, before)
    assert (one != pixels).flatten(1).any(1).float().mean() > 0.5
    assert (one != other).flatten(1).any(1).float().mean() > 0.5
    assert torch.equal(one, apply(pixels, draws(0)))


def test_more_operations_change_more(pixels):
    changed = [(policies.randaugment(pixels, draws(), operations, 15).float() - pixels).abs().mean()
               for operations in (1, 4)]
    assert changed[0] < changed[1]


def test_none_is_no_policy():
    assert policies.policy(Augmentation()) is None
