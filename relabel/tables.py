"""Csv files as batches of columns, and texts as numbers: what formats of labels share."""

from __future__ import annotations

import csv
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ..core.errors import UserError
from ..core.formulas import unguard
from .sources.annotations import csv_rows, listed, unreadable

Texts = Sequence[str] | npt.NDArray[np.object_]

BATCH_ROWS = 65_536
_BLOCK_BYTES = 2**23

BROKEN = math.inf
"""Stands in a column of numbers where the file has something that is none; a missing number is NaN."""


@dataclass(frozen=True)
class TextBatch:
    """Some rows of a csv.

    Attributes:
        rows: each row's number in the file, counted from 1; the line of names is none.
        texts: by role, each row's text without outer blanks (an array of objects); empty where there is none.
    """

    rows: npt.NDArray[np.int64]
    texts: dict[str, npt.NDArray[np.object_]]

    def __len__(self) -> int:
        return len(self.rows)


def csv_header(path: Path) -> list[str]:
    """The column names of a csv, without outer blanks; empty where the file is empty.

    Raises:
        UserError: it cannot be read, or is no UTF-8.
    """
    next(csv_rows(path, ()), None)  # its checks: encoding, quotes
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
            return [name.strip() for name in next(csv.reader(stream), [])]
    except OSError as error:
        raise unreadable(path, error) from error


def csv_batches(path: Path, columns: Mapping[str, str]) -> Iterator[TextBatch]:
    """The rows of a csv in batches, only the columns that are asked for.

    Arrow reads it, which is fast and strict; from the first row on that Arrow refuses (another number of fields, a byte
    that is no UTF-8), the patient `csv_rows` does.

    Args:
        path: as of `csv_rows`.
        columns: role to the column's name in the file; the case of a name does not matter.

    Raises:
        UserError: a column is missing, or the file cannot be read.
    """
    names = list(dict.fromkeys(columns.values()))
    next(csv_rows(path, names), None)  # raises where the file or a column is not as it should be
    header = [name.casefold() for name in csv_header(path)]
    places = [header.index(name.strip().casefold()) for name in names]
    done = 0
    try:
        for texts in _gathered(_fast(path, places)):
            yield _batch(done, names, columns, texts)
            done += len(texts[0])
        return
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        pass  # it goes on below from the row after the last one that was read
    except OSError as error:
        raise unreadable(path, error) from error
    for texts in _patient(path, names, done):
        yield _batch(done, names, columns, texts)
        done += len(texts[0])


def _batch(
    done: int, names: Sequence[str], columns: Mapping[str, str], texts: Sequence[npt.NDArray[np.object_]]
) -> TextBatch:
    by_name = dict(zip(names, texts, strict=True))
    rows = np.arange(done + 1, done + 1 + len(texts[0]))
    return TextBatch(rows, {role: by_name[name] for role, name in columns.items()})


def _fast(path: Path, places: Sequence[int]) -> Iterator[list[npt.NDArray[np.object_]]]:
    """Columns by their places, as Arrow reads them, the line of names left out."""
    import pyarrow.csv as arrow_csv

    wanted = [f"f{place}" for place in places]
    reader = arrow_csv.open_csv(
        path,
        read_options=arrow_csv.ReadOptions(autogenerate_column_names=True, block_size=_BLOCK_BYTES),
        parse_options=arrow_csv.ParseOptions(newlines_in_values=True),
        convert_options=arrow_csv.ConvertOptions(
            include_columns=list(dict.fromkeys(wanted)), column_types=dict.fromkeys(wanted, pa.string())
        ),
    )
    first = 1
    for batch in reader:
        columns = [pc.utf8_trim_whitespace(batch.column(name)) for name in wanted]
        yield [column.to_numpy(zero_copy_only=False)[first:] for column in columns]
        first = 0 if batch.num_rows else first


def _gathered(parts: Iterator[list[npt.NDArray[np.object_]]]) -> Iterator[list[npt.NDArray[np.object_]]]:
    """Small parts put together."""
    waiting: list[list[npt.NDArray[np.object_]]] = []
    for part in parts:
        waiting.append(part)
        if sum(len(one[0]) for one in waiting) >= BATCH_ROWS:
            yield [np.concatenate(columns) for columns in zip(*waiting, strict=True)]
            waiting = []
    if sum(len(one[0]) for one in waiting):
        yield [np.concatenate(columns) for columns in zip(*waiting, strict=True)]


def _patient(path: Path, names: Sequence[str], start: int) -> Iterator[list[npt.NDArray[np.object_]]]:
    """Columns by their names, as `csv_rows` reads them, from a row on."""
    rows = itertools.islice(csv_rows(path, names), start, None)
    while part := [row for _, row in itertools.islice(rows, BATCH_ROWS)]:
        yield [np.array([row.get(name, "") for row in part], dtype=object) for name in names]


def find_columns(path: Path, header: Sequence[str], wanted: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """The columns that go by one of several names.

    Args:
        path: the file, for the message.
        header: the names in the file.
        wanted: by role, the names that it may go by, in lower case, the likeliest first.

    Returns:
        By role, the column's name in the file; a role that is not there is left out.

    Raises:
        UserError: two columns of one name could both be meant.
    """
    folded = [name.casefold() for name in header]
    found = {}
    for role, names in wanted.items():
        for name in names:
            if folded.count(name) > 1:
                raise UserError(f"{path} has the column {listed([name])} more than once; one of each was expected.")
            if name in folded:
                found[role] = header[folded.index(name)]
                break
    return found


def numbers(texts: Texts) -> npt.NDArray[np.float64]:
    """Texts as numbers: NaN where there is none, `BROKEN` where it is no finite number."""
    import pandas as pd

    series = pd.Series(texts, dtype=object)
    values: npt.NDArray[np.float64] = pd.to_numeric(series, errors="coerce").to_numpy(np.float64, copy=True)
    values[~np.isfinite(values) & (series != "").to_numpy()] = BROKEN
    return values


def unguarded(texts: Texts) -> Texts:
    """The texts that `guard` was given."""
    if not pc.any(pc.starts_with(pa.array(texts, pa.string()), "'")).as_py():
        return texts
    return [unguard(text) for text in texts]


def number_of(value: Any) -> float:
    """A JSON value as a number: NaN for null, `BROKEN` for anything that is no finite number; a text may hold one."""
    if value is None:
        return math.nan
    try:
        found = BROKEN if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return BROKEN
    return found if math.isfinite(found) else BROKEN
