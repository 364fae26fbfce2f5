"""The plan of an epoch on AffectNet's size: `python perf/scale.py --images 280000 --size 64 --width 1`.

Disk and memory, hours an epoch on this CPU from measured steps, and hours on a data-centre GPU by the FLOPs that were
counted. The GPU's figure is an estimate, not a measurement: its peak rate times an assumed share that is sustained.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import click
import torch
from measure import Table, compare, finish, json_option, peak_mb, rates, spread
from noisyfer.training.shuffle import BUFFER_BYTES, chosen_shuffle, memory
from step import build, label_sets, random_batch
from torch.utils.flop_counter import FlopCounterMode

GPU = "NVIDIA H100"
PEAKS = {"fp32": 67e12, "TF32, dense": 495e12}
"""FLOP/s of the card's data sheet (SXM)."""


@click.command()
@click.option("--images", default=280_000, show_default=True)
@click.option("--size", default=64, show_default=True)
@click.option("--width", default=1.0, show_default=True)
@click.option("--batch", default=64, show_default=True)
@click.option("--method", default="proposed", show_default=True)
@click.option("--sets", default=2, show_default=True, help="Ten-class label sets.")
@click.option("--steps", default=3, show_default=True)
@click.option("--sustained", default=0.4, show_default=True, help="Assumed share of the GPU's peak.")
@json_option
def main(
    images: int,
    size: int,
    width: float,
    batch: int,
    method: str,
    sets: int,
    steps: int,
    sustained: float,
    json_file: Path | None,
) -> None:
    """Print the plan."""
    torch.manual_seed(0)
    specs = label_sets(sets)
    built, data = build(method, specs, size, width), random_batch(specs, size, batch)
    with FlopCounterMode(display=False) as counter:
        built.update(data)  # also the first step, which allocates
    flops = counter.get_total_flops() / batch
    seconds = compare({"step": lambda: built.update(data)["loss"].item()}, steps, warmups=0)["step"]
    decoded = images * size * size * 3
    hours = spread([images / batch * took / 3600 for took in seconds])
    rows = [
        [
            "decoded images on disk, MB",
            f"{decoded / 2**20:,.0f} ({shutil.disk_usage('.').free / 2**20:,.0f} free here)",
        ],
        ["order of an epoch (shuffle=auto)", f"{chosen_shuffle(decoded)}, of {memory() / 2**20:,.0f} MB of memory"],
        ["page cache that shuffle=blocks needs, MB", f"{BUFFER_BYTES / 2**20:,.0f}"],
        ["peak of this process, MB", f"{peak_mb():,.0f}"],
        ["GFLOPs an image", f"{flops / 1e9:.2f}"],
        ["PFLOPs an epoch", f"{flops * images / 1e15:.2f}"],
        ["images/s here, measured", rates(batch, seconds).text(1)],
        ["GFLOP/s here, measured", spread([flops * batch / took / 1e9 for took in seconds]).text(0)],
        ["hours an epoch here", hours.text(1)],
        *(
            [
                f"estimate: hours an epoch on one {GPU}, {sustained:.0%} of {peak / 1e12:g} TFLOP/s ({kind})",
                f"{flops * images / (peak * sustained) / 3600:.3f}",
            ]
            for kind, peak in PEAKS.items()
        ),
    ]
    title = (
        f"{images:,} images of {size} px, {method} at width {width:g}, batches of {batch}, {sets} label sets, "
        f"{torch.get_num_threads()} threads, {steps} steps."
    )
    finish(json_file, Table(title, ["what", "figure"], rows))


if __name__ == "__main__":
    main()
