"""AffectNet's later release: a picture and a few small arrays for each number."""

from __future__ import annotations

import hashlib
import io
import math
import os
import re
import tokenize
from collections.abc import Iterator
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ...core.schema import STATUS_OK
from .affectnet import AffectNetLabels
from .annotations import BAD_ROW, eyes_of_68, unreadable
from .base import SOURCES, Sample

_SETS = {"train": "train_set", "val": "val_set"}
_KINDS = ("exp", "val", "aro", "lnd")
_IMAGE = re.compile(r"(0|[1-9][0-9]{0,14})\.jpg")
_ANNOTATION = re.compile(r"(0|[1-9][0-9]{0,14})_(?:exp|val|aro)\.npy")
_LARGEST = 64 * 2**10
_NO_TEXT = (ValueError, SystemError)
"""What numpy raises over bytes that are no ASCII, and over numbers that are no character of Unicode."""

Numbers = npt.NDArray[np.int64]


@SOURCES.register("affectnet-npy")
class AffectNetNpy(AffectNetLabels):
    """AffectNet as `train_set` and `val_set`: 287,651 train and 3,999 validation pictures of 224×224 in the release
    with eight expressions."""

    layout: ClassVar[str] = (
        "train_set/images/N.jpg, val_set/images/N.jpg      one of the two sets is enough\n"
        "train_set/annotations/N_exp.npy, N_val.npy, N_aro.npy, N_lnd.npy   expression, valence, arousal, 68 landmarks"
    )

    def check(self) -> None:
        """See whether one of the sets has images and annotations."""
        if not self._sets:
            folders = " or ".join(f"'{folder}/images' with '{folder}/annotations'" for folder in _SETS.values())
            raise self.not_there("AffectNet with .npy annotations", folders)

    def samples(self) -> Iterator[Sample]:
        """A sample for each number that has an image or an annotation, in numeric order, first of the train set."""
        for split, folder in self._sets.items():
            for index in self._numbers(folder):
                yield self._sample(split, folder, int(index))

    def rows(self, split: str | None = None) -> int:
        """How many numbers there are; no annotation is opened."""
        return sum(len(self._numbers(folder)) for found, folder in self._sets.items() if split in (None, found))

    def fingerprint(self) -> str:
        """Over all annotations."""
        digest = hashlib.sha256()
        for folder in self._sets.values():
            digest.update(f"{folder}\n".encode())
            for index in self._numbers(folder):
                for kind in _KINDS:
                    digest.update(f"{index}_{kind}\0".encode())
                    digest.update(self._content(folder, int(index), kind) or b"")
        return digest.hexdigest()

    @cached_property
    def _sets(self) -> dict[str, str]:
        return {
            split: folder
            for split, folder in _SETS.items()
            if all((self.root / folder / part).is_dir() for part in ("images", "annotations"))
        }

    def _numbers(self, folder: str) -> Numbers:
        """All numbers of a set, ascending: 8 bytes each are held."""
        images = _listing(self.root / folder / "images", _IMAGE)
        return np.union1d(images, _listing(self.root / folder / "annotations", _ANNOTATION))

    def _sample(self, split: str, folder: str, index: int) -> Sample:
        said, problems = {}, []
        for kind in ("exp", "val", "aro"):
            text = _scalar(self._content(folder, index, kind))
            if text is None:
                problems.append(f"{index}_{kind}.npy is missing or holds no single number")
            said[kind] = text or ""
        values, problem = self._values(said["exp"], said["val"], said["aro"])
        problem = problems[0] if problems else problem
        return Sample(
            id=f"{folder}/{index}",
            split=split,
            image=f"{folder}/images/{index}.jpg",
            values=values,
            eyes=self._eyes(folder, index),
            status=BAD_ROW if problem else STATUS_OK,
            detail=problem,
        )

    def _eyes(self, folder: str, index: int) -> tuple[float, float, float, float] | None:
        """From the landmarks, 68×2 or flat; None where they are missing or broken, so that the detector decides."""
        array = _array(self._content(folder, index, "lnd"))
        if array is None or array.size != 136:
            return None
        try:
            return eyes_of_68(array.ravel().astype(str).tolist())
        except _NO_TEXT:
            return None

    def _content(self, folder: str, index: int, kind: str) -> bytes | None:
        """The bytes of an annotation, None where there is none."""
        path = self.root / folder / "annotations" / f"{index}_{kind}.npy"
        try:
            handle = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise unreadable(path, error) from error
        try:
            return os.read(handle, _LARGEST)
        except OSError as error:
            raise unreadable(path, error) from error
        finally:
            os.close(handle)


def _listing(folder: Path, pattern: re.Pattern[str]) -> Numbers:
    try:
        with os.scandir(folder) as found:
            matches = (pattern.fullmatch(entry.name) for entry in found)
            return np.unique(np.fromiter((int(match[1]) for match in matches if match), np.int64))
    except OSError as error:
        raise unreadable(folder, error) from error


def _array(data: bytes | None) -> npt.NDArray[Any] | None:
    """An array of texts or numbers; anything else, objects above all, is None: nothing is executed."""
    length = 2 if data is not None and data[6:7] == b"\x01" else 4
    if data is None or len(data) < 8 + length:
        return None
    end = 8 + length + int.from_bytes(data[8 : 8 + length], "little")
    try:
        shape, fortran, dtype = _header(data[:end])
        if dtype.kind not in "iufUS":
            return None
        flat = np.frombuffer(data, dtype, math.prod(shape), offset=end)
        return flat.reshape(shape, order="F" if fortran else "C")
    except (ValueError, SyntaxError, tokenize.TokenError, TypeError, MemoryError, RecursionError):
        return None


@lru_cache(maxsize=1024)
def _header(head: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, order and type as the head of a .npy file says; a few heads serve hundreds of thousands of files."""
    stream = io.BytesIO(head)
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(stream)
    return shape, fortran, dtype


def _scalar(data: bytes | None) -> str | None:
    """The one entry of an array as a text; None where there is not one, or one that is no text."""
    array = _array(data)
    if array is None or array.size != 1:
        return None
    try:
        entry = array.reshape(-1)[0].item()
        text = entry.decode("ascii", "replace") if isinstance(entry, bytes) else str(entry)
        text.encode()  # raises for a lone surrogate, which no manifest could quote
    except _NO_TEXT:
        return None
    return text.strip()
