"""The engine that labels on a cluster, by Ray Data: listing → shards in flight → a pool of labelling actors.

One task lists the source and hands out shards, as a stream that waits when nobody takes them; actors that have loaded
the teachers once label a shard each and write it with its sidecar, as the local engine does; the driver hears of every
sidecar. `docs/scale.md` says why the sidecars, and not Ray Data's own checkpoints, say what is done.
"""

from __future__ import annotations

import json
import logging
import pickle
import threading
from collections.abc import Callable, Container, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from ray.data import ActorPoolStrategy, Dataset, read_datasource
from ray.exceptions import RayError, RayTaskError

from .. import __version__
from ..core.cluster import enter
from ..core.errors import UserError, first_line
from ..core.files import finite
from .pipeline import Labeller
from .plan import Job
from .ray_listing import END, ERROR, SHARD, ListingSource, row
from .shards import ShardFolder, read_sidecar
from .sources import Sample
from .teachers import Teacher
from .work import Notes, Recipe

TRIES = 5
"""So often the work on a shard may begin; one that kills its workers must not do so for ever. Ray's own limit is of no
use: while a node is dying and not yet known to be dead, its quick tries are used up in seconds."""

IN_FLIGHT = 2
"""Shards that an actor holds: the one in hand and the next."""

Load = Callable[[str], Sequence[Teacher]]


@dataclass(frozen=True)
class RayEngine:
    """Labels on the cluster that is connected.

    Attributes:
        load: gives the job's teachers on a device; it is sent to the workers, each of which calls it once.
        actors: at most so many, 0 for as many as the cluster holds.
    """

    load: Load
    actors: int = 0

    def label(
        self, job: Job, folder: ShardFolder, done: Container[int], notes: Notes, stop: threading.Event
    ) -> int | None:
        """See `Engine.label`; on `stop` the shards in the workers' hands are given up, and made again next time."""
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # what it says before it raises
        folder.forget_tries()
        total: int | None = None
        written: set[int] = set()
        try:
            with closing(_rows(self._stream(job, folder, done))) as rows:
                for kind, number, text in rows:
                    if kind == ERROR:
                        raise UserError(text)
                    if kind == END:
                        total = number
                        continue
                    sidecar = read_sidecar(json.loads(text), folder.job)
                    if sidecar is None or number in written:
                        raise RuntimeError(f"a worker answered for shard {number} twice, or with a foreign sidecar")
                    written.add(number)
                    notes.labelled(sidecar.rows)
                    notes.written(number, sidecar)
                    if stop.is_set():
                        return None
        except RayTaskError:  # an error in our own code on a worker: its traceback is wanted
            raise
        except RayError as error:
            raise UserError(
                f"The cluster gave up ({first_line(error)}). Look whether its nodes are up and have memory left; the "
                "same command goes on with what is missing."
            ) from error
        if total is None or any(number not in written and number not in done for number in range(total)):
            raise UserError("The cluster lost shards on the way. The same command makes what is missing.")
        return total

    def _stream(self, job: Job, folder: ShardFolder, done: Container[int]) -> Dataset:
        here, options = str(Path.cwd()), job.options
        listing = read_datasource(
            ListingSource(job.listing, done, here),
            override_num_blocks=1,
            num_cpus=0,  # beside the actors; other resources than theirs also keep it from running inside one of them
        )
        listing.context.target_max_block_size = 1  # a block a shard, so that it is on its way as soon as it is listed
        listing.context.enable_progress_bars = False
        listing.context.max_consecutive_actor_init_deaths = TRIES
        cuda = options.device == "cuda"
        labelled: Dataset = listing.map_batches(
            _Worker,
            fn_constructor_args=(Recipe.of(job, folder), self.load, _hashes(job.teachers), here, __version__, TRIES),
            batch_size=1,
            batch_format="pyarrow",
            compute=ActorPoolStrategy(
                min_size=1, max_size=self.actors or None, max_tasks_in_flight_per_actor=IN_FLIGHT
            ),
            num_cpus=options.workers if cuda else 1,
            num_gpus=1 if cuda else None,
        )
        return labelled


class _Worker:
    """An actor: labels a shard at a time with teachers that it loads once."""

    def __init__(
        self, recipe: Recipe, load: Load, hashes: dict[str, str], folder: str, version: str, tries: int
    ) -> None:
        self.recipe, self.load, self.hashes = recipe, load, hashes
        self.folder, self.version, self.tries = folder, version, tries
        self.labeller: Labeller | None = None

    def __call__(self, shard: pa.Table) -> pa.Table:
        """The row of a shard's sidecar for the row of its samples; other rows as they are."""
        kind, number, content = (shard[name][0].as_py() for name in ("kind", "number", "content"))
        if kind != SHARD:
            return shard
        try:
            self.labeller = self.labeller or self._prepared()
            samples = pickle.loads(content)  # noqa: S301 - of our own listing
            self._begin(number, samples)
            batches = [(None, part) for part in self.recipe.batches(samples)]
            outcomes = [outcome for _, part in self.labeller.label(batches) for outcome in part]
            sidecar = self.recipe.write(number, outcomes)
            self.recipe.folder.end(number)
        except UserError as error:
            return row(ERROR, number, str(error).encode())
        return row(SHARD, number, json.dumps(finite(sidecar.__dict__)).encode())

    def _begin(self, number: int, samples: Sequence[Sample]) -> None:
        if self.recipe.folder.begin(number) >= self.tries:
            raise UserError(
                f"The {len(samples)} images from '{samples[0].id}' to '{samples[-1].id}' have ended their worker's "
                f"process {self.tries} times. Look whether nodes run out of memory, or take these images away; the "
                "same command goes on with what is missing."
            )

    def _prepared(self) -> Labeller:
        if self.version != __version__:
            raise UserError(
                f"A node of the cluster has noisyfer {__version__}, and the command is of noisyfer {self.version}. "
                "Install the same version everywhere."
            )
        enter(self.folder)
        teachers = self.load(self.recipe.options.device)
        if _hashes(teachers) != self.hashes:
            raise UserError(
                "A node of the cluster found other teachers' files than the command did. Put the same files under the "
                "same paths on every node."
            )
        return self.recipe.labeller(teachers)


def _rows(stream: Dataset) -> Generator[tuple[str, int, str], None, None]:
    """Kind, number and text of the rows that come out, in any order."""
    for batch in stream.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
        for found in batch.to_pylist():
            yield found["kind"], found["number"], found["content"].decode()


def _hashes(teachers: Sequence[Teacher]) -> dict[str, str]:
    return {teacher.annotator: teacher.sha256 for teacher in teachers}
