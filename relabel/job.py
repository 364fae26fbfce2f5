"""Label a source by teachers: streaming, resumable shard by shard, one row out for every row in."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from ..core.config import differences
from ..core.errors import Stopped, UserError
from ..core.files import locked, read_json, remove_unfinished, write_json
from ..core.schema import STATUS_OK
from ..core.store import DiskStore, open_store
from ..manifest import Manifest, write_manifest
from .local import LocalEngine
from .plan import Job
from .shards import ShardFolder, Sidecar
from .work import NAMED_FAILURES, Engine

SINGLE_FILE_ROWS = 1_000_000
"""Manifests of more rows are written as a folder of shards."""

EARLY_ROWS = 1_000
EARLY_SHARE = 0.95
"""After so many rows a job stops where nearly all have failed: the images are somewhere else."""


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
    """Sums over shards, and the notes of an engine at work; see `work.Notes`."""

    job: Job
    folder: ShardFolder
    watcher: Watcher | None
    rows: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    clipped: Counter[str] = field(default_factory=Counter)
    first: list[tuple[int, tuple[str, str, str]]] = field(default_factory=list)
    under_way: int = 0

    def add(self, number: int, sidecar: Sidecar) -> None:
        """Count a shard; in whatever order they come, the first failures are those of the first shards."""
        self.rows += sidecar.rows
        self.statuses.update(sidecar.statuses)
        self.clipped.update(sidecar.clipped)
        told = [*self.first, *((number, failure) for failure in sidecar.failures)]
        self.first = sorted(told, key=lambda entry: entry[0])[:NAMED_FAILURES]

    def labelled(self, rows: int) -> None:
        self.under_way += rows
        if self.watcher is not None:
            self.watcher.progress(self.rows + self.under_way, self.statuses)

    def written(self, number: int, sidecar: Sidecar) -> None:
        self.add(number, sidecar)
        self.under_way -= sidecar.rows
        if self.rows >= EARLY_ROWS and self.failed_share > max(EARLY_SHARE, self.job.options.max_failed):
            _refuse_failures(self)

    @property
    def failures(self) -> tuple[tuple[str, str, str], ...]:
        return tuple(failure for _, failure in self.first)

    @property
    def failed_share(self) -> float:
        return 1 - self.statuses[STATUS_OK] / self.rows if self.rows else 0.0


def run_job(
    job: Job,
    watcher: Watcher | None = None,
    *,
    again: bool = False,
    stop: threading.Event | None = None,
    engine: Engine | None = None,
) -> Report:
    """Run a job to its end, from what earlier processes finished of it.

    Args:
        job: from `plan_job`.
        watcher: is told how it goes.
        again: start over, also where the manifest is there.
        stop: when set, the shard in hand is finished and `Stopped` raised.
        engine: who labels; None for this process. The table is the same, and one goes on where another was stopped.

    Raises:
        Stopped: on `stop`.
        UserError: too many rows failed, another process or configuration is at work there, the disk is full.
    """
    folder = ShardFolder(open_store(job.place), None if job.faces is None else DiskStore(job.faces))
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
            _tidy(job, folder)
            return finished
        folder.start(job.config, job.fingerprint)
        done = folder.finished()
        tally = _Tally(job, folder, watcher)
        for number, sidecar in done.items():
            tally.add(number, sidecar)
        if watcher is not None:
            watcher.started(tally.rows)
            threading.Thread(target=_count, args=(job, watcher), daemon=True).start()
        began, before = time.perf_counter(), tally.rows
        count = (engine or LocalEngine()).label(job, folder, done, tally, stop or threading.Event())
        seconds = time.perf_counter() - began
        if count is None:
            raise Stopped(
                f"Stopped after {tally.rows:,} rows, which are kept in {folder.store.where}. To go on, run the same "
                "command again."
            )
        _refuse_failures(tally)
        manifest = write_manifest(job.out, job.header, folder.tables(count), folder=tally.rows > SINGLE_FILE_ROWS)
        counts = {"statuses": dict(tally.statuses), "failures": tally.failures, "clipped": dict(tally.clipped)}
        write_json(job.record, {"config": job.config, "sha256": manifest.fingerprint, **counts})
        _tidy(job, folder)
    return Report(manifest, tally.statuses, tally.failures, tally.clipped, tally.rows - before, seconds)


def _tidy(job: Job, folder: ShardFolder) -> None:
    """Delete the shards, and the folder of the lock where they are elsewhere."""
    folder.remove()
    DiskStore(job.parts).remove()


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


def _refuse_failures(tally: _Tally) -> None:
    """Raise where more rows failed than may; the shards that are mostly failures are made again next time.

    Raises:
        UserError: with the first failures.
    """
    allowed = tally.job.options.max_failed
    if tally.failed_share <= allowed:
        return
    for number, sidecar in tally.folder.finished().items():
        if 1 - sidecar.statuses.get(STATUS_OK, 0) / sidecar.rows > allowed:
            tally.folder.drop([number])
    counts = ", ".join(f"{status} {count:,}" for status, count in tally.statuses.most_common())
    first = "; ".join(f"{name}: {status}, {detail}" for name, status, detail in tally.failures)
    raise UserError(
        f"{tally.failed_share:.0%} of {tally.rows:,} rows failed, more than the {allowed:.0%} allowed ({counts}). The "
        f"first: {first}. Mend the dataset under {tally.job.source.root} and run the same command again, or allow more "
        "with --max-failed."
    )


def _count(job: Job, watcher: Watcher) -> None:
    """In a thread: how many rows there will be, for the time left; the job does not wait for it."""
    with contextlib.suppress(UserError, OSError):  # the job itself meets the same error, and reports it
        rows, limit = job.source.rows(job.options.split), job.options.limit
        watcher.counted(min(rows, limit) if limit else rows)
