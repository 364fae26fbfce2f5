"""Gathers the labels of all files, sorts out repetitions, and lays them out in the manifest's rows."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ...core.errors import UserError
from ...core.schema import Task
from ..tables import Texts
from .orders import mapped
from .report import Tally

DUPLICATES = ("refuse", "first", "last")
MAX_ANNOTATORS = 1000
MAX_LABELS = 100_000_000
MAX_CELLS = 500_000_000
"""Annotators × rows: two bytes each are held for class ids."""

_FOREIGN = re.compile(r"[^A-Za-z0-9_.-]+")


@dataclass
class Annotators:
    """Numbers the annotators of all files, and makes names of label sets of theirs."""

    default: str
    prefix: str = ""
    names: list[str] = field(default_factory=list)
    _numbers: dict[str, int] = field(default_factory=dict)
    _taken: dict[str, str] = field(default_factory=dict)

    def numbers(self, given: Texts | None, count: int) -> npt.NDArray[np.int32]:
        """A number for each of `count` rows; -1 for an empty name.

        Raises:
            UserError: nobody is said to have labelled, there are too many annotators, or two whose names would be the
                same.
        """
        if given is None and not self.default:
            raise UserError("The files do not say who labelled. Say it with --as NAME.")
        if given is None:
            return np.full(count, self._number(self.default, named=False), np.int32)
        return np.array(mapped(given, lambda name: self._number(name, named=True) if name else -1), np.int32)

    def _number(self, name: str, *, named: bool) -> int:
        if name in self._numbers:
            return self._numbers[name]
        if len(self.names) >= MAX_ANNOTATORS:
            raise UserError(
                f"There are more than {MAX_ANNOTATORS:,} annotators, and each becomes a column of the manifest. Is the "
                "column of annotators the right one? Import some of them only, or merge annotators first."
            )
        plain = _FOREIGN.sub("_", f"{self.prefix}_{name}" if named and self.prefix else name).strip("_.-")
        if not plain:
            raise UserError(
                f"The annotator {name!r} has no letter or digit in its name, so no label set can be named so."
            )
        if plain in self._taken:
            raise UserError(
                f"The annotators {self._taken[plain]!r} and {name!r} would both be called '{plain}', since label sets "
                "are named with letters, digits and _ . - only. Rename one of them in the file."
            )
        self._taken[plain] = name
        self._numbers[name] = len(self.names)
        self.names.append(plain)
        return self._numbers[name]


@dataclass
class Gathered:
    """The labels of one task from all files and annotators.

    Attributes:
        task: the task.
    """

    task: Task
    _rows: list[npt.NDArray[np.int64]] = field(default_factory=list)
    _annotators: list[npt.NDArray[np.int32]] = field(default_factory=list)
    _values: list[npt.NDArray[Any]] = field(default_factory=list)
    _probs: list[npt.NDArray[np.float32] | None] = field(default_factory=list)
    _count: int = 0

    def add(
        self,
        rows: npt.NDArray[np.int64],
        annotators: npt.NDArray[np.int32],
        values: npt.NDArray[Any],
        probs: npt.NDArray[np.float32] | None = None,
    ) -> None:
        """Add labels: the manifest's rows, annotators' numbers, class ids or pairs, and perhaps probabilities.

        Raises:
            UserError: there are too many.
        """
        self._count += len(rows)
        if self._count > MAX_LABELS:
            raise UserError(f"The files hold more than {MAX_LABELS:,} labels. Import some of them at a time.")
        self._rows.append(rows)
        self._annotators.append(annotators)
        self._values.append(values)
        self._probs.append(probs)

    def settle(self, duplicates: str, name_of: Callable[[int], str], tally: Tally) -> tuple[Settled, int]:
        """One label for each sample and annotator.

        Args:
            duplicates: which of contradicting labels counts: `first`, `last`, or `refuse` for none.
            name_of: the id of a row.
            tally: counts contradictions.

        Returns:
            The labels, and how many were there more than once and equal.

        Raises:
            UserError: labels contradict each other, and that is to be refused.
        """
        rows, annotators = np.concatenate(self._rows), np.concatenate(self._annotators)
        values, probs = np.concatenate(self._values), self._all_probs()
        order = np.lexsort((rows, annotators))  # stable: of one sample and annotator the order of the files stays
        rows, annotators, values = rows[order], annotators[order], values[order]
        probs = None if probs is None else probs[order]
        again = np.zeros(len(rows), bool)
        again[1:] = (rows[1:] == rows[:-1]) & (annotators[1:] == annotators[:-1])
        changed = values[1:] != values[:-1]
        differs = again.copy()
        differs[1:] &= changed.any(axis=1) if changed.ndim == 2 else changed
        if differs.any():
            examples = [name_of(int(rows[place])) for place in np.flatnonzero(differs)[:8]]
            tally.add(int(differs.sum()), list(dict.fromkeys(examples)))
            if duplicates == "refuse":
                at = int(np.flatnonzero(differs)[0])
                raise UserError(
                    f"{tally.count:,} labels of '{self.task.name}' contradict another one of the same sample and "
                    f"annotator: for {examples[0]!r} there are {self._shown(values[at - 1])} and "
                    f"{self._shown(values[at])}. Choose with --duplicates first or --duplicates last, or mend the file."
                )
        keep = ~again
        if duplicates == "last":
            keep = np.ones(len(rows), bool)
            keep[:-1] = ~again[1:]
        settled = Settled(self.task, rows[keep], annotators[keep], values[keep], None if probs is None else probs[keep])
        return settled, int(again.sum() - differs.sum())

    def _all_probs(self) -> npt.NDArray[np.float32] | None:
        if all(part is None for part in self._probs):
            return None
        empty = (len(self.task.classes),)
        return np.concatenate(
            [
                np.full((len(rows), *empty), np.nan, np.float32) if part is None else part
                for part, rows in zip(self._probs, self._rows, strict=True)
            ]
        )

    def _shown(self, value: Any) -> str:
        return self.task.classes[int(value)] if self.task.kind == "categorical" else str(value.round(3).tolist())


@dataclass(frozen=True)
class Settled:
    """One label for each sample and annotator, sorted by annotator and row."""

    task: Task
    rows: npt.NDArray[np.int64]
    annotators: npt.NDArray[np.int32]
    values: npt.NDArray[Any]
    probs: npt.NDArray[np.float32] | None

    def of(self, annotator: int, count: int) -> tuple[dict[str, Any], npt.NDArray[np.bool_]] | None:
        """The columns of one annotator's label set for `count` rows, by role, and where there is a label; or None."""
        import pyarrow as pa

        start, stop = np.searchsorted(self.annotators, [annotator, annotator + 1])
        if start == stop:
            return None
        rows, values = self.rows[start:stop], self.values[start:stop]
        present = np.zeros(count, bool)
        present[rows] = True
        if self.task.kind == "continuous":
            columns = {}
            for role, column in zip(("valence", "arousal"), values.T, strict=True):
                dense = np.zeros(count, np.float32)
                dense[rows] = column
                columns[role] = pa.array(dense, mask=~present)
            return columns, present
        dense = np.zeros(count, np.int16)
        dense[rows] = values
        found: dict[str, Any] = {"label": pa.array(dense, mask=~present)}
        probs = None if self.probs is None else self.probs[start:stop]
        if probs is not None and not np.isnan(probs).all():
            found["probs"] = _list_column(rows, probs, count)
        return found, present


def _list_column(rows: npt.NDArray[np.int64], probs: npt.NDArray[np.float32], count: int) -> Any:
    """Rows of probabilities as a column of lists; null where there are none."""
    import pyarrow as pa

    good = ~np.isnan(probs).any(axis=1)
    present = np.zeros(count, bool)
    present[rows[good]] = True
    offsets = np.zeros(count + 1, np.int32)
    offsets[1:] = np.cumsum(present) * probs.shape[1]
    values = pa.array(probs[good].astype(np.float32).ravel())
    return pa.ListArray.from_arrays(pa.array(offsets), values, mask=pa.array(~present))
