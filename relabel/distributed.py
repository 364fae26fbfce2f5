"""The engine that labels on a cluster, by Ray Data: listing → shards in flight → a pool of labelling actors.

One task lists the source and hands out shards, as a stream that waits when nobody takes them; actors that have loaded
the teachers once label a shard each and write it with its sidecar, as the local engine does; the driver hears of every
sidecar. `docs/scale.md` says why the sidecars, and not Ray Data's own checkpoints, say what is done.
"""

from __future__ import annotations

import json
import logging
import os
import pickle
import threading
import warnings
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from ray.data import ActorPoolStrategy, Dataset, Datasource, ReadTask, read_datasource
from ray.data.block import BlockMetadata
from ray.exceptions import RayError, RayTaskError

from .. import __version__
from ..core.errors import UserError, first_line
from ..core.files import finite
from .pipeline import Labeller
from .plan import Job, JobOptions
from .shards import ShardFolder, read_sidecar
from .sources import Source
from .teachers import Teacher
from .work import Notes, Recipe, list_shards

SHARD, END, ERROR = "shard", "end", "error"
"""Kinds of rows in the stream: a shard's samples, later its sidecar; the number of shards; a sentence."""

TRIES = 5
"""So often a shard is tried again whose worker died; one that kills its workers must not do so for ever."""

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
                f"The cluster gave up a shard after {TRIES} tries ({first_line(error)}). Look whether its nodes run "
                "out of memory; the same command goes on with what is missing."
            ) from error
        if total is None or any(number not in written and number not in done for number in range(total)):
            raise UserError("The cluster lost shards on the way. The same command makes what is missing.")
        return total

    def _stream(self, job: Job, folder: ShardFolder, done: Container[int]) -> Dataset:
        here, options = str(Path.cwd()), job.options
        listing = read_datasource(
            _Listing(job.source, options, done, here),
            override_num_blocks=1,
            num_cpus=0,  # beside the actors; other resources than theirs also keep it from running inside one of them
        )
        listing.context.target_max_block_size = 1  # a block a shard, so that it is on its way as soon as it is listed
        listing.context.enable_progress_bars = False
        listing.context.max_consecutive_actor_init_deaths = TRIES
        cuda = options.device == "cuda"
        with warnings.catch_warnings():  # Ray has no other name yet for the limit of tries
            warnings.filterwarnings("ignore", ".*ray_remote_args.*")
            labelled: Dataset = listing.map_batches(
                _Worker,
                fn_constructor_args=(Recipe.of(job, folder), self.load, _hashes(job.teachers), here, __version__),
                batch_size=1,
                batch_format="pyarrow",
                compute=ActorPoolStrategy(
                    min_size=1, max_size=self.actors or None, max_tasks_in_flight_per_actor=IN_FLIGHT
                ),
                num_cpus=options.workers if cuda else 1,
                num_gpus=1 if cuda else None,
                max_restarts=-1,
                max_task_retries=TRIES,
            )
        return labelled


class _Listing(Datasource):  # type: ignore[misc]
    """A source as rows of samples by shard, from one task that Ray lets wait when enough of them are about."""

    def __init__(self, source: Source, options: JobOptions, done: Container[int], folder: str) -> None:
        self.source, self.options, self.done, self.folder = source, options, done, folder

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
            _enter(self.folder)
            for number, samples in list_shards(self.source, self.options):
                total = number + 1
                if number not in self.done:
                    yield _row(SHARD, number, pickle.dumps(samples))
        except UserError as error:
            yield _row(ERROR, -1, str(error).encode())
            return
        yield _row(END, total, b"")


class _Worker:
    """An actor: labels a shard at a time with teachers that it loads once."""

    def __init__(self, recipe: Recipe, load: Load, hashes: dict[str, str], folder: str, version: str) -> None:
        self.recipe, self.load, self.hashes, self.folder, self.version = recipe, load, hashes, folder, version
        self.labeller: Labeller | None = None

    def __call__(self, row: pa.Table) -> pa.Table:
        """The row of a shard's sidecar for the row of its samples; other rows as they are."""
        kind, number, content = row["kind"][0].as_py(), row["number"][0].as_py(), row["content"][0].as_py()
        if kind != SHARD:
            return row
        try:
            self.labeller = self.labeller or self._prepared()
            batches = [(None, part) for part in self.recipe.batches(pickle.loads(content))]  # noqa: S301 - our own
            outcomes = [outcome for _, part in self.labeller.label(batches) for outcome in part]
            sidecar = self.recipe.write(number, outcomes)
        except UserError as error:
            return _row(ERROR, number, str(error).encode())
        return _row(SHARD, number, json.dumps(finite(sidecar.__dict__)).encode())

    def _prepared(self) -> Labeller:
        if self.version != __version__:
            raise UserError(
                f"A node of the cluster has noisyfer {__version__}, and the command is of noisyfer {self.version}. "
                "Install the same version everywhere."
            )
        _enter(self.folder)
        teachers = self.load(self.recipe.options.device)
        if _hashes(teachers) != self.hashes:
            raise UserError(
                "A node of the cluster found other teachers' files than the command did. Put the same files under the "
                "same paths on every node."
            )
        return self.recipe.labeller(teachers)


def _rows(stream: Dataset) -> Iterator[tuple[str, int, str]]:
    """Kind, number and text of the rows that come out, in any order."""
    for batch in stream.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
        for row in batch.to_pylist():
            yield row["kind"], row["number"], row["content"].decode()


def _row(kind: str, number: int, content: bytes) -> pa.Table:
    types = [pa.string(), pa.int64(), pa.binary()]
    columns = [pa.array([value], type_) for value, type_ in zip((kind, number, content), types, strict=True)]
    return pa.table(columns, ["kind", "number", "content"])


def _hashes(teachers: Sequence[Teacher]) -> dict[str, str]:
    return {teacher.annotator: teacher.sha256 for teacher in teachers}


def _enter(folder: str) -> None:
    """Make the command's working folder this process's, so that relative paths mean the same."""
    try:
        os.chdir(folder)
    except OSError as error:
        raise UserError(
            f"A node of the cluster cannot enter {folder} ({error.strerror}), where the command was given. Every node "
            "must see the same files under the same paths; --parts URL and images in an object store need only the "
            "folder itself."
        ) from error
