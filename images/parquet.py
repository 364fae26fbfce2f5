"""Images in Parquet files, as the Hugging Face hub keeps them: a column of encoded pictures, a column of labels."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .batches import bad_file
from .decode import UnreadableImage

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

_COLUMNS = ("img", "image")


def row_count(source: Path | bytes, where: str) -> int:
    """How many rows a Parquet file has.

    Raises:
        UserError: it is no Parquet file, or a damaged one.
    """
    with _opened(source, where) as file:
        return int(file.metadata.num_rows)


def read_labels(source: Path, where: str) -> npt.NDArray[np.int64]:
    """The column `label` of a Parquet file (n), as it stands there.

    Raises:
        UserError: the file is damaged, or the column is missing, holds other things than integers, or has gaps.
    """
    import pyarrow as pa

    with _opened(source, where) as file:
        schema = file.schema_arrow
        if "label" not in schema.names or not pa.types.is_integer(schema.field("label").type):
            raise bad_file(where, f"it has the columns {_listed(schema)}; expected an integer column 'label'")
        column = file.read(columns=["label"]).column("label")
        if column.null_count:
            raise bad_file(where, f"{column.null_count:,} of its labels are missing; expected one for each image")
        return np.asarray(column.cast(pa.int64()).to_numpy(), dtype=np.int64)


def class_names(source: Path, where: str) -> list[str] | None:
    """The names of the column `label`'s ids, from the hub's metadata; None where the file does not say.

    Raises:
        UserError: the file is damaged, or its metadata is not in the hub's form.
    """
    with _opened(source, where) as file:
        raw = (file.schema_arrow.metadata or {}).get(b"huggingface")
    if raw is None:
        return None
    try:
        names = json.loads(raw)["info"]["features"]["label"].get("names")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise bad_file(where, "its metadata 'huggingface' does not describe a column 'label'") from error
    if names is not None and (not isinstance(names, list) or not all(isinstance(name, str) for name in names)):
        raise bad_file(where, "its metadata 'huggingface' has no list of class names for the column 'label'")
    return names


def encoded_rows(
    source: Path | bytes, where: str, file: str, rows: npt.NDArray[np.int64], length: int
) -> Iterator[tuple[npt.NDArray[np.int64], list[bytes]]]:
    """Encoded pictures of some rows, in bounded chunks; row groups without a wanted row are not read.

    Args:
        source: the Parquet file, or its content.
        where: names it in errors about the file.
        file: its path relative to the dataset's root, for errors about a row.
        rows: the wanted rows, ascending, each once, all within the file.
        length: the most pictures in one chunk.

    Yields:
        Rows (k, ascending) and the bytes of their pictures (k).

    Raises:
        UserError: the file is damaged or has no column of pictures, or a row has none.
    """
    with _opened(source, where) as parquet:
        column = _picture_column(parquet.schema_arrow, where)
        start = 0
        for group in range(parquet.num_row_groups):
            end = start + parquet.metadata.row_group(group).num_rows
            first, last = np.searchsorted(rows, (start, end))
            if first < last:
                for batch in parquet.iter_batches(batch_size=length, row_groups=[group], columns=[column]):
                    first, last = np.searchsorted(rows, (start, start + batch.num_rows))
                    if first < last:
                        yield rows[first:last], _pictures(batch, rows[first:last] - start, rows[first:last], file)
                    start += batch.num_rows
            start = end


@contextlib.contextmanager
def _opened(source: Path | bytes, where: str) -> Iterator[pq.ParquetFile]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(pa.BufferReader(source) if isinstance(source, bytes) else source) as file:
            yield file
    except (pa.ArrowException, OSError) as error:
        reason = str(error).split("\n")[0].rstrip(".")[:200]
        raise bad_file(where, f"it is no Parquet file, or a truncated or damaged one ({reason})") from error


def _picture_column(schema: pa.Schema, where: str) -> str:
    import pyarrow as pa

    for name in _COLUMNS:
        if name in schema.names:
            kind = schema.field(name).type
            if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
                return name
            if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
                return f"{name}.bytes"
    raise bad_file(where, f"it has the columns {_listed(schema)}; expected 'img' or 'image' with encoded pictures")


def _pictures(batch: Any, local: npt.NDArray[np.int64], rows: npt.NDArray[np.int64], file: str) -> list[bytes]:
    import pyarrow as pa

    column = batch.column(0).take(pa.array(local))
    if pa.types.is_struct(column.type):
        column = column.field("bytes")
    pictures: list[bytes] = column.to_pylist()
    for row, picture in zip(rows, pictures, strict=True):
        if picture is None:
            raise UnreadableImage(f"{file}#{row}", "its row holds no picture")
    return pictures


def _listed(schema: pa.Schema) -> str:
    return ", ".join(f"'{name}'" for name in schema.names[:12])[:300] or "none at all"
