"""Parquet files that are small and would be huge in memory, found from their footers and dictionaries."""

from __future__ import annotations

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
    """
    size = file.stat().st_size
    values: Counter[str] = Counter()
    for group in range(parquet.metadata.num_row_groups):
        row_group = parquet.metadata.row_group(group)
        for place in range(row_group.num_columns):
            chunk = row_group.column(place)
            name = chunk.path_in_schema
            if name not in columns and not name.startswith(tuple(f"{column}." for column in columns)):
                continue
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
