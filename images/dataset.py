"""What make-cifar asks of an image dataset, and the fingerprint they share."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ..core.errors import unknown_name

SPLITS = ("train", "test")

CHUNK_BYTES = 64 * 2**20
"""No chunk of decoded pixels is larger than this (unless one image is)."""

CHUNK_IMAGES = 2048
"""No chunk of decoded pixels holds more images than this."""


class ImageDataset(Protocol):
    """A labelled image dataset with a train and a test split, read in bounded chunks.

    `images.reader.read_images(root, references(split), 32)` gives the same pixels as `images(split)`.
    """

    @property
    def name(self) -> str:
        """The dataset's name, e.g. "cifar10"."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; a label is a position in this tuple."""

    @property
    def layout(self) -> str:
        """How it lies on disk: "python", "binary", "parquet" or "packaged"."""

    @property
    def root(self) -> Path:
        """The folder or archive that references are relative to."""

    def labels(self, split: str) -> npt.NDArray[np.int16]:
        """Class ids of a split (n)."""

    def references(self, split: str) -> list[str]:
        """An image reference for each label of a split."""

    def images(self, split: str) -> Iterator[npt.NDArray[np.uint8]]:
        """Pixels of a split in the labels' order, as chunks (n×32×32×3, RGB)."""

    def fingerprint(self) -> str:
        """`fingerprint(dataset)`, in hexadecimal: the same for the same labels and pixels in every layout."""


def fingerprint(dataset: ImageDataset) -> str:
    """The SHA-256 over the labels and pixels of train, then test, in hexadecimal.

    Hashed for each split: its name and length as text, its labels as little-endian int16, its pixels row by row (RGB).
    The layout, the root and the file names play no part.
    """
    digest = hashlib.sha256()
    for split in SPLITS:
        labels = dataset.labels(split)
        digest.update(f"{split}:{len(labels)}\n".encode())
        digest.update(labels.astype("<i2").tobytes())
        for pixels in dataset.images(split):
            digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def check_split(split: str) -> str:
    """Return `split`.

    Raises:
        UserError: it is neither "train" nor "test".
    """
    if split not in SPLITS:
        raise unknown_name("split", split, SPLITS)
    return split


def chunk_length(size: int) -> int:
    """How many size×size×3 images fit one chunk: at least 1, at most `CHUNK_IMAGES`."""
    return max(1, min(CHUNK_IMAGES, CHUNK_BYTES // (3 * size * size)))
