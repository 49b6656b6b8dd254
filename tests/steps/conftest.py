"""Folders of labelled images."""

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def letters(tmp_path_factory):
    """(images of each class by split, height, width) -> a folder of ten classes, `a` to `j`, of random PNGs."""
    def make(counts, height, width):
        root, random = tmp_path_factory.mktemp("own") / "letters", np.random.default_rng(5)
        for split, count in counts.items():
            for name in "abcdefghij":
                (root / split / name).mkdir(parents=True)
                for number in range(count):
                    pixels = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
                    Image.fromarray(pixels).save(root / split / name / f"{number}.png")
        return root
    return make
