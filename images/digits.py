"""scikit-learn's digits: 1,797 scanned handwritten digits that come with the package, for demo and tests."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..core.streams import rng
from .dataset import CHUNK_IMAGES, check_split, fingerprint
from .decode import to_pixels

FILE = "digits"
"""The file part of a digit's reference, `digits#17`; it stands for the packaged data, under any root."""

SIDE = 32
"""Width and height of the scaled images."""


@dataclass(frozen=True)
class Digits:
    """The digits as a dataset: the same 80 % of every class are always train, the others test."""

    root: Path = Path(FILE)
    layout: str = "packaged"
    name: str = "digits"
    classes: tuple[str, ...] = tuple("0123456789")

    def labels(self, split: str) -> npt.NDArray[np.int16]:
        """Class ids of a split (1,438 or 359), 0 to 9."""
        return digit_labels()[split_rows(split)]

    def references(self, split: str) -> list[str]:
        """`digits#<row>` for each label of a split."""
        return [f"{FILE}#{row}" for row in split_rows(split)]

    def images(self, split: str) -> Iterator[npt.NDArray[np.uint8]]:
        """Pixels of a split in the labels' order, as chunks (n×32×32×3, RGB)."""
        rows = split_rows(split)
        for start in range(0, len(rows), CHUNK_IMAGES):
            yield digit_pixels(rows[start : start + CHUNK_IMAGES])

    def fingerprint(self) -> str:
        """The SHA-256 over labels and pixels, in hexadecimal."""
        return fingerprint(self)


def split_rows(split: str) -> npt.NDArray[np.int64]:
    """The rows of a split, ascending: of each class, a fifth (rounded) is test.

    Drawn by a stream of its own, from uniform numbers only, which numpy keeps the same in all versions.

    Raises:
        UserError: `split` is neither "train" nor "test".
    """
    labels = digit_labels()
    draw = rng(0, "digits", "split").random(len(labels))
    test = np.zeros(len(labels), dtype=bool)
    for label in range(10):
        rows = np.flatnonzero(labels == label)
        test[rows[np.argsort(draw[rows])[: round(len(rows) / 5)]]] = True
    return np.flatnonzero(test if check_split(split) == "test" else ~test).astype(np.int64)


def digit_count() -> int:
    """How many digits there are: 1,797."""
    return len(digit_labels())


def digit_labels() -> npt.NDArray[np.int16]:
    """The class ids of all digits (1,797), 0 to 9."""
    return _packaged()[1]


def digit_pixels(rows: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """Some digits (k×32×32×3, RGB): ink 0 to 16 becomes 0 to 255, 8×8 grows to 32×32 by Pillow's bicubic filter."""
    from PIL import Image

    scans = _packaged()[0]
    result = np.empty((len(rows), SIDE, SIDE, 3), dtype=np.uint8)
    for index, row in enumerate(rows):
        result[index] = to_pixels(Image.fromarray(scans[row]).convert("RGB"), SIDE)
    return result


@functools.cache
def _packaged() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int16]]:
    from sklearn.datasets import load_digits

    data = load_digits()
    scans = np.rint(data.images * (255 / 16)).astype(np.uint8)
    labels = data.target.astype(np.int16)
    scans.flags.writeable = labels.flags.writeable = False  # every caller shares them
    return scans, labels
