"""The manifest: images × annotators × tasks, in one Parquet file or a folder of shards.

    manifest = Manifest.open("data_manifests/cifar10.parquet")
    train = manifest.select(splits=["train"])
    labels = train.labels("class_flip20")        # Labels(values=…, present=…)
    for batch in train.batches(columns=["id", "image"]): ...

A file appears under its final name whole or not at all. Readers go by the JSON in the schema metadata (`Header`), never
by taking column names apart. `docs/manifest.md` has the schema in words.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from .core.errors import unknown_name
from .core.files import sha256_file
from .core.label_values import check_labels, check_probs, converted, to_labels
from .core.manifest_reader import file_batches, read_header, reading, shards_of
from .core.manifest_writer import manifest_writer
from .core.repeats import repeats
from .core.replaced import identity, unreplaced
from .core.schema import (
    REQUIRED,
    SPLITS,
    STATUS_OK,
    Dataset,
    Header,
    LabelSet,
    ManifestError,
    Task,
    arrow_schema,
    label_columns,
)
from .core.urls import is_url

__all__ = [
    "STATUS_OK",
    "Dataset",
    "Header",
    "LabelSet",
    "Labels",
    "Manifest",
    "ManifestError",
    "Task",
    "manifest_writer",
    "write_manifest",
]

BATCH_ROWS = 65_536
# empty, absolute, a drive, a backslash (which separates folders on Windows), NUL, or a part that is `..`
_UNSAFE_IMAGE = r"^(\./+)*\.?$|^(\./+)*\./*#[0-9]{1,15}$|^/|^[A-Za-z]:|\\|\x00|(^|/)\.\.(/|(#[0-9]{1,15})?$)"


@dataclass(frozen=True)
class Labels:
    """The labels of one set.

    Attributes:
        values: N class ids (int64; 0 where missing), or N×2 valence and arousal (float32; 0 where missing).
        present: N booleans, true where there is a label.
    """

    values: np.ndarray[Any, Any]
    present: np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True)
class Manifest:
    """An opened manifest, or a view of some of its splits and label sets; rows are read when asked for.

    Attributes:
        path: the file or the folder of shards.
        header: tasks, label sets and the dataset, only the selected label sets in a view.
        files: the Parquet files, in order.
        splits: the splits of this view, None for all.
    """

    path: Path
    header: Header
    files: tuple[Path, ...]
    splits: tuple[str, ...] | None = None
    _shards: tuple[int, ...] = field(default=(), compare=False, repr=False)

    @classmethod
    def open(cls, path: str | Path) -> Manifest:
        """Open a manifest and check that its metadata and its columns agree; reads no rows.

        Raises:
            ManifestError: there is none, it is truncated or foreign, of a newer schema, or contradicts itself.
        """
        path = Path(path)
        if path.name in ("", ".."):  # a folder that is named from inside, whose name and parent are asked for later
            path = path.resolve()
        shards = identity(path)
        with unreplaced(path, shards):
            try:
                files = shards_of(path)
            except OSError as error:  # such as a name too long for the file system, or a folder closed to us
                raise ManifestError(f"There is no manifest {path} to be read: {error.strerror}.") from error
            headers = [read_header(file) for file in files]
        if any(header != headers[0] for header in headers):
            raise ManifestError(
                f"{path}: its shards carry different metadata, so they are not one manifest. Write the folder anew."
            )
        return cls(path, headers[0], files, _shards=shards)

    @property
    def rows(self) -> int:
        """Number of samples in the view; without a choice of splits it comes from the files' footers."""
        if self.splits is not None:
            return sum(batch.num_rows for batch in self.batches(columns=["split"]))
        with reading(self.path):
            return sum(pq.read_metadata(file).num_rows for file in self.files)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the file, or of a folder's shards one after the other; a view has its manifest's.

        What `sha256sum FILE` and `cat FOLDER/*.parquet | sha256sum` print.
        """
        with reading(self.path):
            return sha256_file(*self.files)

    @property
    def root(self) -> Path:
        """The dataset's folder, archive or URL as the header hints it, resolved from the manifest's own place."""
        root = self.header.dataset.root
        return Path(root) if is_url(root) else self.path.parent / root

    def label_set(self, name: str) -> LabelSet:
        """The label set of this name.

        Raises:
            UserError: there is none; the message lists those there are.
        """
        if name not in self.header.label_sets:
            raise unknown_name(f"label set in {self.path}", name, self.header.label_sets)
        return self.header.label_sets[name]

    def select(self, splits: Sequence[str] | None = None, label_sets: Sequence[str] | None = None) -> Manifest:
        """A view with only these splits and label sets (None keeps all); nothing is read yet.

        A view of a view never has more than the first: of its splits those remain that are chosen again.

        Raises:
            UserError: a split or label set that does not exist.
        """
        for split in splits or ():
            if split not in SPLITS:
                raise unknown_name("split", split, SPLITS)
        header = self.header
        if label_sets is not None:
            header = replace(header, label_sets={name: self.label_set(name) for name in label_sets})
        if splits is not None and self.splits is not None:
            splits = [split for split in splits if split in self.splits]
        return replace(self, header=header, splits=self.splits if splits is None else tuple(splits))

    def batches(self, columns: Sequence[str] | None = None, batch_rows: int = BATCH_ROWS) -> Iterator[pa.RecordBatch]:
        """Read the view's rows in order, in bounded memory, without any image.

        Args:
            columns: the columns to read; None for all of the view.
            batch_rows: rows per batch at most.

        Raises:
            ManifestError: a column is missing or a file is damaged.
        """
        wanted = list(arrow_schema(self.header).names) if columns is None else list(columns)
        read = wanted if self.splits is None or "split" in wanted else [*wanted, "split"]
        for file in self.files:
            with unreplaced(self.path, self._shards):
                for batch in file_batches(file, read, batch_rows):
                    if self.splits is not None:
                        chosen = pa.array(self.splits, pa.string())
                        batch = batch.filter(pc.is_in(batch.column("split").cast(pa.string()), chosen))
                    if batch.num_rows:
                        yield batch.select(wanted)

    def extended(self, added: Mapping[str, pa.Array]) -> Iterator[pa.Table]:
        """The view's rows in order, in bounded memory, each table with its part of further columns.

        Args:
            added: by name a column of all rows; one that the view has already takes that one's place.
        """
        start = 0
        for batch in self.batches():
            table = pa.Table.from_batches([batch])
            for name, values in added.items():
                part = values.slice(start, batch.num_rows)
                place = table.schema.get_field_index(name)
                table = table.append_column(name, part) if place < 0 else table.set_column(place, name, part)
            start += batch.num_rows
            yield table

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """The view's rows as one Arrow table; a column of which the header knows nothing keeps the file's type.

        Raises:
            ManifestError: a column is missing or a file is damaged.
        """
        tables = list(self._tables(columns))
        return pa.concat_tables(tables).unify_dictionaries() if tables else self._schema(columns).empty_table()

    def _schema(self, columns: Sequence[str] | None) -> pa.Schema:
        """The manifest's own types, and the file's for a column of which the header knows nothing."""
        schema = arrow_schema(self.header)
        if columns is None:
            return schema
        with reading(self.path):
            stored = pq.read_schema(self.files[0])
        return pa.schema([(schema if name in schema.names else stored).field(name) for name in columns])

    def _tables(self, columns: Sequence[str] | None) -> Iterator[pa.Table]:
        """The view's rows in order, each batch as a table of the types of `_schema`."""
        schema: pa.Schema | None = None
        for batch in self.batches(columns):
            schema = schema or self._schema(columns)
            with reading(self.path):
                yield pa.Table.from_batches([batch]).cast(schema)

    def to_pandas(self, columns: Sequence[str] | None = None) -> Any:
        """The view's rows as a pandas DataFrame: nullable integers and floats, so that a missing label stays one."""
        import pandas as pd

        kinds = {pa.int16(): pd.Int16Dtype(), pa.float32(): pd.Float32Dtype()}
        return self.read(columns).to_pandas(types_mapper=kinds.get)

    def labels(self, name: str) -> Labels:
        """The labels of one set for the view's rows.

        Raises:
            UserError: no such set, or a label outside its task's range.
        """
        label_set = self.label_set(name)
        task = self.header.tasks[label_set.task]
        columns, kinds = [label_set.columns[role] for role in task.roles], label_columns(label_set, task)
        parts = [to_labels(task, [pa.array([], kinds[column]) for column in columns])]
        parts += [to_labels(task, batch.columns) for batch in self.batches(columns)]
        values, present = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        check_labels(f"{self.path}: label set '{name}'", task, values, present)
        return Labels(values, present)

    def validate(self) -> None:
        """Read every row and check ids, splits, image references and labels.

        Raises:
            UserError: the first thing that is wrong.
        """

        def checked_ids() -> Iterator[pa.Array]:
            for samples in self._tables(REQUIRED):
                self._check_samples(samples)
                yield from samples["id"].chunks

        repeated = repeats(checked_ids)
        if repeated:
            raise ManifestError(f"{self.path}: {repeated} ids occur more than once; every sample needs its own.")
        for name, label_set in self.header.label_sets.items():
            self.labels(name)
            if "probs" in label_set.columns:
                for batch in self.batches([label_set.columns["probs"]]):
                    check_probs(f"{self.path}: label set '{name}'", self.header.tasks[label_set.task], batch.column(0))

    def _check_samples(self, samples: pa.Table) -> None:
        """Refuse unknown splits and image references that could leave the dataset's root."""
        for split in pc.unique(samples["split"].cast(pa.string())).to_pylist():
            if split not in SPLITS:
                raise ManifestError(f"{self.path}: there is a split {split!r:.60}; {', '.join(SPLITS)} were expected.")
        unsafe = samples.filter(pc.match_substring_regex(samples["image"], _UNSAFE_IMAGE))
        if len(unsafe):
            raise ManifestError(
                f"{self.path}: image {unsafe['image'][0].as_py()!r} of sample {unsafe['id'][0].as_py()!r} could leave "
                "the dataset's root; relative paths with forward slashes and without '..' were expected."
            )

    def with_label_set(self, label_set: LabelSet, columns: Mapping[str, Any], out: str | Path) -> Manifest:
        """Write a new manifest with one more label set; its metadata names this one as its parent.

        The new manifest has the rows and label sets of this view, its own columns only, and finds the images where
        this one does.

        Args:
            label_set: the set; its task must be one of the manifest's.
            columns: each role of the set (`label`, `probs`, `valence`, `arousal`) with an array of all rows, anything
                Arrow converts, and N×K numbers for `probs`; None, NaN or a masked entry is a missing label.
            out: the new file, or a folder where this manifest is one; may be this manifest's own path.

        Raises:
            UserError: the set is there already, does not fit, has another number of rows, or values out of range.
        """
        return self.with_label_sets([(label_set, columns)], out)

    def with_label_sets(
        self,
        additions: Sequence[tuple[LabelSet, Mapping[str, Any]]],
        out: str | Path,
        *,
        tasks: Sequence[Task] = (),
    ) -> Manifest:
        """Write a new manifest with several more label sets at once, each with its columns as in `with_label_set`.

        The old rows stream through; the new columns are held in memory until they are written.

        Args:
            additions: the sets in the order of their columns, each with its values.
            out: the new file or folder, as in `with_label_set`.
            tasks: tasks of the new sets that this manifest does not have.

        Raises:
            UserError: a task or a set is there already, or a set does not fit.
        """
        parent = {"file": self.path.name, "sha256": self.fingerprint}
        header = self.header.with_label_sets([label_set for label_set, _ in additions], (parent,), tasks)
        header, rows = header.seen_from(Path(out).parent, self.path.parent), self.rows
        added: dict[str, pa.Array] = {}
        for label_set, columns in additions:
            added |= self._new_columns(label_set, columns, header.tasks[label_set.task], rows)
        return write_manifest(out, header, self.extended(added), folder=self.path.is_dir())

    def _new_columns(
        self, label_set: LabelSet, columns: Mapping[str, Any], task: Task, rows: int
    ) -> dict[str, pa.Array]:
        """The columns of a label set to be added, checked, by name."""
        if set(columns) != set(label_set.columns):
            raise ManifestError(
                f"Label set '{label_set.name}' was given columns for {', '.join(sorted(columns)) or 'nothing'}; "
                f"{', '.join(sorted(label_set.columns))} was expected."
            )
        kinds = label_columns(label_set, task)
        added = {}
        for role, column in label_set.columns.items():
            added[role] = converted(f"Column '{column}'", columns[role], kinds[column])
            if (found := len(added[role])) != rows:
                raise ManifestError(f"Column '{column}' has {found} entries, and {self.path} has {rows} rows.")
        where = f"The new label set '{label_set.name}'"
        check_labels(where, task, *to_labels(task, [added[role] for role in task.roles]))
        if "probs" in added:
            check_probs(where, task, added["probs"])
        return {column: added[role] for role, column in label_set.columns.items()}


def write_manifest(path: str | Path, header: Header, tables: Iterable[pa.Table], *, folder: bool = False) -> Manifest:
    """Write a manifest from tables in the order of its rows, whole or not at all, and open it."""
    with manifest_writer(Path(path), header, folder=folder) as write:
        for table in tables:
            write(table)
    return Manifest.open(path)
