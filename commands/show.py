"""`noisyfer show`."""

from __future__ import annotations

from pathlib import Path

import click

from ..core.terminal import say
from .common import sentences


@click.command("show")
@click.argument("manifest", type=click.Path(path_type=Path))
@click.option("--check", is_flag=True, help="Also read every row and check ids, image paths and labels.")
@sentences
def command(manifest: Path, check: bool) -> None:
    """Print what is in a manifest: samples, label sets, classes, agreement.

    \b
    Example:
      noisyfer show data_manifests/cifar10.parquet
    """
    from ..benchmark.present import print_manifest
    from ..manifest import Manifest

    opened = Manifest.open(manifest)
    print_manifest(opened)
    if check:
        opened.validate()
        say("Checked: ids, splits, image paths and labels are in order.")
