"""RAF-DB's basic expressions."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import ClassVar

from ...core.schema import STATUS_OK, LabelSet, Task
from .annotations import BAD_ROW, REFUSED, UniqueIds, hash_files, number, safe_reference, unreadable
from .base import EXPRESSIONS, SOURCES, Sample, Source
from .vocabulary import ids_of
from .walk import is_image

CLASSES = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")
"""The meaning of RAF-DB's ids 1 to 7."""

_BASES = ("basic", "", "rafd/basic", "raf/basic")
_LABELS = "EmoLabel/list_patition_label.txt"
_MANUAL = "Annotation/manual"
_ATTRIBUTES_BYTES = 4096
_IDS = ids_of(CLASSES, contempt=False)
_SPLITS = ("train", "test")
_SHOWN = 60


@SOURCES.register("raf")
class Raf(Source):
    """RAF-DB: seven expressions, 12,271 train and 3,068 test images, five manual landmarks each.

    The original photographs are used with the manual landmarks; where only the aligned pictures are there, those are
    taken whole.
    """

    layout: ClassVar[str] = (
        "basic/EmoLabel/list_patition_label.txt    lines 'train_00001.jpg 5', ids 1 to 7\n"
        "basic/Image/original/train_00001.jpg      or under original/imgs/\n"
        "basic/Annotation/manual/train_00001_manu_attri.txt   five landmarks, a line each\n"
        "basic/Image/aligned/train_00001_aligned.jpg   100×100; only used where there are no originals\n"
        "The root may also be 'basic' itself, or a folder that holds 'rafd/basic'."
    )
    obtain: ClassVar[str] = (
        "RAF-DB is given to researchers on request by Shan Li and Weihong Deng, Beijing University of Posts and "
        "Telecommunications."
    )
    stand_in: ClassVar[str] = (
        "To try the tool without it, 'noisyfer make-faces --out datasets' draws a small stand-in in its layout: drawn "
        "faces, not for science."
    )
    uses: ClassVar[frozenset[str]] = frozenset()

    def check(self) -> None:
        """See whether the list of labels and a folder of images are there."""
        if self._base is None:
            raise self.not_there("RAF-DB", " or ".join(f"'{_joined(base, _LABELS)}'" for base in _BASES))
        if self._images is None:
            folders = " or ".join(f"'{_joined(self._base, 'Image', kind)}'" for kind in ("original", "aligned"))
            raise self.not_there("folder with RAF-DB's images", f"images in {folders}, or in 'imgs' below one of them")

    def tasks(self) -> dict[str, Task]:
        """The seven expressions."""
        return {"expression": Task("expression", "categorical", EXPRESSIONS)}

    def label_sets(self) -> dict[str, LabelSet]:
        """`expression_human`: the majority of about forty people."""
        made = LabelSet.categorical("expression", "human", "human", {"source": "RAF-DB", "file": self._list})
        return {made.name: made}

    def samples(self) -> Iterator[Sample]:
        """A sample for each line of the list."""
        unique = UniqueIds()
        for count, words in self._lines():
            yield self._sample(count, words, unique)

    def rows(self, split: str | None = None) -> int:
        """How many lines the list has; no landmarks are read."""
        return sum(split in (None, _split(safe_reference(words[0])[0])) for _, words in self._lines())

    def fingerprint(self) -> str:
        """Over the list of labels and, where the originals are used, the landmark files that there are."""
        names: list[str] = []
        if self._original and (self.root / self._manual).is_dir():
            names = sorted(name for name in _names(self.root / self._manual) if name.endswith(".txt"))
        return hash_files(
            self.root, [self._list, *(f"{self._manual}/{name}" for name in names)], {"images": self._images or ""}
        )

    @cached_property
    def _base(self) -> str | None:
        """The folder that holds EmoLabel, relative to the root."""
        return next((base for base in _BASES if (self.root / base / _LABELS).is_file()), None)

    @property
    def _list(self) -> str:
        return _joined(self._base or "", _LABELS)

    @property
    def _manual(self) -> str:
        return _joined(self._base or "", _MANUAL)

    @property
    def _original(self) -> bool:
        return "Image/original" in (self._images or "")

    @cached_property
    def _images(self) -> str | None:
        """The folder of images, the originals where there are any."""
        for kind in ("original", "aligned"):
            for below in ("imgs", ""):
                folder = _joined(self._base or "", "Image", kind, below)
                if _holds_images(self.root / folder):
                    return folder
        return None

    def _lines(self) -> Iterator[tuple[int, list[str]]]:
        """Number, from 1, and words of each line of the list that has any."""
        path = self.root / self._list
        try:
            with path.open(encoding="utf-8-sig", errors="replace") as lines:
                for count, line in enumerate(lines, start=1):
                    if line.strip():
                        yield count, line.split()
        except OSError as error:
            raise unreadable(path, error) from error

    def _sample(self, count: int, words: list[str], unique: UniqueIds) -> Sample:
        file, problem = safe_reference(words[0])
        status = REFUSED if problem else STATUS_OK
        stem = PurePosixPath(file).stem
        label = _label(words[1]) if len(words) == 2 else None
        if status == STATUS_OK and _prefix(file) not in _SPLITS:
            problem = f"line {count} of the list names '{file[:_SHOWN]}', which begins with neither train_ nor test_"
        elif status == STATUS_OK and label is None:
            said = " ".join(words[1:])[:_SHOWN]
            problem = f"line {count} of the list gives it the class '{said}'; a number from 1 to 7 was expected"
        if problem and status == STATUS_OK:
            status = BAD_ROW
        image = file if status == REFUSED else _joined(self._images or "", file)
        if status != REFUSED and not self._original:
            image = str(PurePosixPath(image).with_name(f"{stem}_aligned.jpg"))
        return Sample(
            id=unique(stem),
            split=_split(file),
            image=image,
            values={} if label is None else {"expression_human": label},
            eyes=self._eyes(stem) if self._original and status == STATUS_OK else None,
            whole=not self._original,
            status=status,
            detail=problem,
        )

    def _eyes(self, stem: str) -> tuple[float, float, float, float] | None:
        """From the first two lines of the manual landmarks; None where the file is missing or broken, so that the
        detector decides."""
        try:
            with (self.root / self._manual / f"{stem}_manu_attri.txt").open("rb") as stream:
                lines = stream.read(_ATTRIBUTES_BYTES).decode("utf-8-sig", "replace").splitlines()[:5]
        except OSError:
            return None
        points = [[number(word) for word in line.split()] for line in lines]
        if len(points) < 5 or any(len(point) != 2 for point in points):
            return None
        left_x, left_y, right_x, right_y = points[0] + points[1]
        if left_x is None or left_y is None or right_x is None or right_y is None:
            return None
        return left_x, left_y, right_x, right_y


def _prefix(file: str) -> str:
    return file.partition("_")[0]


def _split(file: str) -> str:
    """The split that an image's name begins with; `train` where it begins otherwise."""
    return _prefix(file) if _prefix(file) in _SPLITS else "train"


def _label(text: str) -> int | None:
    return _IDS[CLASSES[int(text) - 1]] if text in {"1", "2", "3", "4", "5", "6", "7"} else None


def _joined(*parts: str) -> str:
    return "/".join(part for part in parts if part)


def _holds_images(folder: Path) -> bool:
    return folder.is_dir() and any(is_image(name) for name in _names(folder))


def _names(folder: Path) -> Iterator[str]:
    try:
        with os.scandir(folder) as found:
            for entry in found:
                yield entry.name
    except OSError as error:
        raise unreadable(folder, error) from error
