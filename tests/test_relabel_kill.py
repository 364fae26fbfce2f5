"""A relabelling process killed at twenty random moments: nothing is lost, nothing is there twice."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from noisyfer.manifest import Manifest
from noisyfer.relabel.job import run_job
from noisyfer.relabel.plan import JobOptions, plan_job
from relabel_world import ByColour, World, write_pictures
from torch import Tensor

KILLS = 20
ROWS = 120


class Slow(ByColour):
    """Takes its time, as a network does, so that a kill falls anywhere."""

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        time.sleep(0.004)
        return super().predict(images)


def label(root: Path, out: Path) -> None:
    """The whole job, as a process of its own."""
    torch.set_num_threads(1)
    options = JobOptions(batch=4, shard_rows=6, kept_size=32, workers=2)
    run_job(plan_job("world", World(root, count=ROWS), [Slow()], out, options))


def started(*arguments: Any) -> multiprocessing.process.BaseProcess:
    process = multiprocessing.get_context("fork").Process(target=label, args=arguments)
    process.start()
    return process


@pytest.mark.filterwarnings("ignore:.*fork.*")
def test_killed_twenty_times_the_table_is_the_uninterrupted_one(tmp_path: Path) -> None:
    root = tmp_path / "world"
    write_pictures(root, ROWS)
    whole, cut = tmp_path / "whole" / "m.parquet", tmp_path / "cut" / "m.parquet"
    began = time.perf_counter()
    process = started(root, whole)
    process.join(120)
    assert process.exitcode == 0
    seconds = time.perf_counter() - began
    moments = np.random.default_rng(7).uniform(0, seconds / 4, KILLS)
    killed = 0
    for moment in moments:
        process = started(root, cut)
        process.join(float(moment))
        if process.is_alive():
            os.kill(process.pid, signal.SIGKILL)  # type: ignore[arg-type]
            killed += 1
        process.join()
        assert not cut.exists() or Manifest.open(cut).rows == ROWS + 5  # whole or not there
    assert killed >= KILLS // 2
    process = started(root, cut)
    process.join(120)
    assert process.exitcode == 0
    assert cut.read_bytes() == whole.read_bytes()
    ours, theirs = (sorted(path.parent.glob("m_faces/part-*")) for path in (cut, whole))
    assert [path.name for path in ours] == [path.name for path in theirs]
    assert all(one.read_bytes() == other.read_bytes() for one, other in zip(ours, theirs, strict=True))
    assert sorted(path.name for path in cut.parent.iterdir()) == sorted(path.name for path in whole.parent.iterdir())
