"""Image datasets in Parquet files, as the Hugging Face hub keeps them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, ClassVar

from ...core.errors import UserError, first_line
from ...core.schema import MAX_CLASSES, STATUS_OK, LabelSet, Task
from .annotations import BAD_ROW, SPLIT_NAMES, unreadable
from .base import SOURCES, Sample, Source, SourceOptions
from .vocabulary import expression_name, ids_of, vocabulary
from .walk import safe_name

if TYPE_CHECKING:
    import pyarrow.parquet as pq

_PICTURES = ("img", "image")
_LABEL = "label"
# the hub's converter writes 'partial-' before a split of which it converted the beginning only
_SPLIT = re.compile(rf"(?:partial-)?({'|'.join(SPLIT_NAMES)})(?:[-_.].*)?", re.IGNORECASE)
_BATCH_ROWS = 65_536
_SHOWN = 12


@dataclass(frozen=True)
class _File:
    """A Parquet file: path below the root, number of rows, whether it has labels, and its names for them."""

    path: str
    rows: int
    labelled: bool
    names: tuple[str, ...] | None


@SOURCES.register("parquet")
class HubParquet(Source):
    """Pictures and labels in Parquet files at any depth."""

    layout: ClassVar[str] = (
        "*.parquet at any depth: a column 'image' or 'img' with encoded pictures (bytes, or a struct with 'bytes'),\n"
        "and perhaps a column 'label' with integers, whose names stand in the schema's metadata 'huggingface'.\n"
        "The split is in the file's name or its folder's: train-00000-of-00001.parquet, default/test/0000.parquet"
    )
    obtain: ClassVar[str] = "Any image dataset of the Hugging Face hub can be downloaded in this form."
    uses: ClassVar[frozenset[str]] = frozenset({"contempt"})

    def __init__(self, root: Path, options: SourceOptions | None = None) -> None:
        super().__init__(root.parent if root.is_file() else root, options)
        self._only = root.name if root.is_file() else None

    def check(self) -> None:
        """See whether there are Parquet files with pictures, whose class names agree."""
        if not self._files:
            raise self.not_there("Parquet file", "files '*.parquet' at any depth")
        root = self.root.resolve()
        for file in self._files:
            target = (self.root / file.path).resolve()
            if not target.is_relative_to(root):
                raise UserError(
                    f"{self.root / file.path} is a link to {target}, outside {self.root}. Copy the file, or give a "
                    "folder that holds both with --root."
                )
        _ = self._classes  # raises where those of several files differ

    def tasks(self) -> dict[str, Task]:
        """`expression` where all classes are expressions, else `class`; none without labels."""
        if not self._classes:
            return {}
        return {self._task: Task(self._task, "categorical", self._order)}

    def label_sets(self) -> dict[str, LabelSet]:
        """`expression_human` or `class_human`; none without labels."""
        if not self._classes:
            return {}
        made = LabelSet.categorical(self._task, "human", "human", {"source": f"column '{_LABEL}'"})
        return {made.name: made}

    def samples(self) -> Iterator[Sample]:
        """A sample for each row, file by file."""
        for file in self._files:
            row = 0
            for labels in self._labels(file):
                for label in labels:
                    yield self._sample(file, row, label)
                    row += 1

    def rows(self, split: str | None = None) -> int:
        """How many rows the files say they have; no labels are read."""
        return sum(file.rows for file in self._files if split in (None, _split(file.path)))

    def fingerprint(self) -> str:
        """Over names, schemas and labels."""
        digest = hashlib.sha256()
        for file in self._files:
            digest.update(f"{file.path}\0{file.names}\n".encode())
            for labels in self._labels(file):
                digest.update(",".join(map(str, labels)).encode() + b"\n")
        return digest.hexdigest()

    @cached_property
    def _files(self) -> list[_File]:
        if self._only is not None:
            return [self._opened_file(self._only)]
        found = []
        for folder, folders, names in os.walk(self.root, onerror=_refuse):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            below = PurePosixPath(Path(folder).relative_to(self.root).as_posix())
            found += [
                str(below / name) for name in sorted(names) if name.endswith(".parquet") and not name.startswith(".")
            ]
        return [self._opened_file(path) for path in found]

    @cached_property
    def _classes(self) -> tuple[str, ...]:
        """Names of the classes in the first file's order; empty where there are no labels."""
        labelled = [file for file in self._files if file.labelled]
        named = [file for file in labelled if file.names is not None]
        if not labelled:
            return ()
        if not named:
            highest = max(1, *(self._highest(file) for file in labelled))
            return tuple(str(index) for index in range(highest + 1))
        for file in labelled:
            if file.names is None or set(file.names) != set(named[0].names or ()):
                raise UserError(
                    f"{self.root / file.path} has the classes {', '.join(file.names or ('without names',))}, and "
                    f"{self.root / named[0].path} has {', '.join(named[0].names or ())}; the same were expected. Give "
                    "the files of one dataset."
                )
        return named[0].names or ()

    def _highest(self, file: _File) -> int:
        """The highest label of a file without names for its classes; 0 where it has none above.

        Raises:
            UserError: it is so high that there would be too many classes.
        """
        highest = max((label for part in self._labels(file) for label in part if label is not None), default=0)
        if highest >= MAX_CLASSES:
            raise UserError(
                f"{self.root / file.path} has the label {highest:,} and no names for its classes; numbers below "
                f"{MAX_CLASSES:,} were expected. Rename the column '{_LABEL}' if it holds something else than classes."
            )
        return max(0, highest)

    @cached_property
    def _task(self) -> str:
        names = [expression_name(name) for name in self._classes]
        return "expression" if None not in names and len(set(names)) == len(names) else "class"

    @cached_property
    def _order(self) -> tuple[str, ...]:
        return vocabulary(contempt=self.options.contempt) if self._task == "expression" else self._classes

    @cached_property
    def _ids(self) -> dict[str, int | None]:
        if self._task == "expression":
            return ids_of(self._classes, contempt=self.options.contempt)
        return {name: index for index, name in enumerate(self._classes)}

    def _sample(self, file: _File, row: int, label: int | None) -> Sample:
        names = file.names or self._classes
        known = label is not None and 0 <= label < len(names)
        # the hub marks a row without a label, as in a hidden test set, by -1
        wrong = label is not None and not known and label != -1
        index = self._ids[names[label]] if known and label is not None else None
        reference = f"{file.path}#{row}"
        return Sample(
            id=reference,
            split=_split(file.path),
            image=reference,
            values={} if index is None else {f"{self._task}_human": index},
            status=BAD_ROW if wrong else STATUS_OK,
            detail=f"its label is {label}; 0 to {len(names) - 1} were expected" if wrong else None,
        )

    def _labels(self, file: _File) -> Iterator[list[int | None]]:
        """The labels of a file in parts; None for each row where it has none."""
        with self._opened(file.path) as parquet:
            if not file.labelled:
                for start in range(0, parquet.metadata.num_rows, _BATCH_ROWS):
                    yield [None] * min(_BATCH_ROWS, parquet.metadata.num_rows - start)
                return
            for batch in parquet.iter_batches(batch_size=_BATCH_ROWS, columns=[_LABEL]):
                yield batch.column(0).to_pylist()

    def _opened_file(self, path: str) -> _File:
        """Look at a file's schema.

        Raises:
            UserError: it is no Parquet file, has no pictures, or has a name that no manifest can hold.
        """
        import pyarrow as pa

        if safe_name(path) != path:
            raise UserError(
                f"The name of {self.root / path} holds a backslash, begins like a drive ('c:') or is no UTF-8, so that "
                "no manifest can name its rows. Rename it."
            )
        with self._opened(path) as parquet:
            schema, rows = parquet.schema_arrow, parquet.metadata.num_rows
        kinds = [schema.field(name).type for name in _PICTURES if schema.names.count(name) == 1]
        if not any(
            pa.types.is_binary(kind)
            or pa.types.is_large_binary(kind)
            or (pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0)
            for kind in kinds
        ):
            columns = ", ".join(f"'{name}'" for name in schema.names[:_SHOWN]) or "none"
            raise UserError(
                f"{self.root / path} has no pictures: its columns are {columns}; 'image' or 'img' with encoded "
                "pictures was expected. Give a folder with such files only."
            )
        labelled = schema.names.count(_LABEL) == 1 and pa.types.is_integer(schema.field(_LABEL).type)
        return _File(path, rows, labelled, _names(schema.metadata) if labelled else None)

    @contextlib.contextmanager
    def _opened(self, path: str) -> Iterator[pq.ParquetFile]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            with pq.ParquetFile(self.root / path) as file:
                yield file
        except (pa.ArrowException, OSError, ValueError) as error:
            raise UserError(
                f"{self.root / path} is no Parquet file, or a truncated or damaged one ({first_line(error)[:200]}). "
                "Download it again."
            ) from error


def _refuse(error: OSError) -> None:
    raise unreadable(Path(str(error.filename)), error) from error


def _names(metadata: dict[bytes, bytes] | None) -> tuple[str, ...] | None:
    """The class names in the hub's metadata; None where it has none."""
    try:
        label: Any = json.loads((metadata or {}).get(b"huggingface", b"{}"))["info"]["features"][_LABEL]
        names = label["names"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    usable = isinstance(names, list) and all(isinstance(name, str) for name in names) and len(set(names)) == len(names)
    return tuple(names) if usable and len(names) > 1 else None


def _split(path: str) -> str:
    """The split that a file's name says, else the nearest folder's; `train` where none does."""
    for part in reversed(path.split("/")):
        match = _SPLIT.fullmatch(part)
        if match:
            return SPLIT_NAMES[match[1].casefold()]
    return "train"
