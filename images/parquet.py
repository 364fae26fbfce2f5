"""Images in Parquet files, as the Hugging Face hub keeps them: a column of encoded pictures, a column of labels."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..core.errors import UserError, first_line
from .batches import bad_file
from .decode import UnreadableImage

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

PART_BYTES = 2**24
MAX_PART_ROWS = 1024
"""A part of a row group that is held has about so many bytes, and at most so many rows."""

READ_BYTES = 2**20
"""A column is read in pieces of so many bytes, so that a row group of any size takes no more memory."""

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


class PictureColumn:
    """The encoded pictures of a Parquet file, by row.

    A row group is passed through in parts, and the last part is held: rows in ascending order cost one pass over the
    row groups that hold them, others a pass over their row group.

    Args:
        source: the Parquet file, or its content.
        where: names it in errors about the file.
        file: its path relative to the dataset's root, for errors about a row.

    Raises:
        UserError: it is no Parquet file, or has no column of pictures.
    """

    def __init__(self, source: Path | bytes, where: str, file: str) -> None:
        self.file = file
        self._where = where
        self._closing = contextlib.ExitStack()
        self._parquet = self._closing.enter_context(_opened(source, where))
        self._column = _picture_column(self._parquet.schema_arrow, where)
        metadata = self._parquet.metadata
        lengths = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
        if any(length < 0 for length in lengths):
            raise _damaged(where, ValueError("a row group has fewer than no rows"))
        self._starts = np.cumsum([0, *lengths])
        self._group = -1
        self._parts: Iterator[Any] = iter(())
        self._part: Any = None
        self._first = self._end = 0  # the rows of the part at hand

    def __len__(self) -> int:
        return int(self._starts[-1])

    def close(self) -> None:
        """Close the file."""
        self._closing.close()

    def fetch(self, rows: Sequence[int]) -> list[bytes | UnreadableImage]:
        """The bytes of some rows' pictures, or why there are none.

        Args:
            rows: within the file, fastest in ascending order.

        Raises:
            UserError: the file is damaged.
        """
        import pyarrow as pa

        found: list[bytes | UnreadableImage] = []
        try:
            for row in rows:
                picture = self._picture(row)
                missing = UnreadableImage(f"{self.file}#{row}", "its row holds no picture")
                found.append(missing if picture is None else picture)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise _damaged(self._where, error) from error
        return found

    def _picture(self, row: int) -> bytes | None:
        group = int(np.searchsorted(self._starts, row, side="right")) - 1
        if group != self._group or row < self._first:
            self._parts = self._parts_of(group)
            self._group, self._first = group, int(self._starts[group])
            self._end = self._first
        while row >= self._end:
            part = next(self._parts, None)
            if part is None:
                raise ValueError(f"row {row} is missing")
            self._part = part
            self._first, self._end = self._end, self._end + len(self._part)
        picture: bytes | None = self._part[row - self._first].as_py()
        return picture

    def _parts_of(self, group: int) -> Iterator[Any]:
        import pyarrow as pa

        about = self._parquet.metadata.row_group(group)
        length = int(max(1, min(MAX_PART_ROWS, PART_BYTES // max(1, about.total_byte_size // max(1, about.num_rows)))))
        for batch in self._parquet.iter_batches(batch_size=length, row_groups=[group], columns=[self._column]):
            column = batch.column(0)
            yield column.field("bytes") if pa.types.is_struct(column.type) else column


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
    with contextlib.closing(PictureColumn(source, where, file)) as column:
        for start in range(0, len(rows), length):
            chosen = rows[start : start + length]
            pictures = []
            for picture in column.fetch(chosen.tolist()):
                if isinstance(picture, UnreadableImage):
                    raise picture
                pictures.append(picture)
            yield chosen, pictures


@contextlib.contextmanager
def _opened(source: Path | bytes, where: str) -> Iterator[pq.ParquetFile]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    opened = pa.BufferReader(source) if isinstance(source, bytes) else source
    try:
        with pq.ParquetFile(opened, buffer_size=READ_BYTES, page_checksum_verification=True) as file:
            yield file
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _damaged(where, error) from error


def _damaged(where: str, error: Exception) -> UserError:
    reason = first_line(error)[:200]
    return _unusable(where, f"it is no Parquet file, or a truncated or damaged one ({reason})")


def _unusable(where: str, reason: str) -> UserError:
    return UserError(f"Cannot read {where}: {reason}. Restore the file from where the dataset came from.")


def _picture_column(schema: pa.Schema, where: str) -> str:
    import pyarrow as pa

    for name in _COLUMNS:
        if name in schema.names:
            kind = schema.field(name).type
            if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
                return name
            if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
                return f"{name}.bytes"
    raise _unusable(where, f"it has the columns {_listed(schema)}; expected 'img' or 'image' with encoded pictures")


def _listed(schema: pa.Schema) -> str:
    return ", ".join(f"'{name}'" for name in schema.names[:12])[:300] or "none at all"
