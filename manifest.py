"""The manifest: images × annotators × tasks, in one Parquet file or a folder of shards.

    manifest = Manifest.open("data_manifests/cifar10.parquet")
    train = manifest.select(splits=["train"])
    labels = train.labels("class_flip20")        # Labels(values=…, present=…)
    for batch in train.batches(columns=["id", "image"]): ...

A file appears under its final name whole or not at all. Readers go by the JSON in the schema metadata (`Header`), never
by taking column names apart. `docs/manifest.md` has the schema in words.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from .core.errors import first_line, unknown_name
from .core.files import sha256_file
from .core.manifest_writer import manifest_writer
from .core.schema import (
    METADATA_KEY,
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
_UNSAFE_IMAGE = r"^(/|\\|[A-Za-z]:)|(^|[/\\])\.\.([/\\]|$)|\x00"


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

    @classmethod
    def open(cls, path: str | Path) -> Manifest:
        """Open a manifest and check that its metadata and its columns agree; reads no rows.

        Raises:
            ManifestError: there is none, it is truncated or foreign, of a newer schema, or contradicts itself.
        """
        path = Path(path)
        files = _files(path)
        headers = [_read_header(file) for file in files]
        if any(header != headers[0] for header in headers):
            raise ManifestError(
                f"{path}: its shards carry different metadata, so they are not one manifest. Write the folder anew."
            )
        return cls(path, headers[0], files)

    @property
    def rows(self) -> int:
        """Number of samples in the view; without a choice of splits it comes from the files' footers."""
        if self.splits is None:
            return sum(pq.read_metadata(file).num_rows for file in self.files)
        return sum(batch.num_rows for batch in self.batches(columns=["split"]))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the bytes of the whole manifest's files, in order; a view has its manifest's."""
        digest = hashlib.sha256()
        for file in self.files:
            digest.update(bytes.fromhex(sha256_file(file)))
        return digest.hexdigest()

    @property
    def root(self) -> Path:
        """The dataset's folder or archive as the header hints it, resolved from the manifest's own place."""
        return self.path.parent / self.header.dataset.root

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

        Raises:
            UserError: a split or label set that does not exist.
        """
        for split in splits or ():
            if split not in SPLITS:
                raise unknown_name("split", split, SPLITS)
        header = self.header
        if label_sets is not None:
            header = replace(header, label_sets={name: self.label_set(name) for name in label_sets})
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
            try:
                with pq.ParquetFile(file) as parquet:
                    for name in read:
                        if name not in parquet.schema_arrow.names:
                            raise unknown_name(f"column in {file}", name, parquet.schema_arrow.names)
                    for batch in parquet.iter_batches(batch_size=batch_rows, columns=read):
                        if self.splits is not None:
                            chosen = pc.is_in(batch.column("split").cast(pa.string()), pa.array(self.splits))
                            batch = batch.filter(chosen)
                        if batch.num_rows:
                            yield batch.select(wanted)
            except (pa.ArrowException, OSError) as error:
                raise ManifestError(f"{file} is damaged: {first_line(error)}. Write the manifest anew.") from error

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """The view's rows as one Arrow table."""
        schema = arrow_schema(self.header)
        if columns is not None:
            schema = pa.schema([schema.field(name) for name in columns])
        tables = [pa.Table.from_batches([batch]).cast(schema) for batch in self.batches(columns)]
        return pa.concat_tables(tables).unify_dictionaries() if tables else schema.empty_table()

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
        if task.kind == "categorical":
            values, present = self._numbers(label_set.columns["label"], np.int64)
            _check_ids(self.path, name, task, values, present)
            return Labels(values, present)
        valence, has_valence = self._numbers(label_set.columns["valence"], np.float32)
        arousal, has_arousal = self._numbers(label_set.columns["arousal"], np.float32)
        present = has_valence & has_arousal
        values = np.where(present[:, None], np.stack([valence, arousal], axis=1), np.float32(0))
        _check_values(self.path, name, values)
        return Labels(values, present)

    def validate(self) -> None:
        """Read every row and check ids, splits, image references and labels.

        Raises:
            UserError: the first thing that is wrong.
        """
        samples = self.read(["id", "split", "image", "status"])
        for name in samples.column_names:
            if samples[name].null_count:
                raise ManifestError(f"{self.path}: column '{name}' has {samples[name].null_count} missing values.")
        repeated = len(samples) - pc.count_distinct(samples["id"]).as_py()
        if repeated:
            raise ManifestError(f"{self.path}: {repeated} ids occur more than once; every sample needs its own.")
        for split in pc.unique(samples["split"].cast(pa.string())).to_pylist():
            if split not in SPLITS:
                raise ManifestError(f"{self.path}: there is a split '{split}'; {', '.join(SPLITS)} were expected.")
        unsafe = samples.filter(pc.match_substring_regex(samples["image"], _UNSAFE_IMAGE))
        if len(unsafe):
            raise ManifestError(
                f"{self.path}: image '{unsafe['image'][0].as_py()}' of sample '{unsafe['id'][0].as_py()}' leaves the "
                "dataset's root; relative paths without '..' were expected."
            )
        for name in self.header.label_sets:
            self.labels(name)

    def with_label_set(self, label_set: LabelSet, columns: Mapping[str, Any], out: str | Path) -> Manifest:
        """Write a new manifest with one more label set; its metadata names this one as its parent.

        Args:
            label_set: the set; its task must be one of the manifest's.
            columns: role (`label`, `probs`, `valence`, `arousal`) to an array of all rows, anything Arrow converts;
                None or a masked entry is a missing label.
            out: the new file, or a folder where this manifest is one; may be this manifest's own path.

        Raises:
            UserError: the set is there already, does not fit, or has another number of rows.
        """
        parent = {"file": self.path.name, "sha256": self.fingerprint}
        header = self.header.with_label_set(label_set, (parent,))
        added = {
            label_set.columns[role]: pa.array(values, from_pandas=True).cast(
                label_columns(label_set, header.tasks[label_set.task])[label_set.columns[role]]
            )
            for role, values in columns.items()
        }
        for name, values in added.items():
            if len(values) != self.rows:
                raise ManifestError(f"Column '{name}' has {len(values)} entries, and {self.path} has {self.rows} rows.")

        def extended() -> Iterator[pa.Table]:
            start = 0
            for batch in self.batches():
                table = pa.Table.from_batches([batch])
                for name, values in added.items():
                    table = table.append_column(name, values.slice(start, batch.num_rows))
                start += batch.num_rows
                yield table

        return write_manifest(out, header, extended(), folder=self.path.is_dir())

    def _numbers(self, column: str, kind: Any) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        values, present = [np.empty(0, kind)], [np.empty(0, bool)]
        for batch in self.batches([column]):
            array = batch.column(0)
            present.append(~array.is_null().to_numpy(zero_copy_only=False))
            values.append(array.fill_null(0).to_numpy(zero_copy_only=False).astype(kind))
        return np.concatenate(values), np.concatenate(present)


def write_manifest(path: str | Path, header: Header, tables: Iterable[pa.Table], *, folder: bool = False) -> Manifest:
    """Write a manifest from tables in the order of its rows, whole or not at all, and open it."""
    with manifest_writer(Path(path), header, folder=folder) as write:
        for table in tables:
            write(table)
    return Manifest.open(path)


def _files(path: Path) -> tuple[Path, ...]:
    if path.is_dir():
        files = tuple(sorted(file for file in path.glob("*.parquet") if not file.name.startswith(".")))
        if not files:
            raise ManifestError(f"{path} is a folder without any .parquet file; a manifest's shards were expected.")
        return files
    if not path.exists():
        raise ManifestError(
            f"There is no manifest {path}. Make one, for example with: noisyfer make-cifar --out {path}"
        )
    return (path,)


def _read_header(file: Path) -> Header:
    try:
        schema = pq.read_schema(file)
    except (pa.ArrowException, OSError) as error:
        raise ManifestError(
            f"{file} is no Parquet file, or a part of one ({first_line(error)}). A noisyfer manifest was expected."
        ) from error
    if METADATA_KEY not in (schema.metadata or {}):
        raise ManifestError(
            f"{file} is a Parquet file but no noisyfer manifest: its schema has no '{METADATA_KEY.decode()}' metadata."
        )
    try:
        header = Header.from_json(schema.metadata[METADATA_KEY])
    except ManifestError as error:
        raise ManifestError(f"{file} cannot be read as a manifest: {error}") from error
    for field in arrow_schema(header):
        if field.name not in schema.names:
            raise ManifestError(f"{file}: its metadata speaks of a column '{field.name}' that the file does not have.")
        found = schema.field(field.name).type
        if not _same_kind(found, field.type):
            raise ManifestError(f"{file}: column '{field.name}' is of type {found}; {field.type} was expected.")
    return header


def _same_kind(found: pa.DataType, expected: pa.DataType) -> bool:
    if pa.types.is_dictionary(expected):
        return bool(pa.types.is_string(found.value_type if pa.types.is_dictionary(found) else found))
    if pa.types.is_string(expected):
        return bool(pa.types.is_string(found) or pa.types.is_large_string(found))
    return bool(found == expected)


def _check_ids(path: Path, name: str, task: Task, values: np.ndarray[Any, Any], present: np.ndarray[Any, Any]) -> None:
    wrong = present & ((values < 0) | (values >= len(task.classes)))
    if wrong.any():
        raise ManifestError(
            f"{path}: label set '{name}' has {wrong.sum()} labels out of range, such as {values[wrong][0]}; "
            f"class ids 0 to {len(task.classes) - 1} were expected."
        )


def _check_values(path: Path, name: str, values: np.ndarray[Any, Any]) -> None:
    wrong = ~((values >= -1) & (values <= 1)).all(axis=1)
    if wrong.any():
        raise ManifestError(
            f"{path}: label set '{name}' has {wrong.sum()} values out of range, such as {values[wrong][0].tolist()}; "
            "valence and arousal in [-1, 1] were expected."
        )
