"""Processes that draw, and what is left of them."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from ...core.errors import UserError
from ...core.processes import end_with_parent
from .layouts import LAYOUTS, Row

CHUNK = 8
"""Samples that a process draws before it reports."""


class Artists:
    """Draws the samples of a layout in several processes, in any order, and reports them in theirs.

    To be used as a context: at its end no process writes any more.

    Args:
        workers: number of processes; 1 draws in this one, 0 takes one a core.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers or len(os.sched_getaffinity(0))
        self._pool: ProcessPoolExecutor | None = None
        if self.workers > 1:
            # a fresh interpreter each: forking a process with threads may hang
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self.workers, mp_context=context, initializer=_begin)

    def __enter__(self) -> Artists:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def draw(self, name: str, root: Path, seed: int, split: str, count: int) -> Iterator[list[Row]]:
        """Write the first `count` samples of a split of the dataset `name` below a root; yields rows in order.

        Raises:
            UserError: a process was killed.
        """
        chunks = [range(start, min(start + CHUNK, count)) for start in range(0, count, CHUNK)]
        if self._pool is None:
            for chunk in chunks:
                yield _write(name, root, seed, split, chunk)
            return
        waiting: list[Future[list[Row]]] = []
        try:
            for chunk in chunks:
                waiting.append(self._pool.submit(_write, name, root, seed, split, chunk))
                if len(waiting) >= 3 * self.workers:
                    yield waiting.pop(0).result()
            for future in waiting:
                yield future.result()
        except BrokenProcessPool as error:
            raise UserError(
                "A process that draws was killed, perhaps for want of memory. The dataset was not written. Run the "
                "same command again, with --workers 1 if that happens again."
            ) from error


def remove_left_folders(out: Path, name: str) -> None:
    """Delete half-drawn folders of a dataset that a killed process left; nobody else may be writing there."""
    for left in out.glob(f".tmp-????????-{name}"):
        shutil.rmtree(left, ignore_errors=True)


def _write(name: str, root: Path, seed: int, split: str, indices: range) -> list[Row]:
    return [LAYOUTS[name].write(root, seed, split, index) for index in indices]


def _begin() -> None:
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
