"""CIFAR-10 from the official binary files: label byte + 3,072 pixel bytes a record, checked by SHA-256, no pickle.

Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edge_se.core.assets import cache_dir
from edge_se.core.errors import DataError, UnavailableError
from edge_se.core.files import write_bytes

Source = Literal["train", "test"]

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
MEAN = (0.4914, 0.4822, 0.4465)  # of the training pixels / 255, per channel
STD = (0.2470, 0.2435, 0.2616)

BINARY_FOLDER = "cifar-10-batches-bin"
TORCHVISION_FOLDER = "cifar-10-batches-py"
RECORDS_PER_FILE = 10_000
RECORD_BYTES = 1 + 3 * 32 * 32
FILES: dict[Source, tuple[str, ...]] = {
    "train": tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
    "test": ("test_batch.bin",),
}
SHA256 = {
    "data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
    "data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
    "data_batch_3.bin": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
    "data_batch_4.bin": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
    "data_batch_5.bin": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
    "test_batch.bin": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
}
HOW_TO_GET = "run `edge-se data fetch`, or point --data or $EDGE_SE_DATA at the folder that holds " + BINARY_FOLDER


@dataclass(frozen=True, kw_only=True)
class Cifar10:
    """A folder that holds the data set, as official binary files or as torchvision's download."""

    root: Path
    binary: bool

    def read(self, source: Source) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """(pixels (N, 3, 32, 32), labels (N,)) in official order; raises DataError when a file is not the original."""
        records = np.concatenate([self._records(name) for name in FILES[source]])
        return np.ascontiguousarray(records[:, 1:]).reshape(-1, 3, 32, 32), np.ascontiguousarray(records[:, 0])

    def verify(self) -> None:
        """Reads every file; raises DataError at the first that is not the original."""
        for source in FILES:
            self.read(source)

    def _records(self, name: str) -> NDArray[np.uint8]:
        content = self._binary_file(name) if self.binary else self._torchvision_file(name)
        if len(content) != RECORDS_PER_FILE * RECORD_BYTES:
            raise DataError(f"{len(content):,} bytes instead of {RECORDS_PER_FILE * RECORD_BYTES:,}: truncated",
                            where=self.root / BINARY_FOLDER / name, fix=HOW_TO_GET)
        if hashlib.sha256(content).hexdigest() != SHA256[name]:
            raise DataError("SHA-256 differs from the official file's: altered",
                            where=self.root / BINARY_FOLDER / name, fix=HOW_TO_GET)
        return np.frombuffer(content, dtype=np.uint8).reshape(RECORDS_PER_FILE, RECORD_BYTES)

    def _binary_file(self, name: str) -> bytes:
        path = self.root / BINARY_FOLDER / name
        try:
            return path.read_bytes()
        except OSError as error:
            raise DataError(f"cannot be read ({error.strerror or error})", where=path, fix=HOW_TO_GET) from error

    def _torchvision_file(self, name: str) -> bytes:
        return _as_binary(_torchvision_cifar10(self.root, "test" if name in FILES["test"] else "train", download=False),
                          name)


def find(data: Path | None = None) -> Cifar10 | None:
    """The data set in `data`, else in $EDGE_SE_DATA, else in the user cache; None when it is nowhere.

    A folder that was named but does not hold it raises DataError: silently using another would surprise.
    """
    named = data or (Path(os.environ["EDGE_SE_DATA"]) if os.environ.get("EDGE_SE_DATA") else None)
    if named is not None:
        here = at(named)
        if here is None:
            raise DataError(f"holds neither {BINARY_FOLDER}/ nor {TORCHVISION_FOLDER}/", where=named, fix=HOW_TO_GET)
        return here
    return at(cache_dir() / "data")


def require(data: Path | None = None) -> Cifar10:
    """`find`, or DataError with the way to get the data set."""
    cifar = find(data)
    if cifar is None:
        raise DataError("CIFAR-10 was not found", where=cache_dir() / "data", fix=HOW_TO_GET)
    return cifar


def fetch(folder: Path) -> Cifar10:
    """Downloads through torchvision and stores the official binary files in `folder`; the one network access."""
    for source, names in FILES.items():
        dataset = _torchvision_cifar10(folder, source, download=True)
        for name in names:
            write_bytes(folder / BINARY_FOLDER / name, _as_binary(dataset, name))
    cifar = Cifar10(root=folder, binary=True)
    cifar.verify()
    return cifar


def at(root: Path) -> Cifar10 | None:
    """The data set in this very folder, or None."""
    if root.name == BINARY_FOLDER and root.is_dir():
        return Cifar10(root=root.parent, binary=True)
    if (root / BINARY_FOLDER).is_dir():
        return Cifar10(root=root, binary=True)
    if (root / TORCHVISION_FOLDER).is_dir():
        return Cifar10(root=root, binary=False)
    return None


def _torchvision_cifar10(root: Path, source: Source, *, download: bool) -> object:
    try:
        from edge_se.data.torchvision_import import torchvision
    except ImportError as error:
        raise UnavailableError("reading torchvision's copy of CIFAR-10 needs torchvision", where=root,
                               fix="pip install 'edge-se[torch]', or use the official binary files") from error
    try:
        return torchvision.datasets.CIFAR10(str(root), train=source == "train", download=download)
    except Exception as error:  # torchvision raises RuntimeError, URLError, OSError, EOFError ... for the same thing
        raise DataError(f"torchvision could not {'download' if download else 'read'} CIFAR-10 ({error})",
                        where=root, fix=HOW_TO_GET) from error


def _as_binary(dataset: object, name: str) -> bytes:
    """The content of the official binary file `name` from a torchvision dataset (HWC pixels, list of labels)."""
    names = FILES["test"] if name in FILES["test"] else FILES["train"]
    rows = slice(names.index(name) * RECORDS_PER_FILE, (names.index(name) + 1) * RECORDS_PER_FILE)
    pixels = np.asarray(dataset.data)[rows].transpose(0, 3, 1, 2).reshape(-1, RECORD_BYTES - 1)  # type: ignore[attr-defined]
    labels = np.asarray(dataset.targets, dtype=np.uint8)[rows, None]  # type: ignore[attr-defined]
    return np.concatenate([labels, pixels], axis=1).astype(np.uint8).tobytes()
