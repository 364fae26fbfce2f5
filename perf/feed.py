"""Batches a second of the feed against a DataLoader of PIL pictures and against a bare tensor: `python perf/feed.py`.

The feed and the bare tensor hold all images, the DataLoader opens a few thousand PNG files again and again, each way
for so many batches a turn. The bare tensor's `index_select` is the limit: the same pixels gathered, and nothing else.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from measure import Table, compare, finish, json_option, rates, times_faster
from noisyfer.manifest import Labels
from noisyfer.training.augment import CROP_PADDING
from noisyfer.training.data import SplitData
from noisyfer.training.feed import Feed
from PIL import Image, ImageOps
from torch import Tensor


class Pictures(torch.utils.data.Dataset):  # type: ignore[type-arg]
    """What a plain script does: open a picture, perhaps crop and mirror it, make it a tensor."""

    def __init__(self, files: list[Path], augmented: bool) -> None:
        self.files, self.augmented = files, augmented

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        picture = Image.open(self.files[index]).convert("RGB")
        if self.augmented:
            top, left, flip = torch.randint(0, 2 * CROP_PADDING + 1, (3,)).tolist()
            size = picture.width
            picture = ImageOps.expand(picture, CROP_PADDING).crop((left, top, left + size, top + size))
            picture = ImageOps.mirror(picture) if flip % 2 else picture
        return torch.from_numpy(np.array(picture)).permute(2, 0, 1), index % 10


def write_pictures(folder: Path, images: np.ndarray[Any, Any]) -> list[Path]:
    """PNG files, which decode faster than JPEG at this size."""
    files = [folder / f"{number:06d}.png" for number in range(len(images))]
    for file, pixels in zip(files, images, strict=True):
        Image.fromarray(pixels).save(file)
    return files


def endless(make: Callable[[], Iterator[Any]]) -> Iterator[Any]:
    """Epoch after epoch; what starts an epoch, such as workers, is part of its time."""
    while True:
        yield from make()


def take(batches: Iterator[Any], count: int) -> None:
    """Draw so many batches."""
    for _ in islice(batches, count):
        pass


@click.command()
@click.option("--images", default=50_000, show_default=True)
@click.option("--size", default=32, show_default=True)
@click.option("--batch", default=128, show_default=True)
@click.option("--files", default=5_000, show_default=True, help="Pictures of the DataLoader.")
@click.option("--batches", default=300, show_default=True, help="Of the feed in a turn.")
@click.option("--repeats", default=7, show_default=True)
@json_option
def main(images: int, size: int, batch: int, files: int, batches: int, repeats: int, json_file: Path | None) -> None:
    """Print batches a second of each way, and how many times faster the feed is."""
    draw = np.random.default_rng(0)
    # smooth pictures, since noise is no picture to a PNG decoder
    coarse = draw.integers(0, 256, (images, size // 8, size // 8, 3), dtype=np.uint8)
    pixels = coarse.repeat(8, axis=1).repeat(8, axis=2)
    values = draw.integers(0, 10, images)
    data = SplitData(pixels, {"class_a": Labels(values, values >= 0)})
    cpu, bare = torch.device("cpu"), torch.from_numpy(pixels)
    order = torch.randperm(images)
    few = files // batch  # one epoch of the DataLoader
    with tempfile.TemporaryDirectory() as folder:
        written = write_pictures(Path(folder), pixels[:files])

        def feed(augment: str) -> tuple[Iterator[Any], int]:
            found = Feed(data, cpu, augment=augment)
            return endless(lambda: found.epoch(0, 0, batch)), batches

        def loader(augmented: bool, workers: int) -> tuple[Iterator[Any], int]:
            dataset = Pictures(written, augmented)
            found = torch.utils.data.DataLoader(dataset, batch, shuffle=True, num_workers=workers, drop_last=True)
            return endless(lambda: iter(found)), few

        ways = {
            "feed": feed("none"),
            "feed, crop and flip": feed("crop-flip"),
            "bare tensor, index_select": (
                endless(lambda: (bare.index_select(0, rows) for rows in order.split(batch))),
                batches,
            ),
            "bare tensor, indexed": (endless(lambda: (bare[rows] for rows in order.split(batch))), batches),
            **{
                f"DataLoader of PIL pictures{', crop and flip' * augmented}, {workers} workers": loader(
                    augmented, workers
                )
                for augmented in (False, True)
                for workers in (0, 2)
            },
        }
        seconds = compare({way: partial(take, *arguments) for way, arguments in ways.items()}, repeats)
    each = {way: [took / ways[way][1] for took in found] for way, found in seconds.items()}
    rows = []
    for way, found in each.items():
        ours = each["feed, crop and flip" if "crop" in way else "feed"]
        gain = "" if way.startswith("feed") else times_faster(ours, found).text(2)
        rows.append([way, rates(1, found).text(1), rates(batch, found).text(0), gain])
    columns = ["way", "batches/s", "images/s", "the feed (with as much augmentation) is so many times faster"]
    title = (
        f"{images:,} images of {size} px ({files:,} PNG files for the DataLoader), batches of {batch}, "
        f"{torch.get_num_threads()} threads, {repeats} turns."
    )
    finish(json_file, Table(title, columns, rows))


if __name__ == "__main__":
    main()
