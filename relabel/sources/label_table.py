"""A csv with one label a line, gathered to one row an image, however the lines are ordered, without holding them."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

from ...core.errors import UserError
from ...core.schema import STATUS_OK, LabelSet, Task
from .annotations import BAD_ROW, REFUSED, SPLIT_NAMES, csv_columns, csv_rows, listed, number, safe_reference
from .vocabulary import expression_name, vocabulary

DEFAULT_ANNOTATOR = "human"
MAX_ANNOTATORS = 100

_OPTIONAL = ("expression", "valence", "arousal", "annotator", "split")
_ANNOTATOR = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_SHOWN = 60
_TABLES = """
create table images (number integer primary key, path text unique, status text, detail text, split text);
create table labels (image integer, line integer, annotator text, expression integer, valence real, arousal real,
                     problem text, primary key (image, line)) without rowid;
"""


@dataclass(frozen=True)
class LabelledImage:
    """What a csv says about one image: its reference, its split if any, values by column, and what is wrong."""

    image: str
    split: str | None
    values: dict[str, Any]
    status: str
    detail: str | None


class LabelTable:
    """A csv `image,expression[,valence,arousal][,annotator][,split]`; several lines may speak of one image.

    Args:
        path: the csv.
        contempt: keep the eighth expression.
    """

    def __init__(self, path: Path, *, contempt: bool) -> None:
        self.path = path
        self.classes = vocabulary(contempt=contempt)

    @cached_property
    def annotators(self) -> tuple[str, ...]:
        """Who labelled, in the order of their first lines.

        Raises:
            UserError: the csv cannot be read, or a name cannot be one of a label set.
        """
        found: dict[str, None] = {}
        for line, row in csv_rows(self.path, ["image"], _OPTIONAL):
            name = row.get("annotator") or DEFAULT_ANNOTATOR
            if name in found:
                continue
            if not _ANNOTATOR.fullmatch(name):
                raise UserError(
                    f"Line {line:,} of {self.path} names the annotator '{name[:_SHOWN]}'; letters, digits and _ . - "
                    "were expected, as label sets are named so. Rename it."
                )
            found[name] = None
            if len(found) > MAX_ANNOTATORS:
                raise UserError(
                    f"{self.path} names more than {MAX_ANNOTATORS} annotators, and each becomes a label set. Does the "
                    "column 'annotator' hold something else? Leave it out, or aggregate the labels first."
                )
        return tuple(found) or (DEFAULT_ANNOTATOR,)

    @cached_property
    def columns(self) -> frozenset[str]:
        """Which of the optional columns are there.

        Raises:
            UserError: there is no label among them.
        """
        found = csv_columns(self.path, ["image"], _OPTIONAL)
        if "expression" not in found and not {"valence", "arousal"} <= found:
            raise UserError(
                f"{self.path} has no label for its images: a column 'expression', or 'valence' and 'arousal', was "
                f"expected beside {listed(sorted(found))}."
            )
        return found

    def tasks(self) -> dict[str, Task]:
        """`expression`, `va`, or both."""
        found = []
        if "expression" in self.columns:
            found.append(Task("expression", "categorical", self.classes))
        if {"valence", "arousal"} <= self.columns:
            found.append(Task("va", "continuous"))
        return {task.name: task for task in found}

    def label_sets(self) -> dict[str, LabelSet]:
        """For each annotator a set a task."""
        told = {"source": self.path.name}
        made = []
        for annotator in self.annotators:
            if "expression" in self.tasks():
                made.append(LabelSet.categorical("expression", annotator, "human", told))
            if "va" in self.tasks():
                made.append(LabelSet.valence_arousal(annotator, "human", told))
        return {label_set.name: label_set for label_set in made}

    def gathered(self) -> Gathered:
        """Read the csv into a temporary file of the operating system's, which disappears with the object."""
        return Gathered(self)

    def parse(self, row: dict[str, str]) -> tuple[int | None, float | None, float | None, str | None]:
        """Expression, valence and arousal of a line, and what is wrong with it."""
        expression, problem = None, None
        if text := row.get("expression"):
            name = expression_name(text)
            if name in self.classes:
                expression = self.classes.index(name)
            elif name is None:
                problem = f"'{text[:_SHOWN]}' is no expression ({', '.join(self.classes)} were expected)"
        pair = [row.get("valence", ""), row.get("arousal", "")]
        if not any(pair):
            return expression, None, None, problem
        valence, arousal = (_unit(text) for text in pair)
        if valence is None or arousal is None:
            said = ", ".join(text[:_SHOWN] or "nothing" for text in pair)
            problem = problem or f"its valence and arousal are {said}; two numbers in [-1, 1] were expected"
            return expression, None, None, problem
        return expression, valence, arousal, problem


class Gathered:
    """The lines of a csv by image, in a temporary database."""

    def __init__(self, table: LabelTable) -> None:
        # an empty name: a private file that is deleted when it is closed; the samples may be taken in another thread
        self._database = sqlite3.connect("", check_same_thread=False, isolation_level=None)
        self._database.executescript("pragma journal_mode = off; pragma synchronous = off; begin;" + _TABLES)
        for line, row in csv_rows(table.path, ["image"], _OPTIONAL):
            self._add(table, line, row)

    def close(self) -> None:
        """Delete the temporary file."""
        self._database.close()

    def __contains__(self, path: str) -> bool:
        return bool(self._database.execute("select 1 from images where path = ?", (path,)).fetchone())

    def __iter__(self) -> Iterator[LabelledImage]:
        rows = self._database.execute(
            "select number, path, status, detail, split, line, annotator, expression, valence, arousal, problem "
            "from labels join images on number = image order by image, line"
        )
        for _, lines in groupby(rows, key=lambda row: row[0]):
            yield _merged(list(lines))

    def _add(self, table: LabelTable, line: int, row: dict[str, str]) -> None:
        execute = self._database.execute
        text = row.get("image", "")
        image, outside = safe_reference(text)
        key = image if outside is None else f"\0{text or line}"  # no path of a file is like that
        number = execute(
            "insert into images (path, status, detail) values (?, ?, ?) "
            "on conflict (path) do update set path = path returning number",
            (key, STATUS_OK if outside is None else REFUSED, outside),
        ).fetchone()[0]
        *values, problem = table.parse(row)
        if split := row.get("split"):
            known = SPLIT_NAMES.get(split.casefold())
            problem = problem or (
                None if known else f"its split is '{split[:_SHOWN]}'; train, val or test was expected"
            )
            execute("update images set split = coalesce(split, ?) where number = ?", (known, number))
        problem = None if problem is None else f"line {line}: {problem}"
        annotator = row.get("annotator") or DEFAULT_ANNOTATOR
        execute("insert into labels values (?, ?, ?, ?, ?, ?, ?)", (number, line, annotator, *values, problem))


def _merged(lines: Sequence[tuple[Any, ...]]) -> LabelledImage:
    _, path, status, detail, split, *_ = lines[0]
    values: dict[str, Any] = {}
    problem = None
    for _, _, _, _, _, line, annotator, expression, valence, arousal, wrong in lines:
        problem = problem or wrong
        said = {
            f"expression_{annotator}": expression,
            f"valence_{annotator}": valence,
            f"arousal_{annotator}": arousal,
        }
        for column, value in said.items():
            if value is not None and values.setdefault(column, value) != value:
                problem = problem or f"line {line}: '{annotator}' has labelled it otherwise before"
    if status == REFUSED:
        image = safe_reference(path[1:] if not path[1:].isdigit() else "")[0]
        return LabelledImage(image, split, values, status, detail)
    return LabelledImage(path, split, values, BAD_ROW if problem else status, problem)


def _unit(text: str) -> float | None:
    value = number(text)
    return value if value is not None and -1 <= value <= 1 else None
