"""Label a source by teachers: streaming, resumable shard by shard, one row out for every row in."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Protocol, TypeVar

from ..core.config import differences
from ..core.errors import Stopped, UserError
from ..core.files import locked, read_json, remove_leftovers, remove_unfinished, write_json
from ..core.schema import STATUS_OK
from ..manifest import Manifest, write_manifest
from .pipeline import Labeller, Outcome
from .plan import Job
from .rows import faces_table, table
from .shards import ShardFolder, Sidecar
from .sources import Sample

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")

SINGLE_FILE_ROWS = 1_000_000
"""Manifests of more rows are written as a folder of shards."""

EARLY_ROWS = 1_000
EARLY_SHARE = 0.95
"""After so many rows a job stops where nearly all have failed: the images are somewhere else."""

NAMED_FAILURES = 5


class Watcher(Protocol):
    """Someone who looks on."""

    def started(self, rows_done: int) -> None:
        """The job begins, or goes on after so many rows."""

    def counted(self, rows: int) -> None:
        """The source has so many rows."""

    def progress(self, rows: int, statuses: Mapping[str, int]) -> None:
        """So many rows are labelled (the finished shards included), by status."""


@dataclass(frozen=True)
class Report:
    """What came of a job.

    Attributes:
        manifest: the result.
        statuses: rows by status.
        failures: id, status and detail of the first rows that failed.
        clipped: by annotator, values that were outside [-1, 1].
        labelled: rows that this process labelled.
        seconds: it took for them.
        finished_before: the manifest was there already and nothing was done.
    """

    manifest: Manifest
    statuses: Mapping[str, int]
    failures: tuple[tuple[str, str, str], ...]
    clipped: Mapping[str, int]
    labelled: int
    seconds: float
    finished_before: bool = False


@dataclass
class _Tally:
    """Sums over shards."""

    rows: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    clipped: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[str, str, str]] = field(default_factory=list)

    def add(self, sidecar: Sidecar) -> None:
        self.rows += sidecar.rows
        self.statuses.update(sidecar.statuses)
        self.clipped.update(sidecar.clipped)
        self.failures = [*self.failures, *sidecar.failures][:NAMED_FAILURES]

    @property
    def failed_share(self) -> float:
        return 1 - self.statuses[STATUS_OK] / self.rows if self.rows else 0.0


def run_job(
    job: Job, watcher: Watcher | None = None, *, again: bool = False, stop: threading.Event | None = None
) -> Report:
    """Run a job to its end, from what earlier processes finished of it.

    Args:
        job: from `plan_job`.
        watcher: is told how it goes.
        again: start over, also where the manifest is there.
        stop: when set, the shard in hand is finished and `Stopped` raised.

    Raises:
        Stopped: on `stop`.
        UserError: too many rows failed, another process or configuration is at work there, the disk is full.
    """
    folder = ShardFolder(job.parts, job.faces)
    remove_unfinished(job.parts)
    # a job under way comes first: it may have been killed just after it wrote the manifest
    if not again and not folder.under_way() and (finished := _finished(job)) is not None:
        return finished
    with locked(job.parts):
        remove_unfinished(job.out, job.record)
        if again:
            folder.clear()
            job.record.unlink(missing_ok=True)
        elif not folder.under_way() and (finished := _finished(job)) is not None:  # by another process, meanwhile
            folder.remove()
            return finished
        folder.start(job.config, job.fingerprint)
        if job.faces is not None and job.faces.is_dir():
            remove_leftovers(job.faces)
        done = folder.finished()
        tally = _Tally()
        for sidecar in done.values():
            tally.add(sidecar)
        if watcher is not None:
            watcher.started(tally.rows)
            threading.Thread(target=_count, args=(job, watcher), daemon=True).start()
        began, before = time.perf_counter(), tally.rows
        count = _label(job, folder, done, tally, watcher, stop or threading.Event())
        seconds = time.perf_counter() - began
        _refuse_failures(job, folder, tally)
        manifest = write_manifest(job.out, job.header, folder.tables(count), folder=tally.rows > SINGLE_FILE_ROWS)
        counts = {"statuses": dict(tally.statuses), "failures": tally.failures, "clipped": dict(tally.clipped)}
        write_json(job.record, {"config": job.config, "sha256": manifest.fingerprint, **counts})
        folder.remove()
    return Report(manifest, tally.statuses, tuple(tally.failures), tally.clipped, tally.rows - before, seconds)


def _finished(job: Job) -> Report | None:
    """The report of a manifest that is there already.

    Raises:
        UserError: what is there was not made by this job.
    """
    if not job.out.exists():
        return None
    advice = "Choose another --out, or start over with --again."
    if not job.record.exists():
        raise UserError(f"{job.out} is there already, and no record beside it says that this job made it. {advice}")
    record = read_json(job.record)
    changed = differences(record["config"], json.loads(json.dumps(job.config)))
    if changed:
        raise UserError(f"{job.out} was made with another configuration ({'; '.join(changed)}). {advice}")
    manifest = Manifest.open(job.out)
    if manifest.fingerprint != record["sha256"]:
        raise UserError(f"{job.out} has changed since this job made it. {advice}")
    failures = tuple((name, status, detail) for name, status, detail in record["failures"])
    return Report(manifest, record["statuses"], failures, record["clipped"], 0, 0.0, finished_before=True)


def _label(
    job: Job,
    folder: ShardFolder,
    done: Mapping[int, Sidecar],
    tally: _Tally,
    watcher: Watcher | None,
    stop: threading.Event,
) -> int:
    """Label the shards that are missing; returns the number of all shards."""
    options, source = job.options, job.source
    total, rows_under_way, stopped = 0, 0, False

    def batches() -> Iterator[tuple[tuple[int, bool], Sequence[Sample]]]:
        nonlocal total, stopped
        for number, shard in enumerate(_batched(_samples(job), options.shard_rows)):
            if stop.is_set():
                stopped = True
                return
            total = number + 1
            if number in done:
                continue
            parts = list(_batched(shard, options.batch))
            for index, part in enumerate(parts):
                yield (number, index == len(parts) - 1), part

    with (
        Labeller(
            source.root,
            job.teachers,
            whole=options.whole,
            kept_size=options.kept_size,
            workers=options.workers,
            device=options.device,
        ) as labeller,
        ThreadPoolExecutor(1, thread_name_prefix="write") as writer,
    ):
        writing: Future[Sidecar] | None = None
        gathered: list[Outcome] = []

        def settle() -> None:
            nonlocal writing, rows_under_way
            if writing is not None:
                sidecar, writing = writing.result(), None
                tally.add(sidecar)
                rows_under_way -= sidecar.rows
                if tally.rows >= EARLY_ROWS and tally.failed_share > max(EARLY_SHARE, options.max_failed):
                    _refuse_failures(job, folder, tally)

        for (number, last), outcomes in labeller.label(batches()):
            gathered += outcomes
            rows_under_way += len(outcomes)
            if last:
                settle()
                writing = writer.submit(_write, job, folder, number, gathered)
                gathered = []
            if watcher is not None:
                watcher.progress(tally.rows + rows_under_way, tally.statuses)
        settle()
    if stopped:
        raise Stopped(
            f"Stopped after {tally.rows:,} rows, which are kept in {job.parts}. To go on, run the same command again."
        )
    return total


def _write(job: Job, folder: ShardFolder, number: int, outcomes: Sequence[Outcome]) -> Sidecar:
    faces: pa.Table | None = None
    images: list[str | None] = [None] * len(outcomes)
    if job.faces is not None:
        faces, images = faces_table(outcomes, job.options.kept_size, f"part-{number:06d}.parquet")
    rows, clipped = table(job.header, job.sets, outcomes, images)
    failed = [outcome for outcome in outcomes if outcome.status != STATUS_OK]
    facts = {
        "statuses": dict(Counter(outcome.status for outcome in outcomes)),
        "failures": [(each.sample.id, each.status, each.detail or "") for each in failed[:NAMED_FAILURES]],
        "clipped": clipped,
    }
    return folder.write(number, rows, faces, facts)


def _refuse_failures(job: Job, folder: ShardFolder, tally: _Tally) -> None:
    """Raise where more rows failed than may; the shards that are mostly failures are made again next time.

    Raises:
        UserError: with the first failures.
    """
    allowed = job.options.max_failed
    if tally.failed_share <= allowed:
        return
    for number, sidecar in folder.finished().items():
        if 1 - sidecar.statuses.get(STATUS_OK, 0) / sidecar.rows > allowed:
            folder.drop([number])
    counts = ", ".join(f"{status} {count:,}" for status, count in tally.statuses.most_common())
    first = "; ".join(f"{name}: {status}, {detail}" for name, status, detail in tally.failures)
    raise UserError(
        f"{tally.failed_share:.0%} of {tally.rows:,} rows failed, more than the {allowed:.0%} allowed ({counts}). The "
        f"first: {first}. Mend the dataset under {job.source.root} and run the same command again, or allow more with "
        "--max-failed."
    )


def _samples(job: Job) -> Iterator[Sample]:
    options = job.options
    chosen = (sample for sample in job.source.samples() if options.split in (None, sample.split))
    return islice(chosen, options.limit or None)


def _count(job: Job, watcher: Watcher) -> None:
    """In a thread: how many rows there will be, for the time left; the job does not wait for it."""
    with contextlib.suppress(UserError, OSError):  # the job itself meets the same error, and reports it
        rows, limit = job.source.rows(job.options.split), job.options.limit
        watcher.counted(min(rows, limit) if limit else rows)


def _batched(items: Iterable[T], size: int) -> Iterator[tuple[T, ...]]:
    iterator = iter(items)
    while part := tuple(islice(iterator, size)):
        yield part
