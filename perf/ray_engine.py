"""Relabelling on Ray against the engine of one process: what Ray costs, and what a second worker brings.

    python perf/ray_engine.py --images 768 --actors 1,2

Every way labels the same photographs with the same network, one compute thread a worker, in turn. Ray's cluster is
started once and timed by itself; each job on it starts its own actors. Printed are: the seconds until the first rows
are labelled (for Ray: a shard, and before it processes that start and load torch), the rate from then on, the whole,
and the processor seconds of all processes, which other programs on the machine disturb less than the clock.
"""

from __future__ import annotations

import os
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from measure import Table, finish, json_option
from noisyfer.core.cluster import cluster
from noisyfer.relabel.job import run_job
from noisyfer.relabel.plan import JobOptions, open_source, plan_job
from noisyfer.relabel.teachers import load_teachers

from relabel import write_photographs, write_teacher

PICTURES = 200
TICKS = os.sysconf("SC_CLK_TCK")


class Times:
    """Notes when a job tells of labelled rows."""

    def __init__(self) -> None:
        self.began = time.perf_counter()
        self.told: list[tuple[float, int]] = []

    def started(self, rows_done: int) -> None:
        """The job begins."""

    def counted(self, rows: int) -> None:
        """The rows are counted."""

    def progress(self, rows: int, statuses: Any) -> None:
        """Some rows are labelled."""
        self.told.append((time.perf_counter(), rows))

    def figures(self) -> tuple[float, float, float]:
        """Seconds to the first news, images a second from then on, seconds altogether."""
        (first, before), (last, after) = self.told[0], self.told[-1]
        return first - self.began, (after - before) / max(last - first, 1e-9), time.perf_counter() - self.began


def processor_seconds(process: int = os.getpid()) -> float:
    """Of a process, all below it, and those of them that have ended."""
    children: dict[int, list[int]] = {}
    spent: dict[int, float] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it has just ended
                continue
            children.setdefault(int(fields[1]), []).append(int(entry.name))
            spent[int(entry.name)] = sum(map(int, fields[11:15])) / TICKS
    waiting, total = [process], 0.0
    while waiting:
        each = waiting.pop()
        total += spent.get(each, 0.0)
        waiting += children.get(each, [])
    return total


@click.command()
@click.option("--images", default=768, show_default=True)
@click.option("--shard-rows", default=64, show_default=True)
@click.option("--batch", default=32, show_default=True)
@click.option("--actors", default="1,2", show_default=True, help="Numbers of actors, commas between them.")
@click.option("--repeats", default=2, show_default=True)
@click.option("--architecture", default="efficientnet_b0", show_default=True)
@json_option
def main(
    images: int, shard_rows: int, batch: int, actors: str, repeats: int, architecture: str, json_file: Path | None
) -> None:
    """Print seconds and rates of each way."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        root = work / "photographs"
        write_photographs(work / "pictures", min(images, PICTURES))
        root.mkdir()
        files = sorted((work / "pictures").iterdir())
        for number in range(images):
            os.link(files[number % len(files)], root / f"{number:06d}.jpg")
        model = write_teacher(work, architecture)
        teachers = load_teachers([model])
        options = JobOptions(batch=batch, shard_rows=shard_rows, whole=True, workers=1)
        began = time.perf_counter()
        with cluster("local"):
            from noisyfer.relabel.distributed import RayEngine

            start = time.perf_counter() - began
            load = partial(load_teachers, (model,))
            ways = {"one process": None}
            ways |= {f"Ray, {count} actors": RayEngine(load, int(count)) for count in actors.split(",")}
            found: dict[str, list[tuple[float, ...]]] = {way: [] for way in ways}
            written = set()
            for turn in range(repeats):
                for number, (way, engine) in enumerate(ways.items()):
                    out, spent, times = work / f"{turn}-{number}" / "m.parquet", processor_seconds(), Times()
                    job = plan_job("folder", open_source("folder", root), teachers, out, options)
                    written.add(run_job(job, times, engine=engine).manifest.fingerprint)
                    found[way].append((*times.figures(), processor_seconds() - spent))
    if len(written) != 1:
        raise click.ClickException("The ways wrote different manifests.")
    rows = [[way, *(f"{figure:,.1f}" for figure in np.median(several, axis=0))] for way, several in found.items()]
    title = (
        f"{images} photographs of 224 px, {architecture}, shards of {shard_rows}, one compute thread a worker, medians "
        f"of {repeats}; the manifests are the same, byte for byte. Ray's cluster came up in {start:.1f} s."
    )
    columns = ["way", "s to the first rows", "images/s from then on", "s in all", "processor s"]
    finish(json_file, Table(title, columns, rows))


if __name__ == "__main__":
    main()
