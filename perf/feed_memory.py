"""An epoch's images from a file that is larger than memory, by the order in which they are drawn.

    python perf/feed_memory.py --images 280000 --size 64 --limit 1024

Writes a file of decoded images, then runs each way in turn in a process of its own, in a control group whose memory is
limited; the file's pages are put out of the page cache before each. Shown are images a second over the first batches
(– where the time was over before them) and over the epoch (or as much of it as `--seconds` allow), page faults that had
to wait for the disk, and what was read of the disk. Needs Linux with control groups of version 1 and the right to make
one.
"""

from __future__ import annotations

import json
import mmap
import os
import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from measure import Table, finish, in_own_process, json_option, spread
from noisyfer.training import shuffle
from noisyfer.training.data import SplitData
from noisyfer.training.feed import Feed

GROUPS = Path("/sys/fs/cgroup/memory")
WAYS = {
    "in order": "the file from its beginning to its end: the limit",
    "blocks": "shuffle=blocks",
    "blocks, not read ahead": "the same without asking for blocks in advance, pages read as the system likes",
    "full": "shuffle=full",
    "full, single pages": "the same, the system's own reading ahead switched off (MADV_RANDOM)",
}


def write_images(file: Path, count: int, size: int) -> None:
    """A NumPy file of uint8 N×S×S×3 noise; a chunk at a time, on the disk when this returns."""
    shape = (count, size, size, 3)
    with file.open("wb") as target:
        header = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.uint8)), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(target, header)
        chunk = np.random.default_rng(0).bytes(1000 * size * size * 3)
        for first in range(0, count, 1000):
            target.write(chunk[: min(1000, count - first) * size * size * 3])
        target.flush()
        os.fsync(target.fileno())


def forget(file: Path) -> None:
    """Put a file's pages out of the page cache."""
    with file.open("rb") as opened:
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


@contextmanager
def limited_group(megabytes: int) -> Iterator[Path]:
    """A control group with so much memory, its page cache included; removed at the end.

    Raises: `click.ClickException` where none can be made.
    """
    group = GROUPS / f"noisyfer-feed-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        raise click.ClickException(
            f"No control group can be made in {GROUPS} ({error.strerror}); run this as root on Linux with version 1."
        ) from error
    try:
        (group / "memory.limit_in_bytes").write_text(str(megabytes * 2**20))
        yield group
    finally:
        group.rmdir()


def in_group(group: Path, *arguments: str) -> dict[str, Any]:
    """Run this script in a control group; the JSON object it prints."""

    def join() -> None:
        (group / "cgroup.procs").write_text(str(os.getpid()))

    return in_own_process(__file__, *arguments, first=join)


def read_epoch(way: str, file: Path, batch: int, first: int, limit: float) -> dict[str, float | None]:
    """Draw an epoch's batches, for so many seconds at most, and count; `early` is None where they were too few."""
    images = np.load(file, mmap_mode="r")
    if way == "blocks, not read ahead":
        shuffle.mapping = lambda images: None
    if way == "full, single pages":
        images.base.madvise(mmap.MADV_RANDOM)  # type: ignore[union-attr]
    feed = Feed(SplitData(images, {}), torch.device("cpu"), shuffle=way.split(",")[0] if way != "in order" else "full")
    before, drawn, early = resource.getrusage(resource.RUSAGE_SELF), 0, None
    began = time.perf_counter()
    for number, found in enumerate(feed.in_order(batch) if way == "in order" else feed.epoch(0, 0, batch)):
        if way == "in order":
            found.images.clone()  # a view so far: now it is read
        drawn += len(found.indices)
        took = time.perf_counter() - began
        if number + 1 == first:
            early = drawn / took
        if took > limit:
            break
    after = resource.getrusage(resource.RUSAGE_SELF)
    read = (after.ru_inblock - before.ru_inblock) * 512
    return {
        "early": early,
        "rate": drawn / took,
        "share": drawn / len(images),
        "faults": (after.ru_majflt - before.ru_majflt) / drawn * 1000,
        "read": read / (drawn * images[:1].nbytes),
    }


@click.command()
@click.option("--images", default=280_000, show_default=True)
@click.option("--size", default=64, show_default=True)
@click.option("--batch", default=64, show_default=True)
@click.option("--limit", default=1024, show_default=True, help="Memory in MB, of the process and its page cache.")
@click.option("--first", default=200, show_default=True, help="Batches that are also told apart.")
@click.option("--seconds", default=60.0, show_default=True, help="Of an epoch, at most.")
@click.option("--repeats", default=3, show_default=True)
@click.option("--ways", default=";".join(WAYS), show_default=True)
@click.option("--folder", default="perf-results", show_default=True, type=click.Path(path_type=Path))
@click.option("--inner", nargs=2, hidden=True, help="WAY FILE: run in this process.")
@json_option
def main(inner: tuple[str, str] | None, json_file: Path | None, **given: Any) -> None:
    """Print a row for each way."""
    if inner:
        found = read_epoch(inner[0], Path(inner[1]), given["batch"], given["first"], given["seconds"])
        print(json.dumps(found))
        return
    ways = given["ways"].split(";")
    runs: dict[str, list[dict[str, float | None]]] = {way: [] for way in ways}
    given["folder"].mkdir(parents=True, exist_ok=True)
    passed = [word for name in ("batch", "first", "seconds") for word in (f"--{name}", str(given[name]))]
    with limited_group(given["limit"]) as group, tempfile.TemporaryDirectory(dir=given["folder"]) as folder:
        file = Path(folder) / "images.npy"
        write_images(file, given["images"], given["size"])
        for _ in range(given["repeats"]):
            for way in ways:
                forget(file)
                runs[way].append(in_group(group, "--inner", way, str(file), *passed))
    megabytes = given["images"] * given["size"] ** 2 * 3 / 2**20
    title = (
        f"{given['images']:,} images of {given['size']} px, {megabytes:,.0f} MB, under a limit of {given['limit']:,} "
        f"MB for process and page cache; batches of {given['batch']}; {given['repeats']} runs a way, each until "
        f"the epoch's end or {given['seconds']:g} s."
    )
    columns = [
        "way",
        f"images/s, first {given['first']} batches",
        "images/s, epoch",
        "share of the epoch",
        "waits for the disk in 1,000 images",
        "bytes read ÷ bytes drawn",
    ]
    finish(json_file, Table(title, columns, [row(way, found) for way, found in runs.items()]))


def row(way: str, runs: list[dict[str, float | None]]) -> list[str]:
    """Medians and quartiles of one way, a dash for what a run did not come to: the others alone would mislead."""
    cells = []
    for name, digits in {"early": 0, "rate": 0, "share": 2, "faults": 1, "read": 2}.items():
        found = [value for run in runs if (value := run[name]) is not None]
        cells.append(spread(found).text(digits) if len(found) == len(runs) else "–")
    return [f"{way}: {WAYS[way]}", *cells]


if __name__ == "__main__":
    main()
