"""FER2013: small grey faces, as a csv that holds the pictures or as folders of images."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import zip_longest
from pathlib import Path
from typing import Any, ClassVar

from ...core.errors import UserError
from ...core.schema import STATUS_OK, LabelSet, Task
from .annotations import BAD_ROW, SPLIT_NAMES, csv_rows, hash_files, unreadable
from .base import SOURCES, Sample, Source, SourceOptions
from .ferplus import COLUMNS as VOTE_COLUMNS
from .ferplus import FILE as VOTE_FILE
from .ferplus import count_votes, label_set
from .vocabulary import expression_name, ids_of, vocabulary
from .walk import Found, entries, walk

CLASSES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
"""The meaning of FER2013's ids 0 to 6."""

USAGE = {"Training": "train", "PublicTest": "val", "PrivateTest": "test"}

_CSV = "fer2013.csv"
_COLUMNS = ("emotion", "pixels", "Usage")
_FOLDERS = {**{name.casefold(): split for name, split in USAGE.items()}, **SPLIT_NAMES}
_IDS = ids_of(CLASSES, contempt=False)
_SHOWN = 40
_BLANKS = ' \t\f\v"\r\n'
"""`images.grey_csv`, which counts the pictures, passes over a line of nothing else."""


@SOURCES.register("fer2013")
class Fer2013(Source):
    """FER2013: 35,887 grey faces of 48×48, taken whole; with FER+ votes where their csv lies beside it."""

    layout: ClassVar[str] = (
        "fer2013.csv          emotion,pixels,Usage; the pictures are in the csv\n"
        "fer2013new.csv       the votes of FER+, where they are wanted as a second label set\n"
        "or, instead of both, images in train/angry/, test/angry/, …"
    )
    obtain: ClassVar[str] = (
        "FER2013 is the dataset of Kaggle's 'Challenges in Representation Learning: Facial Expression Recognition "
        "Challenge'; FER+ is published by Microsoft ('FERPlus')."
    )
    uses: ClassVar[frozenset[str]] = frozenset({"contempt"})

    def __init__(self, root: Path, options: SourceOptions | None = None) -> None:
        super().__init__(root.parent if root.name == _CSV and root.is_file() else root, options)

    def check(self) -> None:
        """See whether the csv, or the folders of images, are there, and whether the csv has its columns."""
        if self._csv is None:
            if not self._folders:
                expected = f"'{_CSV}', there and in 'fer2013', or images in folders such as 'train/angry'"
                raise self.not_there("FER2013", expected)
            if (self.root / VOTE_FILE).is_file():
                raise UserError(
                    f"{self.root / VOTE_FILE} has votes for the rows of {_CSV}, which is not there; they cannot be "
                    "joined with images in folders. Add that csv, or move the votes elsewhere."
                )
            return
        next(csv_rows(self.root / self._csv, _COLUMNS), None)
        if self._votes is not None:
            next(csv_rows(self.root / self._votes, VOTE_COLUMNS), None)

    def tasks(self) -> dict[str, Task]:
        """Seven expressions, or with contempt, which only FER+ knows, eight."""
        classes = vocabulary(contempt=self.options.contempt)
        return {"expression": Task("expression", "categorical", classes)}

    def label_sets(self) -> dict[str, LabelSet]:
        """`expression_human`, and `expression_ferplus` where its csv is there."""
        made = [LabelSet.categorical("expression", "human", "human", {"source": "FER2013"})]
        if self._votes is not None:
            made.append(label_set())
        return {found.name: found for found in made}

    def samples(self) -> Iterator[Sample]:
        """A sample for each row of the csv, or each image in the folders."""
        if self._csv is not None:
            yield from self._rows(self._csv)
            return
        for folder in self._folders:
            for found in walk(self.root, folder):
                yield self._found(found)

    def fingerprint(self) -> str:
        """Over the csv files, or the names of all images."""
        if self._csv is not None:
            return hash_files(self.root, filter(None, (self._csv, self._votes)))
        digest = hashlib.sha256()
        for folder in self._folders:
            for found in walk(self.root, folder):
                digest.update(f"{found.path}\n".encode())
        return digest.hexdigest()

    @cached_property
    def _csv(self) -> str | None:
        return next((file for file in (_CSV, f"fer2013/{_CSV}") if (self.root / file).is_file()), None)

    @cached_property
    def _votes(self) -> str | None:
        """The csv of FER+, beside the other one."""
        file = (self._csv or "").removesuffix(_CSV) + VOTE_FILE
        return file if self._csv is not None and (self.root / file).is_file() else None

    @cached_property
    def _folders(self) -> list[str]:
        """The folders of the splits that have folders of expressions."""
        if not self.root.is_dir():
            return []
        return [
            folder
            for folder in entries(self.root)[1]
            if folder.casefold() in _FOLDERS and any(map(expression_name, entries(self.root / folder)[1]))
        ]

    def _rows(self, file: str) -> Iterator[Sample]:
        path = self.root / file
        rows = _lines(path)
        if self._votes is None:
            for index, (line, row) in enumerate(rows):
                yield self._sample(file, index, line, row, {}, None)
            return
        votes = csv_rows(self.root / self._votes, VOTE_COLUMNS)
        for index, (ours, theirs) in enumerate(zip_longest(rows, votes)):
            if ours is None or theirs is None:
                shorter = path if ours is None else self.root / self._votes
                raise UserError(f"{shorter} ends after {index:,} rows, the other csv does not. {_FIT}")
            _check_pair(self.root / self._votes, index, theirs[0], ours[1], theirs[1])
            counted = count_votes(theirs[1], contempt=self.options.contempt)
            values = {"expression_ferplus": counted.label, "expression_ferplus_probs": counted.probs}
            problem = counted.problem and f"line {theirs[0]:,} of {VOTE_FILE}: {counted.problem}"
            yield self._sample(file, index, ours[0], ours[1], values, problem)

    def _sample(
        self, file: str, index: int, line: int, row: Mapping[str, str], votes: Mapping[str, Any], problem: str | None
    ) -> Sample:
        emotion, usage = row.get("emotion", ""), row.get("Usage", "")
        values = {name: value for name, value in votes.items() if value is not None}
        if emotion in {"0", "1", "2", "3", "4", "5", "6"}:
            values["expression_human"] = _IDS[CLASSES[int(emotion)]]
        else:
            problem = f"line {line:,}: its emotion is '{emotion[:_SHOWN]}'; a number from 0 to 6 was expected"
        if usage not in USAGE:
            problem = f"line {line:,}: its Usage is '{usage[:_SHOWN]}'; one of {', '.join(USAGE)} was expected"
        return Sample(
            id=f"fer{index:07d}",
            split=USAGE.get(usage, "train"),
            image=f"{file}#{index}",
            values=values,
            whole=True,
            status=BAD_ROW if problem else STATUS_OK,
            detail=problem,
        )

    def _found(self, found: Found) -> Sample:
        split, _, below = found.path.partition("/")
        folder, slash, _ = below.partition("/")
        values: dict[str, Any] = {}
        status, detail = found.status, found.detail
        name = expression_name(folder) if slash else None
        if name in vocabulary(contempt=self.options.contempt):
            values["expression_human"] = vocabulary(contempt=self.options.contempt).index(name)
        elif status is None and name is None:
            status, detail = BAD_ROW, f"it lies in '{split}/{folder if slash else ''}', which is no expression"
        return Sample(
            id=found.path,
            split=_FOLDERS[split.casefold()],
            image=found.path,
            values=values,
            whole=True,
            status=status or STATUS_OK,
            detail=detail,
        )


_FIT = f"{VOTE_FILE} must have a row for each row of {_CSV}, in the same order; take both as they were published."


def _lines(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of the csv.

    Raises:
        UserError: one goes over several lines, in whichever column, so that rows and pictures could not be counted
            alike.
    """
    begins = _row_lines(path)
    next(begins, None)  # the header's
    for line, row in csv_rows(path, _COLUMNS):
        if line != next(begins, None):
            raise UserError(
                f"Up to line {line:,} of {path} rows cannot be counted by lines: a text goes over several lines there, "
                "or a line holds odd blanks only; one row a line was expected. Take the file as it was published."
            )
        yield line, row


def _row_lines(path: Path) -> Iterator[int]:
    """The numbers, from 1, of the lines that are taken for rows where pictures are counted."""
    try:
        # newline and Latin-1: lines end where the csv's do, whatever else is in them
        with path.open(encoding="latin-1", newline="") as lines:
            yield from (number for number, line in enumerate(lines, start=1) if line.strip(_BLANKS))
    except OSError as error:
        raise unreadable(path, error) from error


def _check_pair(votes: Path, index: int, line: int, ours: Mapping[str, str], theirs: Mapping[str, str]) -> None:
    """See whether a row of votes is about the row of the same place.

    Raises:
        UserError: it is of another split or another picture.
    """
    usage, name = theirs.get("Usage", ""), theirs.get("Image name", "")
    if usage != ours.get("Usage"):
        raise UserError(
            f"Line {line:,} of {votes} is of '{usage[:_SHOWN]}', and row {index:,} of {_CSV} of "
            f"'{ours.get('Usage', '')[:_SHOWN]}'. {_FIT}"
        )
    if name and name != f"fer{index:07d}.png":
        raise UserError(
            f"Line {line:,} of {votes} is about '{name[:_SHOWN]}'; 'fer{index:07d}.png' was expected there. {_FIT}"
        )
