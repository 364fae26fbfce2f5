"""Seconds a training step takes, for one method on random images: `python perf/step.py --width 0.25 --batch 64`.

Prints each step's median and spread, and last `X images/s`. Single times on a shared machine mean little: steps are
timed one by one after a warm-up, and the median is reported with the quartiles.
"""

from __future__ import annotations

import time

import click
import numpy as np
import torch
from noisyfer.core.config import with_settings
from noisyfer.models.methods import METHODS, Batch, LabelSetSpec, Problem


@click.command()
@click.option("--method", default="proposed", show_default=True)
@click.option("--width", default=1.0, show_default=True)
@click.option("--batch", default=64, show_default=True)
@click.option("--size", default=32, show_default=True)
@click.option("--steps", default=10, show_default=True)
@click.option("--sets", default=3, show_default=True, help="Ten-class label sets.")
@click.option("--device", default="cpu", show_default=True)
def main(method: str, width: float, batch: int, size: int, steps: int, sets: int, device: str) -> None:
    """Time the training step of one method."""
    torch.manual_seed(0)
    where = torch.device(device)
    label_sets = tuple(LabelSetSpec(f"class_{number}", "class", 10) for number in range(sets))
    config = with_settings(METHODS[method].config_class(), {"width": width})
    model = METHODS[method](Problem(size, label_sets, batch), config, where)
    model.start_epoch(0)
    images = torch.randint(0, 256, (batch, size, size, 3), dtype=torch.uint8, device=where).permute(0, 3, 1, 2)
    labels = {found.name: torch.randint(0, 10, (batch,), device=where) for found in label_sets}
    masks = {found.name: torch.ones(batch, dtype=torch.bool, device=where) for found in label_sets}
    data = Batch(images, labels, masks, torch.arange(batch, device=where))
    seconds = []
    for step in range(steps + 2):
        began = time.perf_counter()
        model.update(data)["loss"].item()
        if step >= 2:
            seconds.append(time.perf_counter() - began)
    low, median, high = np.percentile(seconds, [25, 50, 75])
    print(f"{method}, width {width}, batch {batch}, {size} px, {torch.get_num_threads()} threads, {device}")
    print(f"{median:.3f} s a step (quartiles {low:.3f} to {high:.3f} over {steps} steps)")
    print(f"{batch / median:.1f} images/s")


if __name__ == "__main__":
    main()
