"""Reads the images of a list of references, from folders, packed files and archives alike."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..core.errors import UserError
from . import digits
from .archive import members
from .dataset import chunk_length
from .decode import UnreadableImage, decode_rgb, resized, to_pixels
from .packed import check_rows, read_rows
from .references import checked, inside, split_reference

Positions = npt.NDArray[np.int64]
Pixels = npt.NDArray[np.uint8]


@dataclass
class _Wanted:
    """Which positions of the list want what: by plain file, and by packed file with a row for each position."""

    plain: dict[str, list[int]] = field(default_factory=dict)
    packed: dict[str, tuple[list[int], list[int]]] = field(default_factory=dict)


def read_images(root: Path, references: Sequence[str], size: int) -> Iterator[tuple[Positions, Pixels]]:
    """Read images as size×size RGB, each packed file once.

    Args:
        root: the folder or .tar.gz archive that the references are relative to; for `digits#17` it plays no part.
        references: paths (`103/a.jpg`) and rows of packed files (`plain_text/test.parquet#17`), in any order and
            as often as wanted.
        size: width and height of the result. Images of that size keep their exact pixels; others are resized by
            Pillow's bicubic filter, their aspect not kept.

    Returns:
        Chunks of positions in `references` (n) and pixels (n×size×size×3), in any order, each position once; at most
        2,048 images and 64 MB a chunk.

    Raises:
        UserError: at once for a reference that could lead out of the root or a size that is none; while reading for a
            packed file that is damaged. Its subclass `UnreadableImage` where it is about one image.
    """
    if not 1 <= size <= 4096:
        raise UserError(f"The image size is {size}; expected a width of 1 to 4096 pixels.")
    return _read(Path(root), _wanted(references), size)


def _wanted(references: Sequence[str]) -> _Wanted:
    wanted = _Wanted()
    spellings: dict[str, str] = {}
    for position, reference in enumerate(references):
        given, row = split_reference(reference)
        file = spellings.get(given) or spellings.setdefault(given, checked(given))
        if row is None:
            wanted.plain.setdefault(file, []).append(position)
        else:
            positions, rows = wanted.packed.setdefault(file, ([], []))
            positions.append(position)
            rows.append(row)
    return wanted


def _read(root: Path, wanted: _Wanted, size: int) -> Iterator[tuple[Positions, Pixels]]:
    ours = wanted.packed.pop(digits.FILE, None)
    if ours is not None:
        yield from _spread(ours, size, _digit_rows)
    loose = _Loose(size)
    for file, source, where in _sources(root, list({**wanted.plain, **wanted.packed})):
        if file in wanted.packed:
            yield from _spread(wanted.packed[file], size, partial(read_rows, source, where, file))
        if file in wanted.plain:
            yield from loose.add(wanted.plain[file], to_pixels(decode_rgb(source, file), size))
    yield from loose.rest()


def _sources(root: Path, files: Collection[str]) -> Iterator[tuple[str, Path | bytes, str]]:
    """Each file with its path (or content, in an archive) and its name in errors; an archive is passed through once."""
    if not files:
        return
    if root.is_dir():
        for file in files:
            path = inside(root, file)
            yield file, path, str(path)
        return
    if not root.is_file():
        raise UserError(
            f"There is no folder or archive {root}. Give the one that the image references are relative to."
        )
    missing = set(files)
    for file, data in members(root, files.__contains__):
        missing.remove(file)
        yield file, data, f"{root}: {file}"
    if missing:
        raise UnreadableImage(min(missing), f"there is no such file in the archive {root}")


def _digit_rows(rows: Positions, size: int) -> Iterator[tuple[Positions, Pixels]]:
    check_rows(digits.FILE, rows, digits.digit_count())
    length = chunk_length(size)
    for start in range(0, len(rows), length):
        chosen = rows[start : start + length]
        yield chosen, resized(digits.digit_pixels(chosen), size)


def _spread(
    request: tuple[list[int], list[int]],
    size: int,
    read: Callable[[Positions, int], Iterator[tuple[Positions, Pixels]]],
) -> Iterator[tuple[Positions, Pixels]]:
    """Read the distinct rows of a request in ascending order, and hand each to all the positions that want it."""
    positions, rows = (np.array(values, dtype=np.int64) for values in request)
    order = np.argsort(rows, kind="stable")
    positions, rows = positions[order], rows[order]
    length = chunk_length(size)
    for found, pixels in read(np.unique(rows), size):
        first, last = np.searchsorted(rows, found[0]), np.searchsorted(rows, found[-1], side="right")
        for start in range(first, last, length):
            part = slice(start, min(start + length, last))
            yield positions[part], pixels[np.searchsorted(found, rows[part])]


class _Loose:
    """Gathers images of plain files into chunks."""

    def __init__(self, size: int) -> None:
        self.length = chunk_length(size)
        self.size = size
        self.positions: list[int] = []
        self.pixels: list[Pixels] = []

    def add(self, positions: list[int], pixels: Pixels) -> Iterator[tuple[Positions, Pixels]]:
        """Take one image, wanted at each of `positions`; yields chunks that became full."""
        for position in positions:
            self.positions.append(position)
            self.pixels.append(pixels)
            if len(self.positions) == self.length:
                yield from self.rest()

    def rest(self) -> Iterator[tuple[Positions, Pixels]]:
        """Yield what is left, if anything."""
        if self.positions:
            yield np.array(self.positions, dtype=np.int64), np.stack(self.pixels)
        self.positions, self.pixels = [], []
