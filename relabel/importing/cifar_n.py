"""CIFAR-10N and CIFAR-100N: people's labels for CIFAR's training images."""

from __future__ import annotations

import io
import tokenize
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ...core.errors import UserError, first_line
from ...images.unpickle import BadPickle, read_integer_arrays
from ...manifest import Manifest
from ..sources.annotations import unreadable
from .base import FORMATS, Peek, PositionalFormat, ReadOptions, Rows, size_within

MAX_BYTES = 2**27
TASK = "class"

_CLEAN = "clean_label"
_ANNOTATORS = {
    "aggre_label": "aggre",
    "worse_label": "worse",
    "random_label1": "random1",
    "random_label2": "random2",
    "random_label3": "random3",
    "noisy_label": "noisy",
    "noise_label": "noisy",
}
_LEGACY_TORCH_PICKLES = 3
"""A `.pt` from before PyTorch 1.6 holds a magic number, a version and a word about the machine before the content."""


@FORMATS.register("cifar-n")
class CifarN(PositionalFormat):
    """`CIFAR-10_human` and `CIFAR-100_human`, as `.npy` or `.pt` (Wei et al., ICLR 2022).

    A dictionary of arrays in the order of CIFAR's training images: `clean_label`, `worse_label`, `aggre_label`,
    `random_label1` to `random_label3`; of CIFAR-100 `clean_label` and `noisy_label` (also `noise_label`). Both kinds of
    file are pickles; they are taken apart and never run.

    The images have no names there, so the join is by position, and verified: the file's `clean_label` must be the
    manifest's own class on every image.
    """

    summary: ClassVar[str] = "CIFAR-10N or CIFAR-100N (.npy or .pt), by position and verified by its clean labels"
    rank: ClassVar[int] = 0

    def __init__(self) -> None:
        self._clean: npt.NDArray[np.int64] | None = None
        self._path = Path()
        self._verified = ""

    def fits(self, peek: Peek) -> bool:
        """Whether it is numpy's or PyTorch's file."""
        return peek.head.startswith(
            (b"\x93NUMPY", b"PK\x03\x04", b"\x80\x02\x8a\x0a")
        ) and peek.path.suffix.casefold() in (
            ".npy",
            ".pt",
            ".pth",
        )

    def read(self, path: Path, options: ReadOptions) -> Iterator[Rows]:
        """A batch for each annotator.

        Raises:
            UserError: the file is damaged, holds something else, or wants to run code.
        """
        content = _content(path)
        arrays = {name: _labels(path, name, content[name]) for name in (_CLEAN, *_ANNOTATORS) if name in content}
        self._path, self._clean = path, arrays.pop(_CLEAN, None)
        if not arrays:
            there = ", ".join(sorted(map(str, content)))[:200] or "nothing"
            raise UserError(f"{path} holds {there}; {', '.join(_ANNOTATORS)} were expected, one at least.")
        count = len(next(iter(arrays.values())))
        for name, labels in {**arrays, _CLEAN: self._clean}.items():
            if labels is not None and len(labels) != count:
                raise UserError(
                    f"{path}: '{name}' has {len(labels):,} labels and another has {count:,}; as many were expected."
                )
        where = range(1, count + 1)
        for name, labels in arrays.items():
            ids = np.where((labels >= 0) & (labels < 2**15), labels, 2**15 - 1).astype(np.int16)
            yield Rows(None, where, annotators=[_ANNOTATORS[name]] * count, class_ids={TASK: ids})

    def verify(self, manifest: Manifest, rows: npt.NDArray[np.int64], asked: bool) -> None:
        """Compare the clean labels of the file with the manifest's.

        Raises:
            UserError: they differ, or one of them is not there to compare.
        """
        sets = [
            found.name for found in manifest.header.label_sets.values() if found.task == TASK and found.kind == "human"
        ]
        name = "class_clean" if "class_clean" in manifest.header.label_sets else sets[0] if sets else ""
        if self._clean is None or not name:
            lacks = f"{self._path} has no '{_CLEAN}'" if self._clean is None else f"{manifest.path} has no class_clean"
            if asked:
                return
            raise UserError(
                f"{lacks}, so it cannot be verified that both have the same order. If you know that they have, say "
                "--by position."
            )
        labels = manifest.labels(name)
        differ = int((labels.values[rows] != self._clean).sum() + (~labels.present[rows]).sum())
        if differ:
            raise UserError(
                f"The clean labels in {self._path} are not those of {manifest.path} ('{name}'): "
                f"{differ / len(rows):.1%} differ. CIFAR-N is in the order of CIFAR's official training files; "
                "make the manifest from those."
            )
        self._verified = name

    def about(self) -> dict[str, Any]:
        """What the order was verified against."""
        return {"order_verified_by": self._verified or None}


def _labels(path: Path, name: str, values: Any) -> npt.NDArray[np.int64]:
    array = np.asarray(values) if isinstance(values, (np.ndarray, list)) else np.empty(0, object)
    if array.dtype.kind not in "iu" or array.ndim > 2 or not array.size:
        raise UserError(
            f"{path}: '{name}' is no array of whole numbers; the labels of CIFAR's training images were expected."
        )
    return array.reshape(-1).astype(np.int64)


def _content(path: Path) -> Mapping[str, Any]:
    """The dictionary in the file; nothing of it is run."""
    size_within(path, MAX_BYTES)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error
    try:
        if data.startswith(b"\x93NUMPY"):
            return read_integer_arrays(_numpy_pickle(data))
        if data.startswith(b"PK"):
            return read_integer_arrays(_zipped_pickle(data))
        return read_integer_arrays(data, skip=_LEGACY_TORCH_PICKLES)
    except BadPickle as error:
        tensors = None if data.startswith(b"\x93NUMPY") else _tensors(data)
        if tensors is not None:
            return tensors
        raise UserError(
            f"Cannot read {path}: {error}; it was refused, and nothing in it was run. The dictionary of arrays that "
            "CIFAR-N publishes was expected."
        ) from error


def _numpy_pickle(data: bytes) -> bytes:
    """The pickle in a `.npy` of objects."""
    from numpy.lib import format as npy

    stream = io.BytesIO(data)
    try:
        version = npy.read_magic(stream)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        _, _, dtype = read(stream)
    except (ValueError, TypeError, SyntaxError, tokenize.TokenError, MemoryError, RecursionError) as error:
        raise BadPickle(f"it is a damaged .npy file ({first_line(error)})") from error
    if not dtype.hasobject:
        raise BadPickle(f"it holds one array of {dtype}, not a dictionary")
    return data[stream.tell() :]


def _zipped_pickle(data: bytes) -> bytes:
    """The pickle in a `.pt` of today."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            inside = [entry for entry in archive.infolist() if entry.filename.rpartition("/")[2] == "data.pkl"]
            if len(inside) != 1 or inside[0].file_size > MAX_BYTES:
                raise BadPickle("it is an archive that PyTorch did not write")
            return archive.read(inside[0])
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise BadPickle(f"it is a damaged .pt file ({first_line(error)})") from error


def _tensors(data: bytes) -> dict[str, Any] | None:
    """A dictionary of tensors, by PyTorch's own reader of weights, which runs nothing; None where it refuses."""
    import torch

    from ...training.weights import load_stored

    try:
        loaded = load_stored(io.BytesIO(data))
    except Exception:  # it raises nearly anything on a damaged file; the caller has said what is wrong with it
        return None
    if not isinstance(loaded, dict):
        return None
    return {
        str(name): value.numpy()
        for name, value in loaded.items()
        if isinstance(value, torch.Tensor) and not value.is_sparse
    }
