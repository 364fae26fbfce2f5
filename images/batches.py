"""The batch files of CIFAR-10's Python and binary versions, and their lists of class names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..core.errors import UserError
from .unpickle import BadPickle, read_pickle

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
"""CIFAR-10's class names in the order of its ids, 0 to 9."""

SIDE = 32
"""Width and height of a CIFAR image."""

ROW = 3 * SIDE * SIDE
"""Bytes of one image: 1,024 red, then green, then blue values, each row by row from the top."""

SOURCE = "https://www.cs.toronto.edu/~kriz/cifar.html"
"""Where CIFAR-10 comes from."""

_AGAIN = f"Download CIFAR-10 again from {SOURCE}, or restore the file."


@dataclass(frozen=True)
class Batch:
    """One batch file, parsed and checked: class ids as the file has them (n), and flat images (n×3072 uint8)."""

    labels: npt.NDArray[np.int16]
    rows: npt.NDArray[np.uint8]

    def pixels(self, chosen: slice | npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """The chosen images as k×32×32×3, RGB."""
        planes = self.rows[chosen].reshape(-1, 3, SIDE, SIDE)
        return np.ascontiguousarray(planes.transpose(0, 2, 3, 1))


def bad_file(where: str, reason: str) -> UserError:
    """The sentences for a data file that cannot be used; `reason` ends a sentence, without a full stop."""
    return UserError(f"Cannot read {where}: {reason}. {_AGAIN}")


def python_batch(data: bytes, where: str) -> Batch:
    """Parse a batch of the Python version, a pickle with `data` (n×3072 uint8) and `labels` (n integers from 0 to 9).

    Args:
        data: the file's content.
        where: names the file in errors.

    Raises:
        UserError: the pickle is damaged, holds or asks for anything else, or labels and images do not fit together.
    """
    entries = _entries(data, where, "a batch of CIFAR-10's Python version")
    rows, labels = entries.get("data"), entries.get("labels")
    if not isinstance(rows, np.ndarray) or not isinstance(labels, list):
        found = ", ".join(sorted(entries)[:8]) or "nothing"
        extra = " (that is CIFAR-100)" if "fine_labels" in entries else ""
        raise bad_file(where, f"it holds {found[:200]}{extra}; expected an array 'data' and a list 'labels'")
    if rows.shape[1] != ROW:
        raise bad_file(where, f"its images have {rows.shape[1]:,} values; expected {ROW:,} (3×32×32)")
    if len(labels) != len(rows):
        raise bad_file(where, f"it has {len(labels):,} labels for {len(rows):,} images; expected one each")
    if any(type(label) is not int for label in labels):
        raise bad_file(where, "its labels are not all integers; expected 0 to 9")
    return _checked(labels, rows, where)


def binary_batch(data: bytes, where: str) -> Batch:
    """Parse a batch of the binary version: for each image a byte with its label, 0 to 9, then 3,072 bytes.

    Args:
        data: the file's content.
        where: names the file in errors.

    Raises:
        UserError: its length is no multiple of 3,073, or a label is over 9.
    """
    if len(data) % (ROW + 1):
        reason = f"it has {len(data):,} bytes; expected a multiple of {ROW + 1:,} (a label and 3×32×32 values an image)"
        raise bad_file(where, reason)
    table = np.frombuffer(data, dtype=np.uint8).reshape(-1, ROW + 1)
    return _checked(table[:, 0].tolist(), table[:, 1:], where)


def python_names(data: bytes, where: str) -> list[str]:
    """Class names from `batches.meta`, in the order of the files' ids.

    Raises:
        UserError: it is damaged or has no list `label_names`.
    """
    names = _entries(data, where, "the list of class names of CIFAR-10's Python version").get("label_names")
    if not isinstance(names, list) or not all(isinstance(name, (str, bytes)) for name in names):
        raise bad_file(where, "it has no list of texts 'label_names'")
    return [name.decode("latin-1") if isinstance(name, bytes) else name for name in names]


def binary_names(data: bytes) -> list[str]:
    """Class names from `batches.meta.txt`, one a line, in the order of the files' ids."""
    return [line.strip() for line in data.decode("latin-1").splitlines() if line.strip()]


def ids_by_name(names: Sequence[str], where: str) -> npt.NDArray[np.int16]:
    """For each id of a file (its names in order), the id of the same name in `CLASSES` (10).

    Raises:
        UserError: they are not CIFAR-10's ten names, each once.
    """
    if sorted(names) != sorted(CLASSES):
        found = ", ".join(names[:12]) + (" …" if len(names) > 12 else "")
        raise bad_file(
            where, f"it names the {len(names)} classes {found[:300]}; expected CIFAR-10's {', '.join(CLASSES)}"
        )
    return np.array([CLASSES.index(name) for name in names], dtype=np.int16)


def _entries(data: bytes, where: str, what: str) -> dict[str, object]:
    try:
        return read_pickle(data)
    except BadPickle as error:
        raise bad_file(where, f"as {what} it was refused, {error}; nothing in it was run") from error


def _checked(labels: list[int], rows: npt.NDArray[np.uint8], where: str) -> Batch:
    if not labels:
        raise bad_file(where, "it holds no images")
    outside = [label for label in labels if not 0 <= label < len(CLASSES)]
    if outside:
        raise bad_file(where, f"{len(outside):,} of its labels are outside 0 to 9 (first: {str(outside[0])[:20]})")
    return Batch(np.array(labels, dtype=np.int16), rows)
