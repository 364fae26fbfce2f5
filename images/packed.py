"""Chosen rows of a packed file: Parquet, a batch of CIFAR-10, or scikit-learn's digits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from ..core.errors import UserError
from . import parquet
from .archive import MAX_MEMBER_BYTES
from .batches import bad_file, binary_batch, python_batch
from .dataset import chunk_length
from .decode import UnreadableImage, decode_rgb, resized, to_pixels

Rows = npt.NDArray[np.int64]
Pixels = npt.NDArray[np.uint8]


def read_rows(source: Path | bytes, where: str, file: str, rows: Rows, size: int) -> Iterator[tuple[Rows, Pixels]]:
    """Decoded rows of a packed file, in bounded chunks.

    The kind is told by the name: `.parquet`, `.bin` (CIFAR-10's binary version), no suffix (its Python version).

    Args:
        source: the file's path, or its content where it lies in an archive.
        where: names the file in errors.
        file: its path relative to the dataset's root, as in references.
        rows: the wanted rows, ascending, each once.
        size: width and height of the result; other images are resized.

    Yields:
        Rows (k, ascending) and their pixels (k×size×size×3, RGB).

    Raises:
        UserError: the file is of no known kind, is damaged, or lacks a wanted row.
    """
    suffix = PurePosixPath(file).suffix.lower()
    length = chunk_length(size)
    if suffix == ".parquet":
        check_rows(file, rows, parquet.row_count(source, where))
        for found, pictures in parquet.encoded_rows(source, where, file, rows, length):
            yield found, decode_all(pictures, [f"{file}#{row}" for row in found], size)
        return
    if suffix not in ("", ".bin"):
        raise UserError(
            f"{where} is no packed file. References with a row (file#17) lead into a .parquet file, a batch of "
            "CIFAR-10 or scikit-learn's digits; a single picture is referred to without a row."
        )
    batch = (binary_batch if suffix else python_batch)(content(source, where), where)
    check_rows(file, rows, len(batch.labels))
    for start in range(0, len(rows), length):
        chosen = rows[start : start + length]
        yield chosen, resized(batch.pixels(chosen), size)


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


def check_rows(file: str, rows: Rows, count: int) -> None:
    """Check ascending rows against a file's length.

    Raises:
        UnreadableImage: one is beyond the end.
    """
    beyond = rows[rows >= count]
    if len(beyond):
        reason = f"{file} has {count:,} images, 0 to {count - 1:,}" if count else f"{file} has no images"
        raise UnreadableImage(f"{file}#{beyond[0]}", reason)


def decode_all(pictures: Sequence[bytes], references: Sequence[str], size: int) -> Pixels:
    """Decode pictures to k×size×size×3; one that cannot be read raises `UnreadableImage` with its reference.

    On one thread: at 32×32, handing pictures to two threads took twice as long as decoding them.
    """
    result = np.empty((len(pictures), size, size, 3), dtype=np.uint8)
    for index, (picture, reference) in enumerate(zip(pictures, references, strict=True)):
        result[index] = to_pixels(decode_rgb(picture, reference), size)
    return result
