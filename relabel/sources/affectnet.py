"""AffectNet's manually annotated images, as the original archives have them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any, ClassVar

from ...core.schema import STATUS_OK, LabelSet, Task
from .annotations import BAD_ROW, REFUSED, UniqueIds, csv_rows, eyes_of_68, hash_files, number, safe_reference
from .base import SOURCES, Sample, Source
from .vocabulary import ids_of, vocabulary

CLASSES = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", "contempt")
"""The meaning of AffectNet's ids 0 to 7."""

WITHOUT = {8: "none", 9: "uncertain", 10: "no face"}
"""AffectNet's ids that are no expression."""

NO_VALUE = -2.0
"""What stands for no valence or arousal."""

OBTAIN = (
    "AffectNet is given to researchers on request by Mohammad H. Mahoor, University of Denver "
    "('AffectNet: A Database for Facial Expression, Valence, and Arousal Computing in the Wild')."
)

_COLUMNS = (
    *("subDirectory_filePath", "face_x", "face_y", "face_width", "face_height"),
    *("facial_landmarks", "expression", "valence", "arousal"),
)
_LISTS = {"train": ("training.csv",), "val": ("validation.csv", "validate.csv")}
_LIST_FOLDERS = ("", "Manually_Annotated_file_lists", "Manually_Annotated/Manually_Annotated_file_lists")
_IMAGE_FOLDERS = (
    "Manually_Annotated_Images/Manually_Annotated_Images",
    "Manually_Annotated_Images",
    "Manually_Annotated/Manually_Annotated_Images",
)
_SHOWN = 40


class AffectNetLabels(Source):
    """What the two releases of AffectNet share: tasks and label sets."""

    obtain: ClassVar[str] = OBTAIN
    uses: ClassVar[frozenset[str]] = frozenset({"contempt"})

    def tasks(self) -> dict[str, Task]:
        """Seven expressions, eight with contempt, and valence/arousal."""
        classes = vocabulary(contempt=self.options.contempt)
        return {"expression": Task("expression", "categorical", classes), "va": Task("va", "continuous")}

    def label_sets(self) -> dict[str, LabelSet]:
        """`expression_human` and `va_human`, by one person an image."""
        told = {"source": "AffectNet"}
        made = (
            LabelSet.categorical("expression", "human", "human", told),
            LabelSet.valence_arousal("human", "human", told),
        )
        return {label_set.name: label_set for label_set in made}

    @cached_property
    def _ids(self) -> Mapping[int, int | None]:
        """For AffectNet's ids 0 to 10 those of the task, None for one that is no class of it."""
        ids = ids_of(CLASSES, contempt=self.options.contempt)
        return {**{index: ids[name] for index, name in enumerate(CLASSES)}, **dict.fromkeys(WITHOUT)}

    def _values(self, expression: str, valence: str, arousal: str) -> tuple[dict[str, Any], str | None]:
        """A sample's labels by column, and what is wrong with them, as a sentence's end."""
        values: dict[str, Any] = {}
        problem = None
        index = number(expression)
        if index is None or index not in self._ids:
            problem = f"its expression is '{expression[:_SHOWN]}'; a number from 0 to 10 was expected"
        elif (label := self._ids[int(index)]) is not None:
            values["expression_human"] = label
        pair = (number(valence), number(arousal))
        if NO_VALUE in pair:
            return values, problem
        if any(value is None or not -1 <= value <= 1 for value in pair):
            said = f"'{valence[:_SHOWN]}' and '{arousal[:_SHOWN]}'"
            expected = "numbers in [-1, 1], or -2 for none, were expected"
            return values, problem or f"its valence and arousal are {said}; {expected}"
        return {**values, "valence_human": pair[0], "arousal_human": pair[1]}, problem


@SOURCES.register("affectnet")
class AffectNet(AffectNetLabels):
    """AffectNet with its two csv files: about 414,800 train and 5,500 validation images, 68 landmarks each."""

    layout: ClassVar[str] = (
        "training.csv, validation.csv (or validate.csv)   subDirectory_filePath,face_x,face_y,face_width,face_height,\n"
        "                                                 facial_landmarks,expression,valence,arousal\n"
        "Manually_Annotated_Images/<dir>/<file>\n"
        "The archives' own folders are found too: Manually_Annotated/Manually_Annotated_Images and\n"
        "Manually_Annotated_file_lists. One csv is enough."
    )
    stand_in: ClassVar[str] = (
        "To try the tool without it, 'noisyfer make-faces --out datasets' draws a small stand-in in its layout: drawn "
        "faces, not for science."
    )

    def check(self) -> None:
        """See whether a csv and the folder of images are there, and whether the csv has its columns."""
        if not self._lists:
            names = " or ".join(f"'{name}'" for split in _LISTS.values() for name in split)
            folders = " and ".join(f"'{folder}'" for folder in _LIST_FOLDERS if folder)
            raise self.not_there("AffectNet", f"{names}, there and in {folders}")
        if self._images is None:
            folders = " or ".join(f"'{folder}'" for folder in _IMAGE_FOLDERS)
            raise self.not_there("folder with AffectNet's images", folders)
        for file in self._lists.values():
            next(csv_rows(self.root / file, _COLUMNS), None)

    def samples(self) -> Iterator[Sample]:
        """A sample for each row, first of the training list."""
        unique = UniqueIds()
        for split, file in self._lists.items():
            for line, row in csv_rows(self.root / file, _COLUMNS):
                yield self._sample(split, file, line, row, unique)

    def rows(self, split: str | None = None) -> int:
        """How many rows there are, without looking into them."""
        lists = (file for found, file in self._lists.items() if split in (None, found))
        return sum(1 for file in lists for _ in csv_rows(self.root / file, ["expression"]))

    def fingerprint(self) -> str:
        """Over the csv files."""
        return hash_files(self.root, self._lists.values(), {"images": self._images or ""})

    @cached_property
    def _lists(self) -> dict[str, str]:
        """The csv of each split that there is, relative to the root."""
        found = {}
        for split, names in _LISTS.items():
            places = [f"{folder}/{name}".lstrip("/") for folder in _LIST_FOLDERS for name in names]
            file = next((place for place in places if (self.root / place).is_file()), None)
            if file is not None:
                found[split] = file
        return found

    @cached_property
    def _images(self) -> str | None:
        return next((folder for folder in _IMAGE_FOLDERS if (self.root / folder).is_dir()), None)

    def _sample(self, split: str, file: str, line: int, row: Mapping[str, str], unique: UniqueIds) -> Sample:
        path, problem = safe_reference(row.get("subDirectory_filePath", ""))
        stands_in = problem is not None
        # a line that ends before its path is too short, and no attempt to lead out of the root
        status = REFUSED if stands_in and "subDirectory_filePath" in row else STATUS_OK
        values, wrong = self._values(*(row.get(name, "") for name in ("expression", "valence", "arousal")))
        if status == STATUS_OK and len(row) < len(_COLUMNS):
            wrong = f"it has {len(row)} of {len(_COLUMNS)} fields"
        if status == STATUS_OK and wrong:
            status, problem = BAD_ROW, f"line {line:,} of {PurePosixPath(file).name}: {wrong}"
        return Sample(
            id=unique(path),
            split=split,
            image=path if stands_in else f"{self._images}/{path}",
            values=values,
            eyes=eyes_of_68(row.get("facial_landmarks", "").split(";")),
            box=_box([number(row.get(f"face_{side}", "")) for side in ("x", "y", "width", "height")]),
            status=status,
            detail=problem,
        )


def _box(numbers: Sequence[float | None]) -> tuple[float, float, float, float] | None:
    left, top, width, height = numbers
    if left is None or top is None or width is None or height is None or width <= 0 or height <= 0:
        return None
    return left, top, left + width, top + height
