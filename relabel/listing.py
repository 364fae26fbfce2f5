"""A source cut into shards, without anything heavy: a process that lists needs no torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from .sources import Sample, Source

T = TypeVar("T")


@dataclass(frozen=True)
class Listing:
    """Which rows of a source are labelled, and how many make a shard.

    Attributes:
        source: the source.
        split: only this one, None for all.
        limit: only so many rows, 0 for all.
        shard_rows: rows per shard.
    """

    source: Source
    split: str | None
    limit: int
    shard_rows: int

    def shards(self) -> Iterator[tuple[int, tuple[Sample, ...]]]:
        """The shards by number, one at a time.

        Raises:
            UserError: the annotation as a whole cannot be read.
        """
        chosen = (sample for sample in self.source.samples() if self.split in (None, sample.split))
        return enumerate(batched(islice(chosen, self.limit or None), self.shard_rows))


def batched(items: Iterable[T], size: int) -> Iterator[tuple[T, ...]]:
    """Pieces of so many items; the last one may be shorter."""
    iterator = iter(items)
    while part := tuple(islice(iterator, size)):
        yield part
