"""Writing a manifest batch by batch, as one Parquet file or as a folder of shards."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from .errors import UserError, first_line
from .files import refuse_second_writer, refuse_undecodable, whole_file, whole_folder, write_failure
from .header_digest import with_digest
from .schema import METADATA_KEY, Header, ManifestError, arrow_schema

SHARD_ROWS = 1_000_000
_GROUP_ROWS = 65_536
_SHARD = re.compile(r"part-\d+\.parquet")


@contextmanager
def manifest_writer(
    path: Path,
    header: Header,
    *,
    folder: bool = False,
    shard_rows: int = SHARD_ROWS,
    extra: Sequence[pa.Field] = (),
) -> Iterator[Callable[[pa.Table], None]]:
    """Write rows to a manifest that stands under `path` only after a clean end of the `with` block.

    Args:
        path: the final file, or the final folder.
        header: the metadata; the columns follow from it.
        folder: write a folder of shards instead of one file; it takes the place of a manifest that is there.
        shard_rows: rows per shard in a folder, at least 1.
        extra: columns after those of the header, of which it says nothing.

    Yields:
        A function that appends a table, its columns in any order; other columns are left out.
        How the rows are cut into tables does not show in the bytes.

    Raises:
        ManifestError: a table lacks a column or has one of another type.
        UserError: the place cannot be written or holds something else, or the disk is full.
    """
    if shard_rows < 1:
        raise ValueError(f"shard_rows is {shard_rows}; at least 1 was expected")
    path = Path(path)
    refuse_undecodable(path)
    try:
        if folder:
            _refuse_foreign(path)
        _refuse_other_file(path)
        refuse_second_writer(path)
    except OSError as error:  # such as a name too long for the file system
        raise write_failure(path, error) from error
    shards = _Shards(path, _with_fields(with_digest(arrow_schema(header)), extra), shard_rows if folder else None)
    with whole_folder(path) if folder else whole_file(path) as target:
        shards.target = target
        try:
            shards.start()
            yield shards.write
            shards.finish()
        finally:
            shards.close()


def _with_fields(schema: pa.Schema, extra: Sequence[pa.Field]) -> pa.Schema:
    for field in extra:
        schema = schema.append(field)
    return schema


def _refuse_foreign(folder: Path) -> None:
    """Refuse to replace a folder that holds anything but shards: replacing it would delete the rest."""
    if not folder.is_dir():
        return
    foreign = sorted(entry.name for entry in folder.iterdir() if not _SHARD.fullmatch(entry.name))
    if foreign:
        raise UserError(
            f"Cannot write the manifest folder {folder}: it holds '{foreign[0]}', which is no shard of a manifest and "
            "would be deleted. Choose another name, or empty the folder first."
        )


def _refuse_other_file(path: Path) -> None:
    """Refuse to replace a file that is no manifest, whole or damaged: somebody's notes, or a dataset."""
    if not path.is_file() or path.stat().st_size == 0:
        return
    with path.open("rb") as stream:
        other = stream.read(4) != b"PAR1"
    if not other:
        try:
            other = METADATA_KEY not in (pq.read_metadata(path).metadata or {})
        except (pa.ArrowException, OSError, ValueError):
            other = False  # a damaged Parquet file: writing it anew is the remedy
    if other:
        raise UserError(
            f"Cannot write the manifest {path}: a file that is no manifest stands there. Choose another name."
        )


class _Shards:
    """The open Parquet file of a writer, the ones before it, and the rows that wait for a whole row group."""

    def __init__(self, path: Path, schema: pa.Schema, shard_rows: int | None) -> None:
        self.path = path
        self.schema = schema
        self.plain = pa.schema([_plain(field) for field in schema])
        self.shard_rows = shard_rows
        self.target = path
        self._open: pq.ParquetWriter | None = None
        self._files = 0
        self._rows = 0
        self._waiting: list[pa.Table] = []
        self._waiting_rows = 0

    def start(self) -> None:
        """Open the first file: a place that cannot be written shows now, and a manifest without rows is a file too."""
        self._writer()

    def write(self, rows: pa.Table) -> None:
        try:
            table = pa.table({name: rows[name] for name in self.plain.names}).cast(self.plain)
        except (KeyError, ValueError, pa.ArrowException) as error:
            raise ManifestError(f"The rows do not fit the manifest {self.path}: {first_line(error)}.") from error
        self._waiting.append(table)
        self._waiting_rows += len(table)
        while self._waiting_rows >= self._room():
            self._write_group(self._room())

    def finish(self) -> None:
        """Write the rows that still wait."""
        if self._waiting_rows:
            self._write_group(self._waiting_rows)

    def close(self) -> None:
        writer, self._open = self._open, None
        if writer is not None:
            writer.close()

    def _room(self) -> int:
        """Rows of the next row group when it is whole."""
        if self.shard_rows is None:
            return _GROUP_ROWS
        left = self.shard_rows - self._rows
        return min(_GROUP_ROWS, left or self.shard_rows)

    def _write_group(self, rows: int) -> None:
        waiting = pa.concat_tables(self._waiting)
        group, rest = waiting.slice(0, rows).combine_chunks(), waiting.slice(rows)
        self._waiting, self._waiting_rows = [rest], len(rest)
        self._writer().write_table(group.cast(self.schema))
        self._rows += rows

    def _writer(self) -> pq.ParquetWriter:
        if self._open is not None and self._rows == self.shard_rows:
            self.close()
        if self._open is None:
            file = self.target if self.shard_rows is None else self.target / f"part-{self._files:05d}.parquet"
            self._open = pq.ParquetWriter(file, self.schema, compression="zstd", write_page_checksum=True)
            self._files += 1
            self._rows = 0
        return self._open


def _plain(field: pa.Field) -> pa.Field:
    """Texts while rows wait: dictionaries of several tables differ, and their order would show in the file."""
    return field.with_type(field.type.value_type) if pa.types.is_dictionary(field.type) else field
