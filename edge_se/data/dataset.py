"""A data set of labelled images, whatever layout it has on the disk: one value that every step asks for a split."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_se.core.errors import DataError, did_you_mean
from edge_se.data.cifar10 import HOW_TO_GET, Cifar10, at, find
from edge_se.data.classes import outputs_of, require_every_class
from edge_se.data.contents import TEST, TRAIN, VALIDATION, WHOLE, Contents
from edge_se.data.images import Images, drawn
from edge_se.data.layout import LIMIT, layout_of, layouts
from edge_se.data.lazy_images import LazyImages
from edge_se.data.preprocessing import CIFAR10, Preprocessing
from edge_se.data.records import Records
from edge_se.data.splits import ImageSet

HELD_OUT = "held-out"  # a part of `train`, where no validation split is free to choose on
SHARES = {TEST: 0.1, VALIDATION: 0.1, HELD_OUT: 0.1}  # of the images, by the hash of their content; the rest trains
_Found = Records | ImageSet


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Images at `path`; made by `open_dataset`.

    `classes` name the labels in order; empty where labels are numbers. `splits` are those that `split` takes. `judging`
    is the split that figures and verdicts are of, None where there is none. `names` are those of the outputs
    (edge_se.data.class_names), for a model that does not tell them and for classes of other names.
    """

    name: str
    path: Path
    layout: str
    classes: tuple[str, ...]
    splits: tuple[str, ...]
    judging: str | None
    contents: Contents
    names: tuple[tuple[str, ...], ...] = ()
    skip_broken: bool = False
    _read: dict[str, tuple[_Found, NDArray[np.uint8] | None]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def cifar(self) -> Cifar10 | None:
        """CIFAR-10's own files, if it is them."""
        return at(self.path) if self.layout == "CIFAR-10" else None

    def judges(self, how: Preprocessing) -> bool:
        """Whether figures of a model of this preprocessing are measured on it.

        CIFAR-10 is there by default, so it judges its own classifiers alone. Images of the user judge every model:
        where they do not fit, that is an error.
        """
        return self.cifar is None or (how.labels == self.classes and how.size == CIFAR10.size)

    def split(self, name: str, how: Preprocessing, outputs: int | None = None) -> Images:
        """The images of one split for a model of this preprocessing with so many `outputs` (None: unknown).

        Labels are outputs of the model: by name where its labels (else `self.labels`) and the classes have names.
        Raises DataError for an unknown split, classes that do not match and, but for `skip_broken`, broken images.
        """
        if name not in self.splits:
            raise DataError(f"has no split '{name}'", where=self.path, fix=did_you_mean(name, self.splits))
        found, hashes = self._found(name)
        wanted = self._wanted(how)
        if isinstance(found, ImageSet):
            assert found.labels is not None
            if wanted not in ((), self.classes):  # the official numbers are those of the official order
                labels = outputs_of(found.labels, self.classes, wanted, outputs, self.path, self.names)
                found = replace(found, labels=labels.astype(np.uint8))
            return found.seen_by(how)
        images = LazyImages(name=f"{self.name}-{name}", split=name, records=found, preprocessing=how, known=hashes,
                            labels=outputs_of(found.labels, self.classes, wanted, outputs, self.path, self.names))
        return images.whole() if self.skip_broken else images

    def sample(self, how: Preprocessing, limit: int, seed: int = 0) -> Images:
        """At most `limit` labelled images in random order, as many of each class as can be: to look at, not to judge.

        Labels are numbers of the data set's own classes. Validation images are taken where the layout tells them, else
        training images, so that the test split stays unseen; hashes decide nothing here.
        """
        split = next(name for name in (VALIDATION, TRAIN, WHOLE, *self.contents.splits) if name in self.contents.splits)
        found = self.contents.splits[split]()
        assert found.labels is not None
        found = found.take(np.random.default_rng(seed).permutation(drawn(found.labels, limit, seed)))
        if isinstance(found, ImageSet):
            return found.seen_by(how)
        images = LazyImages(name=self.name, split=split or TRAIN, records=found, preprocessing=how, labels=found.labels)
        return images.whole() if self.skip_broken else images

    def judged(self, how: Preprocessing, outputs: int | None = None) -> Images:
        """The split that figures and verdicts are of; DataError where there is none, or a class has no image in it."""
        if self.judging is None:
            raise DataError(f"has no split to judge on, only {', '.join(self.contents.splits)}", where=self.path,
                            fix="add a test or a validation split, or name one with --split")
        images = self.split(self.judging, how, outputs)
        if not len(images):
            raise DataError(f"split '{self.judging}' holds no image", where=self.path, fix="add images")
        assert images.labels is not None
        names = how.labels or self.labels or self.classes
        count = len(names) or outputs or int(images.labels.max()) + 1
        by_content = self.judging not in self.contents.splits
        require_every_class(images.labels, names, count,
                            f"split '{self.judging}'" + ", which is drawn by content" * by_content, self.path)
        return images

    def held_out(self, how: Preprocessing, outputs: int | None = None) -> Images | None:
        """Labelled images to choose on, which are neither judged nor trained on; None where there are none."""
        name = next((name for name in (VALIDATION, HELD_OUT) if name in self.splits and name != self.judging), None)
        images = None if name is None else self.split(name, how, outputs)
        return images if images is not None and len(images) else None

    def calibration(self, how: Preprocessing, limit: int = LIMIT, seed: int = 0) -> Images:
        """At most `limit` training images, as many of each class as can be, drawn by `seed`."""
        if TRAIN not in self.splits:
            raise DataError(f"has no training images to set ranges from, only {', '.join(self.splits)}",
                            where=self.path, fix="give some with --calibration")
        found, hashes = self._found(TRAIN)
        if isinstance(found, ImageSet):
            assert found.labels is not None
            return found.take(drawn(found.labels, limit, seed)).seen_by(how)
        images = LazyImages(name=f"{self.name}-{TRAIN}", split=TRAIN, records=found, preprocessing=how, known=hashes,
                            labels=found.labels)
        images = images.whole() if self.skip_broken else images
        assert images.labels is not None
        return replace(images.take(drawn(images.labels, limit, seed)), labels=None)

    @property
    def labels(self) -> tuple[str, ...]:
        """The name of each output to show, of `names`."""
        return tuple(own[-1] for own in self.names)

    def _wanted(self, how: Preprocessing) -> tuple[str, ...]:
        """What the outputs are called: by the model, else by `names`; DataError where the two contradict each other."""
        if how.labels and self.labels and how.labels != self.labels and (
                len(how.labels) != len(self.labels) or set(how.labels) == set(self.labels)
                or all(len(own) == 1 for own in self.names)):
            raise DataError("the model has labels of its own, and they differ", where="--labels",
                            fix="leave --labels out, or give the model's own names in their order")
        return how.labels or self.labels

    def _found(self, name: str) -> tuple[_Found, NDArray[np.uint8] | None]:
        """The images of a split before they are decoded, and their content hashes where these decided the split."""
        if name not in self._read:
            if name in self.contents.splits and not (name == TRAIN and HELD_OUT in self.splits):
                self._read[name] = self.contents.splits[name](), None
            else:
                source = TRAIN if HELD_OUT in self.splits else WHOLE
                self._read.update(_by_hash(self.contents.splits[source],
                                           (HELD_OUT,) if source else (TEST, VALIDATION), self.skip_broken))
        return self._read[name]


def _by_hash(read: Callable[[], _Found], parts: tuple[str, ...], lenient: bool
             ) -> dict[str, tuple[_Found, NDArray[np.uint8] | None]]:
    """The images, divided by the hash of their content: adding files moves none, and copies stay together."""
    found = read()
    hashes = found.hashes if isinstance(found, ImageSet) else found.hashes(lenient)
    places = np.ascontiguousarray(hashes[:, :8]).view(">u8").reshape(-1) / 2.0**64
    divided, start = {}, 0.0
    for part in parts:
        own = np.flatnonzero((places >= start) & (places < start + SHARES[part]))
        divided[part] = found.take(own), hashes[own]
        start += SHARES[part]
    rest = np.flatnonzero(places >= start)
    return {**divided, TRAIN: (found.take(rest), hashes[rest])}


def open_dataset(path: Path, *, names: tuple[tuple[str, ...], ...] = (), split: str | None = None,
                 skip_broken: bool = False) -> Dataset:
    """The data set at `path`, in any layout of `edge_se.data.layouts`; no image is read.

    `split` names the one to judge on; else that is `test`, else `validation`. Raises DataError for a path that holds
    no labelled images and for a split that it does not have.
    """
    layout = layout_of(path)
    if layout is None or layout.dataset is None:
        if not path.exists():
            raise DataError("no such file or folder", where=path,
                            fix=f"check the path: from here it is {path.absolute()}")
        known = ", ".join(layout.about for layout in sorted(layouts(), key=lambda layout: not layout.general)
                          if layout.dataset)
        what = f"is {layout.about}, which has no labels" if layout else "holds no images that are known here"
        raise DataError(what, where=path, fix=f"give {known}")
    contents = layout.dataset(path)
    splits = _names(contents, split)
    if split is not None and split not in splits:
        raise DataError(f"has no split '{split}'", where=f"--split {split}", fix=did_you_mean(split, splits))
    return Dataset(name=path.resolve().name if path.is_dir() else path.name.split(".")[0], path=path,
                   layout=layout.name, contents=contents, classes=contents.classes, names=names, splits=splits,
                   judging=split or next((name for name in (TEST, VALIDATION) if name in splits), None),
                   skip_broken=skip_broken)


def find_dataset(data: Path | None, *, names: tuple[tuple[str, ...], ...] = (), split: str | None = None,
                 skip_broken: bool = False) -> Dataset | None:
    """The data set at `data`, else at $EDGE_SE_DATA, else CIFAR-10 in the user cache; None when it is nowhere."""
    path = data or (Path(os.environ["EDGE_SE_DATA"]) if os.environ.get("EDGE_SE_DATA") else None)
    if path is None:
        cached = find()
        path = cached.root if cached else None
    return None if path is None else open_dataset(path, names=names, split=split, skip_broken=skip_broken)


def require_dataset(data: Path | None, *, names: tuple[tuple[str, ...], ...] = (), split: str | None = None,
                    skip_broken: bool = False) -> Dataset:
    """`find_dataset`, or DataError with the ways to get one."""
    found = find_dataset(data, names=names, split=split, skip_broken=skip_broken)
    if found is None:
        raise DataError("no labelled images were found", where="--data",
                        fix=f"give a folder of images, or for CIFAR-10 {HOW_TO_GET}")
    return found


def _names(contents: Contents, judging: str | None) -> tuple[str, ...]:
    """The splits that there are: those that the layout tells and those that hashes make."""
    told = tuple(contents.splits)
    if told == (WHOLE,):
        return (TRAIN, VALIDATION, TEST)
    judging = judging or (TEST if TEST in told else VALIDATION)
    if TRAIN in told and judging != TRAIN and VALIDATION not in set(told) - {judging}:
        return (*told, HELD_OUT)
    return told
