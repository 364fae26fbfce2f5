"""The engine that labels in this process: threads decode, this one labels, another one writes."""

from __future__ import annotations

import threading
from collections.abc import Container, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from .pipeline import Outcome
from .plan import Job
from .shards import ShardFolder, Sidecar
from .sources import Sample
from .work import Notes, Recipe


class LocalEngine:
    """Labels shard after shard; while one is written, the next one is labelled."""

    def label(
        self, job: Job, folder: ShardFolder, done: Container[int], notes: Notes, stop: threading.Event
    ) -> int | None:
        """See `Engine.label`; on `stop` the shard in hand is finished."""
        recipe = Recipe.of(job, folder)
        total, stopped = 0, False

        def batches() -> Iterator[tuple[tuple[int, bool], Sequence[Sample]]]:
            nonlocal total, stopped
            for number, samples in job.listing.shards():
                if stop.is_set():
                    stopped = True
                    return
                total = number + 1
                if number in done:
                    continue
                parts = recipe.batches(samples)
                for index, part in enumerate(parts):
                    yield (number, index == len(parts) - 1), part

        with (
            recipe.labeller(job.teachers) as labeller,
            ThreadPoolExecutor(1, thread_name_prefix="write") as writer,
        ):
            writing: tuple[int, Future[Sidecar]] | None = None
            gathered: list[Outcome] = []

            def settle() -> None:
                nonlocal writing
                if writing is not None:
                    (number, future), writing = writing, None
                    notes.written(number, future.result())

            for (number, last), outcomes in labeller.label(batches()):
                gathered += outcomes
                if last:
                    settle()
                    writing = number, writer.submit(recipe.write, number, gathered)
                    gathered = []
                notes.labelled(len(outcomes))
            settle()
        return None if stopped else total
