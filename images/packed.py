"""Chosen rows of a packed file: Parquet, a batch of CIFAR-10, FER2013's csv, or scikit-learn's digits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Protocol

import numpy as np
import numpy.typing as npt

from . import digits
from .archive import MAX_MEMBER_BYTES
from .batches import bad_file, binary_batch, python_batch
from .decode import UnreadableImage
from .grey_csv import GreyCsv
from .parquet import PictureColumn

Pixels = npt.NDArray[np.uint8]
Picture = bytes | Pixels | UnreadableImage
"""A file's bytes, or decoded pixels (H×W×3), or why there is neither."""


class PackedFile(Protocol):
    """A file that holds many pictures, open to be read row by row."""

    file: str

    def __len__(self) -> int:
        """How many pictures there are."""

    def fetch(self, rows: Sequence[int]) -> Sequence[Picture]:
        """One picture a row; all rows are within the file, and ascending ones come fastest."""

    def close(self) -> None:
        """Let go of it."""


class _Arrays:
    """Pictures that are pixels already."""

    def __init__(self, file: str) -> None:
        self.file = file

    def close(self) -> None:
        """Nothing is open."""


class BatchPictures(_Arrays):
    """The pictures of a CIFAR-10 batch (32×32×3); the whole batch is held."""

    def __init__(self, source: Path | bytes, where: str, file: str) -> None:
        super().__init__(file)
        parse = binary_batch if PurePosixPath(file).suffix else python_batch
        self._batch = parse(content(source, where), where)

    def __len__(self) -> int:
        return len(self._batch.labels)

    def fetch(self, rows: Sequence[int]) -> list[Pixels]:
        """Pixels of some rows."""
        return list(self._batch.pixels(np.array(rows, np.int64)))


class DigitPictures(_Arrays):
    """scikit-learn's digits (32×32×3)."""

    def __len__(self) -> int:
        return digits.digit_count()

    def fetch(self, rows: Sequence[int]) -> list[Pixels]:
        """Pixels of some rows."""
        return list(digits.digit_pixels(np.array(rows, np.int64)))


def open_packed(source: Path | bytes, where: str, file: str) -> PackedFile:
    """Open a packed file.

    The kind is told by the name: `.parquet`, `.csv` (FER2013's), `.bin` (CIFAR-10's binary version), no suffix (its
    Python version).

    Args:
        source: the file's path, or its content where it lies in an archive.
        where: names the file in errors.
        file: its path relative to the dataset's root, as in references.

    Raises:
        UserError: the file is of no known kind, or is damaged.
    """
    suffix = PurePosixPath(file).suffix.lower()
    if suffix == ".parquet":
        return PictureColumn(source, where, file)
    if suffix == ".csv":
        return GreyCsv(source, where, file)
    if suffix not in ("", ".bin"):
        raise UnreadableImage(
            file,
            "it is no packed file. References with a row (file#17) lead into a .parquet file, FER2013's .csv, a batch "
            "of CIFAR-10 or scikit-learn's digits",
            remedy="A single picture is referred to without a row.",
        )
    return BatchPictures(source, where, file)


def content(source: Path | bytes, where: str) -> bytes:
    """The bytes of a batch file.

    Raises:
        UserError: it cannot be read, or is far larger than any batch.
    """
    if isinstance(source, bytes):
        return source
    try:
        length = source.stat().st_size
        if length > MAX_MEMBER_BYTES:
            raise bad_file(where, f"it has {length:,} bytes, more than the {MAX_MEMBER_BYTES:,} allowed")
        return source.read_bytes()
    except OSError as error:
        raise bad_file(where, f"it cannot be opened ({error.strerror})") from error


def beyond(file: str, row: int, count: int) -> UnreadableImage:
    """The error for a row behind the end of a packed file with `count` pictures."""
    reason = f"{file} has {count:,} images, 0 to {count - 1:,}" if count else f"{file} has no images"
    return UnreadableImage(f"{file}#{row}", reason, "missing")
