"""`noisyfer show`."""

from __future__ import annotations

from pathlib import Path

import click

from ..core.terminal import say
from .common import print_json, sentences


@click.command("show")
@click.argument("manifest", type=click.Path(path_type=Path))
@click.option("--check", is_flag=True, help="Also read every row and check ids, image paths and labels.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs instead.")
@sentences
def command(manifest: Path, check: bool, as_json: bool) -> None:
    """Print what is in a manifest: samples, label sets, classes, agreement.

    \b
    Example:
      noisyfer show data_manifests/cifar10.parquet
    """
    from ..manifest import Manifest

    opened = Manifest.open(manifest)
    if as_json:
        from ..benchmark.summary import summarise, to_json

        print_json(to_json(opened, summarise(opened)))
    else:
        from ..benchmark.present import print_manifest

        print_manifest(opened)
    if check:
        opened.validate()
        if not as_json:
            say("Checked: ids, splits, image paths and labels are in order.")
