"""The values of label sets: converted to Arrow's columns, and checked against their task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .errors import first_line
from .schema import ManifestError, Task

Array = np.ndarray[Any, Any]

_PROBS_TOLERANCE = 0.01


def converted(what: str, values: Any, kind: pa.DataType) -> pa.Array:
    """Values as a column of this type; None, NaN and masked entries become missing.

    Raises:
        ManifestError: they cannot be stored so; `what` begins the sentence.
    """
    if isinstance(values, np.ndarray) and values.ndim > 1:
        values = list(values)
    try:
        # pa.array would take an Arrow array apart, value by value
        return (values if isinstance(values, pa.Array) else pa.array(values, from_pandas=True)).cast(kind)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise ManifestError(f"{what} cannot be stored as {kind}: {first_line(error)}.") from error


def to_labels(task: Task, columns: Sequence[pa.Array]) -> tuple[Array, Array]:
    """Values and presence of some rows, as in `Labels`; a pair of which one half is missing is missing."""
    kind = np.int64 if task.kind == "categorical" else np.float32
    present = np.logical_and.reduce([column.is_valid().to_numpy(zero_copy_only=False) for column in columns])
    numbers = [column.fill_null(0).to_numpy(zero_copy_only=False).astype(kind) for column in columns]
    values = np.where(present[:, None], np.stack(numbers, axis=1), kind(0))
    return (values[:, 0] if task.kind == "categorical" else values), present


def to_probs(column: pa.Array, classes: int) -> tuple[Array, Array]:
    """Class probabilities of some rows, float32 n×K with NaN where they are missing, and presence.

    Args:
        column: K numbers a row, as `check_probs` wants them.
        classes: K.
    """
    present = column.is_valid().to_numpy(zero_copy_only=False)
    probs = np.full((len(column), classes), np.nan, np.float32)
    probs[present] = column.drop_null().flatten().to_numpy(zero_copy_only=False).reshape(-1, classes)
    return probs, present


def check_labels(what: str, task: Task, values: Array, present: Array) -> None:
    """See whether all labels are in their task's range.

    Raises:
        ManifestError: one is not; `what` begins the sentence.
    """
    if task.kind == "categorical":
        wrong = present & ((values < 0) | (values >= len(task.classes)))
        expected = f"class ids 0 to {len(task.classes) - 1} were expected"
    else:
        right = (values >= -1) & (values <= 1)  # false for NaN
        wrong = ~(right[:, 0] & right[:, 1])
        expected = "valence and arousal in [-1, 1] were expected"
    if wrong.any():
        found = values[wrong][0].tolist()
        raise ManifestError(f"{what} has {wrong.sum()} labels out of range, such as {found}; {expected}.")


def check_probs(what: str, task: Task, column: pa.Array) -> None:
    """See whether each row's probabilities are one a class, in [0, 1] and together 1.

    Args:
        what: begins the sentence.
        task: with classes.
        column: as somebody's file has it, so of any type.

    Raises:
        ManifestError: it has no lists of numbers, or some are not so.
    """
    if not _lists_numbers(column.type):
        raise ManifestError(f"{what} has values of the type {column.type!s:.80}; lists of numbers were expected.")
    present, classes = column.drop_null(), len(task.classes)
    lengths = pc.list_value_length(present).to_numpy(zero_copy_only=False)
    if (lengths != classes).any():
        found = f"rows of {lengths[lengths != classes][0]} probabilities"
        raise ManifestError(f"{what} has {found}; {classes} were expected, one a class.")
    probs = present.flatten().to_numpy(zero_copy_only=False).reshape(len(present), classes)
    wrong = ~(((probs >= 0) & (probs <= 1)).all(axis=1) & (abs(probs.sum(axis=1) - 1) <= _PROBS_TOLERANCE))
    if wrong.any():
        found = f"{wrong.sum()} rows of probabilities such as {probs[wrong][0].tolist()}"
        raise ManifestError(f"{what} has {found}; numbers in [0, 1] that sum to 1 were expected.")


def _lists_numbers(kind: pa.DataType) -> bool:
    """Whether a column of this type holds lists that NumPy computes with."""
    if not any(is_kind(kind) for is_kind in (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)):
        return False
    return bool(pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type))
