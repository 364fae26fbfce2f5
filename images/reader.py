"""Reads the images of a list of references, whole or as aligned faces, from folders, packed files and archives."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..core.errors import UserError
from .align import Eyes, read_face
from .dataset import chunk_length
from .decode import UnreadableImage
from .packed import Picture
from .pictures import PictureReader
from .references import checked, split_reference

Positions = npt.NDArray[np.int64]
Pixels = npt.NDArray[np.uint8]

THREADS = max(1, min(4, len(os.sched_getaffinity(0))))
"""Threads that decode. The pixels do not depend on their number."""

THREAD_BYTES = 4096
"""Encoded pictures smaller than this are decoded where they are read: handing them to a thread takes longer."""

_PART = 32  # images that are read and decoded together


def read_images(
    root: Path, references: Sequence[str], size: int, eyes: Sequence[Eyes | None] | None = None
) -> Iterator[tuple[Positions, Pixels]]:
    """Read images as size×size RGB, each packed file in one pass.

    Args:
        root: the folder or .tar.gz archive that the references are relative to; for `digits#17` it plays no part.
        references: paths (`103/a.jpg`) and rows of packed files (`plain_text/test.parquet#17`), in any order and
            as often as wanted.
        size: width and height of the result. Whole images of that size keep their exact pixels; others are resized by
            Pillow's bicubic filter, their aspect not kept.
        eyes: for each reference the eyes that its face is aligned by, or None for the whole image; None: all whole.

    Returns:
        Chunks of positions in `references` (n) and pixels (n×size×size×3), in any order, each position once; never
        more than 2,048 images or 64 MB a chunk.

    Raises:
        UserError: at once for a reference that could lead out of the root or a size that is none; while reading for a
            packed file that is damaged. Its subclass `UnreadableImage` where it is about one image.
    """
    if not 1 <= size <= 4096:
        raise UserError(f"The image size is {size}; expected a width of 1 to 4096 pixels.")
    for reference in references:
        checked(split_reference(reference)[0])
    return _read(Path(root), references, size, eyes or [None] * len(references))


def _read(
    root: Path, references: Sequence[str], size: int, eyes: Sequence[Eyes | None]
) -> Iterator[tuple[Positions, Pixels]]:
    length = min(_PART, chunk_length(size))
    with PictureReader(root) as reader, ThreadPoolExecutor(THREADS, thread_name_prefix="decode") as pool:
        order = reader.order(references) if references else []
        under_way: deque[tuple[list[int], Future[Pixels]]] = deque()
        try:
            for start in range(0, len(order), length):
                part = order[start : start + length]
                names = [references[position] for position in part]
                job = (reader.fetch(names), names, [eyes[position] for position in part], size)
                if any(map(_is_large, job[0])):
                    under_way.append((part, pool.submit(_faces, *job)))
                else:
                    yield np.array(part, np.int64), _faces(*job)
                if len(under_way) > THREADS:
                    yield _result(*under_way.popleft())
            while under_way:
                yield _result(*under_way.popleft())
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _result(part: list[int], future: Future[Pixels]) -> tuple[Positions, Pixels]:
    return np.array(part, np.int64), future.result()


def _is_large(source: Path | Picture) -> bool:
    return isinstance(source, Path) or (isinstance(source, bytes) and len(source) >= THREAD_BYTES)


def _faces(
    sources: Sequence[Path | Picture], references: Sequence[str], eyes: Sequence[Eyes | None], size: int
) -> Pixels:
    result = np.empty((len(sources), size, size, 3), np.uint8)
    for index, (source, reference, pair) in enumerate(zip(sources, references, eyes, strict=True)):
        if isinstance(source, UnreadableImage):
            raise source
        result[index] = read_face(source, reference, pair, size)
    return result
