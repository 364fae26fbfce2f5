"""Decoded images of a manifest, held once as uint8."""

from __future__ import annotations

import hashlib
import math
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import UserError, first_line
from ..core.files import whole_file
from ..core.schema import EYES
from ..core.streams import rng
from ..core.urls import is_url
from ..images.align import Eyes
from ..images.decode import UnreadableImage, picture_size
from ..images.pictures import PictureReader
from ..images.reader import read_images
from ..images.references import split_reference
from ..manifest import STATUS_OK, Labels, Manifest

IN_MEMORY_BYTES = 256 * 2**20
"""Decoded splits up to this size are held in memory; larger ones are memory-mapped from a file beside the manifest."""

DECODER = 1
"""Raised when the same files give other pixels, so that images that were decoded before are decoded anew."""

FACE_TASKS = ("expression", "va")

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class SplitData:
    """One split, decoded.

    Attributes:
        images: uint8 N×S×S×3, in memory or memory-mapped.
        labels: by label set name.
        ids: of the samples in the manifest; empty for data that was not read from one.
    """

    images: np.ndarray[Any, np.dtype[np.uint8]]
    labels: Mapping[str, Labels]
    ids: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.images)


def load_split(
    manifest: Manifest,
    split: str,
    label_sets: Sequence[str],
    *,
    size: int,
    limit: int = 0,
    labelled_by: str = "",
    may_be_empty: bool = False,
    root: Path | None = None,
    progress: Progress | None = None,
) -> SplitData:
    """Decode one split of a manifest and read its labels; samples whose status is not ok are left out.

    Where the manifest says where the eyes are, aligned faces are cut out; a sample without eyes is taken whole. Faces
    that were kept beside the manifest are read in place of the photographs where every sample that is asked for has one
    of at least the wanted size; larger ones are made smaller.

    Args:
        manifest: where the rows come from.
        split: `train`, `val` or `test`.
        label_sets: the label sets to read.
        size: side of the square images in pixels; others are resized.
        limit: a random subset of so many samples, the same for every seed and method; 0 for all.
        labelled_by: a label set; samples without a label of it are left out. Empty for none.
        may_be_empty: no usable sample is no error.
        root: the dataset's folder or archive, where it is not at the manifest's hint.
        progress: called with images done and images in all.

    Raises:
        UserError: the split has no usable sample, or an image cannot be read.
    """
    view = manifest.select(splits=[split])
    faces = manifest.header.faces
    samples = view.read(["id", "image", "status", *((*EYES, "face_image") if faces else ())])
    good = np.asarray(samples["status"].cast("string")) == STATUS_OK
    usable = np.flatnonzero(good & view.labels(labelled_by).present if labelled_by else good)
    if not len(usable) and not may_be_empty:
        labelled = f" that '{labelled_by}' labels" if labelled_by else ""
        raise UserError(f"{manifest.path} has no usable sample{labelled} in the split '{split}'.")
    if 0 < limit < len(usable):
        usable = np.sort(rng(0, "subset", split).choice(usable, limit, replace=False))
    samples = samples.take(usable)
    labels = {}
    for name in label_sets:
        read = view.labels(name)
        labels[name] = Labels(read.values[usable], read.present[usable])
    references, eyes = samples["image"].to_pylist(), _eyes(samples) if faces else None
    root = root or manifest.root
    kept = _kept_faces(manifest, samples["face_image"].to_pylist(), size) if faces else None
    if kept is not None:
        root, references, eyes = *kept, None
    images = decode(root, references, size, eyes=eyes, cache=manifest.path.parent / ".images", progress=progress)
    return SplitData(images, labels, samples["id"].to_pylist())


def learns_faces(manifest: Manifest, tasks: Sequence[str]) -> bool:
    """Whether what learns these tasks takes aligned faces: it sees them, or pictures that are nothing but a face."""
    if not manifest.header.faces:
        return False
    if any(task in FACE_TASKS for task in tasks):
        return True
    return any(batch.column(0).null_count < len(batch) for batch in manifest.batches([EYES[0]]))


def decode(
    root: Path,
    references: Sequence[str],
    size: int,
    *,
    cache: Path,
    eyes: Sequence[Eyes | None] | None = None,
    progress: Progress | None = None,
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The images as uint8 N×S×S×3: in memory, or memory-mapped from `cache` when they are large.

    The file's name is a hash of root, references, eyes, size, `DECODER`, and the files' sizes and dates but for those
    below a URL.
    It appears when it is whole: a later run finds it, a killed one leaves nothing to find, and replaced data is decoded
    anew.

    Args:
        root: what the references are relative to.
        references: the images.
        size: side of the result; others are resized.
        cache: a folder.
        eyes: of each image those that its face is aligned by, or None for the whole image; None: all are taken whole.
        progress: called with images done and images in all.

    Raises:
        UserError: an image cannot be read.
    """
    shape = (len(references), size, size, 3)
    if len(references) * size * size * 3 <= IN_MEMORY_BYTES:
        images = np.empty(shape, np.uint8)
        _fill(images, root, references, size, eyes, progress)
        return images
    file = cache / f"{_cache_key(root, references, size, eyes)}.npy"
    if not file.exists():
        with whole_file(file) as temporary:
            mapped = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=shape)
            with temporary.open("r+b") as reserved:
                # a hole in a mapped file on a full disk kills the process; asking for the space first is an error
                os.posix_fallocate(reserved.fileno(), 0, temporary.stat().st_size)
            _fill(mapped, root, references, size, eyes, progress)
            mapped.flush()
            del mapped
    try:
        opened: np.ndarray[Any, np.dtype[np.uint8]] = np.load(file, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise UserError(f"{file} is cut short or damaged ({first_line(error)}). Remove it and try again.") from error
    if opened.shape != shape or opened.dtype != np.uint8:
        raise UserError(
            f"{file} holds {opened.dtype} {opened.shape}; uint8 {shape} was expected. Remove it and try again."
        )
    return opened


def _eyes(samples: Any) -> list[Eyes | None]:
    """Of each sample its eyes; None where one of the four numbers is missing."""
    return [None if None in each else each for each in zip(*(samples[name].to_pylist() for name in EYES), strict=True)]


def _kept_faces(manifest: Manifest, references: list[str | None], size: int) -> tuple[Path, list[str]] | None:
    """The folder and references of the kept faces; None where a sample has none, or they are smaller than wanted.

    All of a manifest's faces were cut out at one size, so the first one tells.
    """
    found = [reference for reference in references if reference is not None]
    if not manifest.header.faces_root or not found or len(found) < len(references):
        return None
    root = manifest.path.parent / manifest.header.faces_root
    if not root.is_dir():
        return None  # the photographs give the same
    with PictureReader(root) as reader:
        first = reader.fetch(found[:1])[0]
    if isinstance(first, UnreadableImage):
        raise first
    kept = len(first) if isinstance(first, np.ndarray) else min(picture_size(first, found[0]))
    return (root, found) if kept >= size else None


def _cache_key(root: Path, references: Sequence[str], size: int, eyes: Sequence[Eyes | None] | None) -> str:
    rows = [split_reference(reference) for reference in references]
    packed = sorted({file for file, row in rows if row is not None})
    versions = [_version(root)] if root.is_file() else [_version(root / file) for file in packed]
    given = [f"decoder {DECODER}", str(root.resolve()), str(size), *filter(None, versions)]
    digest = hashlib.sha256("\n".join(given).encode())
    digest.update("\n".join(["", *references]).encode())
    if not root.is_file() and not is_url(root):
        for reference, (_, row) in zip(references, rows, strict=True):
            if row is None:
                digest.update(f"\n{_version(root / reference)}".encode())
    if eyes is not None and any(eyes):
        places = [each or (math.nan,) * 4 for each in eyes]
        digest.update(np.array(places, "<f8").tobytes())
    return digest.hexdigest()[:24]


def _version(path: Path) -> str:
    """Size and date of a file, so that replaced data is not taken for the old; empty where there is none."""
    try:
        found = path.stat()
    except (OSError, ValueError):  # whoever reads it says why there is none
        return ""
    return f"{found.st_size} {found.st_mtime_ns}" if stat.S_ISREG(found.st_mode) else ""


def _fill(
    target: Any,
    root: Path,
    references: Sequence[str],
    size: int,
    eyes: Sequence[Eyes | None] | None,
    progress: Progress | None,
) -> None:
    done = 0
    for positions, pixels in read_images(root, references, size, eyes):
        target[positions] = pixels
        done += len(positions)
        if progress is not None:
            progress(done, len(references))
