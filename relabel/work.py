"""The work on a shard of a job, from the listing to its files: one definition, whatever engine hands out the shards."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ..core.schema import STATUS_OK, Header
from .listing import batched
from .pipeline import Labeller, Outcome
from .plan import Job, JobOptions
from .rows import TeacherSet, faces_table, table
from .shards import ShardFolder, Sidecar
from .sources import Sample
from .teachers import Teacher

if TYPE_CHECKING:
    import pyarrow as pa

NAMED_FAILURES = 5


@dataclass(frozen=True)
class Recipe:
    """What the work on a shard needs to know of its job; small, and can be sent to another process.

    Attributes:
        root: what the samples' references are relative to.
        header: of the manifest.
        sets: the label sets that the teachers fill.
        options: how the job is run.
        folder: where shards go.
    """

    root: Path
    header: Header
    sets: tuple[TeacherSet, ...]
    options: JobOptions
    folder: ShardFolder

    @classmethod
    def of(cls, job: Job, folder: ShardFolder) -> Recipe:
        """The recipe of a job whose shards go to a folder that has been started."""
        return cls(job.source.root, job.header, job.sets, job.options, folder)

    def labeller(self, teachers: Sequence[Teacher]) -> Labeller:
        """What labels the batches of the job."""
        options = self.options
        return Labeller(
            self.root,
            teachers,
            whole=options.whole,
            kept_size=options.kept_size,
            workers=options.workers,
            device=options.device,
        )

    def batches(self, samples: Sequence[Sample]) -> list[tuple[Sample, ...]]:
        """The batches of a shard, always the same ones, so that its labels are."""
        return list(batched(samples, self.options.batch))

    def write(self, number: int, outcomes: Sequence[Outcome]) -> Sidecar:
        """Store a shard that has been labelled.

        Raises:
            UserError: the disk is full, or the place cannot be written.
        """
        faces: pa.Table | None = None
        images: list[str | None] | None = None
        if self.options.kept_size:
            faces, images = faces_table(outcomes, self.options.kept_size, f"part-{number:06d}.parquet")
        rows, clipped = table(self.header, self.sets, outcomes, images)
        failed = [outcome for outcome in outcomes if outcome.status != STATUS_OK]
        facts = {
            "statuses": dict(Counter(outcome.status for outcome in outcomes)),
            "failures": [(each.sample.id, each.status, each.detail or "") for each in failed[:NAMED_FAILURES]],
            "clipped": clipped,
        }
        return self.folder.write(number, rows, faces, facts)


class Notes(Protocol):
    """What an engine tells of its work."""

    def labelled(self, rows: int) -> None:
        """So many more rows are labelled; their shard is not written yet."""

    def written(self, number: int, sidecar: Sidecar) -> None:
        """A shard is written.

        Raises:
            UserError: too many rows have failed for going on.
        """


class Engine(Protocol):
    """Who labels the shards of a job: this process, or a cluster."""

    def label(
        self, job: Job, folder: ShardFolder, done: Container[int], notes: Notes, stop: threading.Event
    ) -> int | None:
        """Label the shards that are missing.

        Args:
            job: the job.
            folder: where shards go; started.
            done: numbers of shards that are there already.
            notes: is told of every batch and shard.
            stop: when set, come to an end soon.

        Returns:
            The number of all shards, or None where it was stopped before they were all there.

        Raises:
            UserError: something that stands in the way of the whole job.
        """
