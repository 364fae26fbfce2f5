"""Writing a manifest batch by batch, as one Parquet file or as a folder of shards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from .errors import first_line
from .files import whole_file, whole_folder
from .schema import Header, ManifestError, arrow_schema

SHARD_ROWS = 1_000_000
_GROUP_ROWS = 65_536


@contextmanager
def manifest_writer(
    path: Path, header: Header, *, folder: bool = False, shard_rows: int = SHARD_ROWS
) -> Iterator[Callable[[pa.Table], None]]:
    """Write rows to a manifest that stands under `path` only after a clean end of the `with` block.

    Args:
        path: the final file, or the final folder.
        header: the metadata; the columns follow from it.
        folder: write a folder of shards instead of one file.
        shard_rows: rows per shard in a folder.

    Yields:
        A function that appends a table, its columns in any order.

    Raises:
        ManifestError: a table lacks a column or has one of another type.
        UserError: the place cannot be written, or the disk is full.
    """
    shards = _Shards(path, arrow_schema(header), shard_rows if folder else None)
    with whole_folder(path) if folder else whole_file(path) as target:
        shards.target = target
        try:
            yield shards.write
            shards.close(at_least_one=True)
        finally:
            shards.close()


class _Shards:
    """The open Parquet file of a writer, and the ones before it."""

    def __init__(self, path: Path, schema: pa.Schema, shard_rows: int | None) -> None:
        self.path = path
        self.schema = schema
        self.shard_rows = shard_rows
        self.target = path
        self._open: pq.ParquetWriter | None = None
        self._files = 0
        self._rows = 0

    def write(self, rows: pa.Table) -> None:
        try:
            table = pa.table({name: rows[name] for name in self.schema.names}).cast(self.schema)
        except (KeyError, ValueError, pa.ArrowException) as error:
            raise ManifestError(f"The rows do not fit the manifest {self.path}: {first_line(error)}.") from error
        start = 0
        while start < len(table):
            writer = self._writer()
            part = table.slice(start, min(_GROUP_ROWS, self._room()))
            writer.write_table(part)
            self._rows += len(part)
            start += len(part)

    def close(self, *, at_least_one: bool = False) -> None:
        if at_least_one and self._files == 0:
            self._writer()  # a manifest without rows is a file too
        writer, self._open = self._open, None
        if writer is not None:
            writer.close()

    def _room(self) -> int:
        return _GROUP_ROWS if self.shard_rows is None else self.shard_rows - self._rows

    def _writer(self) -> pq.ParquetWriter:
        if self._open is not None and self._room() <= 0:
            self.close()
        if self._open is None:
            file = self.target if self.shard_rows is None else self.target / f"part-{self._files:05d}.parquet"
            self._open = pq.ParquetWriter(file, self.schema, compression="zstd")
            self._files += 1
            self._rows = 0
        return self._open
