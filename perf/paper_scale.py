"""Work and hours of the paper's tables at the preset `paper`: `python perf/paper_scale.py`.

The FLOPs of one step of each system are counted, on random images at the paper's width, and multiplied by epochs and
images. Hours are an estimate, not a measurement: a data-centre GPU's peak rate times an assumed share that is
sustained. Counted is a step after a method's pretraining, for all epochs; scoring is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import click
import torch
from measure import Table, finish, json_option
from noisyfer.benchmark.settings import resolve
from noisyfer.benchmark.tables import TABLES
from noisyfer.models.methods import METHODS, Batch, Problem
from scale import GPU, PEAKS
from step import label_sets, random_batch
from torch.utils.flop_counter import FlopCounterMode

CIFAR, RAF, AFFECTNET = 50_000, 12_271, 283_910
"""Training images (paper, Sec. 5)."""

SETS = 3


LAST_EPOCH = 10**6
"""Late enough for every method's pretraining to be over."""


class _AsTrainingSet:
    """A batch as all training samples, for methods that look at them before they begin."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.labels, self.masks = batch.labels, batch.masks

    def __len__(self) -> int:
        return len(self.batch.images)

    def in_order(self, batch_size: int) -> Iterator[Batch]:
        """The batch, whatever the size."""
        yield self.batch


@cache
def flops_an_image(name: str, sets: int, size: int, batch: int) -> float:
    """FLOPs of a training step, by image of the batch; counted on ten-class label sets."""
    torch.manual_seed(0)
    specs = label_sets(sets)
    _, config = resolve(name, "paper", {})
    used = specs if METHODS[name].uses.labels == "chosen" else specs[:1]
    method = METHODS[name](Problem(size, used, samples=batch), config, torch.device("cpu"))
    data = random_batch(used, size, batch)
    method.prepare(_AsTrainingSet(data))
    method.start_epoch(LAST_EPOCH)
    with FlopCounterMode(display=False) as counter:
        method.update(data)
    return counter.get_total_flops() / batch


def rows_of(name: str, size: int, images: int, batch: int, sustained: float) -> list[Sequence[str]]:
    """A row of the result for each method of a table, and their sum over all its rows."""
    epochs = resolve("vgg-all", "paper", {})[0].epochs
    found: dict[tuple[str, int], list[str]] = {}
    total = 0.0
    for row in TABLES[name].rows:
        sets = row.first or SETS
        each = flops_an_image(row.method, sets, size, batch)
        run = each * images * epochs
        found[row.method, sets] = [
            row.method,
            str(sets),
            f"{each / 1e9:.2f}",
            f"{run / 1e15:.1f}",
            *hours(run, sustained),
        ]
        total += run
    return [*found.values(), ["all rows, one seed", "", "", f"{total / 1e15:.1f}", *hours(total, sustained)]]


def hours(flops: float, sustained: float) -> list[str]:
    """Hours on the GPU at each of its peak rates."""
    return [f"{flops / (peak * sustained) / 3600:.2f}" for peak in PEAKS.values()]


@click.command()
@click.option("--batch", default=4, show_default=True, help="Images that a step is counted on.")
@click.option("--sustained", default=0.4, show_default=True, help="Assumed share of the GPU's peak.")
@json_option
def main(batch: int, sustained: float, json_file: Path | None) -> None:
    """Print the plan of every table."""
    columns = ["method", "label sets", "GFLOPs an image", "PFLOPs a run", *(f"hours, {kind}" for kind in PEAKS)]
    places = [(name, 32, CIFAR) for name in ("1", "3", "further", "noise", "lambda")]
    tables = [
        Table(
            f"Table {name}: {images:,} images of {size} px; estimated hours on one {GPU}, {sustained:.0%} of its peak.",
            columns,
            rows_of(name, size, images, batch, sustained),
        )
        for name, size, images in [*places, ("2", 64, RAF), ("2", 64, AFFECTNET)]
    ]
    finish(json_file, *tables)


if __name__ == "__main__":
    main()
