"""Reading the files of a manifest: headers and rows, whole, in bounded memory, errors as sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from .errors import first_line, unknown_name
from .header_digest import is_as_written
from .parquet_bounds import too_large
from .schema import METADATA_KEY, REQUIRED, Header, ManifestError, check_columns


def shards_of(path: Path) -> tuple[Path, ...]:
    """A manifest's Parquet files in the order of its rows.

    Raises:
        ManifestError: there are none.
    """
    if path.is_dir():
        files = tuple(sorted(file for file in path.glob("*.parquet") if not file.name.startswith(".")))
        if not files:
            raise ManifestError(f"{path} is a folder without any .parquet file; a manifest's shards were expected.")
        return files
    if not path.exists():
        raise ManifestError(
            f"There is no manifest {path}. 'noisyfer make-cifar' and 'noisyfer relabel' make manifests."
        )
    if not path.is_file():
        raise ManifestError(f"{path} is neither a file nor a folder. A noisyfer manifest was expected.")
    return (path,)


@contextmanager
def reading(file: Path) -> Iterator[None]:
    """Whatever Arrow raises over the content of a file, as a sentence that names it."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ManifestError(f"{file} is damaged: {first_line(error)}. Write the manifest anew.") from error


def read_header(file: Path) -> Header:
    """The header of a Parquet file, which agrees with its columns.

    Raises:
        ManifestError: it is damaged or foreign, or contradicts itself.
    """
    try:
        footer = pq.read_metadata(file)
        schema, metadata = footer.schema.to_arrow_schema(), footer.metadata or {}
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ManifestError(
            f"{file} is no Parquet file, or a part of one ({first_line(error)}). A noisyfer manifest was expected."
        ) from error
    if METADATA_KEY not in metadata:
        raise ManifestError(
            f"{file} is a Parquet file but no noisyfer manifest: it has no '{METADATA_KEY.decode()}' metadata."
        )
    if not is_as_written(metadata):
        raise ManifestError(f"{file} is damaged: its metadata is not what was written. Write the manifest anew.")
    try:
        header = Header.from_json(metadata[METADATA_KEY])
        check_columns(header, schema)
    except ManifestError as error:
        raise ManifestError(f"{file} cannot be read as a manifest: {str(error).rstrip('.')}.") from error
    return header


def file_batches(file: Path, columns: Sequence[str], batch_rows: int) -> Iterator[pa.RecordBatch]:
    """The rows of one file in order.

    Args:
        file: of a manifest.
        columns: to read.
        batch_rows: rows per batch at most.

    Raises:
        ManifestError: a column is missing, the file is damaged, or its rows would take far more memory than it says.
    """
    with reading(file), pq.ParquetFile(file, page_checksum_verification=True) as parquet:
        for name in columns:
            if name not in parquet.schema_arrow.names:
                raise unknown_name(f"column in {file}", name, parquet.schema_arrow.names)
        if (reason := too_large(file, parquet, columns)) is not None:
            raise ManifestError(f"{file} was refused: {reason}. Write the manifest anew.")
        missing = parquet.metadata.num_rows
        for batch in parquet.iter_batches(batch_size=batch_rows, columns=list(columns)):
            missing -= batch.num_rows
            batch.validate(full=True)  # Parquet does not look whether a text is one
            for name in REQUIRED:
                if name in columns and batch.column(name).null_count:
                    raise ManifestError(f"{file}: column '{name}' has missing values; none was expected.")
            yield batch
        if missing:  # the footer has no sum, and a damaged one may leave out row groups
            raise ManifestError(f"{file} is damaged: {missing} rows are missing. Write the manifest anew.")
