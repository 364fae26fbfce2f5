"""Parquet files that are small and would be huge in memory, found from their footers and dictionaries."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

MAX_TEXT_BYTES = 2**30
"""The most bytes that the texts of a column may take in one row group."""

VALUES_A_BYTE = 64
SOME_VALUES = 2**24
"""A file may have so many values a byte, and so many more. Ids, which all differ, take more room than that."""


def too_large(file: Path, parquet: pq.ParquetFile, columns: Sequence[str]) -> str | None:
    """Why some columns of a file would take far more memory than the file has bytes, as a sentence's end; or None.

    Parquet keeps a text once, however many rows have it, and Arrow gives each row a copy: a file of some kilobytes can
    ask for any amount of memory.

    Args:
        file: the file.
        parquet: the same, open.
        columns: names of columns that are to be read.

    Raises:
        pa.ArrowException, OSError: the footer is damaged where it speaks of them.
    """
    size = file.stat().st_size
    check_column_chunks(parquet, size, columns)
    wanted, inside = frozenset(columns), tuple(f"{column}." for column in columns)
    paths = [parquet.schema.column(place).path for place in range(len(parquet.schema))]
    read = [(place, path) for place, path in enumerate(paths) if path in wanted or path.startswith(inside)]
    values: Counter[str] = Counter()
    for group in range(parquet.metadata.num_row_groups):
        row_group = parquet.metadata.row_group(group)
        for place, name in read:
            chunk = row_group.column(place)
            values[name] += chunk.num_values
            if values[name] > VALUES_A_BYTE * size + SOME_VALUES:
                return f"it claims {values[name]:,} values or more in the column {name!r} and has {size:,} bytes"
            # no text is longer than the whole chunk
            if (
                chunk.physical_type == "BYTE_ARRAY"
                and chunk.num_values * chunk.total_uncompressed_size > MAX_TEXT_BYTES
            ):
                found = _text_bytes(file, group, name, chunk.num_values, chunk.total_uncompressed_size)
                if found > MAX_TEXT_BYTES:
                    return (
                        f"the texts in the column {name!r} take {found:,} bytes in one row group; "
                        f"{MAX_TEXT_BYTES:,} are allowed"
                    )
    return None


def check_column_chunks(parquet: pq.ParquetFile, size: int, columns: Sequence[str]) -> None:
    """Raise what is wrong with what a footer says of some columns, in any row group.

    `RowGroupMetaData.column`, asked about a damaged one, ends the whole process: pyarrow does not catch what C++ throws
    there. A reader with buffers looks at all of them before it reads the first page, and raises; here it gets none.

    Args:
        parquet: an open file.
        size: its bytes.
        columns: names.

    Raises:
        pa.ArrowException, OSError: a part is damaged.
    """
    pages = _WithoutPages(size)
    with pq.ParquetFile(pages, metadata=parquet.metadata, pre_buffer=True) as reader:
        try:
            next(reader.iter_batches(batch_size=1, columns=list(columns)), None)
        except (pa.ArrowException, OSError):
            if not pages.wanted:
                raise


class _WithoutPages(io.RawIOBase):
    """A file of some size that nothing can be read from.

    Attributes:
        wanted: whether somebody tried.
    """

    def __init__(self, size: int) -> None:
        self.wanted = False
        self._size = size
        self._place = 0

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._place = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        return self._place

    def tell(self) -> int:
        return self._place

    def read(self, size: int = -1) -> bytes:
        # Arrow would keep an exception, its traceback and the frames in it, and so the reader, for ever
        self.wanted = True
        return b""


def _text_bytes(file: Path, group: int, name: str, rows: int, encoded: int) -> int:
    """The bytes that a column's texts take in a row group, or an upper bound that is small enough.

    The dictionary comes whole with the first row. Texts outside it are kept one by one, and take no more than they do
    in the file.
    """
    with pq.ParquetFile(file, read_dictionary=[name]) as parquet:
        first = next(parquet.iter_batches(batch_size=1, row_groups=[group], columns=[name]), None)
        if first is None or not pa.types.is_dictionary(first.schema.field(0).type):
            return 0
        longest = pc.max(pc.binary_length(first.column(0).dictionary)).as_py() or 0
        if rows * longest + encoded <= MAX_TEXT_BYTES:
            return rows * longest + encoded
        total = 0
        for batch in parquet.iter_batches(row_groups=[group], columns=[name]):
            column = batch.column(0)
            lengths = pc.binary_length(column.dictionary).take(column.indices.drop_null())
            total += pc.sum(lengths.cast(pa.int64())).as_py() or 0
        return total
