"""The stream that Ray Data carries: its rows, and the task that lists a source into it."""

from __future__ import annotations

import pickle
from collections.abc import Container, Iterator
from typing import Any

import pyarrow as pa
from ray.data import Datasource, ReadTask
from ray.data.block import BlockMetadata

from ..core.cluster import enter
from ..core.errors import UserError
from .listing import Listing

SHARD, END, ERROR = "shard", "end", "error"
"""Kinds of rows: a shard's samples, later its sidecar; the number of shards; a sentence."""


class ListingSource(Datasource):  # type: ignore[misc]
    """A source as rows of samples by shard, from one task that Ray lets wait when enough of them are about.

    Args:
        listing: what is listed.
        done: numbers of shards to leave out.
        folder: the command's working folder.
    """

    def __init__(self, listing: Listing, done: Container[int], folder: str) -> None:
        self.listing, self.done, self.folder = listing, done, folder

    def estimate_inmemory_data_size(self) -> int | None:
        """Unknown."""
        return None

    def get_read_tasks(self, parallelism: int, *_: Any, **__: Any) -> list[ReadTask]:
        """The one task."""
        unknown = BlockMetadata(num_rows=None, size_bytes=None, input_files=None, exec_stats=None)
        return [ReadTask(self._read, unknown)]

    def _read(self) -> Iterator[pa.Table]:
        total = 0
        try:
            enter(self.folder)
            for number, samples in self.listing.shards():
                total = number + 1
                if number not in self.done:
                    yield row(SHARD, number, pickle.dumps(samples))
        except UserError as error:
            yield row(ERROR, -1, str(error).encode())
            return
        yield row(END, total, b"")


def row(kind: str, number: int, content: bytes) -> pa.Table:
    """One row of the stream."""
    types = [pa.string(), pa.int64(), pa.binary()]
    columns = [pa.array([value], type_) for value, type_ in zip((kind, number, content), types, strict=True)]
    return pa.table(columns, ["kind", "number", "content"])
