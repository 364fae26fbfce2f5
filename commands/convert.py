"""`noisyfer convert`."""

from __future__ import annotations

from pathlib import Path

import click

from ..core.names import comma_list
from ..core.terminal import say
from .common import sentences


@click.command("convert")
@click.argument("manifest", type=click.Path(path_type=Path))
@click.option("--to", required=True, metavar="FORMAT", help="csv (labels only), imagefolder, hf, webdataset or coco.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The csv, or a new folder.")
@click.option("--labels", metavar="SET,…", help="The label sets.  [default: all]")
@click.option("--split", metavar="SPLIT,…", help="Only samples of these splits.")
@click.option("--data", type=click.Path(path_type=Path), help="Where the manifest's images are, if they have moved.")
@sentences
def command(manifest: Path, to: str, out: Path, labels: str | None, split: str | None, data: Path | None) -> None:
    """Write a manifest and its images in another format.

    The folder appears when it is whole, and nothing is written over.

    \b
    Examples:
      noisyfer convert data_manifests/digits.parquet --to hf --out digits_hf
      noisyfer convert data_manifests/raf.parquet --to coco --labels expression_human --split test --out raf_coco
    """
    from ..core.terminal import Bars, console
    from ..relabel.convert import convert

    bars = Bars(console())
    bars.start()
    try:
        made = convert(
            manifest,
            to,
            out,
            labels=comma_list(labels) or None,
            splits=comma_list(split) or None,
            root=data,
            progress=lambda done, total: bars.show(f"{manifest.name} → {out.name}", done, total),
        )
    finally:
        bars.stop()
    say(f"Written: {made.rows:,} samples to {made.path}")
    if made.left_out:
        say(f"{made.left_out:,} samples without a usable picture were left out.")
